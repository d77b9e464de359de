"""The lag by time: an upper bound for the age of what the replica does not have yet."""

from __future__ import annotations

from collections import deque
from typing import Final

MARKS_LIMIT: Final = 8192


class LagMarks:
    """At which time which operation was the last; notes grow sparser, never unbounded."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()

    def note(self, completed: int, now_ns: int) -> None:
        """Operation ``completed`` is the last one now."""
        self._marks.append((completed, now_ns))
        if len(self._marks) > MARKS_LIMIT:
            self._marks = deque(list(self._marks)[::2])

    def clear(self) -> None:
        """Another history begins."""
        self._marks.clear()

    def lag_ns(self, durable: int, completed: int, now_ns: int) -> int | None:
        """Upper bound for the age of the oldest operation that is not durable; 0 for none.

        Never under-reported: a time at which all operations so far were ones that are durable
        now is older than any operation that is not.  None while no such time is known.
        """
        if durable >= completed:
            return 0
        while len(self._marks) > 1 and self._marks[1][0] <= durable:
            self._marks.popleft()
        if not self._marks or self._marks[0][0] > durable:
            return None
        return now_ns - self._marks[0][1]
