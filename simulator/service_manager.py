"""Who starts software in a run: at first, when a fault is over, and when it has ended by itself.

* Both ends are started as far as they do not run; where the power is off nothing starts.
* A process that ended with an error is started again after its machine's time to restart, as long
  as :mod:`simulator.restarts` lets it: whether that end is a defect is judged there.
* An error of the scenario's input, or of this program, is nobody's to answer for.  It is kept
  (``fatal``) and ends the run; nothing is judged by it.
* What an operator sets up by mistake is started here, too: a second source of the same set, and
  the replica of another set.
"""

from __future__ import annotations

from collections.abc import Callable

from replicator.errors import BadInput, ReplicatorError, SourceFenced
from simulator.exchange.store import StoreUnmountable
from simulator.faults import FaultInjector
from simulator.incidents import Incidents
from simulator.promises import Promises
from simulator.restarts import Restarts
from simulator.scenario_world import ScenarioWorld
from simulator.systems.byte_level import REPLICA, SOURCE
from simulator.systems.interface import OtherReplica, SecondSourceMachine
from simulator.systems.other_replica import OTHER
from simulator.systems.second_source import SECOND

BYSTANDERS = (SECOND, OTHER)
"""Machines that are not of the pair that is judged."""


class ServiceManager:
    """Starts the software of one run's machines.

    Arguments
    ---------
    built: the world of the run.
    restart_ns: how long each machine takes to start software again.
    faults: know whose ends are theirs.
    restarts: keeps count of what ended by itself.
    promises: are told that the replica starts.
    incidents: know of a failover that a new process of the replica must go on with.
    """

    def __init__(
        self,
        built: ScenarioWorld,
        restart_ns: dict[str, int],
        faults: FaultInjector,
        restarts: Restarts,
        promises: Promises,
        incidents: Incidents,
    ) -> None:
        self._world = built.world
        self._link = built.link
        self._system = built.system
        self._restart_ns = restart_ns
        self._faults = faults
        self._restarts = restarts
        self._promises = promises
        self._incidents = incidents
        self._second: SecondSourceMachine | None = None
        self._other: OtherReplica | None = None
        self.fatal: BaseException | None = None
        """An error of the input or of this program: not the replicator's to answer for."""
        self.store_is_broken = False
        """The source's store does not mount by itself any more: its own disk has broken it."""

    # -- starting ------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a machine's software, as far as it does not run."""
        if name == SOURCE:
            self._system.start_source()
        elif REPLICA not in self._system.replica_machine.processes:
            self._promises.replica_starts()
            self._incidents.replica_started(self._system.start_replica())

    def start_second_source(self) -> Callable[[], None]:
        """Start another source of the same set; returns what stops it."""
        if self._second is None:
            self._second = self._system.second_source(self._link)
        self._second.start()
        return self._second.stop

    def other_replica(self) -> OtherReplica:
        """The replica of another set, which is there from the first time on."""
        if self._other is None:
            self._other = self._system.other_replica(self._link)
        return self._other

    @property
    def other_defect(self) -> str:
        """What was done to the other set's replica; empty when nothing was."""
        return "" if self._other is None else self._other.defect

    # -- what ends by itself -------------------------------------------------------

    def failed(self, name: str) -> None:
        """A process of this machine says that it has ended with an error."""
        if name in BYSTANDERS:
            failure = self._world.machine(name).failure
            if not isinstance(failure, ReplicatorError):
                self.fatal = failure
        elif self._is_closed(name) or not self._faults.answers_for(name):
            self._world.clock.soon(lambda: self._deal_with_ended(name))

    def _is_closed(self, name: str) -> bool:
        """Whether a machine's programs end because their replica has taken over."""
        failure = self._world.machine(name).failure
        return self._incidents.takeover is not None and isinstance(failure, SourceFenced)

    def _deal_with_ended(self, name: str) -> None:
        """Clear away the machine's processes that ended with an error, and start them again."""
        machine = self._world.machine(name)
        failed = [(p, h.failure) for p, h in machine.processes.items() if h.failure is not None]
        for process, failure in failed:
            if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
                self.fatal = failure
                return
            machine.end(process)
            if isinstance(failure, StoreUnmountable) and self._promises.store_is_broken(failure):
                self.store_is_broken = True
                continue
            if self._incidents.takeover is not None and isinstance(failure, SourceFenced):
                continue  # its replica has taken over: as it is meant, and for good
            if process == REPLICA:
                self._system.replica_down()
            now_ns = self._world.clock.now()
            if self._restarts.ended(name, process, failure.advice, now_ns):
                restart_ns = now_ns + self._restart_ns[name]
                self._world.clock.at(restart_ns, lambda: self._start_again(name))

    def _start_again(self, name: str) -> None:
        machine = self._world.machine(name)
        if machine.powered:  # else it is started when its power comes back, if ever
            self.start(name)
