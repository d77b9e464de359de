"""The emulated world in which the replicator is tested, and what is measured in it."""
