"""A file of the disk that is open, whatever number of handles it has, and its syncs.

What a failed sync means on Linux
---------------------------------
The kernel marks the pages it could not write as clean and reports the error once to each
open file description that existed then.  A second fsync says success, reads show the bytes
from the page cache as if they were safe, and a description opened later never hears of it.
So here

* all handles of one file share one description (:class:`FileNode`), and its failure poisons
  all that are open, whichever asked for the sync, or when it was the write-back;
* when nobody had the file open at the time, whoever opens it next is told at its first sync;
* the clean pages are dropped from the cache (POSIX_FADV_DONTNEED), so that what recovery
  reads is what is on the disk; best effort, since dirty pages stay.

Errors of a sync are SyncFailed for whatever cause: a full volume shows up there, too, with
delayed allocation.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Protocol

from replicator.errors import SyncFailed
from replicator.host.workers import Workers
from replicator.host.writeback import WriteBack
from replicator.runtime import Completion

SyncLanded = Callable[[Exception | None], None]
"""Told how a sync ended, on the loop's thread or by who has its turn."""


class Handle(Protocol):
    """What a node does with its handles."""

    @property
    def path(self) -> str:
        """Under which it was opened."""

    def poison(self, error: SyncFailed) -> None:
        """It is of no use any more."""

    def close(self) -> None:
        """Nobody uses it any more."""


class FileNode:
    """One file of the disk that is open, whatever number of handles it has.

    Arguments
    ---------
    fd: its descriptor, from here on this object's to close.
    key: device and inode number.
    write_back: the volume's book of dirty bytes.
    forget: called with the node when its descriptor has been closed.
    writable: whether the descriptor is open for writing too.
    """

    def __init__(
        self,
        fd: int,
        key: tuple[int, int],
        write_back: WriteBack,
        forget: Callable[[FileNode], None],
        writable: bool = True,
    ) -> None:
        self.fd = fd
        self.writable = writable
        self.key = key
        self.write_back = write_back
        self.written_bytes = 0
        self.settled_bytes = 0
        self.lost: str | None = None
        """Why bytes were lost that nobody could be told of; the next to sync is."""
        self.reads_in_place = True
        self._forget = forget
        self._handles: dict[Handle, None] = {}
        self._calls = 0

    def take_writable(self, fd: int) -> None:
        """Go over to a descriptor that can write; who reads by the number now is not disturbed.

        ``fd`` stays the caller's.  A failure of the write-back that nobody was told of yet is
        told through the new one: the kernel keeps it for whoever opens the file next.
        """
        os.dup2(fd, self.fd, inheritable=False)
        self.writable = True

    @property
    def is_open(self) -> bool:
        return bool(self._handles)

    @property
    def is_unnamed(self) -> bool:
        return self.fd < 0 or os.fstat(self.fd).st_nlink == 0

    def attach(self, handle: Handle) -> None:
        """One more handle."""
        if not self._handles:
            self.write_back.opened(self)
        self._handles[handle] = None

    def detach(self, handle: Handle) -> bool:
        """A handle was closed; False when it was closed before."""
        if handle not in self._handles:
            return False
        del self._handles[handle]
        if not self._handles:
            self.write_back.closed(self)
            self.give_back()
        return True

    def detach_all(self) -> None:
        """The volume is given up: all handles are closed."""
        for handle in list(self._handles):
            handle.close()

    def enter(self) -> None:
        """A thread is about to use the descriptor; paired with :meth:`leave`."""
        self._calls += 1

    def leave(self) -> None:
        """The thread's call has come back."""
        self._calls -= 1
        self.give_back()

    def give_back(self) -> None:
        """Close the descriptor if no handle, thread or dirty byte needs it."""
        if self.fd >= 0 and not (self._handles or self._calls or self.write_back.holds(self)):
            fd, self.fd = self.fd, -1
            os.close(fd)
            self._forget(self)

    def lose(self, cause: str) -> None:
        """A sync or write-back failed: all handles are of no use any more."""
        for handle in self._handles:
            handle.poison(SyncFailed(f"the sync failed: {cause}", path=handle.path))
        if not self._handles:
            self.lost = cause

    def write_out(self, workers: Workers) -> None:
        """Write back in the background what is dirty now; its failure is that of a sync."""
        self._start_sync(workers, background=True)

    def start_sync(self, workers: Workers) -> Completion[None]:
        """Write all that was written before this call; a failure poisons the handles."""
        return self._start_sync(workers, background=False)

    def _start_sync(self, workers: Workers, background: bool) -> Completion[None]:
        fd, landed = self.begin_sync(background)
        return workers.start(lambda: sync_descriptor(fd), landed)

    def begin_sync(self, background: bool = False) -> tuple[int, SyncLanded]:
        """A sync of what is written now is about to begin, in whatever thread.

        Returns the descriptor, and what is to be called when the sync has ended.
        """
        up_to, fd = self.written_bytes, self.fd
        self.enter()

        def landed(error: Exception | None) -> None:
            # The handles first.  Then a failure counts as settled: the kernel marked the
            # pages clean and will not try again.
            if error is not None:
                self.lose(str(error))
            self.write_back.settled(self, up_to, background)
            self.leave()

        return fd, landed


def sync_descriptor(fd: int) -> None:
    """fdatasync; after a failure the clean pages are dropped from the cache."""
    try:
        os.fdatasync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        raise
