"""Open files of a :class:`~replicator.host.volume.HostVolume`.

What each call of the port becomes
----------------------------------
``write_at``: pwritev, repeated until all is written or the volume is full.  ``truncate``:
ftruncate.  ``zero_range``: fallocate(ZERO_RANGE), which keeps the space reserved; where the
file system has none (tmpfs, NFS), fallocate(KEEP_SIZE) and zeros written over the range.  Not
PUNCH_HOLE: it would give back space that later writes count on.  ``allocate``:
fallocate(KEEP_SIZE); where there is none, free space is looked at and nothing reserved.  Both
look at the free space first: measured on ext4, a fallocate that fails keeps what it had got so
far.  (A file that holds blocks elsewhere can still fail half-way, and keeps that part.)
``read_at``: preadv2(RWF_NOWAIT) up to :data:`INLINE_READ_BYTES`, which serves what is in the
page cache without leaving the thread; what would wait for the disk, and larger reads, pread in
a thread.  ``sync``: fdatasync in a thread (it writes the size, too; times are not promised).
All plain calls are plain system calls.  They do block: while the kernel throttles writers
(``admit`` keeps us below that) and on a disk that hangs.

What a failed sync does to them is told in :mod:`.file_node`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Sequence
from typing import Final

from replicator.errors import NoSpace, StorageError, SyncFailed
from replicator.host.file_node import FileNode, SyncLanded
from replicator.host.paths import storage_error
from replicator.host.turns import Turns
from replicator.host.workers import Workers
from replicator.operation import is_range
from replicator.runtime.port import Buffer, Scan
from replicator.runtime.read_only import ReadOnlyCalls

INLINE_READ_BYTES: Final = 128 << 10
"""Reads up to here try the page cache in place.

Measured: 0.9 us for 4 KiB and 8 us for 64 KiB in place, against 110 to 125 us by way of a
thread; at 1 MiB a thread costs 0.3 ms and leaves the loop free meanwhile.
"""

_BUFFERS_PER_CALL: Final = 512
_KEEP_SIZE: Final = 0x01
_ZERO_RANGE: Final = 0x10
_ZEROS: Final = bytes(1 << 20)
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOSYS)

_libc = ctypes.CDLL(None, use_errno=True)
_libc_fallocate = _libc.fallocate
_libc_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if not is_range(offset, length):
        raise OverflowError  # ctypes would take what is left in 64 bits
    while _libc_fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def pread_all(fd: int, offset: int, length: int) -> bytes:
    """All of a range, however long it takes; short only at the end of the file."""
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(fd, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class HostFile:
    """A handle of an open file; implements ``replicator.runtime.port.File``.

    Arguments
    ---------
    path: as the volume names it.
    node: the file; the handle is attached to it.
    workers: the volume's threads.
    """

    __slots__ = ("_node", "_poison", "_turns", "_workers", "path")

    def __init__(self, path: str, node: FileNode, workers: Workers) -> None:
        self.path = path
        self._node = node
        self._workers = workers
        self._turns = Turns()
        self._poison: StorageError | None = None
        node.attach(self)

    def _check(self) -> None:
        if self._poison is not None:
            raise self._poison

    def poison(self, error: SyncFailed) -> None:
        """From now on every call raises ``error``, unless the handle is closed already."""
        if self._poison is None:
            self._poison = error

    @property
    def size_bytes(self) -> int:
        if self._node.fd < 0:
            self._check()
        return os.fstat(self._node.fd).st_size

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        self._check()
        node = self._node
        total, written = sum(map(len, buffers)), 0
        rest = list(buffers)
        try:
            if offset < 0:
                raise OverflowError  # -1 would be the position of the descriptor
            while written < total:
                count = os.pwritev(node.fd, rest[:_BUFFERS_PER_CALL], offset + written)
                written += count
                if written < total:
                    rest = _behind(rest, count)
        except (OSError, OverflowError) as error:
            if not written:  # else the call was cut short, and the next one says why
                raise storage_error(error, self.path, offset) from error
        finally:
            node.write_back.wrote(node, written)
        return written

    def truncate(self, size_bytes: int) -> None:
        self._check()
        try:
            os.ftruncate(self._node.fd, size_bytes)
        except (OSError, OverflowError) as error:
            raise storage_error(error, self.path, size_bytes) from error

    def zero_range(self, offset: int, length: int) -> None:
        self._check()
        if length <= 0:
            return
        fd = self._node.fd
        size_before = os.fstat(fd).st_size
        try:
            try:
                self._look_for_room(length)
                _fallocate(fd, _ZERO_RANGE, offset, length)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._write_zeros(offset, length)
        except (OSError, OverflowError) as error:
            failure = storage_error(error, self.path, offset)
            if isinstance(failure, NoSpace) and os.fstat(fd).st_size > size_before:
                os.ftruncate(fd, size_before)  # a refused call changes nothing
            raise failure from error

    def _write_zeros(self, offset: int, length: int) -> None:
        node = self._node
        self._reserve(offset, length)
        end = offset + length
        while offset < end:
            written = os.pwrite(node.fd, _ZEROS[: min(len(_ZEROS), end - offset)], offset)
            node.write_back.wrote(node, written)
            offset += written

    def _look_for_room(self, length: int) -> None:
        """Refuse what cannot fit: fallocate would take all there is before it fails."""
        volume = os.fstatvfs(self._node.fd)
        held_bytes = os.fstat(self._node.fd).st_blocks * 512
        if volume.f_blocks and volume.f_bfree * volume.f_frsize + held_bytes < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _reserve(self, offset: int, length: int) -> None:
        self._look_for_room(length)
        try:
            _fallocate(self._node.fd, _KEEP_SIZE, offset, length)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise

    def allocate(self, offset: int, length: int) -> None:
        self._check()
        if length > 0:
            try:
                self._reserve(offset, length)
            except (OSError, OverflowError) as error:
                raise storage_error(error, self.path, offset) from error

    async def read_at(self, offset: int, length: int) -> bytes:
        await self._turns.take()
        self._check()
        node = self._node
        try:
            if offset < 0:
                raise OverflowError
            length = min(length, os.fstat(node.fd).st_size - offset)
            if length <= 0:
                return b""
            if length <= INLINE_READ_BYTES and node.reads_in_place:
                data = self._cached(offset, length)
                if data is not None:
                    return data
            fd = node.fd
            node.enter()
            data = await self._workers.run(
                lambda: pread_all(fd, offset, length), lambda _error: node.leave()
            )
        except (OSError, OverflowError) as error:
            raise storage_error(error, self.path, offset) from error
        self._check()
        return data

    async def scan(self, scan: Scan) -> list[bytes]:
        pieces, fn = scan.pieces(), scan.fn
        if scan.length <= min(scan.piece_bytes, INLINE_READ_BYTES):
            return [fn(await self.read_at(*piece)) for piece in pieces]
        await self._turns.take()
        self._check()
        node = self._node
        fd = node.fd
        node.enter()
        try:
            found = await self._workers.run(
                lambda: [fn(pread_all(fd, offset, length)) for offset, length in pieces],
                lambda _error: node.leave(),
            )
        except (OSError, OverflowError) as error:
            raise storage_error(error, self.path, scan.offset) from error
        self._check()
        return found

    def _cached(self, offset: int, length: int) -> bytes | None:
        """The range if all of it is in the page cache."""
        buffer = bytearray(length)
        try:
            if os.preadv(self._node.fd, [buffer], offset, os.RWF_NOWAIT) == length:
                return bytes(buffer)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self._node.reads_in_place = False
            elif error.errno != errno.EAGAIN:
                raise
        return None

    async def sync(self) -> None:
        self._check()
        if self._node.lost is not None:
            self._node.lose(self._node.lost)
            self._check()
        with contextlib.suppress(OSError):  # the handle is poisoned with it
            await self._node.start_sync(self._workers)
        self._check()

    # -- for a thread that may block, and that enters the loop's world for an instant ------

    def borrow(self) -> int:
        """The descriptor, for reading; it stays open until :meth:`give_back`."""
        self._check()
        self._node.enter()
        return self._node.fd

    def give_back(self) -> None:
        """The descriptor that was borrowed is not used any more."""
        self._node.leave()

    def begin_sync(self) -> tuple[int, SyncLanded]:
        """As :meth:`FileNode.begin_sync`; raises what was lost before."""
        self._check()
        if self._node.lost is not None:
            self._node.lose(self._node.lost)
            self._check()
        return self._node.begin_sync()

    def check(self) -> None:
        """Raises what a sync that failed, or the end of the handle, has left."""
        self._check()

    def close(self) -> None:
        """Give the handle back; a second time does nothing."""
        closed = StorageError("the file is closed", path=self.path)
        if self._node.detach(self):
            self._poison = closed


class HostReader(ReadOnlyCalls, HostFile):
    """A handle that was opened for reading only: the node may well be able to write."""

    __slots__ = ()

    def _check(self) -> None:
        HostFile._check(self)


def _behind(buffers: Sequence[Buffer], count: int) -> list[Buffer]:
    """What is left of the buffers after their first ``count`` bytes."""
    for index, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[index + 1 :]]
        count -= len(buffer)
    return []
