"""Benchmarks: a command that prints tables and judges nothing (``make bench``)."""
