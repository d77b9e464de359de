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
                 middle of an activity or of a storage call; nor does a process_crash.
sync_failure     **has no counterpart**: no sync of this machine's disk is made to fail
all others       **have no counterpart**, for the reasons in :data:`WITHOUT_COUNTERPART`
===============  =======================================================================

Faults that fall together are told apart as in :mod:`simulator.faults`: see
:mod:`simulator.fault_marks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.fault_marks import SECOND_NS, FaultMarks, Timeline, why_not
from simulator.live.machines import LiveLink, Machines
from simulator.measures import FaultMark
from simulator.scenario_faults import (
    Fault,
    LinkBandwidth,
    LinkOutage,
    LinkReset,
    Loss,
    Pause,
    PowerLoss,
    ProcessCrash,
)
from simulator.systems.byte_level import SOURCE

_STAND_IN: Final = "kill -9 in place of a power loss"
WITHOUT_COUNTERPART: Final[dict[str, str]] = {
    "link_latency": "the relay kept its round-trip time",
    "link_loss": "the relay kept its packet loss",
    "link_corruption": "no byte was flipped",
    "sync_failure": "no sync was made to fail",
    "slow_processor": "no process was slowed down",
    "clock_jump": "no clock was set, for all processes share this machine's",
    "disk_full": "no volume was filled",
    "disk_slow": "this machine's disk is as fast as it is",
    "disk_stall": "this machine's disk did not stand still",
    "lost_flush": "no sync of this machine's disk lied",
    "bit_rot": "no bit was flipped",
    "misdirected_write": "no write went astray",
    "replica_restored": "the replica kept its files",
    "second_source": "no second source was started",
    "wrong_target": "the source kept its replica's address",
    "failover": "nobody failed over while the source lived",
}
"""By kind of fault: what did not happen to the real machine."""


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
        self._machines = machines
        self._link = link
        self._restart_ns = restart_ns
        self._start = start
        self._struck = struck
        self._marks = FaultMarks(timeline, self._restart, struck)
        self._without_power: set[str] = set()
        self.without_counterpart: list[str] = []
        """Faults that could not happen as the scenario says, in words."""

    @property
    def awaited(self) -> bool:
        """Whether the run must go on for a fault; see :attr:`FaultMarks.awaited`."""
        return self._marks.awaited

    @property
    def never_happened(self) -> list[str]:
        """Faults that could not happen, in words."""
        return self._marks.never_happened

    def marks(self) -> list[FaultMark]:
        """The faults as they happened so far."""
        return self._marks.marks()

    def schedule(self, faults: tuple[Fault, ...]) -> None:
        """Let each fault happen at its time."""
        self._marks.schedule(faults, self._begin)

    # -- one fault -----------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        if isinstance(fault, LinkOutage):
            self._outage(fault)
            return
        if isinstance(fault, LinkReset):
            self._link.reset()
            self._marks.instant("link_reset", "link")
            return
        if isinstance(fault, LinkBandwidth):
            end = self._link.override_bandwidth(fault.bits_per_second)
            self._marks.lasting("link_bandwidth", "link", fault.duration_ns, end)
            return
        if not isinstance(fault, PowerLoss | ProcessCrash | Pause | Loss):
            whose = f" of {fault.host}" if hasattr(fault, "host") else ""
            self.without_counterpart.append(
                f"{fault.kind}{whose} at {fault.at_ns / SECOND_NS:g} s: "
                f"{WITHOUT_COUNTERPART[fault.kind]}"
            )
            return
        host = fault.host
        why = why_not(
            fault,
            lost=host in self._machines.lost,
            powered=host not in self._without_power,
            running=bool(self._machines.of(host)),
        )
        if why:
            self._marks.impossible(fault, why)
        elif isinstance(fault, Pause):
            end = self._machines.pause(host)
            self._marks.lasting("pause", host, fault.duration_ns, end)
        elif isinstance(fault, Loss):
            self._lose(fault)
        else:
            self._crash(fault)

    def _outage(self, fault: LinkOutage) -> None:
        self._link.cut(fault.direction)

        def heal() -> None:
            self._struck("link_outage", "link")  # what would have been lost until now?
            self._link.heal(fault.direction)

        self._marks.lasting("link_outage", "link", fault.duration_ns, heal)

    def _lose(self, fault: Loss) -> None:
        if fault.host == SOURCE:
            self._link.mute()
        self._machines.lose(fault.host)
        self._marks.gone(fault.host)

    def _crash(self, fault: ProcessCrash | PowerLoss) -> None:
        host, restart_ns = fault.host, self._restart_ns[fault.host]
        note = ""
        if isinstance(fault, PowerLoss):
            restart_ns = fault.restart_ns or restart_ns
            note = _STAND_IN
            aimed = f", not in the middle of '{fault.when}'" if fault.when else ""
            aimed = f", not within storage call {fault.calls}" if fault.calls else aimed
            self.without_counterpart.append(
                f"power_loss of {host} at {fault.at_ns / SECOND_NS:g} s: a kill -9 stood in for "
                f"it{aimed}; no unsynced write was lost"
            )
            self._without_power.add(host)
        elif fault.calls:
            self.without_counterpart.append(
                f"process_crash of {host} at {fault.at_ns / SECOND_NS:g} s: it did not strike "
                f"within storage call {fault.calls}, but at that time"
            )
        self._machines.kill(host)
        # The scenario's time lasts until the service is there, the start of processes included.
        early_ns = self._machines.start_ns[host]
        self._marks.down("process_crash", host, restart_ns, note, early_ns)

    def _restart(self, host: str) -> None:
        self._without_power.discard(host)
        self._start(host)
