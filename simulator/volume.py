"""The storage port over an emulated disk, as one host incarnation sees it.

Files and volumes here translate: they check that their host lives, change the
:class:`~simulator.disk.Disk`, and count the step at which a crash may have been asked for.
What they model is said there.
"""

from __future__ import annotations

from typing import Final, cast

from replicator.errors import NoSpace, StorageError, SyncFailed
from replicator.runtime import Completion, Crashed
from replicator.runtime.port import Buffer, Scan, Stat
from replicator.runtime.read_only import ReadOnlyCalls
from simulator.blocks import BLOCK_BYTES
from simulator.disk import Disk
from simulator.inode import Inode, Pieces
from simulator.namespace import Directory, Symlink, kind_of
from simulator.shared_page import Holder, PageMemory, SimSharedPage


def _block_numbers(offset: int, length: int) -> range:
    return range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1)


def _taken_over(buffers: tuple[Buffer, ...], appended: bool) -> tuple[bytes | Pieces, int]:
    """Several buffers as the inode shall have them, and how many bytes that is.

    What is appended stays in pieces, unless the caller might still change one of them.
    """
    length = 0
    for each in buffers:
        fixed = type(each) is bytes or (type(each) is memoryview and type(each.obj) is bytes)
        if not (appended and fixed):
            data = b"".join(buffers)
            return data, len(data)
        length += len(each)
    return cast(Pieces, buffers), length


def _start(data: bytes | Pieces, length: int) -> bytes:
    """The first bytes of what is to be written."""
    return (data if isinstance(data, bytes) else b"".join(data))[:length]


_CLOSED: Final = StorageError("the file is closed")
"""Stands for the error of a closed handle, made when somebody uses it: hardly anybody does."""


class SimFile:
    """An open file of a :class:`SimVolume`."""

    __slots__ = ("_disk", "_holder", "_poison", "inode", "path")

    def __init__(self, disk: Disk, holder: Holder, path: str, inode: Inode) -> None:
        self._disk = disk
        self._holder = holder
        self.path = path
        self.inode = inode
        self._poison: StorageError | None = None
        inode.opened(self, holder)

    @property
    def size_bytes(self) -> int:
        return self.inode.size

    def _check(self) -> None:
        if self._holder.dead:
            raise Crashed(f"{self.path}: the host is dead")
        if self._poison is not None:
            if self._poison is _CLOSED:
                self._poison = StorageError("the file is closed", path=self.path)
            raise self._poison

    def _room(self, blocks: int, offset: int) -> None:
        disk = self._disk
        disk.reclaim()
        if (disk.used_blocks + blocks) * BLOCK_BYTES > disk.model.size_bytes:
            disk.refused = self.inode.number, disk.clock.now()
            raise NoSpace(f"volume {disk.name} is full", path=self.path, offset=offset)

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        if self._holder.dead or self._poison is not None:
            self._check()
        disk, inode = self._disk, self.inode
        data: bytes | Pieces
        if len(buffers) == 1:
            [only] = buffers
            data = only if type(only) is bytes else bytes(only)
            length = len(data)
        else:
            data, length = _taken_over(buffers, offset == inode.size)
        if not length:
            return 0
        if disk.crash_at_step is not None and disk.crash_at_step == disk.steps + 1:
            length = int(length * disk.crash_keeps)
            if not length:
                disk.step("write", inode.number, offset, length)
            data = _start(data, length)
        if disk.used_blocks * BLOCK_BYTES + length > disk.nearly_full_bytes:
            length = self._short_write(offset, length)
            data = _start(data, length)
        if isinstance(data, bytes):
            new_blocks = inode.write(offset, data)
        else:
            new_blocks = inode.append(data, length)
        if new_blocks:
            new_blocks = self._charge(new_blocks, offset, length)
        disk.wrote(inode, offset, length, new_blocks)
        return length

    def _charge(self, new_blocks: int, offset: int, length: int) -> int:
        """Blocks to charge for: those that were reserved are paid for already."""
        inode = self.inode
        reserved = inode.reserved
        if reserved:
            new_blocks -= len(reserved)
            reserved.difference_update(_block_numbers(offset, length))
            new_blocks += len(reserved)
        inode.charged_blocks += new_blocks
        return new_blocks

    def _uncharged(self, offset: int, length: int) -> list[int]:
        """The blocks of a range that are neither written nor reserved yet."""
        numbers, inode = _block_numbers(offset, length), self.inode
        reserved = inode.reserved
        if not reserved and not inode.held_blocks:
            return list(numbers)
        blocks = inode.blocks
        return [n for n in numbers if n not in reserved and not blocks.get(n)]

    def _short_write(self, offset: int, length: int) -> int:
        """How much of a write fits on an almost full volume; raises NoSpace for nothing."""
        disk, inode = self._disk, self.inode
        disk.reclaim()
        free = disk.model.size_bytes // BLOCK_BYTES - disk.used_blocks
        fits = 0
        while fits < length:
            number = (offset + fits) // BLOCK_BYTES
            if number not in inode.reserved and not inode.blocks.get(number):
                if free <= 0:
                    break
                free -= 1
            fits = min(length, (number + 1) * BLOCK_BYTES - offset)
        if fits < length:
            disk.refused = inode.number, disk.clock.now()
        if fits == 0:
            raise NoSpace(f"volume {disk.name} is full", path=self.path, offset=offset)
        return fits

    def truncate(self, size_bytes: int) -> None:
        self._check()
        inode = self.inode
        shrinks = size_bytes <= inode.size
        gone = inode.truncate(size_bytes)
        if shrinks and inode.reserved:
            end = (size_bytes + BLOCK_BYTES - 1) // BLOCK_BYTES
            kept = {number for number in inode.reserved if number < end}
            gone += len(inode.reserved) - len(kept)
            inode.reserved = kept
        inode.charged_blocks -= gone
        self._disk.changed(inode, 0, -gone)
        self._disk.step("truncate", inode.number, size_bytes)

    def zero_range(self, offset: int, length: int) -> None:
        self._check()
        if length > 0:
            self._room(len(self._uncharged(offset, length)), offset)
            new_blocks = self.inode.zero_range(offset, length)
            self._disk.changed(self.inode, length, self._charge(new_blocks, offset, length))
        self._disk.step("zero", self.inode.number, offset, length)

    def allocate(self, offset: int, length: int) -> None:
        self._check()
        inode = self.inode
        if length > 0:
            more = self._uncharged(offset, length)
            self._room(len(more), offset)
            inode.reserved.update(more)
            inode.charged_blocks += len(more)
            self._disk.used_blocks += len(more)
        if self._disk.watch_allocate is not None:
            self._disk.watch_allocate()
        self._disk.step("allocate", inode.number, offset, length)

    async def read_at(self, offset: int, length: int) -> bytes:
        self._check()
        inode, disk = self.inode, self._disk
        if not inode.resident:
            done: Completion[None] = Completion()
            end_ns = disk.device.book(disk.clock.now(), min(length, max(0, inode.size - offset)), 1)
            disk.when_served(end_ns, lambda: done.set(None))
            await done
            self._check()
            if offset + length >= inode.size:
                inode.resident = True  # read to its end: from here on it is in memory
        return inode.read(offset, length)

    async def scan(self, scan: Scan) -> list[bytes]:
        # One stretch of the medium, whatever the pieces.
        data = await self.read_at(scan.offset, scan.length)
        self._holder.charge_ns(int(len(data) * scan.cost_ns_per_byte))
        begins = [offset - scan.offset for offset, _length in scan.pieces()]
        return [scan.fn(data[at : at + scan.piece_bytes]) for at in begins]

    async def sync(self) -> None:
        self._check()
        inode, disk = self.inode, self._disk
        if disk.drive_cache.lies:
            disk.drive_cache.lie_about(inode)
            await disk.drive_cache.answered()
            return
        up_to, boot = inode.change_count(), disk.boots
        end_ns = disk.device.book(disk.clock.now(), inode.dirty_bytes, inode.dirty_runs)
        end_ns += disk.model.sync_overhead_ns
        if disk.watch_sync is not None:
            disk.watch_sync(inode.number, self._holder)
        if end_ns > disk.clock.now():
            done: Completion[None] = Completion()
            disk.when_served(end_ns, lambda: done.set(None))
            await done
        self._check()
        if disk.boots != boot:
            raise Crashed(f"{self.path}: the power went away during a sync")
        if disk.sync_fails is not None and disk.sync_fails(self.path):
            disk.sync_failed(inode, up_to, SyncFailed("the sync failed", path=self.path))
            disk.step("fail", inode.number)
            self._check()
        disk.settle(inode, up_to)
        disk.step("sync", inode.number, up_to)

    def poison(self, error: SyncFailed) -> None:
        """From now on every call raises ``error``, unless an earlier one does already."""
        if self._poison is None:
            self._poison = error

    def close(self) -> None:
        """Give the handle back; a second time does nothing."""
        self._poison = _CLOSED
        self.inode.closed(self, self._holder)
        self._disk.reclaim()


class SimLock:
    def __init__(self, disk: Disk, path: str, holder: Holder) -> None:
        self._disk, self._path, self._holder = disk, path, holder
        self._held = True

    def release(self) -> None:
        if self._held:
            self._held = False
            self._disk.unlock(self._path, self._holder)


class SimReader(ReadOnlyCalls, SimFile):
    """A handle that was opened for reading only."""

    __slots__ = ()

    def _check(self) -> None:
        SimFile._check(self)


class SimVolume:
    """The storage port over a :class:`Disk`, for one host incarnation."""

    def __init__(self, disk: Disk, holder: Holder) -> None:
        self.disk = disk
        self._holder = holder
        self._lost_directories: set[int] = set()
        """Whose sync has failed: in this process it fails for ever."""

    @property
    def name(self) -> str:
        return self.disk.name

    @property
    def root(self) -> str:
        return "/"

    def _check(self) -> None:
        if self._holder.dead:
            raise Crashed(f"{self.disk.name}: the host is dead")

    def create(self, path: str) -> SimFile:
        self._check()
        inode = self.disk.create(path)
        self.disk.name_step("create", inode.number)
        return SimFile(self.disk, self._holder, path, inode)

    def open(self, path: str, read_only: bool = False) -> SimFile:
        self._check()
        node = self.disk.names.node(path)
        if not isinstance(node, Inode):
            raise StorageError("not a regular file", path=path)
        return (SimReader if read_only else SimFile)(self.disk, self._holder, path, node)

    def rename(self, old: str, new: str) -> None:
        self._check()
        replaced = self.disk.names.rename(old, new)
        if isinstance(replaced, Inode):
            self.disk.lost_a_name(replaced)
        self.disk.name_step("rename")

    def unlink(self, path: str) -> None:
        self._check()
        node = self.disk.names.remove(path, directory_wanted=False)
        if isinstance(node, Inode):
            self.disk.lost_a_name(node)
        self.disk.name_step("unlink")

    def link(self, old: str, new: str) -> None:
        self._check()
        node = self.disk.names.node(old)
        if not isinstance(node, Inode):
            raise StorageError("only files can have a second name", path=old)
        self.disk.names.add(new, node)
        self.disk.name_step("link", node.number)

    def symlink(self, target: str, path: str) -> None:
        self._check()
        if not target or "\0" in target:
            raise StorageError("no symbolic link can have this target", path=path)
        number = self.disk.names.next_number
        self.disk.names.next_number += 1
        self.disk.names.add(path, Symlink(number, target))
        self.disk.name_step("symlink", number)

    def mkdir(self, path: str) -> None:
        self._check()
        number = self.disk.names.next_number
        self.disk.names.next_number += 1
        self.disk.names.add(path, Directory(number))
        self.disk.name_step("mkdir", number)

    def rmdir(self, path: str) -> None:
        self._check()
        self.disk.names.remove(path, directory_wanted=True)
        self.disk.name_step("rmdir")

    def set_attributes(self, path: str, attributes: int) -> None:
        self._check()
        self.disk.names.set_attributes(path, attributes)
        self.disk.name_step("attributes", attributes)

    def list(self, path: str) -> list[str]:
        self._check()
        return sorted(self.disk.names.directory(path).entries)

    def stat(self, path: str) -> Stat:
        self._check()
        node = self.disk.names.node(path)
        kind = kind_of(node)
        if isinstance(node, Inode):
            return Stat(kind, node.size, node.number, node.attributes)
        if isinstance(node, Symlink):
            return Stat(kind, len(node.target), node.number, 0, node.target)
        return Stat(kind, 0, node.number, node.attributes)

    def exists(self, path: str) -> bool:
        self._check()
        return self.disk.names.find(path) is not None

    def free_bytes(self) -> int:
        self._check()
        return self.disk.free_bytes()

    def lock(self, path: str) -> SimLock:
        self._check()
        node = self.disk.names.find(path)
        if isinstance(node, Directory):
            name = f"directory {node.number}"  # itself, by whatever path
        else:
            name = path
            if node is None:
                self.create(path).close()
            else:
                self.open(path).close()
        self.disk.lock(name, self._holder, path)
        return SimLock(self.disk, name, self._holder)

    def shared_page(self, path: str, size_bytes: int) -> SimSharedPage:
        self._check()
        page = self.disk.pages.get(path)
        if page is None:
            page = self.disk.pages[path] = PageMemory(size_bytes)
        return SimSharedPage(page, self._holder)

    async def sync_directory(self, path: str) -> None:
        self._check()
        disk = self.disk
        directory = disk.names.directory(path)
        if disk.drive_cache.lies:
            disk.drive_cache.lie_about_names(directory)
            await disk.drive_cache.answered()
            return
        up_to, boot = disk.names.changes, disk.boots
        end_ns = disk.device.book(disk.clock.now(), 4096, 1) + disk.model.sync_overhead_ns
        if disk.watch_sync is not None:
            disk.watch_sync(directory.number, self._holder)
        if end_ns > disk.clock.now():
            done: Completion[None] = Completion()
            disk.when_served(end_ns, lambda: done.set(None))
            await done
        self._check()
        if disk.boots != boot:
            raise Crashed(f"{path}: the power went away during a sync")
        if disk.sync_fails is not None and disk.sync_fails(path):
            self._lost_directories.add(directory.number)
            disk.step("fail", directory.number)
        if directory.number in self._lost_directories:
            raise SyncFailed("the sync of the directory failed", path=path)
        disk.names.settle(directory, up_to, disk.model.metadata == "ordered")
        disk.collect_unlinked()
        disk.step("syncdir", directory.number)

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        self._check()
        while not self.disk.may_admit(size_bytes):
            await self.disk.wait_for_admission()
            self._check()
