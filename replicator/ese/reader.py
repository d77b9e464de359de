"""What the formats ask of the world: bytes at an offset, and how many there are.

Two methods are enough for a file, an emulated volume, an image in memory or a copy-on-write
overlay.  Everything is read through :func:`read_exactly`, so that a file that ends early is one
kind of error everywhere.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from replicator.ese.errors import EseError

DISK_IO = -1022
FILE_NOT_FOUND = -1811
ACCESS_DENIED = -1032


class Reader(Protocol):
    """Random access to bytes that somebody else may own."""

    @property
    def size_bytes(self) -> int:
        """How long it is now."""

    def read_at(self, offset: int, size: int) -> bytes | memoryview:
        """Up to ``size`` bytes from ``offset`` on; fewer at the end."""


def read_exactly(reader: Reader, offset: int, size: int) -> bytes:
    """``size`` bytes from ``offset`` on; raises EseError -1022 where the file ends before."""
    data = bytes(reader.read_at(offset, size))
    if len(data) != size:
        raise EseError(
            DISK_IO,
            f"{size:,} bytes were wanted, {len(data):,} are there",
            path=name_of(reader),
            offset=offset,
        )
    return data


def name_of(reader: Reader) -> str | None:
    """The path behind a reader, for errors; None for bytes in memory."""
    path = getattr(reader, "path", None)
    return path if isinstance(path, str) else None


class BytesReader:
    """A reader over bytes in memory; slices are views, nothing is copied.

    Arguments
    ---------
    data: the whole content.
    path: what errors call it.
    """

    def __init__(self, data: bytes | bytearray | memoryview, path: str | None = None) -> None:
        self._view = memoryview(data).cast("B")
        self.path = path

    @property
    def size_bytes(self) -> int:
        return len(self._view)

    def read_at(self, offset: int, size: int) -> memoryview:
        return self._view[offset : offset + size]


class FileReader:
    """A reader over a file of this machine, opened for reading only.

    Raises EseError: -1811 when there is no such file, or none that bytes can be read from at a
    place (a directory, a pipe: to open one would wait for somebody who writes), -1032 when it
    may not be opened, -1022 when a read fails.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        if (named := Path(path)).is_dir():
            raise EseError(FILE_NOT_FOUND, "it is a directory, not a file", path=self.path)
        if named.exists() and not (named.is_file() or named.is_block_device()):
            raise EseError(FILE_NOT_FOUND, "it is not a regular file", path=self.path)
        try:
            self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115, closed by close()
        except FileNotFoundError as error:
            raise EseError(FILE_NOT_FOUND, "there is no such file", path=self.path) from error
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            raise EseError(ACCESS_DENIED, reason, path=self.path) from error

    @property
    def size_bytes(self) -> int:
        try:
            return self._file.seek(0, 2)
        except OSError as error:
            reason = error.strerror or "the size is unknown"
            raise EseError(DISK_IO, reason, path=self.path) from error

    def read_at(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            data = self._file.read(size)
            if len(data) < size:  # the end of the file, or a read that was cut short
                parts = [data]
                while parts[-1] and (missing := size - sum(map(len, parts))):
                    parts.append(self._file.read(missing))
                data = b"".join(parts)
        except OSError as error:
            reason = error.strerror or "the read failed"
            raise EseError(DISK_IO, reason, path=self.path, offset=offset) from error
        return data

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
