"""Log roll: a log that lies open for too long is closed as it is, for whoever copies closed logs.

Models: from Exchange 2007 on a storage group closes its log after 15 minutes [V], full or not, so
that a copy of the closed logs is never further behind than that; an idle group closes 96 a day.
Each log that is closed for being full begins the time anew.  Leaves out: several such logs at once,
where the depth of lost-log resilience is above one [M].

Only what carries transactions out closes the log, between two of them: this only says when.
"""

from __future__ import annotations

from collections.abc import Callable

from replicator.ese.log_stream import LogStream
from replicator.runtime import Signal, sleep_ns

REASON = "idle"
"""What the record says with which the next log begins."""


class LogRoll:
    """When the log of one mounted store is closed though it is not full.

    Arguments
    ---------
    log: of the store.
    period_ns: a log is open so long at most; 0 for as long as it takes to be full.
    now_ns: the clock.
    """

    def __init__(self, log: LogStream, period_ns: int, now_ns: Callable[[], int]) -> None:
        self._log = log
        self._period_ns = period_ns
        self._now_ns = now_ns
        self._generation = log.generation
        self._begun_ns = now_ns()
        self.is_due = False

    def note(self) -> None:
        """Records were appended: the log that was open may be closed."""
        if self._log.generation != self._generation:
            self._generation, self._begun_ns = self._log.generation, self._now_ns()
            self.is_due = False

    async def keep_time(self, due: Signal) -> None:
        """Notify ``due`` whenever the log is to be closed; never returns where it ever is."""
        while self._period_ns:
            left_ns = self._begun_ns + self._period_ns - self._now_ns()
            if left_ns <= 0:
                self.is_due = True
                due.notify()
                left_ns = self._period_ns
            await sleep_ns(left_ns)

    async def carry_out(self) -> None:
        """Close the log.  Raises what :meth:`LogStream.roll` raises."""
        self.is_due = False
        await self._log.roll(REASON)
        self.note()
