"""The emulated Exchange store in the real ESE format: every change is a log record first.

Nothing here reads or writes files.  Pages come from outside, records go outside, and one
function, :func:`replicator.ese.page_operations.apply`, carries a record out for doing and for
redoing alike.  docs/store-engine.md explains the parts.
"""
