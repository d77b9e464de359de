"""Protection systems of the field, one module each, assembled on the emulated world."""
