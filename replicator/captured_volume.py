"""The volume through which the source's programs write: each change becomes an operation.

Append its intent with the data to the spool, change the file, raise the completed mark: plain
calls, so nothing can come between (:mod:`replicator.capture`).  Reads and everything outside
the protected root go straight through.
"""

from __future__ import annotations

from typing import Final

from replicator.capture import Capture
from replicator.catalogue import Entry
from replicator.errors import StorageError
from replicator.operation import (
    LARGEST_OFFSET,
    LONGEST_NAME_BYTES,
    Operation,
    OperationKind,
    encode_path,
    is_inside,
    is_range,
    is_target,
    write_prefix,
)
from replicator.runtime.port import MAX_WRITE_BYTES, Buffer, File, Scan
from replicator.runtime.volume_over import VolumeOver
from replicator.segments import LogFull

_HOW_PATHS_ARE: Final = (
    "Begin the path with '/' and let each name be separated by one '/'; '.', '..' and NUL are no "
    "names."
)


def path_below(root: str, path: str, directory: bool = False) -> str:
    """The path in the volume of one that is relative to the protected root.

    ``directory``: "/", the root itself, is meant as well.  Raises StorageError for a path that
    would lead elsewhere.
    """
    if directory and path == "/":
        return root
    if not is_inside(path):
        raise StorageError("not a path of the protected set", path=path, remedy=_HOW_PATHS_ARE)
    return root + path


def _check_range(path: str, offset: int, length: int) -> None:
    if not is_range(offset, length):
        raise StorageError(
            f"no file can have {length} bytes there",
            path=path,
            offset=offset,
            remedy=f"Offsets and sizes go from 0 to {LARGEST_OFFSET}.",
        )


def _check_length(text: str, path: str) -> None:
    size_bytes = len(encode_path(text))
    if size_bytes > LONGEST_NAME_BYTES:
        raise StorageError(
            f"{size_bytes} bytes are too long to be captured",
            path=path if len(path) <= 100 else f"{path[:100]}...",
            remedy=f"Paths and targets of links have at most {LONGEST_NAME_BYTES} bytes.",
        )


def _note_outcome(capture: Capture, done_bytes: int) -> None:
    """The last intent failed (0), or was cut short.

    When that cannot be noted the history ends: with the intent alone it would say that all of
    it was done.  The caller goes on with what happened to the file.
    """
    try:
        capture.spool.outcome(done_bytes)
    except (LogFull, StorageError) as error:
        why = "the spool is full" if isinstance(error, LogFull) else str(error)
        capture.stop(f"how an operation ended cannot be noted: {why}")
    else:
        capture.spool.complete()


class CapturedFile:
    """A file of the protected set; changes through it are captured."""

    __slots__ = ("_capture", "_file", "file_id")

    def __init__(self, capture: Capture, file: File, file_id: int) -> None:
        self._capture = capture
        self._file = file
        self.file_id = file_id

    @property
    def path(self) -> str:
        return self._file.path

    @property
    def file(self) -> File:
        """The file below, which nothing captures."""
        return self._file

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        if type(data) is not bytes:
            data = bytes(memoryview(data))  # of a number, bytes() would make so many zeros
        length = len(data)
        if length > MAX_WRITE_BYTES:
            raise StorageError(
                f"one write of {length} bytes is too large to be captured",
                path=self._file.path,
                offset=offset,
                remedy=f"Write at most {MAX_WRITE_BYTES} bytes at a time.",
            )
        _check_range(self._file.path, offset, length)
        capture = self._capture
        prefix = write_prefix(self.file_id, offset, length, capture.runtime.wall_ns())
        captured = capture.intend(prefix, data, self._file.path)
        try:
            written = self._file.write_at(offset, data)
        except StorageError:
            if captured:
                _note_outcome(capture, 0)
            raise
        if captured:
            if written != length:
                _note_outcome(capture, written)
            else:
                capture.spool.complete()
        return written

    def truncate(self, size_bytes: int) -> None:
        self._change(OperationKind.TRUNCATE, size_bytes, 0)

    def zero_range(self, offset: int, length: int) -> None:
        self._change(OperationKind.ZERO_RANGE, offset, length)

    def _change(self, kind: OperationKind, offset: int, length: int) -> None:
        _check_range(self._file.path, offset, length)
        capture = self._capture
        operation = capture.names_operation(
            Operation(kind, file_id=self.file_id, offset=offset, length=length)
        )
        captured = capture.intend(operation.encode_prefix(), b"", self.path)
        try:
            if kind == OperationKind.TRUNCATE:
                self._file.truncate(offset)
            else:
                self._file.zero_range(offset, length)
        except StorageError:
            if captured:
                _note_outcome(capture, 0)
            raise
        if captured:
            capture.spool.complete()

    def allocate(self, offset: int, length: int) -> None:
        self._file.allocate(offset, length)

    async def read_at(self, offset: int, length: int) -> bytes:
        return await self._file.read_at(offset, length)

    async def scan(self, scan: Scan) -> list[bytes]:
        return await self._file.scan(scan)

    async def sync(self) -> None:
        await self._file.sync()
        await self._capture.wait_for_room(0)
        self.note_synced()

    def note_synced(self) -> None:
        """Capture that all that was written before is on the disk."""
        capture = self._capture
        operation = capture.names_operation(Operation(OperationKind.SYNC, file_id=self.file_id))
        if capture.intend(operation.encode_prefix(), b"", self.path):
            capture.spool.complete()

    def close(self) -> None:
        self._file.close()


class CapturedVolume(VolumeOver):
    """The storage port for the source's programs.

    Arguments
    ---------
    capture: of the protected set; what lies outside of its root goes straight through.
    """

    def __init__(self, capture: Capture) -> None:
        super().__init__(capture.volume)
        self._capture = capture

    def _inside(self, path: str) -> bool:
        """Whether this is a path of the protected set; raises StorageError for none at all.

        The disk takes "/set//file" and "//set/file" for what they are not here.
        """
        if not is_inside(path):
            raise StorageError("not a path", path=path, remedy=_HOW_PATHS_ARE)
        _check_length(path, path)
        return path.startswith(self._capture.root + "/")

    def _relative(self, path: str) -> str:
        return path[len(self._capture.root) :]

    def _do(self, operation: Operation, path: str) -> None:
        """Capture and carry out one change of names below the root."""
        capture, volume = self._capture, self.below
        operation = capture.names_operation(operation)
        captured = capture.intend(operation.encode_prefix(), b"", path)
        root, kind = capture.root, operation.kind
        name, name2 = root + operation.name, root + operation.name2
        try:
            if kind == OperationKind.CREATE:
                volume.create(name).close()
            elif kind == OperationKind.RENAME:
                volume.rename(name, name2)
            elif kind == OperationKind.UNLINK:
                volume.unlink(name)
            elif kind == OperationKind.LINK:
                volume.link(name, name2)
            elif kind == OperationKind.SYMLINK:
                volume.symlink(operation.name2, name)
            elif kind == OperationKind.MKDIR:
                volume.mkdir(name)
            elif kind == OperationKind.RMDIR:
                volume.rmdir(name)
            else:
                volume.set_attributes(name, operation.offset)
        except StorageError:
            if captured:
                _note_outcome(capture, 0)
            raise
        capture.spool.catalogue.apply(operation)
        if captured:
            capture.spool.complete()

    def _entry(self, path: str) -> Entry:
        entry = self._capture.spool.catalogue.entries.get(self._relative(path))
        if entry is None:
            # Not in the catalogue: let the volume say what is wrong with the path.
            self.below.stat(path)
            raise StorageError("the name is not known to capture", path=path)
        return entry

    def _same_side(self, old: str, new: str) -> bool:
        inside = self._inside(old)
        if inside != self._inside(new):
            raise StorageError(
                "a name cannot move across the border of the protected set",
                path=old,
                remedy="Copy the file instead.",
            )
        if f"{self._capture.root}/".startswith(f"{old}/"):
            raise StorageError(
                "the root of the protected set cannot be moved while it is captured",
                path=old,
                remedy="End the protection first.",
            )
        return inside

    def create(self, path: str) -> File:
        if not self._inside(path):
            return super().create(path)
        file_id = self._capture.spool.catalogue.next_id
        if self.below.exists(path):
            return super().create(path)  # raises: the name is taken
        self._do(Operation(OperationKind.CREATE, file_id=file_id, name=self._relative(path)), path)
        return CapturedFile(self._capture, self.below.open(path), file_id)

    def open(self, path: str, read_only: bool = False) -> File:
        if not self._inside(path):
            return super().open(path, read_only)
        file = self.below.open(path, read_only)
        if read_only:
            return file  # nothing comes of it that would have to be captured
        try:
            return CapturedFile(self._capture, file, self._entry(path).file_id)
        except StorageError:
            file.close()
            raise

    def rename(self, old: str, new: str) -> None:
        if not self._same_side(old, new):
            super().rename(old, new)
            return
        operation = Operation(
            OperationKind.RENAME,
            file_id=self._entry(old).file_id,
            name=self._relative(old),
            name2=self._relative(new),
        )
        self._do(operation, old)

    def unlink(self, path: str) -> None:
        if not self._inside(path):
            super().unlink(path)
            return
        file_id = self._entry(path).file_id
        self._do(Operation(OperationKind.UNLINK, file_id=file_id, name=self._relative(path)), path)

    def link(self, old: str, new: str) -> None:
        if not self._same_side(old, new):
            super().link(old, new)
            return
        operation = Operation(
            OperationKind.LINK,
            file_id=self._entry(old).file_id,
            name=self._relative(old),
            name2=self._relative(new),
        )
        self._do(operation, old)

    def symlink(self, target: str, path: str) -> None:
        if not self._inside(path):
            super().symlink(target, path)
            return
        if not is_target(target):
            raise StorageError("no symbolic link can have this target", path=path)
        _check_length(target, path)
        self._do(self._new(OperationKind.SYMLINK, path, target), path)

    def mkdir(self, path: str) -> None:
        if not self._inside(path):
            super().mkdir(path)
            return
        self._do(self._new(OperationKind.MKDIR, path), path)

    def _new(self, kind: OperationKind, path: str, name2: str = "") -> Operation:
        file_id = self._capture.spool.catalogue.next_id
        return Operation(kind, file_id=file_id, name=self._relative(path), name2=name2)

    def rmdir(self, path: str) -> None:
        if not self._inside(path):
            super().rmdir(path)
            return
        file_id = self._entry(path).file_id
        self._do(Operation(OperationKind.RMDIR, file_id=file_id, name=self._relative(path)), path)

    def set_attributes(self, path: str, attributes: int) -> None:
        if not self._inside(path):
            super().set_attributes(path, attributes)
            return
        if not 0 <= attributes <= LARGEST_OFFSET:
            raise StorageError(f"no entry has attributes {attributes}", path=path)
        operation = Operation(
            OperationKind.SET_ATTRIBUTES,
            file_id=self._entry(path).file_id,
            offset=attributes,
            name=self._relative(path),
        )
        self._do(operation, path)

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        await self._capture.admit(size_bytes, writes)
