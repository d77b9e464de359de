"""What was sent and is not safe at the replica yet: bounds what is under way, frees the spool."""

from __future__ import annotations

from collections import deque

from replicator.runtime.channels import Signal


class SendWindow:
    """The batches of one connection, from the send to the release of their records.

    Arguments
    ---------
    limit_bytes: of what is on its way, as it travels; one batch may go beyond.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._in_flight: deque[tuple[int, int, int]] = deque()
        self._in_flight_bytes = 0
        self._unreleased: deque[tuple[int, int]] = deque()
        self._room = Signal()

    def has(self, last: int, total_bytes: int) -> None:
        """The replica has operations up to ``last``, whether it said so before or not.

        ``total_bytes`` are those of their records from the beginning of the history.
        """
        self._unreleased.append((last, total_bytes))

    async def wait_for_room(self) -> None:
        """Return when another batch may be sent."""
        while self._in_flight_bytes >= self._limit_bytes:
            await self._room

    def sent(self, last: int, size_bytes: int, total_bytes: int) -> None:
        """A batch that ends with operation ``last`` is on its way."""
        self._in_flight.append((last, size_bytes, total_bytes))
        self._in_flight_bytes += size_bytes

    def acknowledged(self, durable: int) -> int | None:
        """Operations up to ``durable`` are safe.

        Returns the bytes of records up to there; None when that is no news.
        """
        durable_bytes = None
        while self._in_flight and self._in_flight[0][0] <= durable:
            last, size_bytes, total_bytes = self._in_flight.popleft()
            self._in_flight_bytes -= size_bytes
            self._unreleased.append((last, total_bytes))
            durable_bytes = total_bytes
        self._room.notify()
        return durable_bytes

    def release(self, safe: int) -> tuple[int, int] | None:
        """What the replica will never ask for again: the last operation and its total bytes."""
        released = None
        while self._unreleased and self._unreleased[0][0] <= safe:
            released = self._unreleased.popleft()
        return released
