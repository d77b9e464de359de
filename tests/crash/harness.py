"""Short worlds for enumerating crashes: a scripted program, tiny segments, fast disks.

The script contains what is hard: overwrites of one block, the log roll by rename ("write X,
rename X to Y, create X"), truncation, hard links, directories, removal, and a gap in the
history that is closed by a resynchronization.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from replicator.capture import SpoolPolicy
from replicator.errors import NotFound
from replicator.replica_options import ReplicaOptions
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from replicator.source import SourceOptions
from simulator.device import DiskModel
from simulator.host import World, keep_everything, lose_everything, seeded_choice
from simulator.inode import Choose
from simulator.link import Link, LinkModel
from simulator.oracle import Oracle
from simulator.systems.byte_level import (
    REPLICA,
    REPLICA_ADDRESS,
    SET_ID,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)

MS = 1_000_000
SECOND = 1_000_000_000
BLOCK = 8192
ROOT = "/data"

FAST = DiskModel(
    size_bytes=64 << 20,
    bytes_per_second=10**12,
    positioning_ns=1000,
    sync_overhead_ns=1000,
)

Step = Callable[[Volume], Any]


def payload(number: int, size: int = BLOCK) -> bytes:
    """Bytes that no other step writes."""
    stamp = number.to_bytes(4, "little")
    return (stamp * (size // 4 + 1))[:size]


def write(path: str, offset: int, number: int, size: int = BLOCK) -> Step:
    def step(volume: Volume) -> None:
        full = ROOT + path
        if volume.exists(full):
            file = volume.open(full)
            file.write_at(offset, payload(number, size))
            file.close()

    return step


def create(path: str) -> Step:
    def step(volume: Volume) -> None:
        if not volume.exists(ROOT + path):
            volume.create(ROOT + path).close()

    return step


def rename(old: str, new: str) -> Step:
    def step(volume: Volume) -> None:
        if volume.exists(ROOT + old):
            volume.rename(ROOT + old, ROOT + new)

    return step


def unlink(path: str) -> Step:
    def step(volume: Volume) -> None:
        if volume.exists(ROOT + path):
            volume.unlink(ROOT + path)

    return step


def truncate(path: str, size: int) -> Step:
    def step(volume: Volume) -> None:
        if volume.exists(ROOT + path):
            volume.open(ROOT + path).truncate(size)

    return step


def link(old: str, new: str) -> Step:
    def step(volume: Volume) -> None:
        if not volume.exists(ROOT + new) and volume.exists(ROOT + old):
            volume.link(ROOT + old, ROOT + new)

    return step


def mkdir(path: str) -> Step:
    def step(volume: Volume) -> None:
        if not volume.exists(ROOT + path):
            volume.mkdir(ROOT + path)

    return step


def log_rolls() -> list[Step]:
    """A database page rewritten while the log rolls twice, recycling a name."""
    steps: list[Step] = [create("/db"), create("/log")]
    number = 100
    for generation in range(2):
        for record in range(2):
            number += 1
            steps.append(write("/log", record * 3000, number, 3000))
            steps.append(write("/db", 0, number + 50))
        steps += [rename("/log", f"/log{generation}"), create("/log")]
    steps += [write("/log", 0, 200, 3000), write("/db", BLOCK, 201), unlink("/log0")]
    steps += [write("/log", 3000, 202, 3000), write("/db", 0, 203)]
    return steps


def odd_names() -> list[Step]:
    """Links, directories, truncation, a name that is used again for another file."""
    return [
        create("/a"),
        write("/a", 0, 1, 20000),
        mkdir("/sub"),
        link("/a", "/sub/b"),
        write("/sub/b", 4096, 2, 5000),
        truncate("/a", 9000),
        rename("/sub", "/moved"),
        write("/moved/b", 8000, 3, 3000),
        unlink("/a"),
        create("/a"),
        write("/a", 0, 4, 100),
        rename("/a", "/moved/b"),
        write("/moved/b", 50, 5, 100),
        truncate("/moved/b", 200000),
        write("/moved/b", 150000, 6, 700),
    ]


def gap(volume: Volume) -> str:
    """Not a change: the history is interrupted here, as by a full spool."""
    return "gap"


def links_that_part() -> list[Step]:
    """Two names of one file become two files while nobody looks, one of them mostly zeros."""
    return [
        create("/a"),
        write("/a", 0, 1, 3 * BLOCK),
        link("/a", "/b"),
        write("/b", 100, 2, 500),
        gap,
        unlink("/b"),
        create("/b"),
        write("/b", 2 * BLOCK, 3, 700),
        write("/a", 0, 4, 100),
    ]


class Script:
    """A workload that carries out steps, and after a crash goes on with the one in doubt."""

    root = ROOT
    ledger = None

    def __init__(self, steps: list[Step], system: Callable[[], ByteLevelSystem]) -> None:
        self._steps = steps
        self._system = system
        self.done = 0

    @property
    def finished(self) -> bool:
        return self.done == len(self._steps)

    async def run(self, runtime: Runtime, volume: Volume, until_ns: int) -> None:
        while self.done < len(self._steps):
            step = self._steps[self.done]
            await volume.admit(64 << 10)
            try:
                if step(volume) == "gap":
                    self._system().truth.capture.stop("test")  # type: ignore[union-attr]
            except NotFound:
                pass  # a power loss of the source took what this step builds on
            self.done += 1
            await sleep_ns(2 * MS)

    async def mounts(self, *_arguments: Any, **_named: Any) -> None:
        return None


@dataclass(frozen=True)
class Plan:
    """One world: what happens to which host at which storage step."""

    steps: list[Step]
    host: str = ""
    crash_at: int = 0
    power: bool = True
    survival: str = "none"
    keeps: float = 1.0
    second_crash_after: int = 0
    second_takes_power: bool = False
    """The second crash is a power loss, whatever the first is."""
    safeguards: Safeguards = ALL_SAFEGUARDS
    metadata: str = "ordered"
    meddle: Callable[[ByteLevelSystem, Link], None] | None = None
    """For tests that change something about the system before it starts."""


@dataclass
class Outcome:
    """How it went."""

    broken: list[str]
    converged: bool
    crashed: bool
    storage_steps: dict[str, int]
    activities: set[str]
    resynchronizations: int
    epochs: int

    @property
    def good(self) -> bool:
        return self.converged and not self.broken


def choose(survival: str) -> Choose:
    if survival == "none":
        return lose_everything
    if survival == "all":
        return keep_everything
    if survival == "every other":
        kept = cycle((True, False))
        return lambda outcomes: outcomes - 1 if next(kept) else 0
    return seeded_choice(survival)


def run(plan: Plan) -> Outcome:
    """Run one plan to convergence (at most 20 simulated seconds) and judge it."""
    world = World(seed=1)
    for name in (SOURCE, REPLICA):
        world.machine(name).add_disk("data", replace(FAST, metadata=plan.metadata))
    model = LinkModel(bits_per_second=10**9, rtt_ns=MS)
    assert world.network is not None
    wire = world.network.add_link(Link(world.clock, SOURCE, REPLICA, model))
    systems: list[ByteLevelSystem] = []
    script = Script(plan.steps, lambda: systems[0])
    options = ByteLevelOptions(
        spool_limit_bytes=4 << 20,
        spool_segment_bytes=64 << 10,
        spool_policy=SpoolPolicy.RESYNCHRONIZE,
        source=SourceOptions(
            SET_ID,
            SOURCE,
            REPLICA_ADDRESS,
            batch_bytes=16 << 10,
            heartbeat_ns=20 * MS,
            reconnect_ns=10 * MS,
            # It would mend in silence what recovery has left wrong.
            compare_after_power_loss=False,
        ),
        replica=ReplicaOptions(
            SET_ID,
            REPLICA,
            journal_limit_bytes=4 << 20,
            segment_bytes=64 << 10,
            checkpoint_bytes=30_000,
            checkpoint_interval_ns=100 * MS,
        ),
        safeguards=plan.safeguards,
    )
    system = ByteLevelSystem(world, script, options, 10 * SECOND)
    systems.append(system)
    oracle = Oracle(system.truth, script, system.recover, system.home)
    activities: set[str] = set()
    failures: list[str] = []
    activity = {SOURCE: "", REPLICA: ""}

    def observe(machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if event == "activity":
            activity[machine] = str(values[0])
        elif event == "failed":
            failures.append(f"{machine}: {values[0]}")

    world.observers.append(observe)
    if plan.meddle is not None:
        plan.meddle(system, wire)
    system.start_replica()
    system.start_source()
    crashes: list[int] = []

    def note_acknowledged() -> None:
        if system.source is not None and system.source.committed:
            oracle.acknowledged(system.source.spool.epoch, system.source.durable)

    def crash(name: str) -> None:
        machine = world.machine(name)
        activities.add(activity[name])
        crashes.append(world.clock.now())
        note_acknowledged()
        if plan.power or (plan.second_takes_power and len(crashes) > 1):
            machine.lose_power(choose(plan.survival))
        else:
            machine.crash_process()
        if name == REPLICA:
            system.replica = None
            oracle.judge(machine.disks, None, "crash", world.clock.now())
            if not plan.power:
                survival = choose(plan.survival)
                oracle.judge(machine.disks, survival, "crash, power", world.clock.now())
        else:
            system.source = None
            oracle.judge(world.machine(REPLICA).disks, lose_everything, "crash", world.clock.now())
        world.clock.at(world.clock.now() + 5 * MS, lambda: restart(name))

    def restart(name: str) -> None:
        disk = world.machine(name).disks["data"]
        if plan.second_crash_after and len(crashes) == 1:
            arm(name, disk.steps + plan.second_crash_after)
        if name == REPLICA:
            system.start_replica()
        else:
            system.start_source()

    def arm(name: str, step: int) -> None:
        disk = world.machine(name).disks["data"]
        disk.crash_at_step = step
        disk.crash_keeps = plan.keeps
        disk.on_crash = lambda: crash(name)

    if plan.host:
        arm(plan.host, plan.crash_at)
    while world.clock.now() < 20 * SECOND and not failures:
        world.clock.run_until(world.clock.now() + 20 * MS)
        note_acknowledged()
        if script.finished and system.converged and world.clock.now() > 200 * MS:
            break
    converged = script.finished and system.converged
    if converged:
        verdict = oracle.judge(
            world.machine(REPLICA).disks, lose_everything, "end", world.clock.now()
        )
        source = system.source
        assert source is not None
        store = system.replica.store if system.replica else None
        if store is None or (store.epoch, store.applied) != (
            source.spool.epoch,
            source.spool.completed,
        ):
            failures.append(f"converged to {verdict.epoch}/{verdict.operation} only")
    broken = [f"{c.invariant}: {c.detail}" for c in oracle.checks if not c.holds]
    broken += system.truth.breaches + failures
    outcome = Outcome(
        broken,
        converged,
        bool(crashes),
        {name: world.machine(name).disks["data"].steps for name in (SOURCE, REPLICA)},
        activities,
        system.resynchronizations,
        len(system.truth.epochs),
    )
    world.close()
    return outcome
