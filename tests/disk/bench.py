"""A disk without a host around it, explicit choices, and every way to choose."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from replicator.runtime import Completion
from replicator.runtime.port import EntryKind
from simulator.device import INSTANT, DiskModel
from simulator.disk import Disk
from simulator.inode import Choose, Inode
from simulator.runtime import SimClock
from simulator.volume import SimFile, SimVolume

T = TypeVar("T")


class Process:
    """Who mounts the disk."""

    dead = False


class Bench:
    """One disk, the process that uses it, and its volume."""

    def __init__(self, model: DiskModel = INSTANT, disk: Disk | None = None) -> None:
        self.clock = disk.clock if disk is not None else SimClock()
        self.disk = disk if disk is not None else Disk(self.clock, model, "disk")
        self.restart()

    def restart(self) -> None:
        """The process is another one from here on."""
        self.process = Process()
        self.volume = SimVolume(self.disk, self.process)
        self.disk.on_crash = self.die

    def die(self) -> None:
        self.process.dead = True

    def wait(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine of the port; time passes as it needs."""
        try:
            while True:
                waited_for = coro.send(None)
                assert isinstance(waited_for, Completion)
                while not waited_for.done:
                    next_ns = self.clock.env.peek()
                    assert next_ns < float("inf"), "it waits for ever"
                    self.clock.run_until(int(next_ns))
        except StopIteration as stop:
            return stop.value

    def fork(self) -> Bench:
        """An overlay with a clock of its own: time that passes there is not the base's."""
        return Bench(disk=self.disk.fork(SimClock(), self.disk.model))

    def lose_power(self, choose: Choose) -> None:
        self.process.dead = True
        self.disk.power_loss(choose)
        self.restart()

    def content(self, path: str) -> bytes:
        node = self.disk.names.node(path)
        assert isinstance(node, Inode)
        return node.read(0, node.size)

    def tree(self, top: str = "") -> dict[str, tuple[int, str, int]]:
        """Path to inode, kind with target, attributes: all that names show, by the port."""
        found: dict[str, tuple[int, str, int]] = {}
        for name in self.volume.list(top or "/"):
            path = f"{top}/{name}"
            stat = self.volume.stat(path)
            found[path] = (stat.inode, f"{stat.kind.name} {stat.target or ''}", stat.attributes)
            if stat.kind == EntryKind.DIRECTORY:
                found.update(self.tree(path))
        return found


class Choices:
    """Answers questions with the numbers of a list, then always with 0."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)

    def __call__(self, outcomes: int) -> int:
        return next(self._numbers, 0) % outcomes


def every_choice(run: Callable[[Choose], T]) -> Iterator[T]:
    """Call ``run`` once for each list of choices that it can be given."""
    taken: list[list[int]] = []  # [choice, out of]
    while True:
        position = 0

        def choose(outcomes: int) -> int:
            nonlocal position
            if position == len(taken):
                taken.append([0, outcomes])
            choice, known = taken[position]
            assert known == outcomes, "the questions must depend on the answers alone"
            position += 1
            return choice

        yield run(choose)
        assert position == len(taken)
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        taken[-1][0] += 1


def recount(disk: Disk, handles: Sequence[SimFile] = ()) -> tuple[int, int]:
    """Used blocks and dirty bytes, counted from the files themselves: named or held open."""
    files = {node.number: node for _path, node in disk.names.walk("/") if isinstance(node, Inode)}
    files.update((handle.inode.number, handle.inode) for handle in handles)
    used = sum(inode.count_blocks() + len(inode.reserved) for inode in files.values())
    for inode in disk._inodes.values():
        assert inode.dirty_bytes == sum(length for _, length, *_ in inode.changes)
        runs, end = 0, inode.settled_end
        for offset, length, data, *_ in inode.changes:
            runs += data is None or offset != end
            if data is not None:
                end = offset + length
        assert inode.dirty_runs == runs
    return used, sum(inode.dirty_bytes for inode in disk._inodes.values())
