"""A scenario's faults, made to happen to real processes and to the relay.

===============  =======================================================================
process_crash    kill -9 of all processes of the machine; they are started again so early
                 that they would serve at the end of its restart time, by what the first
                 start took
pause            SIGSTOP, later SIGCONT
link_*           by the relay (:mod:`simulator.live.relay`)
loss             kill -9 of all processes; its files are taken away, and nothing of its
                 end reaches the other machine
power_loss       **has no counterpart**: what a process wrote stays in this machine's
                 cache.  A kill -9 stands in for it, and everything that is told of the
                 run says so: the fault is shown as a ``process_crash`` with a note, and
                 listed among what was left out.  It strikes at its time, not in the
                 middle of an activity.
===============  =======================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from simulator.live.machines import LiveLink, Machines
from simulator.measures import FaultMark
from simulator.scenario import (
    LinkBandwidth,
    LinkOutage,
    LinkReset,
    Loss,
    Pause,
    PowerLoss,
    ProcessCrash,
)
from simulator.systems.byte_level import SOURCE

SECOND_NS: Final = 1_000_000_000

Fault = LinkOutage | LinkReset | LinkBandwidth | PowerLoss | ProcessCrash | Pause | Loss


class Timeline(Protocol):
    """When things happen; nanoseconds since the start of the run."""

    def now(self) -> int: ...

    def at(self, time_ns: int, fn: Callable[[], None]) -> None: ...


@dataclass(slots=True)
class _Mark:
    kind: str
    where: str
    start_ns: int
    end_ns: int | None = None
    note: str = ""


class LiveFaults:
    """Carries out a list of faults.

    Arguments
    ---------
    timeline: when.
    machines, link: what is to be hurt.
    restart_ns: how long each machine takes to come back.
    start: starts a machine's processes again.
    struck: called as ``struck(kind, where)`` right after a machine has gone down, and just
        before an outage ends.
    """

    def __init__(
        self,
        timeline: Timeline,
        machines: Machines,
        link: LiveLink,
        restart_ns: dict[str, int],
        start: Callable[[str], None],
        struck: Callable[[str, str], None],
    ) -> None:
        self._timeline = timeline
        self._machines = machines
        self._link = link
        self._restart_ns = restart_ns
        self._start = start
        self._struck = struck
        self._marks: list[_Mark] = []
        self._pending = 0
        self._down: set[str] = set()
        self.without_counterpart: list[str] = []
        """Faults that could not happen as the scenario says, in words."""

    @property
    def quiet(self) -> bool:
        """Whether no fault is still to come or under way."""
        return self._pending == 0

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

    def schedule(self, faults: tuple[Fault, ...]) -> None:
        """Let each fault happen at its time."""
        for fault in faults:
            self._pending += 1
            self._timeline.at(fault.at_ns, lambda fault=fault: self._begin(fault))  # type: ignore[misc]

    # -- one fault -----------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, LinkOutage):
            self._link.cut(fault.direction)
            self._while("link_outage", "link", fault.duration_ns, self._heal)
        elif isinstance(fault, LinkReset):
            self._link.reset()
            now_ns = self._timeline.now()
            self._marks.append(_Mark("link_reset", "link", now_ns, now_ns))
            self._pending -= 1
        elif isinstance(fault, LinkBandwidth):
            self._link.set_bandwidth(fault.bits_per_second)
            self._while(
                "link_bandwidth", "link", fault.duration_ns, lambda: self._link.set_bandwidth(None)
            )
        elif fault.host in self._down or fault.host in self._machines.lost:
            self._pending -= 1  # it is down already: nothing more can happen to it
        elif isinstance(fault, Pause):
            host = fault.host
            self._machines.pause(host)
            self._while("pause", host, fault.duration_ns, lambda: self._machines.resume(host))
        elif isinstance(fault, Loss):
            self._lose(fault)
        else:
            self._crash(fault)

    def _while(self, kind: str, where: str, duration_ns: int, end: Callable[[], None]) -> None:
        now_ns = self._timeline.now()
        mark = _Mark(kind, where, now_ns, now_ns + duration_ns)
        self._marks.append(mark)

        def over() -> None:
            end()
            mark.end_ns = self._timeline.now()
            self._pending -= 1

        self._timeline.at(now_ns + duration_ns, over)

    def _heal(self) -> None:
        self._struck("link_outage", "link")  # what would have been lost until now?
        self._link.heal()

    def _lose(self, fault: Loss) -> None:
        if fault.host == SOURCE:
            self._link.mute()
        self._machines.lose(fault.host)
        self._marks.append(_Mark("loss", fault.host, self._timeline.now()))
        self._pending -= 1
        self._struck("loss", fault.host)

    def _crash(self, fault: ProcessCrash | PowerLoss) -> None:
        host, restart_ns = fault.host, self._restart_ns[fault.host]
        note = ""
        if isinstance(fault, PowerLoss):
            restart_ns = fault.restart_ns or restart_ns
            note = "kill -9 in place of a power loss"
            aimed = f", not in the middle of '{fault.when}'" if fault.when else ""
            self.without_counterpart.append(
                f"power_loss of {host} at {fault.at_ns / SECOND_NS:g} s: a kill -9 stood in for "
                f"it{aimed}; no unsynced write was lost"
            )
        self._machines.kill(host)
        mark = _Mark("process_crash", host, self._timeline.now(), note=note)
        self._marks.append(mark)
        self._down.add(host)
        self._struck("process_crash", host)

        def restart() -> None:
            self._down.discard(host)
            if host not in self._machines.lost:
                self._start(host)

        def serves() -> None:
            mark.end_ns = self._timeline.now()
            self._pending -= 1

        # The scenario's time lasts until the service is there, the start of processes included.
        early_ns = self._machines.start_ns[host]
        self._timeline.at(mark.start_ns + max(0, restart_ns - early_ns), restart)
        self._timeline.at(mark.start_ns + restart_ns, serves)
