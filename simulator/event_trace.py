"""The hash of everything that happened in a run, in order: equal runs have equal hashes.

An event is its simulated time, a code for its name and its values.  Events are collected in
one flat list, the cheapest thing to add to, and hashed some thousands of numbers at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import xxhash

from simulator.runtime import SimClock

CHUNK_NUMBERS = 16384
"""Who adds to :attr:`EventTrace.numbers` himself flushes when it is longer."""


class EventTrace:
    """What happened, by the clock that it happened on."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._codes: dict[str, int] = {}
        self.numbers: list[int] = []
        """Time, code and values of each event that is not hashed yet."""
        self._hash = xxhash.xxh3_128()
        self.watch: Callable[[str, tuple[int, ...]], None] | None = None
        """Told of each event besides, if anybody looks on; it must change nothing."""

    def record(self, event: str, *values: int) -> None:
        """Add one event at the present simulated time."""
        code = self._codes.get(event)
        if code is None:
            code = self.code(event)
        numbers = self.numbers
        numbers.append(self._clock.now())
        numbers.append(code)
        numbers.extend(values)
        if len(numbers) > CHUNK_NUMBERS:
            self.flush()
        if self.watch is not None:
            self.watch(event, values)

    def recorder(self, label: str) -> Callable[..., None]:
        """A ``record`` that puts ``label`` before each event."""
        codes: dict[str, int] = {}
        numbers, now = self.numbers, self._clock.now

        def record(event: str, *values: int) -> None:
            code = codes.get(event)
            if code is None:
                code = codes[event] = self.code(f"{label} {event}")
            numbers.append(now())
            numbers.append(code)
            numbers.extend(values)
            if len(numbers) > CHUNK_NUMBERS:
                self.flush()
            if self.watch is not None:
                self.watch(f"{label} {event}", values)

        return record

    def code(self, event: str) -> int:
        """The number of an event's name; the name itself goes into the hash once."""
        code = self._codes.get(event)
        if code is None:
            code = self._codes[event] = len(self._codes) + 1
            self._hash.update(event.encode())
        return code

    def flush(self) -> None:
        """Hash what was collected."""
        numbers = self.numbers
        self._hash.update(struct.pack(f"<{len(numbers)}q", *numbers))
        numbers.clear()

    def digest(self) -> str:
        """Hexadecimal digest of all events so far."""
        self.flush()
        return self._hash.hexdigest()
