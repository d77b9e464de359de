"""A real directory tree as a volume of the port.

What each call becomes: ``create`` openat(O_CREAT | O_EXCL), ``open`` openat, ``rename``
renameat after a look at what is there (POSIX would replace an empty directory, the port
replaces files only), ``link`` linkat, ``list`` getdents, ``stat`` fstatat without following,
``free_bytes`` statvfs (what is free for users, not for root), ``sync_directory`` fsync of the
directory in a thread, ``lock`` flock.  No call follows a symbolic link, none leaves the base
directory (:mod:`replicator.host.paths`).

Attributes
----------
In the port they are bits, 0 for a new entry.  Here they are the nine permission bits, and the
kernel heeds them: ``open`` asks for writing unless it is told to read only, and what the bits
forbid this process is AccessDenied (:mod:`replicator.owned_volume` goes around that).  An entry
that nobody has given any is open to the replicator's user alone and carries the sticky bit,
which says nothing on a file and forbids nothing to an owner: so "none" is told from 0600.
Set-user-id, set-group-id and sticky are no attributes: they are neither reported nor taken
from a peer, who could otherwise plant a program that runs as somebody else.

Locks
-----
flock on a file of that name, made when missing and left there: to remove it would let two
processes lock two files of one name.  A directory is locked itself.  The kernel drops the lock
with the process.

A failed sync of a directory cannot be repeated either (:mod:`replicator.host.files`): it is
remembered, and every later one of that directory fails as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import stat as mode_bits
from collections.abc import Iterator
from typing import Final

from replicator.errors import AlreadyExists, Locked, NotFound, StorageError, SyncFailed
from replicator.host.file_node import FileNode
from replicator.host.files import HostFile, HostReader
from replicator.host.paths import BaseDirectory, decode_name
from replicator.host.shared_page import HostSharedPage
from replicator.host.workers import VOLUME_THREADS, Workers
from replicator.host.writeback import DIRTY_LIMIT_BYTES, WriteBack
from replicator.operation import encode_path, is_target
from replicator.runtime.port import EntryKind, Stat

ATTRIBUTE_BITS: Final = 0o777
NEW_FILE_MODE: Final = 0o1600
NEW_DIRECTORY_MODE: Final = 0o1700

_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
"""O_NONBLOCK only so that a pipe planted in the tree is refused instead of waited for."""
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
REMOVE_IT: Final = "Remove it: sockets, pipes and devices cannot be replicated."
LIMIT_ATTRIBUTES: Final = 64
"""Entries that are kept open until the syncs of their directories; beyond it they are synced."""


def _plain_stat(directory: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _fsync_and_close(fd: int) -> None:
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _stat_or_none(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return _plain_stat(directory, name)
    except FileNotFoundError:
        return None


class HostLock:
    """Implements ``replicator.runtime.port.Lock``; made by :meth:`HostVolume.lock`."""

    def __init__(self, fd: int, locks: dict[HostLock, None]) -> None:
        self._fd = fd
        self._locks = locks
        locks[self] = None

    def release(self) -> None:
        """Give the lock back; a second time does nothing."""
        if self in self._locks:
            del self._locks[self]
            os.close(self._fd)


class HostVolume:
    """One directory tree; implements ``replicator.runtime.port.Volume``.

    Arguments
    ---------
    name: what messages call it.
    base_directory: the volume's root on this machine; must exist.
    loop: where its threads deliver.
    dirty_limit_bytes: what ``admit`` keeps the unwritten bytes below.
    limit_threads: blocking calls underway at a time.
    seen_at: what every path in the volume begins with, see
        :class:`~replicator.host.paths.BaseDirectory`.
    """

    def __init__(
        self,
        name: str,
        base_directory: str,
        loop: asyncio.AbstractEventLoop,
        dirty_limit_bytes: int = DIRTY_LIMIT_BYTES,
        limit_threads: int = VOLUME_THREADS,
        seen_at: str = "",
    ) -> None:
        self._name = name
        self._root = seen_at or "/"
        self._base = BaseDirectory(base_directory, seen_at)
        self.workers = Workers(loop, f"volume-{name}", limit_threads)
        self._write_back = WriteBack(self.workers, dirty_limit_bytes)
        self._nodes: dict[tuple[int, int], FileNode] = {}
        self._lost: dict[tuple[int, int], str] = {}
        self._lost_directories: dict[tuple[int, int], str] = {}
        self._locks: dict[HostLock, None] = {}
        self._loop = loop
        self._pages: list[HostSharedPage] = []
        self._attributes: dict[tuple[int, int], list[int]] = {}
        """Entries whose attributes wait for the sync of their directory, open."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def root(self) -> str:
        return self._root

    @property
    def dirty_bytes(self) -> int:
        """Written through this volume and not yet known to be on disk."""
        return self._write_back.dirty_bytes

    def close(self) -> None:
        """Close all handles and give up all locks, as the end of the process would."""
        self._write_back.close()
        for node in list(self._nodes.values()):
            node.detach_all()
        self.release_locks()
        for page in self._pages:
            page.close()
        for entries in self._attributes.values():
            for fd in entries:
                os.close(fd)
        self._attributes.clear()
        self._base.close()

    # -- files ---------------------------------------------------------------------------

    def create(self, path: str) -> HostFile:
        with self._base.parent(path) as (directory, name):
            if name == b".":
                raise StorageError("not a name", path=path)
            flags = _OPEN | os.O_CREAT | os.O_EXCL
            fd = os.open(name, flags, NEW_FILE_MODE, dir_fd=directory)
        stat = os.fstat(fd)
        self._lost.pop((stat.st_dev, stat.st_ino), None)  # that was another file's
        return self._handle(path, fd, stat, read_only=False)

    def open(self, path: str, read_only: bool = False) -> HostFile:
        with self._base.parent(path) as (directory, name):
            try:
                fd = os.open(name, _READ if read_only else _OPEN, dir_fd=directory)
            except OSError as error:
                if error.errno in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
                    raise StorageError("not a regular file", path=path) from error
                raise
        stat = os.fstat(fd)
        try:
            if not mode_bits.S_ISREG(stat.st_mode):
                raise StorageError("not a regular file", path=path)
            self._base.check_device(stat, path)
        except StorageError:
            os.close(fd)
            raise
        return self._handle(path, fd, stat, read_only)

    def _handle(self, path: str, fd: int, stat: os.stat_result, read_only: bool) -> HostFile:
        key = (stat.st_dev, stat.st_ino)
        node = self._nodes.get(key)
        if node is None:
            node = FileNode(fd, key, self._write_back, self._forget, writable=not read_only)
            self._nodes[key] = node
            node.lost = self._lost.get(key)
        else:
            if not (read_only or node.writable):
                node.take_writable(fd)
            os.close(fd)
        return (HostReader if read_only else HostFile)(path, node, self.workers)

    def _forget(self, node: FileNode) -> None:
        del self._nodes[node.key]
        if node.lost is not None:
            self._lost[node.key] = node.lost

    # -- names ---------------------------------------------------------------------------

    def rename(self, old: str, new: str) -> None:
        with self._base.parent(old) as (old_directory, old_name):  # noqa: SIM117
            with self._base.parent(new) as (new_directory, new_name):
                source = _stat_or_none(old_directory, old_name)
                if source is None or old_name == b".":
                    raise NotFound("no such file or directory", path=old)
                if new_name == b".":
                    raise AlreadyExists("a directory is in the way", path=new)
                target = _stat_or_none(new_directory, new_name)
                if target is not None and not os.path.samestat(source, target):
                    modes = (source.st_mode, target.st_mode)
                    if any(map(mode_bits.S_ISDIR, modes)):
                        raise AlreadyExists("a directory is in the way", path=new)
                try:
                    os.rename(
                        old_name, new_name, src_dir_fd=old_directory, dst_dir_fd=new_directory
                    )
                except OSError as error:
                    if error.errno == errno.EINVAL:
                        reason = "a directory cannot be moved into itself"
                        raise StorageError(reason, path=new) from error
                    raise
        self._write_back.forget_unnamed()

    def unlink(self, path: str) -> None:
        with self._removable(path) as (directory, name):
            os.unlink(name, dir_fd=directory)
        self._write_back.forget_unnamed()

    def rmdir(self, path: str) -> None:
        with self._removable(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)

    @contextlib.contextmanager
    def _removable(self, path: str) -> Iterator[tuple[int, bytes]]:
        with self._base.parent(path) as place:
            if place[1] == b".":
                raise StorageError("the root of a volume cannot be removed", path=path)
            yield place

    def link(self, old: str, new: str) -> None:
        with self._base.parent(old) as (old_directory, old_name):
            if not mode_bits.S_ISREG(_plain_stat(old_directory, old_name).st_mode):
                raise StorageError("only files can have a second name", path=old)
            with self._base.parent(new) as (new_directory, new_name):
                if new_name == b".":
                    raise StorageError("not a name", path=new)
                os.link(
                    old_name,
                    new_name,
                    src_dir_fd=old_directory,
                    dst_dir_fd=new_directory,
                    follow_symlinks=False,
                )

    def symlink(self, target: str, path: str) -> None:
        with self._base.parent(path) as (directory, name):
            if name == b".":
                raise StorageError("not a name", path=path)
            if not is_target(target):
                raise StorageError("no symbolic link can have this target", path=path)
            os.symlink(encode_path(target), name, dir_fd=directory)

    def mkdir(self, path: str) -> None:
        with self._base.parent(path) as (directory, name):
            if name == b".":
                raise StorageError("not a name", path=path)
            os.mkdir(name, NEW_DIRECTORY_MODE, dir_fd=directory)
            if self._lost_directories:  # the number may have been another directory's
                stat = _plain_stat(directory, name)
                self._lost_directories.pop((stat.st_dev, stat.st_ino), None)

    def set_attributes(self, path: str, attributes: int) -> None:
        if not 0 <= attributes <= ATTRIBUTE_BITS:
            raise StorageError(f"this volume has no attributes {attributes:#o}", path=path)
        with self._base.parent(path) as (directory, name):
            fd = os.open(name, _LOOK, dir_fd=directory)
            try:
                mode = os.fstat(fd).st_mode
                self._changed_attributes(directory, name, fd, mode)
                if mode_bits.S_ISLNK(mode):
                    raise StorageError("a symbolic link has no attributes", path=path)
                new = NEW_DIRECTORY_MODE if mode_bits.S_ISDIR(mode) else NEW_FILE_MODE
                # fchmod takes no O_PATH descriptor, and any other might not be allowed.
                os.chmod(f"/proc/self/fd/{fd}", attributes or new)
            finally:
                os.close(fd)

    def _changed_attributes(self, directory: int, name: bytes, entry: int, mode: int) -> None:
        """Keep the entry for the next sync of its directory: attributes are the entry's own.

        On ext4 the directory's fsync takes them along, on xfs and btrfs it does not.
        """
        if mode_bits.S_ISLNK(mode):
            return
        parent = os.fstat(directory)
        if sum(map(len, self._attributes.values())) >= LIMIT_ATTRIBUTES:
            for entries in self._attributes.values():
                while entries:
                    _fsync_and_close(entries.pop())
            self._attributes.clear()
        # A mode may forbid reading, but not to who has the entry open already.
        try:
            fd = os.open(name, _READ, dir_fd=directory)
        except PermissionError:  # the present one does: the owner may read while it is changed
            readable = mode_bits.S_IMODE(mode) | mode_bits.S_IRUSR
            os.chmod(f"/proc/self/fd/{entry}", readable)
            fd = os.open(name, _READ, dir_fd=directory)
        self._attributes.setdefault((parent.st_dev, parent.st_ino), []).append(fd)

    # -- looking -------------------------------------------------------------------------

    def list(self, path: str) -> list[str]:
        with self._base.parent(path) as (directory, name):
            fd = os.open(name, _LIST, dir_fd=directory)
            try:
                return sorted(decode_name(os.fsencode(each)) for each in os.listdir(fd))
            finally:
                os.close(fd)

    def stat(self, path: str) -> Stat:
        with self._base.parent(path) as (directory, name):
            found = _plain_stat(directory, name)
            self._base.check_device(found, path)
            mode = found.st_mode
            if mode_bits.S_ISLNK(mode):
                target = decode_name(os.readlink(name, dir_fd=directory))
                return Stat(EntryKind.SYMLINK, len(target), found.st_ino, 0, target)
        bits = mode_bits.S_IMODE(mode)
        if mode_bits.S_ISDIR(mode):
            attributes = 0 if bits == NEW_DIRECTORY_MODE else bits & ATTRIBUTE_BITS
            return Stat(EntryKind.DIRECTORY, 0, found.st_ino, attributes)
        if not mode_bits.S_ISREG(mode):
            raise StorageError(
                "neither a file, a directory nor a symbolic link", path=path, remedy=REMOVE_IT
            )
        attributes = 0 if bits == NEW_FILE_MODE else bits & ATTRIBUTE_BITS
        return Stat(EntryKind.FILE, found.st_size, found.st_ino, attributes)

    def exists(self, path: str) -> bool:
        """Whether the name is there; an error that leaves it open is raised."""
        try:
            with self._base.parent(path) as (directory, name):
                _plain_stat(directory, name)
        except NotFound:
            return False
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.ENOTDIR, errno.ENAMETOOLONG):
                return False
            raise
        return True

    def free_bytes(self) -> int:
        with self._base.parent(self._root) as (directory, _name):
            found = os.fstatvfs(directory)
        return found.f_bavail * found.f_frsize

    # -- locks and durability --------------------------------------------------------------

    def lock(self, path: str) -> HostLock:
        with self._base.parent(path) as (directory, name):
            fd = self._lockable(directory, name)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(fd)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise Locked("another process holds the lock", path=path) from error
                raise
        return HostLock(fd, self._locks)

    @staticmethod
    def _lockable(directory: int, name: bytes) -> int:
        """A descriptor of the directory of that name, or else of a file, made when missing."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.open(name, _LIST, dir_fd=directory)
        return os.open(name, _OPEN | os.O_CREAT, NEW_FILE_MODE, dir_fd=directory)

    def shared_page(self, path: str, size_bytes: int) -> HostSharedPage:
        page = HostSharedPage(self._base, path, size_bytes, self._loop)
        self._pages.append(page)
        return page

    async def sync_directory(self, path: str) -> None:
        with self._base.parent(path) as (directory, name):
            fd = os.open(name, _LIST, dir_fd=directory)
        found = os.fstat(fd)
        key = (found.st_dev, found.st_ino)
        entries = self._attributes.pop(key, [])

        def sync() -> None:
            for entry in entries:
                os.fsync(entry)
            os.fsync(fd)

        def landed(error: Exception | None) -> None:
            for each in (fd, *entries):
                os.close(each)
            if error is not None:
                self._lost_directories[key] = str(error)

        with contextlib.suppress(OSError):
            await self.workers.start(sync, landed)
        if key in self._lost_directories:
            cause = self._lost_directories[key]
            raise SyncFailed(f"the sync of the directory failed: {cause}", path=path)

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        await self._write_back.admit(size_bytes)

    def admits(self, size_bytes: int) -> bool:
        """Whether ``admit`` would return at once."""
        return self._write_back.admits(size_bytes)

    def release_locks(self) -> None:
        """Give all locks back.  In a forked child this leaves the parent its locks."""
        for lock in list(self._locks):
            lock.release()
