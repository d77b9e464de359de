"""Coverage: which transitions of the protocol were taken while which kinds of faults were at work.

A transition counts under a kind of fault when an end takes it while such a fault lasts, or within
the *aftermath*: as long as both ends may need to notice that their connection is dead and to be
connected again (heartbeat times misses, then the wait before the next attempt, then a round trip).
Where several faults are at work it counts under each of them; where none is, under ``none``.

The recorder looks on and changes nothing: a run with it has the trace of one without.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from replicator.protocol import TRANSITIONS, Session, State, Transition
from simulator.campaign.marks import MarkWatch
from simulator.measures import FaultMark
from simulator.run import ScenarioRun
from simulator.scenario import Scenario

NO_FAULT: Final = "none"
SECOND_NS: Final = 1_000_000_000
_FLUSH_AT: Final = 1 << 16
_NUMBERS: Final = {transition: number for number, transition in enumerate(TRANSITIONS)}


def transition_name(transition: Transition) -> str:
    """``streaming: source sends BATCH``."""
    state, role, frame = transition
    return f"{state.value}: {role.value} sends {frame.name}"


TRANSITION_NAMES: Final = tuple(transition_name(each) for each in TRANSITIONS)
NEVER_ASKED: Final = frozenset(
    transition_name(key)
    for key, following in TRANSITIONS.items()
    if State.COMPARING in (key[0], following)
)
"""Of comparisons, which nobody asks for in a run."""


def aftermath_ns(scenario: Scenario) -> int:
    """So long after its end a fault is still held to be at work."""
    p = scenario.protection
    return p.heartbeat_ns * p.heartbeat_misses + p.reconnect_ns + scenario.link.rtt_ns


def kind_of(mark: FaultMark) -> str:
    """The kind as plans are drawn: what strikes in the midst of something is one of its own."""
    if not mark.note.startswith("in "):
        return mark.kind
    in_a_call = mark.kind == "power_loss" and mark.note.startswith("in storage call")
    return "power_loss_in_a_call" if in_a_call else f"{mark.kind}_within"


class CoverageRecorder:
    """Looks on at one run; :meth:`covered` tells what was taken under what."""

    def __init__(self, run: ScenarioRun) -> None:
        self._run = run
        self._aftermath_ns = aftermath_ns(run.scenario)
        self._times_ns: list[int] = []
        self._taken: list[Transition] = []
        self._covered: dict[str, set[Transition]] = {}
        self.marks = MarkWatch(run)
        now, note_time, note = run.world.clock.now, self._times_ns.append, self._taken.append

        def taken(transition: Transition) -> None:
            note(transition)
            note_time(now())
            if len(self._taken) > _FLUSH_AT:
                self._sort_in()

        Session.watch = taken

    def covered(self) -> dict[str, int]:
        """By kind of fault: the transitions as bits, in the order of the protocol's table."""
        self._sort_in()
        return {
            kind: sum(1 << _NUMBERS[each] for each in taken)
            for kind, taken in sorted(self._covered.items())
        }

    def _sort_in(self) -> None:
        """Attribute what was taken since the last time; all faults until now are known."""
        times, taken = self._times_ns, self._taken
        if not times:
            return
        alone = [True] * len(times)
        for mark in self._run.faults.marks():
            start_ns = round(mark.start_seconds * SECOND_NS)
            first, behind = bisect_left(times, start_ns), len(times)
            if mark.end_seconds is not None:
                end_ns = round(mark.end_seconds * SECOND_NS)
                behind = bisect_right(times, end_ns + self._aftermath_ns)
            if first < behind:
                self._covered.setdefault(kind_of(mark), set()).update(taken[first:behind])
                alone[first:behind] = [False] * (behind - first)
        quiet = {each for each, free in zip(taken, alone, strict=True) if free}
        if quiet:
            self._covered.setdefault(NO_FAULT, set()).update(quiet)
        times.clear()
        taken.clear()


class Watching:
    """Where a run's recorder is found once the run has begun."""

    recorder: CoverageRecorder | None = None

    def attach(self, run: ScenarioRun) -> None:
        """Look on at this run; for ``at_start``."""
        self.recorder = CoverageRecorder(run)


@contextmanager
def watching() -> Iterator[Watching]:
    """Runs of this process may be looked on at inside; one at a time."""
    try:
        yield Watching()
    finally:
        Session.watch = None


# -- many runs ---------------------------------------------------------------------------


def cell_text(covered: Mapping[str, int]) -> str:
    """A run's coverage in short, as the results hold it."""
    return " ".join(f"{kind}:{bits:x}" for kind, bits in sorted(covered.items()))


def parse_cell(text: str) -> dict[str, int]:
    """What :func:`cell_text` wrote."""
    return {
        kind: int(bits, 16) for kind, bits in (each.split(":", 1) for each in text.split() if each)
    }


@dataclass(slots=True)
class Coverage:
    """How many of many runs took each transition under each kind of fault."""

    plans: int = 0
    counts: dict[str, list[int]] = field(default_factory=dict)
    """By kind of fault: one number for each transition of the table."""

    def reached(self) -> list[int]:
        """Numbers of the transitions that any run took, under whatever kind."""
        columns = zip(*self.counts.values(), strict=True)
        return [number for number, column in enumerate(columns) if any(column)]

    def missing(self, kind: str) -> list[int]:
        """Those that some run took, none under this kind."""
        counts = self.counts.get(kind)
        return [n for n in self.reached() if counts is None or not counts[n]]

    @property
    def never(self) -> list[str]:
        """Names of the transitions that no run took, those of comparisons apart."""
        reached = {TRANSITION_NAMES[number] for number in self.reached()}
        return [n for n in TRANSITION_NAMES if n not in reached and n not in NEVER_ASKED]


def coverage_of(cells: Iterable[str]) -> Coverage:
    """The coverage of many runs; equal cells are taken apart once."""
    distinct = Counter(cells)
    by_bits: Counter[tuple[str, int]] = Counter()
    for text, times in distinct.items():
        for kind, bits in parse_cell(text).items():
            by_bits[kind, bits] += times
    counts: dict[str, list[int]] = {}
    for (kind, bits), times in by_bits.items():
        row = counts.setdefault(kind, [0] * len(TRANSITIONS))
        for number in range(len(TRANSITIONS)):
            if bits >> number & 1:
                row[number] += times
    return Coverage(distinct.total(), dict(sorted(counts.items())))
