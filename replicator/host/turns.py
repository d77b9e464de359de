"""Turns: awaits that find all they need at once still let the others of the host run.

In the simulator a resident read takes no time.  Here it does, and a task that always finds its
data in the page cache, its bytes in the socket and its work small enough to do in place would
never give the loop back: no timer would fire, no heartbeat be sent, no signal be heard.  So
each adapter whose await may end at once yields now and then, before it takes anything: a task
that is cancelled there has lost nothing.
"""

from __future__ import annotations

from typing import Final

from replicator.runtime import yield_now

CALLS_IN_A_ROW: Final = 16
"""Calls that find their data at once: 16 reads of 64 KiB are about a tenth of a millisecond."""


class Turns:
    """Counts the calls of one file or stream that did not have to wait."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls = 0

    async def take(self) -> None:
        """Begin a call; yields when too many before it did not wait."""
        self._calls += 1
        if self._calls >= CALLS_IN_A_ROW:
            self._calls = 0
            await yield_now()

    def waited(self) -> None:
        """The call had to wait: the others have had their turn."""
        self._calls = 0
