"""What a file that was opened for reading only answers to changes: the same in every world."""

from __future__ import annotations

from replicator.errors import StorageError
from replicator.runtime.port import Buffer


class ReadOnlyCalls:
    """Goes before an adapter's own class of files, whose changes it refuses."""

    __slots__ = ()
    path: str

    def _check(self) -> None:
        """Raises what a closed or poisoned handle raises."""
        raise NotImplementedError

    def _refuse(self, offset: int) -> StorageError:
        self._check()
        return StorageError("the file was opened for reading only", path=self.path, offset=offset)

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        raise self._refuse(offset)

    def truncate(self, size_bytes: int) -> None:
        raise self._refuse(size_bytes)

    def zero_range(self, offset: int, length: int) -> None:
        raise self._refuse(offset)

    def allocate(self, offset: int, length: int) -> None:
        raise self._refuse(offset)
