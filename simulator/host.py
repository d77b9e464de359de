"""Emulated machines, their host incarnations, and the world that holds them.

A *machine* has a name, disks and a power switch.  Each process that runs on it is a
:class:`Host`: one incarnation with a kernel of its own.  Killing it sets a flag; nothing of
it is stepped again, and every call it still tries raises Crashed.

Models: process crash (page cache survives, the kernel ends the connections), power loss
(cache lost, silence), pause and resume, restart after a delay, loss for ever; one processor
per host, whose time is booked with ``charge_ns``; wall clocks with an offset.

Leaves out: one processor shared by several processes, memory pressure, virtual time of
threads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from replicator.runtime import Kernel, Task
from replicator.runtime.port import Listener, Stream
from simulator.device import DiskModel, without_time
from simulator.disk import Disk
from simulator.event_trace import EventTrace
from simulator.inode import Choose
from simulator.network import Attachment, Network
from simulator.runtime import SimClock
from simulator.volume import SimVolume

T = TypeVar("T")
Observer = Callable[[str, str, tuple[int | str, ...]], None]

WALL_EPOCH_NS = 1_262_304_000_000_000_000
"""Wall clock at the start of a run: 2010-01-01, 00:00 UTC."""


FOR_EVER_NS = 1 << 62
"""Later than any instant of a run."""


class Host:
    """One process of a machine; implements the port's ``Runtime``."""

    def __init__(
        self, machine: Machine, process: str, boot_id: int, incarnation: int, networked: bool
    ) -> None:
        self.machine = machine
        self.process = process
        self.world = machine.world
        self.clock = machine.world.clock
        self.dead = False
        self._boot_id = boot_id
        self._incarnation = incarnation
        self.kernel = Kernel(self.clock, machine.world.hops)
        self._attachment: Attachment | None = None
        if networked and machine.world.network is not None:
            self._attachment = machine.world.network.attach(machine.name, lambda: not self.dead)
        self.failure: BaseException | None = None
        self._pauses = 0
        self._volumes: dict[str, SimVolume] = {}

    def pause(self) -> None:
        """Freeze this process; connections stay open.  Pauses may overlap."""
        self._pauses += 1
        self.kernel.pause()

    def resume(self) -> None:
        """A pause is over; with the last one the process goes on."""
        self._pauses -= 1
        if not self._pauses and not self.dead:
            self.kernel.resume()

    def __repr__(self) -> str:
        where = f"{self.machine.name}/{self.process}"
        return f"Host({where}, boot {self._boot_id}, {self._incarnation})"

    def volume(self, name: str) -> SimVolume:
        """One of the machine's disks, mounted by this incarnation; the same each time."""
        if name not in self._volumes:
            self._volumes[name] = SimVolume(self.machine.disks[name], self)
        return self._volumes[name]

    def start(self, main: Coroutine[Any, Any, None], name: str) -> Task[None]:
        """Run ``main`` as the host's root task; its failure is kept in ``failure``."""
        return self.kernel.run_task(main, name, self._ended)

    def _ended(self, task: Task[Any]) -> None:
        if task.error is not None and self.failure is None:
            self.failure = task.error
            self.world.observe(self.machine.name, "failed", (repr(task.error),))

    # -- Runtime -------------------------------------------------------------------

    @property
    def boot_id(self) -> int:
        return self._boot_id

    @property
    def incarnation(self) -> int:
        return self._incarnation

    def now_ns(self) -> int:
        return self.clock.now()

    def wall_ns(self) -> int:
        return self.clock.now() + WALL_EPOCH_NS + self.machine.wall_offset_ns

    def random(self, name: str) -> Callable[[], float]:
        return self.world.random(f"{self.machine.name}/{name}")

    def charge_ns(self, time_ns: int) -> None:
        self.kernel.charge_ns(time_ns * self.machine.slowness)

    async def compute(self, fn: Callable[[], T], cost_ns: int) -> T:
        self.charge_ns(cost_ns)
        return fn()

    def emit(self, event: str, *values: int | str) -> None:
        if self.dead:
            return  # a coroutine that is being thrown away
        self.world.observe(self.machine.name, event, values)

    async def connect(self, address: str) -> Stream:
        assert self._attachment is not None
        return await self._attachment.connect(address)

    async def listen(self, address: str) -> Listener:
        assert self._attachment is not None
        return await self._attachment.listen(address)


class Machine:
    """What survives a crash: name, disks, counters."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.disks: dict[str, Disk] = {}
        self.processes: dict[str, Host] = {}
        """The processes that run, by name."""
        self.wall_offset_ns = 0
        self._clock_was: list[tuple[int, int]] = []
        """Until when the wall clock had which offset, before each of its jumps."""
        self.slowness = 1
        self.boots = 0
        self.incarnations = 0
        self.lost = False
        self.powered = False
        self._corpses: list[Host] = []

    @property
    def running(self) -> bool:
        """Whether any process runs."""
        return bool(self.processes)

    @property
    def failure(self) -> BaseException | None:
        """What the first process that failed died of."""
        return next((h.failure for h in self.processes.values() if h.failure is not None), None)

    def jump_clock(self, by_ns: int) -> None:
        """Somebody sets the wall clock."""
        self._clock_was.append((self.world.clock.now(), self.wall_offset_ns))
        self.wall_offset_ns += by_ns

    def instant_of(self, wall_ns: int) -> int:
        """When the machine's wall clock showed a time, in ns since the start.

        The first such instant: a clock that was set back shows a time twice.  A time that
        was leapt over counts as the instant of the leap.
        """
        from_ns = 0
        for until_ns, offset_ns in [*self._clock_was, (FOR_EVER_NS, self.wall_offset_ns)]:
            instant_ns = wall_ns - WALL_EPOCH_NS - offset_ns
            if instant_ns < until_ns:
                return max(from_ns, instant_ns) if self._clock_was else instant_ns
            from_ns = until_ns
        return from_ns

    def add_disk(self, name: str, model: DiskModel) -> Disk:
        """Fit a disk; its steps go into the trace as ``machine/name event``."""
        label = f"{self.name}/{name}"
        disk = Disk(self.world.clock, model, label, self.world.trace)
        self.disks[name] = disk
        return disk

    def start(self, process: str = "main", networked: bool = True) -> Host:
        """Start a process, of which there is one by each name; powers the machine up.

        Only one process of a machine may be ``networked`` at a time.
        """
        if self.lost:
            raise RuntimeError(f"{self.name} is lost for ever")
        if process in self.processes:
            raise RuntimeError(f"{self.name}/{process} runs already")
        if not self.powered:
            self.powered = True
            self.boots += 1
        self.incarnations += 1
        host = Host(self, process, self.boots, self.incarnations, networked)
        self.processes[process] = host
        self.world.trace.record(f"{self.name} {process} starts", self.boots, self.incarnations)
        return host

    def end(self, process: str) -> None:
        """A process has come to its end by itself."""
        self._kill(process, vanish=False)
        self.world.trace.record(f"{self.name} {process} ends")

    def crash_process(self, *processes: str) -> None:
        """These processes die (all, if none is named); page cache and machine live on."""
        for process in processes or tuple(self.processes):
            self._kill(process, vanish=False)
            self.world.trace.record(f"{self.name} {process} crash")

    def lose_power(self, choose: Choose) -> None:
        """The power fails: ``choose`` decides what of the unsynced data survives."""
        self._power_down()
        for disk in self.disks.values():
            disk.power_loss(choose)
        self.world.trace.record(f"{self.name} power")

    def lose(self) -> None:
        """The machine is gone, disks and all."""
        self._power_down()
        self.lost = True
        self.world.trace.record(f"{self.name} lost")

    def _power_down(self) -> None:
        for process in tuple(self.processes):
            self._kill(process, vanish=True)
        self.powered = False
        if self.world.network is not None:
            self.world.network.machine_down(self.name)

    def pause(self, *processes: str) -> Callable[[], None]:
        """Freeze these processes (all, if none is named); returns what ends this pause.

        A process that is started meanwhile is another one: it runs.
        """
        frozen = [
            self.processes[name]
            for name in processes or tuple(self.processes)
            if name in self.processes
        ]
        for host in frozen:
            host.pause()

        def resume() -> None:
            for host in frozen:
                host.resume()

        return resume

    def _kill(self, process: str, vanish: bool) -> None:
        host = self.processes.pop(process, None)
        if host is None:
            return
        host.dead = True
        host.kernel.kill()
        self._corpses.append(host)
        network = self.world.network
        if host._attachment is not None and network is not None and not vanish:
            network.process_died(host._attachment)

    def bury(self) -> None:
        """Close the coroutines that dead incarnations left behind."""
        corpses, self._corpses = self._corpses, []
        for host in corpses:
            host.kernel.close()


class World:
    """Clock, network, machines, and who watches them.

    Arguments
    ---------
    seed: names all random streams of the run.
    hops: for tests: extra turns at each wake-up (see Kernel).
    network: False for a world without one, as oracles use offline.
    """

    def __init__(
        self, seed: int = 1, hops: Callable[[], int] | None = None, network: bool = True
    ) -> None:
        self.seed = seed
        self.hops = hops
        self.clock = SimClock()
        self.trace = EventTrace(self.clock)
        self.network = Network(self.clock, self.trace.record) if network else None
        self.machines: dict[str, Machine] = {}
        self.observers: list[Observer] = []

    def machine(self, name: str) -> Machine:
        """The machine of that name; made at first use."""
        if name not in self.machines:
            self.machines[name] = Machine(self, name)
        return self.machines[name]

    def random(self, name: str) -> Callable[[], float]:
        """A stream of numbers in [0, 1), its own for each name."""
        return random.Random(f"{self.seed}/{name}").random

    def observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        """Something was reported by a host's software."""
        for observer in self.observers:
            observer(machine, event, values)

    def close(self) -> None:
        """End all hosts and throw their coroutines away."""
        for machine in self.machines.values():
            for process in tuple(machine.processes):
                machine._kill(process, vanish=False)
            machine.bury()


def seeded_choice(name: str) -> Choose:
    """Survival after a power loss as a pure function of a name."""
    source = random.Random(name)
    return source.randrange


def lose_everything(_outcomes: int) -> int:
    """Survival: nothing that was not synced."""
    return 0


def keep_everything(outcomes: int) -> int:
    """Survival: all of it, as if the cache had just been written."""
    return outcomes - 1


_BOOTS_BEFORE: Final = 1 << 20
"""Of an offline machine: who finds the disks again sees that theirs was another boot."""


def run_offline(
    disks: dict[str, Disk],
    main: Callable[[Host], Coroutine[Any, Any, T]],
    name: str = "oracle",
    choose: Choose | None = None,
) -> T:
    """Run ``main`` to its end on copy-on-write overlays of ``disks``, in no time.

    The overlays lose in a power loss what the disks would lose.

    Arguments
    ---------
    disks: the disks by name; they stay untouched.
    main: gets a host whose ``volume(name)`` are the overlays.
    choose: what survives of a power loss that comes first; None for none.

    Returns what ``main`` returns; raises what it raises.  RuntimeError when it gets stuck.
    """
    world = World(network=False)
    machine = world.machine(name)
    machine.boots = _BOOTS_BEFORE
    for disk_name, disk in disks.items():
        machine.disks[disk_name] = fork = disk.fork(world.clock, without_time(disk.model))
        if choose is not None:
            fork.power_loss(choose)
    host = machine.start()
    task = host.kernel.run_task(main(host), name)
    world.clock.run_until_idle()
    try:
        if not task.done:
            raise RuntimeError(f"{name} got stuck offline")
        return task.result()
    finally:
        world.close()
        # Without these rings the copies are gone at once.  Else they would stay until garbage
        # is looked for, which no run does before its end.
        for disk in machine.disks.values():
            disk.let_go()
        world.machines.clear()
        host._volumes.clear()
