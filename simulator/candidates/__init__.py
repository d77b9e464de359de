"""Replicators of others, put on the bench in place of the reference replicator.

``[candidate]`` of a scenario says which (``docs/candidates.md``).  A candidate's own code imports
:class:`Site` and :class:`InDoubt`, and for its storage and streams ``replicator.runtime``.
"""

from simulator.candidates.site import InDoubt, Site

__all__ = ["InDoubt", "Site"]
