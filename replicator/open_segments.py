"""The open files of a segmented log: few of them, however many segments it has.

A process may have some thousand files open at a time, often 1,024, and a log has thousands of
segments.  So a segment's file is opened when it is needed, and the one that was not used for
the longest time is closed for it.  What stays open::

    the last one    records are appended to it
    in use          somebody waits for a read or a sync of it
    pinned          it was written, and no sync has confirmed that yet
    idle            at most MOST_OPEN_SEGMENTS

Why pinned: Linux tells of a failed write-back once, those descriptions of the file that were
open when it happened.  A description that is opened later hears of nothing, and its sync
succeeds although the bytes are nowhere.  So the sync goes through the very file that wrote.  A
segment whose sync failed stays pinned, and its file refuses every call from then on.

A segment that this process has only read waits for a sync as well, since nobody knows what the
process before had synced; but no description of this process would be told anything, so it
needs no pin and is opened again when its turn comes.

How many are pinned is for the owner of the log to bound: it syncs when
:attr:`OpenSegments.crowded` says so.  A log that nobody ever syncs pins nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from replicator.errors import SyncFailed
from replicator.runtime.port import File, Volume, write_all
from replicator.segments import Segment

MOST_OPEN_SEGMENTS: Final = 8
"""Files kept open that nothing needs at the moment: one is read at a time, rarely two."""
MOST_UNSYNCED_SEGMENTS: Final = 32
"""Written segments that wait for a sync; 256 MiB of segments of the usual size."""
_COPY_BYTES: Final = 1 << 20


class OpenSegments:
    """Opens and closes the files of one log's segments, and syncs them.

    Arguments
    ---------
    volume: where they are.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._open: dict[int, Segment] = {}
        """By number, the one that was used last at the end."""
        self._last: Segment | None = None
        self._unsynced: list[Segment] = []
        """What a sync is about, in the order of the log."""

    # -- which are open ------------------------------------------------------------

    def append_to(self, segment: Segment) -> None:
        """The log's last segment from now on: once its file is open it stays so."""
        self._last = segment
        if segment.file is not None:
            self._open[segment.number] = segment
        self._close_idle()

    def file(self, segment: Segment) -> File:
        """The file of a segment, opened if need be; sure to stay open only if it is the last.

        Raises StorageError.
        """
        file = segment.file
        if file is None:
            file = segment.file = self._volume.open(segment.path)
        self._open.pop(segment.number, None)
        self._open[segment.number] = segment
        return file

    @contextmanager
    def use(self, segment: Segment) -> Iterator[File]:
        """The file of a segment, which is not closed meanwhile.  Raises StorageError."""
        file = self.file(segment)
        segment.users += 1
        try:
            self._close_idle()
            yield file
        finally:
            segment.users -= 1
            self._close_idle()

    def _close_idle(self) -> None:
        if len(self._open) <= MOST_OPEN_SEGMENTS + 1:  # the last one is among them, as a rule
            return
        idle = [
            segment
            for segment in self._open.values()
            if not (segment.pinned or segment.users or segment is self._last)
        ]
        for segment in idle[: max(0, len(idle) - MOST_OPEN_SEGMENTS)]:
            self._close(segment)

    def _close(self, segment: Segment) -> None:
        self._open.pop(segment.number, None)
        file, segment.file = segment.file, None
        if file is not None:
            file.close()

    def drop(self, segment: Segment) -> None:
        """Close a segment's file, whatever waits for it: the segment is freed, or the log is."""
        self._close(segment)
        segment.pinned = False
        if segment in self._unsynced:
            self._unsynced.remove(segment)

    # -- what a sync is about --------------------------------------------------------

    @property
    def crowded(self) -> bool:
        """Whether so many segments are pinned that they must be synced before another is."""
        most, files = MOST_UNSYNCED_SEGMENTS, self._open
        return len(files) >= most and sum(each.pinned for each in files.values()) >= most

    def found(self, segment: Segment) -> None:
        """A segment that another process wrote: the next sync is about it as well."""
        self._unsynced.append(segment)

    def written(self, segment: Segment) -> None:
        """Something is written through the segment's file, which stays open until its sync."""
        segment.pinned = True
        unsynced = self._unsynced
        if not unsynced or (unsynced[-1] is not segment and segment not in unsynced):
            unsynced.append(segment)

    async def write_again(self, segment: Segment) -> None:
        """Write what stands in the segment over itself.  Raises StorageError."""
        with self.use(segment) as file:
            for offset in range(0, segment.end, _COPY_BYTES):
                data = await file.read_at(offset, min(_COPY_BYTES, segment.end - offset))
                await self._volume.admit(len(data))
                self.written(segment)
                write_all(file, offset, data)

    async def sync(self) -> None:
        """Make durable what was written before this call, and what was found.

        Raises SyncFailed, and StorageError for a file that cannot be opened; those that were
        not synced wait on.  So they do after a call that is cancelled.
        """
        await self._sync(list(self._unsynced))

    async def sync_written(self) -> None:
        """The same, without what was only found."""
        await self._sync([segment for segment in self._unsynced if segment.pinned])

    async def _sync(self, segments: list[Segment]) -> None:
        for segment in segments:
            if segment.file is None and segment not in self._unsynced:
                continue  # freed meanwhile, or synced by another task and closed
            end = segment.end
            with self.use(segment) as file:
                # Though it was only read: if this sync fails, or nobody waits for its end, a
                # file that is opened later must not make it look as if all were well.
                if segment in self._unsynced:
                    segment.pinned = True
                try:
                    await file.sync()
                except SyncFailed:
                    segment.pinned = True  # another task's sync may have ended well meanwhile
                    raise
                if segment.end == end and segment in self._unsynced:
                    self._unsynced.remove(segment)
                    segment.pinned = False


__all__ = ["MOST_OPEN_SEGMENTS", "MOST_UNSYNCED_SEGMENTS", "OpenSegments"]
