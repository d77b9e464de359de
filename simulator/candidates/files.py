"""Files for programs that do not await: a small synchronous API over an emulated volume.

``open()`` of Python cannot be led elsewhere honestly, so a program asks ``site.files`` instead;
the names are those of ``open`` and ``os``, errors are OSError with the errno of the real thing.

A call that waits for the disk (a read of what is not in memory, ``fsync``) cannot let time go on
while it is on Python's stack: it has its effect at once, and the process stands still for as long
as the device needs before its next step.  So nothing is promised too early, but a power loss
between two awaits finds all that stands between them done, or nothing: let a long copy await
something between its pieces.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from replicator.errors import AlreadyExists, NoSpace, NotEmpty, NotFound, StorageError, SyncFailed
from replicator.runtime.port import EntryKind, Stat
from simulator.host import Host
from simulator.volume import SimFile, SimVolume

_ERRORS: Final = (
    (NotFound, errno.ENOENT),
    (AlreadyExists, errno.EEXIST),
    (NotEmpty, errno.ENOTEMPTY),
    (NoSpace, errno.ENOSPC),
    (SyncFailed, errno.EIO),
)
_MODES: Final = ("rb", "r+b", "wb", "w+b", "xb", "x+b", "ab")


@contextmanager
def as_os_error() -> Iterator[None]:
    """Storage errors as the OSErrors that a program expects."""
    try:
        yield
    except StorageError as error:
        number = next((n for kind, n in _ERRORS if isinstance(error, kind)), errno.EIO)
        raise OSError(number, error.message, error.path) from error


class OpenFile:
    """An open file with a position; bytes only."""

    def __init__(self, files: Files, file: SimFile, mode: str) -> None:
        self._files = files
        self._file = file
        self._mode = mode
        self._at = file.size_bytes if mode.startswith("a") else 0
        self.name = file.path
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from the position; all of the rest if negative."""
        if "r" not in self._mode and "+" not in self._mode:
            raise OSError(errno.EBADF, "the file is not open for reading", self.name)
        left = max(0, self._file.size_bytes - self._at)
        data = self._files.read_now(self._file, self._at, left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write at the position; returns how many bytes were."""
        if self._mode == "rb":
            raise OSError(errno.EBADF, "the file is not open for writing", self.name)
        if self._mode == "ab":
            self._at = self._file.size_bytes
        written = self._files.write_now(self._file, self._at, bytes(data))
        self._at += written
        return written

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position, as ``io`` does; returns it."""
        base = (0, self._at, self._file.size_bytes)[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Set the size; that of the position if none is given."""
        wanted = self._at if size is None else size
        with as_os_error():
            self._file.truncate(wanted)
        return wanted

    def flush(self) -> None:
        """Nothing is buffered here."""

    def fsync(self) -> None:
        """Make all that was written survive a power loss."""
        self._files.sync_now(self._file)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._file.close()

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self.close()


class Files:
    """The files of one machine, as one of its processes sees them.

    Arguments
    ---------
    host: the process.
    disk: which of the machine's.
    """

    def __init__(self, host: Host, disk: str = "data") -> None:
        self._host = host
        self._volume: SimVolume = host.volume(disk)

    def open(self, path: str, mode: str = "rb") -> OpenFile:
        """Open a file; modes as of Python's ``open``, bytes only."""
        if mode not in _MODES:
            raise ValueError(f"mode {mode!r}: files of the bench are opened as {', '.join(_MODES)}")
        volume = self._volume
        with as_os_error():
            there = volume.exists(path)
            if mode.startswith("x") or (not there and mode[0] in "wa"):
                return OpenFile(self, volume.create(path), mode)
            file = volume.open(path)
            if mode.startswith("w"):
                file.truncate(0)
            return OpenFile(self, file, mode)

    def replace(self, old: str, new: str) -> None:
        """Rename, in one step; what ``new`` named before is replaced."""
        self._call(self._volume.rename, old, new)

    rename = replace

    def remove(self, path: str) -> None:
        self._call(self._volume.unlink, path)

    unlink = remove

    def link(self, old: str, new: str) -> None:
        self._call(self._volume.link, old, new)

    def symlink(self, target: str, path: str) -> None:
        self._call(self._volume.symlink, target, path)

    def mkdir(self, path: str) -> None:
        self._call(self._volume.mkdir, path)

    def rmdir(self, path: str) -> None:
        self._call(self._volume.rmdir, path)

    def makedirs(self, path: str) -> None:
        """Make a directory and those above it, as far as they are not there."""
        names = path.strip("/").split("/")
        for depth in range(len(names)):
            above = "/" + "/".join(names[: depth + 1])
            if not self.exists(above):
                self.mkdir(above)

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        found: list[str] = self._call(self._volume.list, path)
        return found

    def stat(self, path: str) -> Stat:
        """Kind, size and file number; there are no times."""
        found: Stat = self._call(self._volume.stat, path)
        return found

    def exists(self, path: str) -> bool:
        found: bool = self._call(self._volume.exists, path)
        return found

    def isdir(self, path: str) -> bool:
        return self.exists(path) and self.stat(path).kind is EntryKind.DIRECTORY

    def isfile(self, path: str) -> bool:
        return self.exists(path) and self.stat(path).kind is EntryKind.FILE

    def fsync(self, path: str) -> None:
        """Make the names in a directory survive a power loss."""
        volume = self._volume
        disk, host = volume.disk, self._host
        with as_os_error():
            volume._check()
            directory = disk.names.directory(path)
            if disk.drive_cache.lies:
                disk.drive_cache.lie_about_names(directory)
                return
            end_ns = disk.device.book(host.now_ns(), 4096, 1) + disk.model.sync_overhead_ns
            host.kernel.charge_ns(max(0, end_ns - host.now_ns()))
            if disk.sync_fails is not None and disk.sync_fails(path):
                raise SyncFailed("the sync of the directory failed", path=path)
            disk.names.settle(directory, disk.names.changes, disk.model.metadata == "ordered")
            disk.collect_unlinked()
            disk.step("syncdir", directory.number)

    def _call(self, call: Callable[..., Any], *arguments: Any) -> Any:
        with as_os_error():
            return call(*arguments)

    # -- of open files -----------------------------------------------------------------

    def read_now(self, file: SimFile, offset: int, length: int) -> bytes:
        """Read; what is not in memory keeps the process waiting."""
        inode, disk = file.inode, self._volume.disk
        with as_os_error():
            file._check()
            if not inode.resident:
                self._wait_until(disk.device.book(self._host.now_ns(), length, 1))
                inode.resident = inode.resident or offset + length >= inode.size
            return inode.read(offset, length)

    def write_now(self, file: SimFile, offset: int, data: bytes) -> int:
        """Write; too much that is unwritten keeps the process waiting."""
        disk = self._volume.disk
        with as_os_error():
            if not disk.may_admit(len(data)):
                rate = max(1, disk.model.bytes_per_second)
                self._host.kernel.charge_ns(len(data) * 1_000_000_000 // rate)
            return file.write_at(offset, data)

    def sync_now(self, file: SimFile) -> None:
        """Sync a file; the process waits for the device."""
        inode, disk = file.inode, self._volume.disk
        with as_os_error():
            file._check()
            if disk.drive_cache.lies:
                disk.drive_cache.lie_about(inode)
                return
            up_to, now_ns = inode.change_count(), self._host.now_ns()
            end_ns = disk.device.book(now_ns, inode.dirty_bytes, inode.dirty_runs)
            self._wait_until(end_ns + disk.model.sync_overhead_ns)
            if disk.sync_fails is not None and disk.sync_fails(file.path):
                disk.sync_failed(inode, up_to, SyncFailed("the sync failed", path=file.path))
                disk.step("fail", inode.number)
                file._check()
            disk.settle(inode, up_to)
            disk.step("sync", inode.number, up_to)

    def _wait_until(self, end_ns: int) -> None:
        self._host.kernel.charge_ns(max(0, end_ns - self._host.now_ns()))
