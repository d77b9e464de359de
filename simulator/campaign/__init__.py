"""Campaigns: one scenario under thousands of fault plans."""
