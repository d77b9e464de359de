"""A session: whose transaction a change belongs to.

Levels of transactions are begun and ended often, and most inner ones change nothing.  So a
level is logged with the first change in it, several levels in one record, as the engine does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from replicator.ese.values import LogPosition

if TYPE_CHECKING:
    from simulator.exchange.ese.versions import Version

NOTHING_LOGGED = LogPosition()


@dataclass(slots=True, eq=False)
class Session:
    """One session.

    Arguments
    ---------
    procid: its number in log records.

    Attributes
    ----------
    level: how many transactions are open, one in the other.
    logged_level: how many of them the log knows of.
    transaction: number of the outermost one, once it is logged.
    began: where in the log it began: the checkpoint cannot pass it while it is open.
    snapshot: which commits it was begun behind; a node changed by a later one is a conflict.
    versions: what its open transactions have changed, oldest first.
    """

    procid: int
    level: int = 0
    logged_level: int = 0
    transaction: int = 0
    began: LogPosition = NOTHING_LOGGED
    snapshot: int = 0
    versions: list[Version] = field(default_factory=list)
