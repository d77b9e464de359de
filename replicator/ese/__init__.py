"""The store's file formats (ESE, "JET Blue"): databases, checkpoints, flush maps.

It stands alone: nothing of the replicator or the simulator is imported here, so that the same
code reads real files, emulated volumes and images in memory.  All it asks of the world is
:class:`replicator.ese.reader.Reader`.

Every layout names its origin with one of these marks:

- ``E path``: github.com/microsoft/Extensible-Storage-Engine, commit 7030fe74, MIT; below dev/ese/
- ``L``: github.com/libyal/libesedb, commit 7b35fcc8, its format document
- ``D path``: github.com/fox-it/dissect.esedb, commit ea5efb8a
- ``V``: also verified on real files

What is only inferred is a named parameter, never a constant in the middle of a line.
"""
