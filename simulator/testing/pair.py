"""Source, replica and link at work in simulated time, with what judges them.

The common ground of whoever leads a pair by hand (:mod:`simulator.testing.world`): it starts
again what goes down, lets faults happen, and holds the copy against the truth.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from replicator import units
from replicator.errors import BadInput, ReplicatorError
from simulator.circumstances import CircumstanceFinder
from simulator.disk import Disk
from simulator.expectations import Expectation, Expectations
from simulator.faults import FaultInjector
from simulator.host import lose_everything
from simulator.inode import Choose
from simulator.known import KnownImages
from simulator.measures import Check
from simulator.mutants import mutated
from simulator.oracle import ImageVerdict
from simulator.promises import Promises
from simulator.restarts import Restarts
from simulator.sampling import Sampler
from simulator.scenario import Fault, Scenario, load_scenario, parse_scenario
from simulator.scenario_world import ScenarioWorld
from simulator.systems.byte_level import HOME_DISK, PROGRAMS, REPLICA, SOURCE, ByteLevelSystem
from simulator.takeover import Takeover
from simulator.testing.programs import ToldPrograms
from simulator.testing.reached import Event
from simulator.workload import Workload

MS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000
STEP_NS: Final = 5 * MS
"""Between two looks at what is acknowledged."""
MOST_EVENTS: Final = 100_000

SMALL: Final = """
name = "small"
duration = "1d"
settle = "1m"
sample = "100ms"
link = { bandwidth = "1Gbit/s", rtt = "1ms" }

[stream]
kind = "store"
format = "small"
mailboxes = 3
log_size = "64KiB"
checkpoint_depth = "128KiB"
database_size = "2MiB"

[protection]
spool_limit = "512KiB"
journal_limit = "512KiB"
segment_size = "32KiB"
batch_size = "16KiB"
checkpoint_every = "32KiB"
checkpoint_interval = "100ms"
heartbeat = "20ms"
reconnect = "10ms"

[source]
restart = "5ms"
disk = { profile = "instant", size = "8MiB" }

[replica]
restart = "5ms"
disk = { profile = "instant", size = "8MiB" }

[failover]
detect = "100ms"
decide = "100ms"
redirect = "100ms"
"""
"""The scenario of a world when none is given: everything small enough that segments end,
checkpoints are written and connections are given up within milliseconds."""


class _World(ScenarioWorld):
    """A scenario's world whose programs do what they are told."""

    def _workload(self, _known_images: KnownImages | None) -> Workload:
        self.programs = ToldPrograms()
        return self.programs


class Broken(AssertionError):
    """A promise of the replicator is broken; the message says which, when and how."""


class RunningPair:
    """Source, replica and link, running.

    Arguments
    ---------
    scenario: its hosts, link and limits are used, as a scenario, its TOML text or a file; its
        stream and faults are not.  None for a small and fast one.
    changes: to it, as ``--set`` takes them.
    seed: names what is random.
    mutant: takes a rule away from the replicator (:mod:`simulator.mutants`) until :meth:`close`.

    Raises BadScenario, with the key; BadInput for an unknown mutant, and for changes to a
    scenario that is loaded already.
    """

    def __init__(
        self,
        scenario: Scenario | str | Path | None = None,
        *changes: str,
        seed: int = 1,
        mutant: str = "",
    ) -> None:
        self.scenario = _scenario(scenario, changes)
        self._injected: list[Fault] = []
        self._takeover: Takeover | None = None
        self._broken: list[str] = []
        self._judged = 0
        self._link_is_cut = False
        self._full: dict[str, list[tuple[Disk, int]]] = {}
        self.events: list[Event] = []
        """What the hosts' software reported; of very many the first."""
        self._restart_ns = {
            SOURCE: self.scenario.source.restart_ns,
            REPLICA: self.scenario.replica.restart_ns,
        }
        with ExitStack() as stack:
            built = _World(self.scenario, seed, stack.enter_context(mutated(mutant)))
            stack.callback(built.world.close)
            if not isinstance(built.system, ByteLevelSystem):
                raise BadInput(
                    "a candidate has no programs that can be led by hand",
                    remedy="Take [candidate] out of the scenario.",
                )
            self._built, self.programs = built, built.programs
            self.system: ByteLevelSystem = built.system
            self._world, self._link = built.world, built.link
            self._faults = FaultInjector(
                self._world, self._link, self._restart_ns, self._start, self._struck, seed=seed
            )
            self._restarts = Restarts(self._faults.marks)
            self._circumstances = CircumstanceFinder(self.system, self._faults)
            built.oracle.rotten_end = self._circumstances.rotten_end
            built.oracle.rotten = lambda: self._faults.rotten
            built.oracle.rot_is_needed = self._circumstances.rot_is_needed
            self._promises = Promises(
                lambda: self._injected,
                self._world.clock,
                built.oracle,
                self.system,
                self._faults,
                self._circumstances,
            )
            self._sampler = Sampler(built)
            self._world.observers.append(self._observe)
            self.system.start_replica()
            self.system.start_source()
            self._open = stack.pop_all()

    # -- time ------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """Simulated time since the start, in nanoseconds."""
        return self._world.clock.now()

    def advance(self, time: str | int) -> None:
        """Let time pass.

        Arguments
        ---------
        time: nanoseconds, or text with a unit, e.g. ``"250ms"``.

        Raises what a process died of that is no failure of the replicated system.
        """
        end_ns = self.now_ns + time_ns(time)
        while self.now_ns < end_ns:
            self._world.clock.run_until(min(end_ns, self.now_ns + STEP_NS))
            self._sampler.sample(None if self._takeover is None else self._takeover.lost_at_ns)

    @property
    def converged(self) -> bool:
        """Whether nothing is left to do: of the programs, of faults, of the replication."""
        if self._takeover is not None:
            return self._takeover.report is not None
        return self.programs.finished and not self._faults.awaited and self.system.converged

    # -- judgement -----------------------------------------------------------------------------

    def check(self) -> None:
        """Would the copy be usable if the replica's power failed now?

        Raises Broken when it would not, or when anything was broken since the last time.
        """
        replica = self.system.replica_machine
        if not replica.lost and (self._takeover is None or self._takeover.taken_over is None):
            self._sampler.note_acknowledged()
            self._judge("check", lose_everything if replica.powered else None)
        found = self.broken
        if found:
            raise Broken(f"{'; '.join(found[:5])}\n{self.describe()}")

    def _judge(self, occasion: str, choose: Choose | None) -> ImageVerdict:
        return self._built.oracle.judge(
            self.system.replica_machine.disks,
            choose,
            occasion,
            self.now_ns,
            circumstances=self._circumstances.found,
        )

    @property
    def broken(self) -> list[str]:
        """All that is broken so far, in words."""
        checks = self._built.oracle.checks
        for check in checks[self._judged :]:
            if not check.holds and not self._is_allowed(check):
                where = f"at {check.at_seconds:.3f} s ({check.occasion})"
                self._broken.append(f"{check.invariant} is broken {where}: {check.detail}")
        self._judged = len(checks)
        found = [*self._broken, *self.system.truth.breaches, *self._sampler.telemetry.lies]
        found += self._promises.defects
        found += [reason for _verdict, reason in self._restarts.found]
        if self._takeover is not None and self._takeover.defect:
            found.append(self._takeover.defect)
        return found

    def _is_allowed(self, check: Check) -> bool:
        """Whether the faults so far leave no choice (``docs/invariants.md``)."""
        expectations = Expectations(self._injected, self._faults.marks())
        cell = expectations.cell(check.invariant, check.at_seconds, check.circumstances)
        return cell.expectation is not Expectation.HOLDS

    def said(self, name: str, host: str = "") -> list[Event]:
        """What the hosts' software reported under a name; ``host``: of this one only."""
        return [each for each in self.events if each.name == name and host in ("", each.host)]

    def describe(self) -> str:
        """Where both ends stand, in a line."""
        source, replica = self.system.source, self.system.replica
        parts = [f"at {self.now_ns / SECOND_NS:.3f} s"]
        if source is not None:
            parts.append(
                f"source {source.state} {source.cause} epoch {source.spool.epoch} completed "
                f"{source.spool.completed} durable {source.durable}"
            )
        if replica is not None:
            store = replica.store
            parts.append(
                f"replica epoch {store.epoch} applied {store.applied} durable {store.durable} "
                f"{store.stalled}"
            )
        return "; ".join(parts)

    # -- the world's own -------------------------------------------------------------------------

    def _disk(self, host: str) -> Disk:
        return self._world.machine(host).disks[HOME_DISK]

    def _start(self, name: str) -> None:
        if name == SOURCE:
            self.system.start_source()
        elif REPLICA not in self.system.replica_machine.processes:
            self._promises.replica_starts()
            host = self.system.start_replica()
            if self._takeover is not None and self._takeover.report is None:
                self._takeover.begin(host)

    def _struck(self, kind: str, name: str) -> None:
        """A host has gone down: what will its next start find?"""
        self._sampler.note_acknowledged()
        oracle, replica, takeover = self._built.oracle, self.system.replica_machine, self._takeover
        if name == REPLICA:
            self.system.replica_down()
            if takeover is not None and takeover.taken_over is not None:
                return  # the image has become the store's own
            if kind == "replica_restored":
                self._promises.void(None)  # nothing that came after the copy was made is there
            verdict = self._judge(f"{kind} of {name}", None)
            if self._promises.replica_is_down(kind, verdict.claim) and takeover is not None:
                takeover.at_loss = verdict.claim
            return
        if kind != "loss":
            return
        certain = oracle.examine(replica.disks, lose_everything, mount=False).claim
        found = self._circumstances.found
        self._takeover = Takeover(
            self._built, self.now_ns, certain, found, opened=self._circumstances.store_opened
        )
        host = replica.processes.get(REPLICA)
        if host is not None:
            self._takeover.begin(host)

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if len(self.events) < MOST_EVENTS:
            self.events.append(Event(self.now_ns / SECOND_NS, machine, event, values))
        if event == "failed" and not self._faults.answers_for(machine):
            self._world.clock.soon(lambda: self._ended_by_itself(machine))
        elif event == "damage" and machine == REPLICA:
            self._promises.replica_names_damage(str(values[0]))
        elif event == "replica_went_back":
            self._promises.replica_went_back(int(values[1]))
        elif event == "source_state":
            self._promises.source_enters(str(values[0]))
        elif event == "activity" and machine == REPLICA and values[0] == "resynchronize":
            self._world.clock.soon(self._resynchronized)

    def _resynchronized(self) -> None:
        """Another image has been committed: from this instant on it must be that of one."""
        doubts = self.system.doubts()
        if doubts is not None and doubts.switching and self._takeover is None:
            self._sampler.note_acknowledged()
            self._judge("a resynchronization was committed", lose_everything)

    def _ended_by_itself(self, name: str) -> None:
        """A process gave up: its machine's service manager starts it again."""
        machine = self._world.machine(name)
        for process, host in list(machine.processes.items()):
            failure = host.failure
            if failure is None:
                continue
            if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
                raise failure
            machine.end(process)
            if process == REPLICA:
                self.system.replica_down()
            full = name in self._full and process == PROGRAMS
            if full or self._restarts.ended(name, process, failure.advice, self.now_ns):
                self._world.clock.at(
                    self.now_ns + self._restart_ns[name], lambda: self._start_again(name)
                )

    def _start_again(self, name: str) -> None:
        if self._world.machine(name).powered:
            self._start(name)

    def close(self) -> None:
        """Throw the world away; nothing happens the second time."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _scenario(given: Scenario | str | Path | None, changes: tuple[str, ...]) -> Scenario:
    if isinstance(given, Scenario):
        if changes:
            raise BadInput(
                "a scenario that is loaded already cannot be changed here",
                remedy="Give its file or text, or load it with these changes.",
            )
        found = given
    elif given is None or (isinstance(given, str) and "\n" in given):
        found = parse_scenario(given or SMALL, changes)
    else:
        found = load_scenario(given, changes)
    return found.model_copy(update={"faults": (), "duration_ns": max(found.duration_ns, _DAY_NS)})


_DAY_NS: Final = 86_400 * SECOND_NS


def time_ns(given: str | int) -> int:
    return units.parse_duration_ns(given) if isinstance(given, str) else given
