"""Dirty bytes of one volume: how many there are, and how they get to the disk in time.

Linux lets a process dirty a fifth of the memory before it holds it, and then a sync lasts
minutes.  Here a volume has a limit of its own: each write is booked, ``admit`` waits while
the limit would be passed, and above half of it the files are written back one by one, the
one that has waited longest first, each with fdatasync in a thread.

What errors in the background mean
----------------------------------
Linux reports a failed write-back once to each open file description, at its next fsync,
and marks the pages clean: nobody else ever hears of it, and a second fsync succeeds without
the bytes being anywhere (fsync(2), "fsyncgate").  So a failure that is found here is a failed
sync of that file: all its handles are poisoned (:meth:`FileNode.lose`).  The descriptor of a
file that was closed with dirty bytes is kept until they are written, or the report would go to
nobody; such files are few, because ``admit`` waits for them too.
"""

from __future__ import annotations

from typing import Final, Protocol

from replicator.host.workers import Workers
from replicator.runtime import Signal

DIRTY_LIMIT_BYTES: Final = 64 << 20
"""Default of what a volume holds unwritten: half a second of a disk that writes 128 MB/s."""

CLOSED_FILES_LIMIT: Final = 64
"""Files closed with dirty bytes, whose descriptors are kept, before ``admit`` waits for them."""


class Dirty(Protocol):
    """A file as write-back sees it."""

    written_bytes: int
    """All that was ever written to it; only grows."""
    settled_bytes: int
    """How much of that is no longer dirty."""

    @property
    def is_open(self) -> bool:
        """Whether any handle of it is open."""

    @property
    def is_unnamed(self) -> bool:
        """Whether its last name is gone."""

    def write_out(self, workers: Workers) -> None:
        """Start a sync in the background; it ends with :meth:`WriteBack.settled`."""

    def give_back(self) -> None:
        """Close the descriptor if nothing needs it any more."""


class WriteBack:
    """The book of dirty bytes.

    Arguments
    ---------
    workers: the volume's threads.
    limit_bytes: what ``admit`` keeps the dirty bytes below.
    """

    def __init__(self, workers: Workers, limit_bytes: int) -> None:
        if limit_bytes < 1:
            raise ValueError("limit_bytes must be at least 1")
        self._workers = workers
        self._limit_bytes = limit_bytes
        self._dirty: dict[Dirty, None] = {}
        self._closed_files = 0
        self._writing: Dirty | None = None
        self._settled = Signal()
        self.dirty_bytes = 0
        """Written and not yet synced or written back, over all files."""

    def wrote(self, file: Dirty, size_bytes: int) -> None:
        """Book a write."""
        if size_bytes:
            file.written_bytes += size_bytes
            self.dirty_bytes += size_bytes
            self._dirty.setdefault(file, None)

    def settled(self, file: Dirty, up_to_bytes: int, background: bool) -> None:
        """What was written to the file before that count is on disk, or lost and told so.

        Arguments
        ---------
        background: whether it was :meth:`Dirty.write_out` that ended.
        """
        if up_to_bytes > file.settled_bytes:
            self.dirty_bytes -= up_to_bytes - file.settled_bytes
            file.settled_bytes = up_to_bytes
        if file.settled_bytes == file.written_bytes and file in self._dirty:
            del self._dirty[file]
            if not file.is_open:
                self._closed_files -= 1
        if background:
            self._writing = None
        file.give_back()
        self._settled.notify()
        if self._pressing:
            self._write_back()

    def opened(self, file: Dirty) -> None:
        """The first handle of a file was opened."""
        if file in self._dirty:
            self._closed_files -= 1

    def closed(self, file: Dirty) -> None:
        """The last handle of a file was closed; its descriptor stays while it is dirty."""
        if file in self._dirty:
            self._closed_files += 1
            self.forget_unnamed()
            if self._pressing:
                self._write_back()

    def holds(self, file: Dirty) -> bool:
        """Whether the file's descriptor is still needed for its dirty bytes."""
        return file in self._dirty

    def forget_unnamed(self) -> None:
        """What is closed and has no name left need not be written: its space is given back."""
        if self._closed_files:
            for file in [each for each in self._dirty if not each.is_open and each.is_unnamed]:
                del self._dirty[file]
                self._closed_files -= 1
                self.settled(file, file.written_bytes, background=False)

    async def admit(self, size_bytes: int) -> None:
        """Wait until so many bytes may be written; more than the limit when nothing is dirty."""
        while not self._may_admit(size_bytes):
            self._write_back()
            await self._settled
        if self._pressing:
            self._write_back()

    def admits(self, size_bytes: int) -> bool:
        """Whether so many bytes may be written now; a plain call, for who need not wait."""
        if self._pressing:
            self._write_back()
        return self._may_admit(size_bytes)

    def _may_admit(self, size_bytes: int) -> bool:
        if self._closed_files >= CLOSED_FILES_LIMIT:
            return False
        return self.dirty_bytes + size_bytes <= self._limit_bytes or not self.dirty_bytes

    @property
    def _pressing(self) -> bool:
        return (
            self.dirty_bytes * 2 > self._limit_bytes or self._closed_files * 2 > CLOSED_FILES_LIMIT
        )

    def _write_back(self) -> None:
        if self._writing is not None or not self._dirty:
            return
        file = next(iter(self._dirty))
        if self._closed_files * 2 > CLOSED_FILES_LIMIT:
            file = next(each for each in self._dirty if not each.is_open)
        # To the back of the line: what is written to it from now on is the youngest.
        del self._dirty[file]
        self._dirty[file] = None
        self._writing = file
        file.write_out(self._workers)

    def close(self) -> None:
        """The volume is given up: nothing more is written back from here."""
        files, self._dirty = list(self._dirty), {}
        self._limit_bytes, self.dirty_bytes, self._closed_files = 1 << 62, 0, 0
        for file in files:
            file.give_back()
