"""Fakes of the port, for who tests a coroutine of his own: time, volumes, streams, hosts.

::

    from replicator.runtime import sleep_ns
    from simulator.testing import FakeWorld

    async def save(volume, data):
        file = volume.create("/note")
        file.write_at(0, data)
        await file.sync()
        await volume.sync_directory("/")

    with FakeWorld() as world:
        host = world.host()
        host.run(save(host.volume, b"kept"))
        host.lose_power()                      # what was not synced is gone
        assert host.run(host.volume.open("/note").read_at(0, 9)) == b"kept"

They are the bench's own emulated machines, disks and links under fewer names, so they pass the
port's conformance suite (``tests/conformance``) as the real adapters do.  Time is simulated: an
hour of waiting costs nothing, and two runs are the same, event by event.

Leaves out: what the emulated ones leave out (:mod:`simulator.disk`, :mod:`simulator.network`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, cast

from replicator import units
from replicator.runtime import Task
from replicator.runtime.port import Runtime, Stream, Volume
from simulator.device import DiskModel
from simulator.host import (
    Host,
    Machine,
    World,
    keep_everything,
    lose_everything,
    seeded_choice,
)
from simulator.inode import Choose
from simulator.link import Link, LinkModel

T = TypeVar("T")
PORT: Final = 7000
HOUR_NS: Final = 3_600_000_000_000
MS: Final = 1_000_000


class Stuck(AssertionError):
    """A coroutine did not come to its end in the simulated time that it was given."""


class FakeHost:
    """A machine with one volume and a process; made by :meth:`FakeWorld.host`.

    A host can be killed in the midst of whatever it runs: nothing of it is stepped again, and
    every call that it still tries raises ``Crashed``.
    """

    def __init__(self, world: FakeWorld, name: str, model: DiskModel) -> None:
        self._world = world
        self.name = name
        self._machine: Machine = world.world.machine(name)
        self._disk = self._machine.add_disk("data", model)
        self._losses = 0
        self._taken_blocks = 0
        self._process: Host = self._machine.start()

    # -- what a coroutine is handed ----------------------------------------------------------

    @property
    def runtime(self) -> Runtime:
        """The port's ``Runtime`` as the present process has it: clocks, random streams, events,
        ``connect`` and ``listen``."""
        return self._process

    @property
    def volume(self) -> Volume:
        """The port's ``Volume`` as the present process has it: in memory, empty at first."""
        return self._process.volume("data")

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return not self._process.dead

    # -- running -----------------------------------------------------------------------------

    def start(self, coroutine: Coroutine[Any, Any, T], name: str = "main") -> Task[T]:
        """Start a coroutine on this host; it goes on while the world's time does.

        Returns its task: ``task.done``, ``task.result()`` (raises what the coroutine raised),
        ``task.cancel()``.
        """
        return self._process.kernel.run_task(coroutine, name)

    def run(self, coroutine: Coroutine[Any, Any, T], within: str | int = HOUR_NS) -> T:
        """Run a coroutine on this host to its end, in simulated time; returns its result.

        Arguments
        ---------
        within: the longest that this may take, e.g. ``"10s"``; nanoseconds when a number.

        Raises what the coroutine raises; :class:`Stuck` when it takes longer, or when its host
        has died.
        """
        task = self.start(coroutine, "run")
        self._world.run_until(lambda: task.done or task.kernel.dead, within)
        if not task.done:
            why = "its host died" if task.kernel.dead else f"not within {within}"
            raise Stuck(f"the coroutine on {self.name} did not end: {why}")
        return task.result()

    # -- what goes wrong -----------------------------------------------------------------------

    def kill(self) -> None:
        """All processes die; what they wrote stays in the page cache, their connections end."""
        self._machine.crash_process()

    def restart(self) -> None:
        """Start another process, of an incarnation of its own, on the same volume.

        Use :attr:`runtime` and :attr:`volume` anew: those of the dead one are of no use.
        """
        self.kill()
        self._process = self._machine.start()

    def start_beside(self) -> None:
        """Start another process beside the present one: they share files, locks and pages.

        From here on :attr:`runtime`, :attr:`volume` and :meth:`run` mean the new one, which has
        no network.
        """
        name = f"process {self._machine.incarnations + 1}"
        self._process = self._machine.start(name, networked=False)

    def lose_power(self, survive: Literal["none", "all", "seeded"] = "none") -> None:
        """The power fails and comes back, and another process starts.

        Arguments
        ---------
        survive: which writes that were not synced survive: ``none``, ``all``, or a legal part
            of them that the world's seed names.
        """
        self._losses += 1
        choices: dict[str, Choose] = {
            "none": lose_everything,
            "all": keep_everything,
            "seeded": seeded_choice(f"{self._world.world.seed}/{self.name}/{self._losses}"),
        }
        self._machine.lose_power(choices[survive])
        self._process = self._machine.start()

    def pause(self) -> Callable[[], None]:
        """The process stands still; returns the function that lets it go on."""
        return self._machine.pause()

    def fail_syncs(self, fail: bool = True) -> None:
        """Whether all syncs fail from now on."""
        self._disk.sync_fails = (lambda _path: True) if fail else None

    def fill(self, free_bytes: int = 0) -> None:
        """Somebody else's files take all room but so much, until :meth:`make_room`."""
        self._taken_blocks += self._disk.fill(free_bytes)

    def make_room(self) -> None:
        """Those files are gone again."""
        self._disk.give_room(self._taken_blocks)
        self._taken_blocks = 0

    def jump_clock(self, by_ns: int) -> None:
        """Somebody sets the wall clock; the monotonic one goes on."""
        self._machine.jump_clock(by_ns)

    @property
    def dirty_bytes(self) -> int:
        """What is written and not yet on the medium."""
        return self._disk.dirty_bytes


class FakeWorld:
    """Simulated time, hosts, and a link between each two of them.

    Arguments
    ---------
    seed: names all that is random.
    rtt: round-trip time between any two hosts, e.g. ``"60ms"``.
    bits_per_second: bandwidth of each direction of each link.
    """

    def __init__(
        self, seed: int = 1, *, rtt: str = "2ms", bits_per_second: int = 100_000_000
    ) -> None:
        self.world = World(seed)
        self._model = LinkModel(
            bits_per_second=bits_per_second, rtt_ns=units.parse_duration_ns(rtt)
        )
        self._hosts: dict[str, FakeHost] = {}
        self._links: list[Link] = []
        self._cut: list[Link] = []
        self._ports = PORT

    # -- what there is -------------------------------------------------------------------------

    def host(
        self,
        name: str = "host",
        *,
        size_bytes: int = 1 << 30,
        dirty_limit_bytes: int = 1 << 28,
        names_in_any_order: bool = False,
    ) -> FakeHost:
        """The host of that name, made at first use; its process runs, its volume is empty.

        Arguments
        ---------
        size_bytes: of its volume.
        dirty_limit_bytes: written and not yet on the medium, where ``admit`` waits.
        names_in_any_order: after a power loss the changes of names of each directory may be
            there without earlier ones elsewhere; else they are a prefix of all changes.
        """
        if name not in self._hosts:
            model = DiskModel(
                size_bytes=size_bytes,
                dirty_limit_bytes=dirty_limit_bytes,
                metadata="any" if names_in_any_order else "ordered",
            )
            made = FakeHost(self, name, model)
            for other in self._hosts:
                self._links.append(self._lay(other, name))
            self._hosts[name] = made
        return self._hosts[name]

    def _lay(self, one: str, other: str) -> Link:
        assert self.world.network is not None
        return self.world.network.add_link(
            Link(self.world.clock, one, other, replace(self._model), self.world.random("jitter"))
        )

    def stream_pair(self, one: FakeHost, other: FakeHost) -> tuple[Stream, Stream]:
        """An open connection between two hosts: the end of each.

        Raises ConnectionLost when the way is cut or one of them is down.
        """
        self._ports += 1
        address = f"{other.name}:{self._ports}"

        async def serve() -> Stream:
            listener = await other.runtime.listen(address)
            try:
                return await listener.accept()
            finally:
                listener.close()

        served = other.start(serve(), "serve")
        ours = one.run(one.runtime.connect(address), "1m")
        self.run_until(lambda: served.done, "1m")
        return ours, served.result()

    # -- time ------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """Simulated time since the beginning, in nanoseconds."""
        return self.world.clock.now()

    def advance(self, time: str | int) -> None:
        """Let time pass: nanoseconds, or text with a unit, e.g. ``"250ms"``."""
        time_ns = units.parse_duration_ns(time) if isinstance(time, str) else time
        self.world.clock.run_until(self.now_ns + time_ns)

    def run_until(self, reached: Callable[[], bool], within: str | int = HOUR_NS) -> bool:
        """Let time pass until a condition holds; returns whether it did in time.

        Looks after each event; ends early when nothing is left that could happen.
        """
        within_ns = units.parse_duration_ns(within) if isinstance(within, str) else within
        clock, end_ns = self.world.clock, self.now_ns + within_ns
        while not reached():
            next_ns = cast(float, clock.env.peek())
            if next_ns > end_ns:
                return False
            clock.env.step()
        return True

    # -- the ways between hosts --------------------------------------------------------------------

    def cut(self) -> None:
        """Nothing passes between any two hosts until :meth:`heal`; connections stay up."""
        for link in self._links:
            if link not in self._cut:
                link.partition()
                self._cut.append(link)

    def heal(self) -> None:
        """Everything passes again, what was under way included."""
        for link in self._cut:
            link.heal()
        self._cut = []

    def reset(self) -> None:
        """All connections are reset, with what is under way."""
        for link in self._links:
            link.reset()

    # -- the end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Throw everything away; coroutines that still run are closed."""
        self.world.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
