"""A volume in memory for enumerating crashes: counts storage steps and dies at a chosen one.

A :class:`Medium` is the disk and the page cache; it outlives crashes.  A
:class:`MemoryVolume` is the port as one incarnation sees it: after its crash every call
raises ``Crashed``.  What a power loss leaves is decided by an explicit list of choices, used
round and round, one per question: how many of the unsynced name changes survive (a prefix,
as in a journaling file system), how large each file is, which unsynced sectors survive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.errors import AlreadyExists, NotFound
from replicator.runtime import Crashed, yield_now
from replicator.runtime.port import EntryKind, Stat

SECTOR = 512


@dataclass
class Inode:
    number: int
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes (offset, bytes) and truncations (size, None) since the last sync."""
    forgotten: int = 0
    """How many of them were dropped so far, because a sync covered them."""
    failed: bool = False
    """Whether a sync of it has failed: then the medium lacks what ``data`` shows."""

    def write(self, offset: int, data: bytes) -> None:
        if len(self.data) < offset:
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data
        self.unsynced.append((offset, data))

    def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.unsynced.append((size, None))


class Choices:
    """Answers questions with the numbers of a list, round and round."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self._next = 0

    def among(self, count: int) -> int:
        """A number below ``count``; a large choice means the last one."""
        number = self._numbers[self._next % len(self._numbers)]
        self._next += 1
        return min(number, count - 1)


class Medium:
    """Names and files, as they are and as they are sure to be after a power loss."""

    def __init__(self) -> None:
        self.names: dict[str, Inode | None] = {"/": None}
        self.durable_names: dict[str, Inode | None] = {"/": None}
        self.name_log: list[tuple[str, Inode | None, str | None]] = []
        """Changes since the last directory sync: path, inode to add, path to remove."""
        self.inodes = 0

    def change_names(self, add: str | None, inode: Inode | None, remove: str | None) -> None:
        change = (add or "", inode, remove)
        self.name_log.append(change)
        _apply_names(self.names, change)

    def sync_names(self) -> None:
        self.durable_names = dict(self.names)
        self.name_log.clear()

    def copy(self) -> Medium:
        """An independent medium in the same state."""
        twin = Medium()
        inodes: dict[int, Inode] = {}

        def of(inode: Inode | None) -> Inode | None:
            if inode is None:
                return None
            if inode.number not in inodes:
                inodes[inode.number] = Inode(
                    inode.number,
                    bytearray(inode.data),
                    inode.durable,
                    list(inode.unsynced),
                    failed=inode.failed,
                )
            return inodes[inode.number]

        twin.names = {path: of(inode) for path, inode in self.names.items()}
        twin.durable_names = {path: of(inode) for path, inode in self.durable_names.items()}
        twin.name_log = [(add, of(inode), remove) for add, inode, remove in self.name_log]
        twin.inodes = self.inodes
        return twin

    def lose_power(self, numbers: tuple[int, ...]) -> None:
        """Keep what was synced and what the choices let survive."""
        choices = Choices(numbers)
        surviving = dict(self.durable_names)
        for change in self.name_log[: choices.among(len(self.name_log) + 1)]:
            _apply_names(surviving, change)
        seen: set[int] = set()
        for path in sorted(surviving):
            inode = surviving[path]
            if inode is not None and inode.number not in seen:
                seen.add(inode.number)
                _settle(inode, choices)
        self.names = dict(surviving)
        self.durable_names = surviving
        self.name_log = []

    def digest(self, directory: str) -> dict[str, bytes]:
        """The bytes of all files in a directory."""
        return {
            path: bytes(inode.data)
            for path, inode in self.names.items()
            if inode is not None and path.startswith(directory)
        }


def _apply_names(
    names: dict[str, Inode | None], change: tuple[str, Inode | None, str | None]
) -> None:
    add, inode, remove = change
    if remove is not None:
        names.pop(remove, None)
    if add:
        names[add] = inode


def _settle(inode: Inode, choices: Choices) -> None:
    """What is left of one file: sizes first, then sectors."""
    if not inode.unsynced:
        inode.data, inode.failed = bytearray(inode.durable), False
        return
    size = (len(inode.durable), len(inode.data))[choices.among(2)]
    data = bytearray(inode.durable)
    for offset, written in inode.unsynced:
        if written is None:
            continue  # the size was chosen above
        end = offset + len(written)
        for start in range(offset - offset % SECTOR, end, SECTOR):
            if choices.among(2):
                low, high = max(start, offset), min(start + SECTOR, end)
                if len(data) < high:
                    data.extend(bytes(high - len(data)))
                data[low:high] = written[low - offset : high - offset]
    del data[size:]
    data.extend(bytes(size - len(data)))
    inode.data, inode.durable, inode.unsynced, inode.failed = data, bytes(data), [], False


def _written_out(inode: Inode, count: int) -> bytes:
    """What the medium has when the first writes are synced, and nothing that was lost before."""
    data = bytearray(inode.durable)
    for offset, written in inode.unsynced[:count]:
        if written is None:
            del data[offset:]
            data.extend(bytes(offset - len(data)))
            continue
        data.extend(bytes(max(0, offset + len(written) - len(data))))
        data[offset : offset + len(written)] = written
    return bytes(data)


class MemoryFile:
    """The port's File on an inode."""

    def __init__(self, volume: MemoryVolume, path: str, inode: Inode) -> None:
        self._volume, self.path, self._inode = volume, path, inode

    @property
    def size_bytes(self) -> int:
        self._volume.alive()
        return len(self._inode.data)

    def write_at(self, offset: int, *buffers: bytes) -> int:
        data = b"".join(buffers)
        if self._volume.step(f"write {self.path} {offset} +{len(data)}"):
            kept = len(data) // 2 // SECTOR * SECTOR
            if kept:
                self._inode.write(offset, data[:kept])
            raise Crashed
        self._inode.write(offset, data)
        return len(data)

    def truncate(self, size_bytes: int) -> None:
        if self._volume.step(f"truncate {self.path} {size_bytes}"):
            raise Crashed
        self._inode.truncate(size_bytes)

    def zero_range(self, offset: int, length: int) -> None:
        self.write_at(offset, bytes(length))

    def allocate(self, offset: int, length: int) -> None:
        self._volume.alive()

    async def read_at(self, offset: int, length: int) -> bytes:
        self._volume.alive()
        return bytes(self._inode.data[offset : offset + length])

    async def sync(self) -> None:
        inode = self._inode
        covered, snapshot = inode.forgotten + len(inode.unsynced), bytes(inode.data)
        if inode.unsynced and self._volume.lags:
            await yield_now()  # others run while the disk flushes
        if self._volume.step(f"sync {self.path}"):
            if self._volume.sync_fails:
                inode.forgotten += len(inode.unsynced)
                inode.unsynced.clear()
                inode.failed = True
            raise Crashed
        if covered > inode.forgotten:
            if inode.failed:
                snapshot = _written_out(inode, covered - inode.forgotten)
            del inode.unsynced[: covered - inode.forgotten]
            inode.forgotten, inode.durable = covered, snapshot

    def close(self) -> None:
        self._volume.alive()


class MemoryVolume:
    """The port's Volume for one incarnation.

    Arguments
    ---------
    crash_at: number of the step (from 1) in which the host dies; None never.
    lags: a sync lets other tasks run, as a disk does.
    sync_fails: where the host dies, it dies of a sync of a file that failed: the page cache keeps
        what was written and counts it as written, and it will never reach the medium.
    """

    name = "memory"

    def __init__(
        self,
        medium: Medium,
        crash_at: int | None = None,
        lags: bool = True,
        sync_fails: bool = False,
    ) -> None:
        self.medium = medium
        self.lags = lags
        self.sync_fails = sync_fails
        self.steps: list[str] = []
        self._crash_at = crash_at
        self._dead = False

    def alive(self) -> None:
        if self._dead:
            raise Crashed

    def step(self, what: str) -> bool:
        """Count one storage step; True when it is the one to die in."""
        self.alive()
        self.steps.append(what)
        self._dead = len(self.steps) == self._crash_at
        return self._dead

    def _inode(self, path: str) -> Inode:
        self.alive()
        inode = self.medium.names.get(path)
        if inode is None:
            raise NotFound("no such file", path=path)
        return inode

    def create(self, path: str) -> MemoryFile:
        if self.step(f"create {path}"):
            raise Crashed
        if path in self.medium.names:
            raise AlreadyExists("exists", path=path)
        self.medium.inodes += 1
        inode = Inode(self.medium.inodes)
        self.medium.change_names(path, inode, None)
        return MemoryFile(self, path, inode)

    def open(self, path: str, read_only: bool = False) -> MemoryFile:
        return MemoryFile(self, path, self._inode(path))

    def rename(self, old: str, new: str) -> None:
        if self.step(f"rename {old} {new}"):
            raise Crashed
        self.medium.change_names(new, self._inode(old), old)

    def unlink(self, path: str) -> None:
        if self.step(f"unlink {path}"):
            raise Crashed
        self._inode(path)
        self.medium.change_names(None, None, path)

    def mkdir(self, path: str) -> None:
        if self.step(f"mkdir {path}"):
            raise Crashed
        self.medium.change_names(path, None, None)

    def list(self, path: str) -> list[str]:
        self.alive()
        prefix = path.rstrip("/") + "/"
        return sorted(
            p[len(prefix) :] for p in self.medium.names if p.startswith(prefix) and p != "/"
        )

    def stat(self, path: str) -> Stat:
        inode = self._inode(path)
        return Stat(EntryKind.FILE, len(inode.data), inode.number)

    def free_bytes(self) -> int:
        self.alive()
        return 1 << 40

    def exists(self, path: str) -> bool:
        self.alive()
        return path in self.medium.names

    async def sync_directory(self, path: str) -> None:
        if self.lags:
            await yield_now()
        if self.step(f"sync {path}"):
            raise Crashed
        self.medium.sync_names()

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        self.alive()
