"""A candidate that is an external command which copies directory A to directory B.

A *pass*: the protected files, as programs see them at this instant, and the replica's files are
made real; the command runs, while simulated time stands still; what it did to the replica's
directory goes step by step over the emulated link and is carried out there in simulated time.  So
a crash, an outage or a power loss meets a pass that is carried out in part.

Kinder than life: with ``reads = "instant"`` the command sees one instant of the source, where a
real one reads while programs write.  With ``"file by file"`` time goes on between files, at the
rate given.  Every byte that the command wrote crosses the link, once; what it read of the replica
costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from replicator.errors import BadInput, ConnectionLost, StorageError
from replicator.runtime import Task, TimedOut, deadline, group, sleep_ns
from replicator.runtime.port import Stream, Volume
from replicator.units import format_bytes
from simulator.candidates.changes import CHUNK_BYTES, Step, differing
from simulator.candidates.copying import CopiedTree, receive_frame, send_frame
from simulator.candidates.failure import CandidateFailed
from simulator.candidates.workshop import Workshop
from simulator.digest import file_term
from simulator.disk import Disk
from simulator.host import WALL_EPOCH_NS, Host
from simulator.inode import Inode
from simulator.namespace import Node
from simulator.systems.byte_level import REPLICA_ADDRESS
from simulator.systems.candidate import SYNCHRONIZED, CandidateSystem, Image

_CALL_NS: Final = 200_000
"""What looking up and opening one file takes, when files are read one after the other."""
_PATIENCE_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """Figures of a command.

    Arguments
    ---------
    words: the command, with ``{source}`` and ``{replica}``.
    every_ns: from the beginning of a pass to that of the next.
    timeout_ns: real time that one pass may take.
    accepted: exit codes that mean success.
    fsync: what the replica's end makes durable: nothing, each file, all at the end of a pass.
    reads: see above.
    read_bytes_per_second: when files are read one after the other.
    """

    words: Sequence[str]
    every_ns: int
    timeout_ns: int
    accepted: Sequence[int] = (0,)
    fsync: Literal["never", "each file", "each pass"] = "never"
    reads: Literal["instant", "file by file"] = "instant"
    read_bytes_per_second: int = 100_000_000


class CommandCopier:
    """The adapter of a command."""

    has_tap = False
    claims = False
    recovers = False

    def __init__(self, options: CommandOptions, judged_from_start: bool) -> None:
        self._options = options
        self.judged_from_start = judged_from_start
        self._shop: Workshop | None = None
        self._passes = 0
        self._times: dict[int, tuple[int, int]] = {}
        """Of the replica's files: what they held when they were given which modification time."""

    def prepare(self, system: CandidateSystem) -> None:
        self._system = system

    def close(self) -> None:
        if self._shop is not None:
            self._shop.close()
            self._shop = None

    async def recover(self, host: Host) -> Image:
        return Image()

    async def source_with_tap(
        self, host: Host, programs: Callable[[Volume], Awaitable[None]]
    ) -> None:
        raise NotImplementedError("a command has no tap")

    # -- the source's end ----------------------------------------------------------------

    async def source(self, host: Host) -> None:
        while True:
            began_ns = host.now_ns()
            await self._pass(host)
            await sleep_ns(max(1_000_000, began_ns + self._options.every_ns - host.now_ns()))

    async def _pass(self, host: Host) -> None:
        self._passes += 1
        name = f"pass {self._passes}"
        try:
            async with deadline(_PATIENCE_NS):
                stream = await host.connect(REPLICA_ADDRESS)
                await send_frame(stream, "hello")
                await receive_frame(stream)
        except (ConnectionLost, TimedOut) as error:
            host.emit("copier", f"{name}: the replica cannot be reached: {error}")
            return
        host.emit("activity", name)
        try:
            sent_bytes, steps = await self._copy(host, stream, name)
        except ConnectionLost as error:
            host.emit("copier", f"{name}: cut short: {error}")
        else:
            host.emit("copier", f"{name}: whole, {len(steps)} steps, {format_bytes(sent_bytes)}")
            if not self._system.synchronized:
                host.emit(SYNCHRONIZED, self._passes)
        finally:
            host.emit("activity", "")
            stream.close()

    async def _copy(self, host: Host, stream: Stream, name: str) -> tuple[int, list[Step]]:
        system = self._system
        if self._shop is None:
            o = self._options
            self._shop = Workshop(o.words, o.timeout_ns, o.accepted)
        shop = self._shop
        if self._options.reads == "instant":
            shop.source.show(system.source_machine.disks["data"], system.workload.root, self._made)
        else:
            await self._read_slowly(host, shop)
        replica_disk = system.replica_machine.disks[system.home.disk]
        shop.replica.show(replica_disk, system.home.root, self._copied)
        try:
            steps = shop.run()
        except BadInput as error:
            raise CandidateFailed(error.message, path=error.path) from error
        host.emit("copier", f"{name}: the command ended; {len(steps)} steps to carry out")
        sent_bytes = 0
        for step in steps:
            sent_bytes += await self._send(stream, step, shop, replica_disk)
        await send_frame(stream, "end", sync=self._options.fsync == "each pass")
        await receive_frame(stream)
        shop.replica.now_equals(replica_disk, system.home.root)
        return sent_bytes, steps

    def _made(self, inode: Inode) -> int:
        return WALL_EPOCH_NS + self._system.counted.changed_ns(inode)

    def _copied(self, inode: Inode) -> int:
        """A file that lost bytes in a power loss has lost its time as well: it is copied again."""
        given = self._times.get(inode.number)
        return given[1] if given is not None and given[0] == file_term(inode) else WALL_EPOCH_NS

    async def _read_slowly(self, host: Host, shop: Workshop) -> None:
        """Each file as it is when the reader has come to it."""
        system, rate = self._system, self._options.read_bytes_per_second
        disk: Disk = system.source_machine.disks["data"]
        taken: dict[str, Node] = {}
        times: dict[int, int] = {}
        root = system.workload.root
        for path, _node in disk.names.walk(root):
            found = dict(disk.names.walk(root)).get(path)
            if found is None:
                continue  # gone before the reader came
            if isinstance(found, Inode):
                times[found.number] = self._made(found)
                taken[path[len(root) :]] = found.fork()
                taken[path[len(root) :]].detach()  # type: ignore[union-attr]
                await sleep_ns(_CALL_NS + found.size * 1_000_000_000 // rate)
            else:
                taken[path[len(root) :]] = found
        shop.source.show_nodes(taken, lambda inode: times[inode.number])

    async def _send(self, stream: Stream, step: Step, shop: Workshop, replica: Disk) -> int:
        """Send one step; returns the bytes of files that are in it."""
        if step.what == "times":
            modified_ns = shop.replica.real(step.path).lstat().st_mtime_ns
            await send_frame(stream, "times", path=step.path, ns=modified_ns)
            return 0
        if step.what not in ("write", "fill"):
            await send_frame(stream, step.what, path=step.path, other=step.final)
            return 0
        sent_bytes = 0
        old = b"" if step.what == "fill" else self._present(replica, step.path)
        for offset, data in self._pieces(step, shop, old):
            await send_frame(stream, "data", data, path=step.path, offset=offset)
            sent_bytes += len(data)
        size = shop.replica.real(step.final).stat().st_size
        if step.what == "write" and size < len(old):
            await send_frame(stream, "truncate", path=step.path, size=size)
        if self._options.fsync == "each file":
            await send_frame(stream, "sync", path=step.path)
        return sent_bytes

    def _present(self, disk: Disk, path: str) -> bytes:
        node = disk.names.node(self._system.home.root + path)
        assert isinstance(node, Inode)
        return node.read(0, node.size)

    def _pieces(self, step: Step, shop: Workshop, old: bytes) -> Iterator[tuple[int, bytes]]:
        place = shop.replica.real(step.final)
        if step.what == "write":
            yield from differing(old, place.read_bytes())
            return
        with place.open("rb") as file:
            offset = 0
            while data := file.read(CHUNK_BYTES):
                yield offset, data
                offset += len(data)

    # -- the replica's end ---------------------------------------------------------------

    async def replica(self, host: Host) -> None:
        listener = await host.listen(REPLICA_ADDRESS)
        underway: Task[None] | None = None
        async with group() as g:
            while True:
                try:
                    stream = await listener.accept()
                except ConnectionLost:
                    continue
                if underway is not None:
                    underway.cancel()  # a copier that calls again has given up its last pass
                underway = g.spawn(self._serve(host, stream), "pass")

    async def _serve(self, host: Host, stream: Stream) -> None:
        tree = CopiedTree(host.volume(self._system.home.disk), self._system.home.root)
        try:
            tree.prepare()
            await self._carry_out(host, stream, tree)
        except ConnectionLost:
            pass
        except StorageError as error:
            host.emit("copier", f"cannot be carried out: {error}")
        finally:
            tree.let_go()
            host.emit("activity", "")
            stream.abort()

    async def _carry_out(self, host: Host, stream: Stream, tree: CopiedTree) -> None:
        await receive_frame(stream)
        await send_frame(stream, "hello")
        directories: set[str] = set()
        busy = False
        while True:
            kind, values, data = await receive_frame(stream)
            if not busy:
                host.emit("activity", "apply")
                busy = True
            if kind == "end":
                break
            path = values.pop("path")
            if kind == "times":
                self._note_time(path, values["ns"])
                continue
            await tree.do(kind, path, values, data)
            directories.add(path.rpartition("/")[0])
        if values["sync"]:
            await self._sync(host, tree, directories)
        await send_frame(stream, "done")
        await stream.receive(1)  # until the copier has hung up

    async def _sync(self, host: Host, tree: CopiedTree, directories: set[str]) -> None:
        volume, root = host.volume(self._system.home.disk), self._system.home.root
        for path in sorted(volume_files(volume, root)):
            await tree.do("sync", path, {}, b"")
        await tree.sync_names(directories)

    def _note_time(self, path: str, modified_ns: int) -> None:
        disk = self._system.replica_machine.disks[self._system.home.disk]
        node = disk.names.node(self._system.home.root + path)
        if isinstance(node, Inode):
            self._times[node.number] = file_term(node), modified_ns


def volume_files(volume: Volume, root: str) -> Iterator[str]:
    """The names of all regular files below a directory."""
    stack = [""]
    while stack:
        directory = stack.pop()
        for name in volume.list(root + directory):
            path = f"{directory}/{name}"
            kind = volume.stat(root + path).kind.name
            if kind == "DIRECTORY":
                stack.append(path)
            elif kind == "FILE":
                yield path
