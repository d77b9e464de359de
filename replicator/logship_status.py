"""The state of a copy that is kept by log shipping: its words, and which follows which.

The words are those that administrators of Exchange read (``Get-MailboxDatabaseCopyStatus``); what
leads from one to the next is the literal table :data:`TRANSITIONS`, and nothing else changes a
state.  A pair that is not in the table is a defect and raises.

===========================  =====================================================================
state                        the copy
===========================  =====================================================================
Initializing                 looks at what it has; it has not reached the source yet
Seeding                      has no database: somebody has to bring one
Resynchronizing              compares its newest log with the source's before it takes more
Healthy                      copies, inspects and replays
DisconnectedAndHealthy       was healthy when the source was reached last
DisconnectedAnd-             was not yet compared when the source was reached last
Resynchronizing
Failed                       a log could not be copied or replayed; it tries again by itself
FailedAndSuspended           cannot go on by itself: it has to be seeded anew
Suspended                    somebody has stopped it
Mounting, Mounted            is the store from now on, and no copy any more
===========================  =====================================================================

Left out: ``SeedingSource``, ``SinglePageRestore`` and the states of a dismounted database; what
there is of a process that does not run (``ServiceDown``) can only be said by who looks for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class CopyState(StrEnum):
    """The words; see the module."""

    INITIALIZING = "Initializing"
    SEEDING = "Seeding"
    RESYNCHRONIZING = "Resynchronizing"
    HEALTHY = "Healthy"
    DISCONNECTED_AND_HEALTHY = "DisconnectedAndHealthy"
    DISCONNECTED_AND_RESYNCHRONIZING = "DisconnectedAndResynchronizing"
    FAILED = "Failed"
    FAILED_AND_SUSPENDED = "FailedAndSuspended"
    SUSPENDED = "Suspended"
    MOUNTING = "Mounting"
    MOUNTED = "Mounted"


SERVICE_DOWN: Final = "ServiceDown"
"""What is said of a copy whose process does not answer."""


class CopyEvent(StrEnum):
    """What happens to a copy."""

    NO_DATABASE = "no database is there"
    SEEDED = "a database is there"
    CONNECTED = "the source answers"
    DISCONNECTED = "the source does not answer"
    AGREES = "the newest log is the source's"
    FAILS = "a log cannot be copied or replayed"
    RECOVERED = "what had failed went well"
    BEYOND_REPAIR = "the logs do not lead on from this copy"
    SUSPENDED = "somebody suspends it"
    RESUMED = "somebody resumes it"
    ACTIVATED = "somebody activates it"
    OPENED = "its store may be mounted"


_S, _E = CopyState, CopyEvent
TRANSITIONS: Final[dict[tuple[CopyState, CopyEvent], CopyState]] = {
    (_S.INITIALIZING, _E.NO_DATABASE): _S.SEEDING,
    (_S.INITIALIZING, _E.CONNECTED): _S.RESYNCHRONIZING,
    (_S.INITIALIZING, _E.DISCONNECTED): _S.DISCONNECTED_AND_RESYNCHRONIZING,
    (_S.INITIALIZING, _E.FAILS): _S.FAILED,
    (_S.INITIALIZING, _E.BEYOND_REPAIR): _S.FAILED_AND_SUSPENDED,
    (_S.INITIALIZING, _E.SUSPENDED): _S.SUSPENDED,
    (_S.INITIALIZING, _E.ACTIVATED): _S.MOUNTING,
    (_S.SEEDING, _E.SEEDED): _S.INITIALIZING,
    (_S.SEEDING, _E.SUSPENDED): _S.SUSPENDED,
    (_S.RESYNCHRONIZING, _E.CONNECTED): _S.RESYNCHRONIZING,
    (_S.RESYNCHRONIZING, _E.AGREES): _S.HEALTHY,
    (_S.RESYNCHRONIZING, _E.DISCONNECTED): _S.DISCONNECTED_AND_RESYNCHRONIZING,
    (_S.RESYNCHRONIZING, _E.FAILS): _S.FAILED,
    (_S.RESYNCHRONIZING, _E.BEYOND_REPAIR): _S.FAILED_AND_SUSPENDED,
    (_S.RESYNCHRONIZING, _E.SUSPENDED): _S.SUSPENDED,
    (_S.RESYNCHRONIZING, _E.ACTIVATED): _S.MOUNTING,
    (_S.HEALTHY, _E.CONNECTED): _S.RESYNCHRONIZING,
    (_S.HEALTHY, _E.DISCONNECTED): _S.DISCONNECTED_AND_HEALTHY,
    (_S.HEALTHY, _E.FAILS): _S.FAILED,
    (_S.HEALTHY, _E.BEYOND_REPAIR): _S.FAILED_AND_SUSPENDED,
    (_S.HEALTHY, _E.SUSPENDED): _S.SUSPENDED,
    (_S.HEALTHY, _E.ACTIVATED): _S.MOUNTING,
    (_S.DISCONNECTED_AND_HEALTHY, _E.CONNECTED): _S.RESYNCHRONIZING,
    (_S.DISCONNECTED_AND_HEALTHY, _E.DISCONNECTED): _S.DISCONNECTED_AND_HEALTHY,
    (_S.DISCONNECTED_AND_HEALTHY, _E.FAILS): _S.FAILED,
    (_S.DISCONNECTED_AND_HEALTHY, _E.BEYOND_REPAIR): _S.FAILED_AND_SUSPENDED,
    (_S.DISCONNECTED_AND_HEALTHY, _E.SUSPENDED): _S.SUSPENDED,
    (_S.DISCONNECTED_AND_HEALTHY, _E.ACTIVATED): _S.MOUNTING,
    (_S.DISCONNECTED_AND_RESYNCHRONIZING, _E.CONNECTED): _S.RESYNCHRONIZING,
    (
        _S.DISCONNECTED_AND_RESYNCHRONIZING,
        _E.DISCONNECTED,
    ): _S.DISCONNECTED_AND_RESYNCHRONIZING,
    (_S.DISCONNECTED_AND_RESYNCHRONIZING, _E.FAILS): _S.FAILED,
    (_S.DISCONNECTED_AND_RESYNCHRONIZING, _E.BEYOND_REPAIR): _S.FAILED_AND_SUSPENDED,
    (_S.DISCONNECTED_AND_RESYNCHRONIZING, _E.SUSPENDED): _S.SUSPENDED,
    (_S.DISCONNECTED_AND_RESYNCHRONIZING, _E.ACTIVATED): _S.MOUNTING,
    (_S.FAILED, _E.CONNECTED): _S.RESYNCHRONIZING,
    (_S.FAILED, _E.DISCONNECTED): _S.FAILED,
    (_S.FAILED, _E.FAILS): _S.FAILED,
    (_S.FAILED, _E.RECOVERED): _S.RESYNCHRONIZING,
    (_S.FAILED, _E.BEYOND_REPAIR): _S.FAILED_AND_SUSPENDED,
    (_S.FAILED, _E.SUSPENDED): _S.FAILED_AND_SUSPENDED,
    (_S.FAILED, _E.ACTIVATED): _S.MOUNTING,
    (_S.FAILED_AND_SUSPENDED, _E.RESUMED): _S.INITIALIZING,
    (_S.FAILED_AND_SUSPENDED, _E.SUSPENDED): _S.FAILED_AND_SUSPENDED,
    (_S.FAILED_AND_SUSPENDED, _E.ACTIVATED): _S.MOUNTING,
    (_S.SUSPENDED, _E.RESUMED): _S.INITIALIZING,
    (_S.SUSPENDED, _E.SUSPENDED): _S.SUSPENDED,
    (_S.SUSPENDED, _E.ACTIVATED): _S.MOUNTING,
    (_S.MOUNTING, _E.OPENED): _S.MOUNTED,
    (_S.MOUNTING, _E.ACTIVATED): _S.MOUNTING,
    (_S.MOUNTED, _E.ACTIVATED): _S.MOUNTED,
}
"""All that can happen: state and event to the next state."""

AT_REST: Final = frozenset({_S.SEEDING, _S.SUSPENDED, _S.FAILED_AND_SUSPENDED})
"""States in which nothing is copied or replayed until somebody does something."""
BY_SOMEBODY: Final = frozenset({_E.SEEDED, _E.SUSPENDED, _E.RESUMED, _E.ACTIVATED})
"""Events that count for a copy at rest: what its tasks still say as they end does not."""
ACTIVE: Final = frozenset({_S.MOUNTING, _S.MOUNTED})
"""States in which it is no copy any more."""


class CopyStatus:
    """The state of one copy; pure.

    Attributes
    ----------
    state: see :class:`CopyState`.
    cause: why, for people; empty where the word says all.
    """

    def __init__(self) -> None:
        self.state = CopyState.INITIALIZING
        self.cause = ""

    def on(self, event: CopyEvent, cause: str = "") -> bool:
        """Something has happened; returns whether state or cause are news.

        Arguments
        ---------
        cause: why, for people.

        Raises ValueError for what cannot happen in this state.
        """
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise ValueError(f"a copy that is {self.state} cannot meet: {event}")
        news = (after, cause) != (self.state, self.cause)
        self.state, self.cause = after, cause
        return news


__all__ = [
    "ACTIVE",
    "AT_REST",
    "BY_SOMEBODY",
    "SERVICE_DOWN",
    "TRANSITIONS",
    "CopyEvent",
    "CopyState",
    "CopyStatus",
]
