"""Emulated stores, the load on them, and the record of what was committed."""
