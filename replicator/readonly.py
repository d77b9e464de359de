"""A real directory seen through the port, for reading only.

The offline commands must answer what recovery *would* do, and the surest way to know is to
run the very code that does it.  Over this volume it can: reads come from the files of this
machine, and what recovery would erase is only written down in :attr:`ReadOnlyVolume.erasures`.
Nothing is opened for writing, nothing is locked, and no handle stays open between two reads,
so that a replicator at work on the same directory is not disturbed.

Paths are those of the machine, so that messages name files as the user knows them.  Every
coroutine here ends without waiting: :func:`run_to_end` needs no kernel.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from replicator.errors import BadInput, NotFound, StorageError
from replicator.runtime.port import Buffer, EntryKind, Lock, Scan, SharedPage, Stat

T = TypeVar("T")

LARGEST_FILE_BYTES: Final = 4 << 30
"""Segments are read whole, and none is larger than this.  (Staged pages are, and are not.)"""


class Erasure(NamedTuple):
    """What recovery would have cut off: all of ``path`` from ``offset`` on."""

    path: str
    offset: int
    whole: bool
    """The file would be removed, not only cut."""


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    work.close()
    raise RuntimeError("reading a directory must not wait for anything")


def _refuse(path: str) -> NoReturn:
    raise StorageError("this directory is open for reading only", path=path)


def _translated(path: str, error: OSError) -> StorageError | BadInput:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(
            "it disappeared while it was read",
            path=path,
            remedy="Run the command again; stop the replicator first if it still happens.",
        )
    return BadInput(
        f"it cannot be read: {error.strerror or type(error).__name__}",
        path=path,
        remedy="Run the command as a user that may read the directory, on a healthy disk.",
    )


class ReadOnlyFile:
    """One regular file; opened anew for each read."""

    def __init__(self, volume: ReadOnlyVolume, path: str, size_bytes: int) -> None:
        self._volume = volume
        self._size_bytes = size_bytes
        self.path = path

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    async def read_at(self, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        if length > LARGEST_FILE_BYTES:
            raise BadInput(
                f"{self._size_bytes} bytes are more than any segment has", path=self.path
            )
        try:
            with Path(self.path).open("rb", buffering=0) as file:
                file.seek(offset)
                parts: list[bytes] = []
                while length > 0 and (part := file.read(length)):
                    parts.append(part)
                    length -= len(part)
        except OSError as error:
            raise _translated(self.path, error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def scan(self, scan: Scan) -> list[bytes]:
        return [scan.fn(await self.read_at(*piece)) for piece in scan.pieces()]

    def truncate(self, size_bytes: int) -> None:
        self._volume.erasures.append(Erasure(self.path, size_bytes, False))

    async def sync(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """Nothing is open."""

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        _refuse(self.path)

    def zero_range(self, offset: int, length: int) -> None:
        _refuse(self.path)

    def allocate(self, offset: int, length: int) -> None:
        _refuse(self.path)


class ReadOnlyVolume:
    """The machine's file systems as one volume.

    Arguments
    ---------
    on_open: called with the path and size of each file before it is read.
    """

    name = "read only"
    root = "/"

    def __init__(self, on_open: Callable[[str, int], None] | None = None) -> None:
        self.erasures: list[Erasure] = []
        """What a writable volume would have lost, in order."""
        self._on_open = on_open

    # -- what reads --------------------------------------------------------------------

    def list(self, path: str) -> list[str]:
        try:
            return sorted(entry.name for entry in Path(path).iterdir())
        except OSError as error:
            raise _translated(path, error) from error

    def stat(self, path: str) -> Stat:
        try:
            found = Path(path).lstat()
            kind = EntryKind.DIRECTORY if Path(path).is_dir() else EntryKind.FILE
        except OSError as error:
            raise _translated(path, error) from error
        return Stat(kind, found.st_size, found.st_ino)

    def exists(self, path: str) -> bool:
        try:
            return Path(path).exists()
        except OSError as error:
            raise _translated(path, error) from error

    def open(self, path: str, read_only: bool = False) -> ReadOnlyFile:
        try:
            # Opening a pipe would wait for a writer for ever.
            regular = Path(path).is_file()
            size_bytes = Path(path).stat().st_size
        except OSError as error:
            raise _translated(path, error) from error
        if not regular:
            raise BadInput("this is no regular file", path=path)
        if self._on_open is not None:
            self._on_open(path, size_bytes)
        return ReadOnlyFile(self, path, size_bytes)

    # -- what would change the directory -----------------------------------------------

    def unlink(self, path: str) -> None:
        self.erasures.append(Erasure(path, 0, True))

    async def sync_directory(self, path: str) -> None:
        """Nothing was changed."""

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        """Nothing will be written."""

    def free_bytes(self) -> int:
        return 0

    def shared_page(self, path: str, size_bytes: int) -> SharedPage:
        _refuse(path)

    def create(self, path: str) -> ReadOnlyFile:
        _refuse(path)

    def rename(self, old: str, new: str) -> None:
        _refuse(old)

    def link(self, old: str, new: str) -> None:
        _refuse(new)

    def symlink(self, target: str, path: str) -> None:
        _refuse(path)

    def mkdir(self, path: str) -> None:
        _refuse(path)

    def rmdir(self, path: str) -> None:
        _refuse(path)

    def set_attributes(self, path: str, attributes: int) -> None:
        _refuse(path)

    def lock(self, path: str) -> Lock:
        _refuse(path)
