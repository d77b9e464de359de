"""What a run has reached: which faults really struck, and in the midst of what.

A suite about a full spool that never had a full spool proves nothing.  This looks on while a
run goes and gives names to what was there; a suite asks for the names that it is about
(``reaches`` of the marker ``fault_plans``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from simulator.measures import FaultMark
    from simulator.run import ScenarioRun

MOST_EVENTS: Final = 10_000
"""Of one name; more are counted no more."""
MOST_STATES: Final = 200_000
SECOND_NS: Final = 1_000_000_000


class Event(NamedTuple):
    """What a host's software reported during a run.

    ``name`` and ``values`` are what the code gave to ``Runtime.emit``; ``replicator events`` of a
    service's log bear the same names.
    """

    seconds: float
    """Simulated time since the start of the run."""
    host: str
    name: str
    values: tuple[int | str, ...]


class States:
    """What somebody said to be doing, over time."""

    def __init__(self) -> None:
        self._times_ns: list[int] = []
        self._words: list[str] = []

    def note(self, now_ns: int, word: str) -> None:
        """From now on it is this."""
        if len(self._times_ns) < MOST_STATES:
            self._times_ns.append(now_ns)
            self._words.append(word)

    def during(self, begin_ns: int, end_ns: int) -> set[str]:
        """All that it was at some instant from ``begin_ns`` to ``end_ns``, both included."""
        first = max(0, bisect_left(self._times_ns, begin_ns) - 1)
        last = bisect_right(self._times_ns, end_ns)
        return {word for word in self._words[first:last] if word}


class Watcher:
    """Looks on at one run; changes nothing of it.

    Arguments
    ---------
    run: before anything of it has started.
    """

    def __init__(self, run: ScenarioRun) -> None:
        self._clock = run.world.clock
        self.events: dict[str, list[Event]] = {}
        self.source, self.replica = States(), States()
        run.world.observers.append(self._observe)

    def _observe(self, machine: str, name: str, values: tuple[int | str, ...]) -> None:
        now_ns = self._clock.now()
        if name == "activity":
            self.replica.note(now_ns, str(values[0]))
            return
        if name == "source_state":
            self.source.note(now_ns, str(values[0]))
        kept = self.events.setdefault(name, [])
        if len(kept) < MOST_EVENTS:
            kept.append(Event(now_ns / SECOND_NS, machine, name, values))

    def reached(self, marks: Iterable[FaultMark]) -> frozenset[str]:
        """The names of all that was there; ``docs/suites.md`` lists how they are made."""
        found = set(self.events)
        found |= self.source.during(0, 1 << 62) | self.replica.during(0, 1 << 62)
        if any(_says_full(event) for event in self.events.get("capture_stopped", [])):
            found.add("spool_full")
        if "writer_held" in self.events:
            found.add("spool_full")
        for mark in marks:
            found |= set(self._of_a_fault(mark))
        return frozenset(found)

    def _of_a_fault(self, mark: FaultMark) -> Iterator[str]:
        begin_ns = round(mark.start_seconds * SECOND_NS)
        end = mark.start_seconds if mark.end_seconds is None else mark.end_seconds
        # Who goes down does nothing afterwards: what counts is what it was doing then.
        instant = mark.kind in ("power_loss", "process_crash", "loss", "replica_restored")
        end_ns = begin_ns if instant else round(end * SECOND_NS)
        names = (mark.kind, f"{mark.kind} of {mark.where}")
        yield from names
        for state in self.source.during(begin_ns, end_ns) | self.replica.during(begin_ns, end_ns):
            for name in names:
                yield f"{name} while {state}"


def _says_full(event: Event) -> bool:
    said = str(event.values[0]) if event.values else ""
    return "full" in said or "room" in said or "space" in said
