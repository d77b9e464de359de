"""The record of a list of faults: what happened when, what could not, who is down until when.

Both worlds keep it the same way; how a fault is made to happen is theirs
(:mod:`simulator.faults`, :mod:`simulator.live.faults`).

Each fault leaves a :class:`~simulator.measures.FaultMark` of when it really happened, or a
sentence in :attr:`FaultMarks.never_happened`: a fault that vanished without a word would be a
run that answers another question than the scenario asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from replicator.units import spell_duration
from simulator.measures import FaultMark
from simulator.scenario_faults import (
    ClockJump,
    DiskFault,
    Fault,
    HostFault,
    Loss,
    OperatorFault,
    PowerLoss,
)

SECOND_NS: Final = 1_000_000_000


class Timeline(Protocol):
    """When things happen; nanoseconds since the start of the run."""

    def now(self) -> int: ...

    def at(self, time_ns: int, fn: Callable[[], None]) -> None: ...


@dataclass(slots=True, eq=False)
class Mark:
    """A fault as it happens; the times of one that lasts may still change."""

    kind: str
    where: str
    start_ns: int
    end_ns: int | None = None
    note: str = ""
    cut_short: bool = False


def why_not(fault: HostFault | OperatorFault, *, lost: bool, powered: bool, running: bool) -> str:
    """Why a fault cannot befall a host in this state, in words; empty when it can.

    What befalls the machine, its disks or its clock needs no process that runs.
    """
    if lost:
        return "it was lost by then"
    if isinstance(fault, Loss | DiskFault | ClockJump | OperatorFault):
        return ""
    if not powered:
        return "it had no power at that time"
    if isinstance(fault, PowerLoss) or running:
        return ""
    return "none of its processes ran at that time"


class FaultMarks:
    """What has become of a list of faults.

    Arguments
    ---------
    timeline: when.
    start: starts a host's software again, by its name.
    struck: called as ``struck(kind, where)`` right after a host has gone down.
    """

    def __init__(
        self,
        timeline: Timeline,
        start: Callable[[str], None],
        struck: Callable[[str, str], None],
    ) -> None:
        self._timeline = timeline
        self._start = start
        self._struck = struck
        self._marks: list[Mark] = []
        self._open = 0
        self._ahead: list[Fault] = []
        """Those whose time has not come."""
        self._until_back: dict[str, list[Mark]] = {}
        """By host: the marks that end when its software is back."""
        self._turns: dict[str, int] = {}
        """By host: how often it went down; only the last time brings it back."""
        self.never_happened: list[str] = []
        """Faults that could not happen, in words."""

    @property
    def awaited(self) -> bool:
        """Whether the run must go on for a fault: one has its time ahead, or is under way.

        A lost machine is over; what waits for something that may never be is not awaited.
        """
        return self._open > 0

    def marks(self) -> list[FaultMark]:
        """The faults as they happened so far."""
        return [
            FaultMark(
                mark.kind,
                mark.where,
                mark.start_ns / SECOND_NS,
                None if mark.end_ns is None else mark.end_ns / SECOND_NS,
                mark.note,
            )
            for mark in self._marks
        ]

    def schedule(self, faults: tuple[Fault, ...], begin: Callable[[Fault], None]) -> None:
        """Have each fault begin at its time."""

        def due(fault: Fault) -> None:
            self._open -= 1
            self._ahead.remove(fault)
            begin(fault)

        self._ahead += faults
        for fault in faults:
            self._open += 1
            self._timeline.at(fault.at_ns, lambda fault=fault: due(fault))  # type: ignore[misc]

    def over(self) -> None:
        """The run has ended: what has its time ahead never happens."""
        for fault in self._ahead:
            self.impossible(fault, "the run was over before")
        self._ahead.clear()

    # -- what happens to one -------------------------------------------------------------

    def impossible(self, fault: Fault, why: str) -> None:
        """It could not happen: the run does not tell what the scenario asks."""
        what, at = fault.kind.replace("_", " "), spell_duration(fault.at_ns)
        whose = f" of the {fault.host}" if hasattr(fault, "host") else ""
        self.never_happened.append(f"the {what}{whose} at {at} never happened: {why}")

    def withdraw(self, mark: Mark, fault: Fault, why: str) -> None:
        """What was thought to have begun has had no effect at all: it never happened."""
        self._marks.remove(mark)
        self.impossible(fault, why)

    def instant(self, kind: str, where: str, note: str = "") -> None:
        """It happens now and is over."""
        now_ns = self._timeline.now()
        self._marks.append(Mark(kind, where, now_ns, now_ns, note))

    def lasting(
        self, kind: str, where: str, duration_ns: int, end: Callable[[], None], note: str = ""
    ) -> Mark:
        """It begins now; ``end`` is called when its time is over."""
        now_ns = self._timeline.now()
        mark = Mark(kind, where, now_ns, now_ns + duration_ns, note)
        self._marks.append(mark)
        self._open += 1

        def over() -> None:
            self._open -= 1
            if not mark.cut_short:
                mark.end_ns = self._timeline.now()
            end()

        self._timeline.at(now_ns + duration_ns, over)
        return mark

    def down(
        self, kind: str, host: str, restart_ns: int, note: str = "", early_ns: int = 0
    ) -> None:
        """A host has gone down now; it is back after ``restart_ns``.

        One that was down already stays down until then: an earlier restart does not take place.

        Arguments
        ---------
        early_ns: its software is started so much before it is back.
        """
        turn = self._turns[host] = self._turns.get(host, 0) + 1
        mark = Mark(kind, host, self._timeline.now(), note=note)
        self._cut_pauses_short(host)
        self._marks.append(mark)
        self._until_back.setdefault(host, []).append(mark)
        self._open += 1
        self._struck(kind, host)

        def restart() -> None:
            if self._turns[host] == turn:
                if not early_ns:
                    back()
                self._start(host)

        def back() -> None:
            if self._turns[host] == turn:
                for each in self._until_back.pop(host, []):
                    each.end_ns = self._timeline.now()
                    self._open -= 1

        self._timeline.at(mark.start_ns + max(0, restart_ns - early_ns), restart)
        if early_ns:
            self._timeline.at(mark.start_ns + restart_ns, back)

    def gone(self, host: str) -> None:
        """A host is lost for ever: whatever was to bring it back does not."""
        self._turns[host] = self._turns.get(host, 0) + 1
        self._cut_pauses_short(host)
        self._open -= len(self._until_back.pop(host, []))
        self._marks.append(Mark("loss", host, self._timeline.now()))
        self._struck("loss", host)

    def _cut_pauses_short(self, host: str) -> None:
        now_ns = self._timeline.now()
        for mark in self._marks:
            paused = mark.kind == "pause" and mark.where == host
            if paused and mark.end_ns is not None and mark.end_ns > now_ns:
                mark.end_ns, mark.cut_short = now_ns, True
