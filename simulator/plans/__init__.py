"""Fault plans: explicit lists of faults, written by hand, drawn, enumerated, or shrunk."""
