"""Marks: what really happened in a run, beyond the faults, told by what its software reports.

A campaign that never tore the end of a log says nothing of torn logs, however many plans it ran.
Each mark is one state that somebody may want to be sure of (``--require``); it is found in the
reports of the machines, in the faults as they happened, or in the record of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from replicator.errors import BadInput
from simulator.measures import RunResult
from simulator.run import ScenarioRun
from simulator.systems.byte_level import REPLICA, SOURCE

Values = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that may have happened."""

    name: str
    meaning: str


def _any(_values: Values) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Reported(Mark):
    """A mark that a machine's software reports."""

    machine: str
    event: str
    holds: Callable[[Values], bool] = _any
    least: int = 1
    """So many reports make it true: everybody starts once."""
    after: str = ""
    """Counts only when this was the last said of who keeps the history; empty for always."""


@dataclass(frozen=True, slots=True)
class Found(Mark):
    """A mark that the record of the run tells."""

    holds: Callable[[RunResult], bool]


_KEEPING: Final = frozenset({"continue", "epoch_reason", "caretaker"})
"""A caretaker goes on with a history too, when the programs are done and no crash was."""

_STOOD_STILL: Final = "apply stood still for want of room"

_REPORTED: Final = (
    Reported("reconnected", "the ends were connected again", REPLICA, "session_begin", least=2),
    Reported("replica_recovered", "the replica started again", REPLICA, "recovered", least=2),
    Reported(
        "resynchronized", "a resynchronization was committed", SOURCE, "synchronized", least=2
    ),
    Reported(
        "history_continued",
        "programs went on with the captured history after a crash",
        SOURCE,
        "mounted",
        after="continue",
    ),
    Reported(
        "torn_journal",
        "recovery of the replica erased a torn tail of its journal",
        REPLICA,
        "tail_erased",
    ),
    Reported(
        "torn_spool",
        "recovery of the source erased a torn tail of its spool",
        SOURCE,
        "tail_erased",
    ),
    Reported(
        "checkpoint_fallback",
        "one copy of the checkpoint was damaged, and the other one was used",
        REPLICA,
        "checkpoint_fallback",
    ),
    Reported("image_in_doubt", "the replica found damage", REPLICA, "damage"),
    Reported("damage_repaired", "damage was repaired from the source", REPLICA, "repaired"),
    Reported(
        "replica_went_back",
        "the source found the replica behind what it had acknowledged",
        SOURCE,
        "replica_went_back",
    ),
    Reported("apply_stood_still", _STOOD_STILL, REPLICA, "stalled", lambda v: bool(v[0])),
    Reported(
        "stall_was_told",
        f"the source was told that {_STOOD_STILL}",
        SOURCE,
        "replica_stalled",
        lambda v: bool(v[0]),
    ),
    Reported(
        "spool_full_resynchronize",
        "the spool was full, and the history was given up for a resynchronization",
        SOURCE,
        "capture_stopped",
        lambda v: v[0] == "the spool is full",
    ),
    Reported("spool_full_hold", "the spool was full, and a writer was held", SOURCE, "writer_held"),
    Reported(
        "spool_failed",
        "the spool could not be written",
        SOURCE,
        "capture_stopped",
        lambda v: str(v[0]).startswith("the spool failed"),
    ),
    Reported("turned_away", "the replica turned a source away", REPLICA, "turned_away"),
    Reported(
        "taken_over", "the replica took over", REPLICA, "failover", lambda v: v[0] == "mounted"
    ),
)


def _power_lost_in(activity: str) -> Found:
    def holds(result: RunResult) -> bool:
        return any(mark.note == f"in {activity}" for mark in result.faults)

    meaning = f"the power failed in the midst of: {activity}"
    return Found(f"power_loss_in_{activity}", meaning, holds)


_FOUND: Final = (
    Found(
        "died_of_failed_sync",
        "a process gave up because of a sync that failed",
        lambda result: any("after a sync that failed" in mark.note for mark in result.faults),
    ),
    *(_power_lost_in(activity) for activity in ("apply", "checkpoint", "resynchronize")),
    Found(
        "replica_behind",
        "at a failure the replica lacked operations of the source",
        lambda result: any(loss.operations for loss in result.losses),
    ),
    Found(
        "messages_lost",
        "at a takeover messages were lost",
        lambda r: r.recovery is not None and bool(r.worst_loss and r.worst_loss.messages),
    ),
)

MARKS: Final[tuple[Mark, ...]] = (*_REPORTED, *_FOUND)
MARK_NAMES: Final = tuple(mark.name for mark in MARKS)


class MarkWatch:
    """Looks on at the reports of one run."""

    def __init__(self, run: ScenarioRun) -> None:
        self._counts: dict[str, int] = {}
        self._kept: dict[str, str] = {}
        """By machine, the last of the events that say how its history is kept."""
        run.world.observers.append(self._observe)

    def _observe(self, machine: str, event: str, values: Values) -> None:
        if event in _KEEPING:
            self._kept[machine] = event
        for mark in _BY_EVENT.get((machine, event), ()):
            if mark.holds(values) and mark.after in ("", self._kept.get(machine)):
                self._counts[mark.name] = self._counts.get(mark.name, 0) + 1

    def reached(self, result: RunResult) -> tuple[str, ...]:
        """The marks of the run, in the order of :data:`MARKS`."""
        reported = [mark for mark in _REPORTED if self._counts.get(mark.name, 0) >= mark.least]
        found = [mark for mark in _FOUND if mark.holds(result)]
        return tuple(mark.name for mark in (*reported, *found))


def _by_event() -> dict[tuple[str, str], list[Reported]]:
    found: dict[tuple[str, str], list[Reported]] = {}
    for mark in _REPORTED:
        found.setdefault((mark.machine, mark.event), []).append(mark)
    return found


_BY_EVENT: Final = _by_event()


def checked_marks(names: Iterable[str], origin: str = "--require") -> tuple[str, ...]:
    """The names without repetition; raises BadInput for one that is none."""
    from difflib import get_close_matches

    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in MARK_NAMES:
            near = get_close_matches(name, MARK_NAMES, n=1)
            raise BadInput(
                f"there is no mark {name!r}" + (f": did you mean {near[0]!r}?" if near else ""),
                path=origin,
                remedy=f"Name one of: {', '.join(MARK_NAMES)}.",
            )
    return wanted


def mark_counts(marks: Iterable[Iterable[str]]) -> dict[str, int]:
    """In how many runs each mark was reached, those of none included."""
    counts = dict.fromkeys(MARK_NAMES, 0)
    for each in marks:
        for name in each:
            counts[name] = counts.get(name, 0) + 1
    return counts
