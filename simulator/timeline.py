"""The timeline of a run: what happened when, recorded for a page that shows it.

A :class:`Timeline` is a set of *tracks*, each of them columns of numbers, about 64 bytes an
event; texts are kept once.  :class:`simulator.timeline_recorder.TimelineRecorder` fills it, and
:mod:`simulator.report.timeline` makes the page.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.measures import RunResult
from simulator.run_record import Progress
from simulator.scenario import Scenario

if TYPE_CHECKING:
    from simulator.run import ScenarioRun

OPEN: Final = -1
"""End of what has not ended."""


class Outcome(IntEnum):
    """What has become of an event."""

    DONE = 0
    LOST = 1
    """It failed, or never arrived."""
    UNDERWAY = 2
    """Nothing had become of it when the run ended."""


class TrackKey(NamedTuple):
    """Whose track it is, and what is on it."""

    owner: str
    """A machine, or the direction of a link as ``source->replica``."""
    what: str
    """For instance ``frames``, ``operations``, ``process sender``, ``data: journal``."""


class Event(NamedTuple):
    """One event, as its track gives it."""

    start_ns: int
    end_ns: int
    word: str
    epoch: int
    """Of a disk's event: the number of its file; of a change of names, if the file is gone."""
    first: int
    last: int
    size_bytes: int
    outcome: Outcome


class Track:
    """Events of one kind in the order of their beginning; columns of numbers."""

    __slots__ = ("_texts", "columns")

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self.columns = tuple(array("q") for _ in range(8))

    def __len__(self) -> int:
        return len(self.columns[0])

    def add(
        self,
        start_ns: int,
        end_ns: int,
        word: str,
        epoch: int = 0,
        first: int = 0,
        last: int = 0,
        size_bytes: int = 0,
        outcome: Outcome = Outcome.DONE,
    ) -> int:
        """Add an event; returns its number."""
        row = (start_ns, end_ns, self._texts.number(word), epoch, first, last, size_bytes, outcome)
        for column, value in zip(self.columns, row, strict=True):
            column.append(value)
        return len(self) - 1

    def end(
        self, number: int, end_ns: int, outcome: Outcome = Outcome.DONE, word: str | None = None
    ) -> None:
        """What has become of an event, and, if it is to be called otherwise now, its name."""
        self.columns[1][number] = end_ns
        self.columns[7][number] = outcome
        if word is not None:
            self.columns[2][number] = self._texts.number(word)

    def is_open(self, number: int) -> bool:
        return self.columns[1][number] == OPEN

    def __getitem__(self, number: int) -> Event:
        start, end, word, epoch, first, last, size, outcome = (c[number] for c in self.columns)
        return Event(start, end, self._texts[word], epoch, first, last, size, Outcome(outcome))

    def __iter__(self) -> Iterator[Event]:
        return (self[number] for number in range(len(self)))


class Texts:
    """Each text once, by number."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number

    def __getitem__(self, number: int) -> str:
        return self._texts[number]


@dataclass(slots=True)
class Timeline:
    """What was recorded of one run."""

    safeguards_off: list[str] = field(default_factory=list)
    """Rules of the replicator that the run was made without."""
    end_ns: int = 0
    tracks: dict[TrackKey, Track] = field(default_factory=dict)
    texts: Texts = field(default_factory=Texts)

    def track(self, owner: str, what: str) -> Track:
        """The track; made at first use."""
        key = TrackKey(owner, what)
        found = self.tracks.get(key)
        if found is None:
            found = self.tracks[key] = Track(self.texts)
        return found

    def events(self, owner: str, what: str) -> Iterator[Event]:
        """The events of a track; none when there is no such track."""
        found = self.tracks.get(TrackKey(owner, what))
        return iter(()) if found is None else iter(found)


def switched_off(safeguards: Safeguards) -> list[str]:
    """The names of the rules that are not kept, as people say them."""
    return [
        each.name.replace("_", " ")
        for each in fields(safeguards)
        if getattr(safeguards, each.name) != getattr(ALL_SAFEGUARDS, each.name)
    ]


def record_timeline(
    scenario: Scenario,
    seed: int | None = None,
    safeguards: Safeguards = ALL_SAFEGUARDS,
    progress: Progress | None = None,
    at_end: Callable[[ScenarioRun], None] | None = None,
) -> tuple[RunResult, Timeline]:
    """Run a scenario as :func:`simulator.run.run_scenario` does, and record its timeline.

    The run is the same as without: its trace hash does not change.
    """
    from simulator.run import run_scenario
    from simulator.timeline_recorder import TimelineRecorder

    recorders: list[TimelineRecorder] = []
    result = run_scenario(
        scenario,
        seed,
        progress,
        at_end,
        at_start=lambda run: recorders.append(TimelineRecorder(run)),
        safeguards=safeguards,
    )
    timeline = recorders[0].finish()
    timeline.safeguards_off = switched_off(safeguards)
    return result, timeline


def write_timeline(
    timeline: Timeline,
    result: RunResult,
    path: Path,
    *,
    command: str | None = None,
    option: str = "--timeline",
) -> None:
    """Write the page of a timeline: the whole of it or nothing.

    Arguments
    ---------
    command: runs it again.
    option: of the command line, that named the path.

    Raises BadInput.
    """
    from simulator.report.output import write_atomically
    from simulator.report.timeline import timeline_page

    write_atomically(path, timeline_page(timeline, result, command), option)
