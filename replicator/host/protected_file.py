"""An open file of a protected set, for any thread; see :mod:`replicator.host.protected_set`.

What may block (a read that waits for the disk, a sync) does so in the caller's thread and
outside of the turn; what is captured is done with the turn held.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

from replicator.captured_volume import CapturedFile
from replicator.errors import StorageError
from replicator.host.file_node import sync_descriptor
from replicator.host.files import HostFile, pread_all
from replicator.host.paths import translated

if TYPE_CHECKING:
    from replicator.host.protected_set import ProtectedSet


class ProtectedFile:
    """An open file of a protected set; a context manager that closes it."""

    __slots__ = ("_captured", "_owner", "_raw")

    def __init__(self, owner: ProtectedSet, captured: Any) -> None:
        assert isinstance(captured, CapturedFile)
        assert isinstance(captured.file, HostFile)
        self._owner = owner
        self._captured = captured
        self._raw = captured.file

    @property
    def path(self) -> str:
        """The real path by which it was opened."""
        return self._captured.path

    @property
    def size_bytes(self) -> int:
        return self._owner.look(lambda: self._captured.size_bytes)

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Write ``data`` at ``offset``; returns the bytes written, fewer on a full volume.

        Raises SpoolFull (policy hold, after the patience), NoSpace, SyncFailed, CaptureBroken.
        """
        if type(data) is not bytes:
            data = bytes(memoryview(data))  # of a number, bytes() would make so many zeros
        owner, size_bytes = self._owner, len(data)
        while True:
            with owner.turn:
                if owner.admits(size_bytes):
                    ended = False
                    try:
                        written = self._captured.write_at(offset, data)
                        ended = True
                    finally:
                        if not ended:
                            owner.settle()
                    return written
            owner.wait_for_room(size_bytes)

    def append(self, data: bytes | bytearray | memoryview) -> int:
        """Write ``data`` at the end of the file, in one step; returns where that was."""
        data = bytes(memoryview(data))

        def write() -> int:
            end = self._captured.size_bytes
            written = self._captured.write_at(end, data)
            if written != len(data):
                raise StorageError(
                    f"the volume took {written} of {len(data)} bytes", path=self.path, offset=end
                )
            return end

        return self._owner.change(write, len(data))

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer only at the end of the file."""
        raw, owner = self._raw, self._owner
        fd = owner.look(raw.borrow)
        try:
            with translated(self.path, offset):
                # No more than is there: memory is taken for what is asked.
                return pread_all(fd, offset, min(length, os.fstat(fd).st_size - offset))
        finally:
            with owner.turn:
                raw.give_back()

    def truncate(self, size_bytes: int) -> None:
        """Set the size; what is gained reads as zeros."""
        self._owner.change(lambda: self._captured.truncate(size_bytes))

    def zero_range(self, offset: int, length: int) -> None:
        """Make the range read as zeros."""
        self._owner.change(lambda: self._captured.zero_range(offset, length))

    def sync(self) -> None:
        """Make all that was written before this call survive a power loss; raises SyncFailed."""
        raw, owner = self._raw, self._owner
        fd, landed = owner.look(raw.begin_sync)
        failure: Exception | None = OSError("the sync was broken off")
        try:
            sync_descriptor(fd)
            failure = None
        except OSError as error:
            failure = error
        finally:
            with owner.turn:
                landed(failure)
        owner.change(self._note_synced)

    def _note_synced(self) -> None:
        self._raw.check()
        self._captured.note_synced()

    def close(self) -> None:
        """Give the handle back; promises nothing about durability."""
        with self._owner.turn:
            if self._owner.refusal is None:
                self._captured.close()

    def __enter__(self) -> ProtectedFile:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()
