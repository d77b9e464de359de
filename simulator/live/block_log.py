"""The log of all that a file system asked of its disk, in order.

Models: a disk with a cache, as a file system sees it.  Writes (and zeroings) arrive and are
answered; a flush makes durable all that had been *answered when it arrived*, from the moment
it is answered itself.  Every arrival, every answer and every mark takes one *stamp*, a number
that only grows; a moment is given as a *cut*: the stamps below it have happened.

Leaves out: reads, time, and writes with FUA, which never reach a loop device (the kernel turns
them into a write and a flush).

A log is a directory.  ``base.img`` is the disk as it was before, sparse; ``data`` holds the
bytes of all writes one after the other, ``index`` one fixed record for each entry, written
when the request is answered.  Whoever writes keeps nothing in memory; a reader keeps the
index, about 200 bytes an entry, and maps the data.
"""

from __future__ import annotations

import os
import shutil
import struct
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512
_RECORD = struct.Struct("<QQQQQQ")


class Kind(IntEnum):
    """What was asked of the disk."""

    WRITE = 1
    ZERO = 2
    """A discard or a request for zeros; the range reads as zeros after it."""
    FLUSH = 3
    MARK = 4
    """Not the disk's business: a word from the workload, at this place of the order."""


class Entry(NamedTuple):
    """One request.  ``number`` is its place in the order of arrival."""

    number: int
    kind: Kind
    begin: int
    """The stamp of its arrival."""
    end: int
    """The stamp of its answer; a mark has one stamp for both."""
    offset_bytes: int
    length_bytes: int
    data_at: int
    """Where its bytes stand in ``data``."""


class Mark(NamedTuple):
    """A word from the workload and the stamp at which it was said."""

    stamp: int
    text: str


class LogWriter:
    """Appends entries to the log in a directory; safe to use from several threads.

    Arguments
    ---------
    directory: an existing directory, which gets ``data`` and ``index``.
    limit_bytes: when the data would grow beyond it, :meth:`data` raises OSError (EFBIG), and
        the request that was to be logged must be refused.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._data = os.open(directory / "data", flags)
        self._index = os.open(directory / "index", flags | os.O_APPEND)
        self._limit_bytes = limit_bytes
        self._data_end = 0
        self._stamp = 0
        self._lock = threading.Lock()

    def stamp(self) -> int:
        """The next stamp: take one when a request arrives."""
        with self._lock:
            return self._take_stamp()

    def _take_stamp(self) -> int:
        stamp = self._stamp
        self._stamp = stamp + 1
        return stamp

    def data(self, data: bytes) -> int:
        """Keep the bytes of a request; returns where they stand.  Raises OSError when full."""
        with self._lock:
            position = self._data_end
            if position + len(data) > self._limit_bytes:
                raise OSError(27, "the block log is full")
            self._data_end += len(data)
        view = memoryview(data)
        at = position
        while view:
            written = os.pwrite(self._data, view, at)
            view, at = view[written:], at + written
        return position

    def answered(
        self, kind: Kind, begin: int, offset_bytes: int = 0, length_bytes: int = 0, data_at: int = 0
    ) -> None:
        """Log a request that is about to be answered."""
        with self._lock:
            end = self._take_stamp()
            self._append(kind, begin, end, offset_bytes, length_bytes, data_at)

    def mark(self, text: bytes) -> None:
        """Log a word of the workload."""
        data_at = self.data(text)
        with self._lock:
            stamp = self._take_stamp()
            self._append(Kind.MARK, stamp, stamp, 0, len(text), data_at)

    def _append(self, kind: Kind, begin: int, end: int, offset: int, length: int, at: int) -> None:
        os.write(self._index, _RECORD.pack(kind, begin, end, offset, length, at))

    def close(self) -> None:
        """Close the files."""
        os.close(self._data)
        os.close(self._index)


class BlockLog:
    """A finished log.  Removes its directory when closed or forgotten.

    Arguments
    ---------
    directory: what a :class:`LogWriter` wrote, with ``base.img`` beside it.
    kind: of the file system that wrote, for mounting it again.
    size_bytes: of the disk.
    remove: called once to give back what the directory holds; the default removes it.
    """

    def __init__(
        self,
        directory: Path,
        kind: str,
        size_bytes: int,
        remove: Callable[[Path], None] = shutil.rmtree,
    ) -> None:
        self.directory = directory
        self.kind = kind
        self.size_bytes = size_bytes
        raw = (directory / "index").read_bytes()
        raw = raw[: len(raw) - len(raw) % _RECORD.size]
        # Sorted by arrival: the file has them in the order of the answers.
        records = sorted(_RECORD.iter_unpack(raw), key=lambda record: record[1])
        self.entries = [
            Entry(number, Kind(kind_number), begin, end, offset, length, at)
            for number, (kind_number, begin, end, offset, length, at) in enumerate(records)
        ]
        self.writes = [e for e in self.entries if e.kind in (Kind.WRITE, Kind.ZERO)]
        self.flushes = [e for e in self.entries if e.kind is Kind.FLUSH]
        self._begins = [e.begin for e in self.writes]
        self.end = 1 + max((e.end for e in self.entries), default=-1)
        """The cut at which everything has happened."""
        self._data = os.open(directory / "data", os.O_RDONLY)
        self._durable_from = self._when_durable()
        self.marks = [
            Mark(e.begin, self.data(e).decode()) for e in self.entries if e.kind is Kind.MARK
        ]
        self._finalizer = weakref.finalize(self, _close, self._data, directory, remove)

    def __enter__(self) -> BlockLog:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the log's files; a second call does nothing."""
        self._finalizer()

    def _when_durable(self) -> dict[int, int]:
        """For the number of each write the first cut at which it is durable.

        It is durable once any flush is answered that arrived after the write's answer.
        """
        flushes = sorted(self.flushes, key=lambda flush: flush.begin)
        begins = [flush.begin for flush in flushes]
        earliest = [self.end + 1] * (len(flushes) + 1)
        for i in range(len(flushes) - 1, -1, -1):
            earliest[i] = min(flushes[i].end + 1, earliest[i + 1])
        return {write.number: earliest[bisect_left(begins, write.end)] for write in self.writes}

    def data(self, entry: Entry) -> bytes:
        """The bytes of a write or a mark; zeros for a zeroing."""
        if entry.kind is Kind.ZERO:
            return bytes(entry.length_bytes)
        return os.pread(self._data, entry.length_bytes, entry.data_at)

    def arrived(self, cut: int) -> int:
        """How many of :attr:`writes` had arrived at the cut: they are the first ones."""
        return bisect_left(self._begins, cut)

    def is_durable(self, write: Entry, cut: int) -> bool:
        """Whether a flush had made the write durable at the cut."""
        return self._durable_from[write.number] <= cut

    def durable_from(self, write: Entry) -> int:
        """The first cut at which the write is durable; beyond :attr:`end` if at none."""
        return self._durable_from[write.number]

    def pending(self, cut: int) -> list[Entry]:
        """The writes that had arrived at the cut and were not durable, in order."""
        return [w for w in self.writes[: self.arrived(cut)] if self._durable_from[w.number] > cut]

    def marked(self, text: str) -> int:
        """The cut right after the first mark with this text; raises KeyError without one."""
        for mark in self.marks:
            if mark.text == text:
                return mark.stamp + 1
        raise KeyError(text)

    def marks_before(self, cut: int) -> list[Mark]:
        """The marks that had been made at the cut."""
        return [mark for mark in self.marks if mark.stamp < cut]


def _close(data: int, directory: Path, remove: Callable[[Path], None]) -> None:
    os.close(data)
    remove(directory)
