"""Block synchronization, the replica's part: compares, asks, stages.

How much is asked for at a time grows with what has come: a connection that breaks loses what
is underway, and with a window of a fixed part of what was brought over the loss stays a fixed
part of it, whatever the link (:class:`Window`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import Final

from replicator.block_frames import (
    EXTENTS_PER_FRAME,
    BlockTraffic,
    ExtentDigests,
    ExtentPages,
    ExtentsWanted,
    PageData,
    PageDigests,
    PagesWanted,
    bits_of,
)
from replicator.catalogue import Entry
from replicator.digests import (
    DIGEST_BYTES,
    EXTENT_BYTES,
    PAGE_BYTES,
    PAGES_PER_EXTENT,
    differing,
    digest_range,
    page_digests,
    pages_of,
)
from replicator.errors import ProtocolViolation, StorageError
from replicator.home import shared_paths
from replicator.protocol import HEADER_BYTES, Frame, FrameType
from replicator.runtime.port import EntryKind, File, Runtime, Scan, Volume
from replicator.staging import Staging

WINDOW_FLOOR_BYTES: Final = 32 << 10
WINDOW_LIMIT_BYTES: Final = 4 << 20
WINDOW_SHARE: Final = 64
"""The window is one part in so many of what this attempt has brought over."""
ANSWERS_PER_WINDOW: Final = 4
"""Pages that are asked for together come in one frame, and are lost together where it is cut:
that may be no more than such a part of the window."""
IN_QUESTION_LIMIT: Final = 1024
"""Extents that may wait for their page digests or for room in the window."""
SYNC_FLOOR_BYTES: Final = 256 << 10
SYNC_LIMIT_BYTES: Final = 32 << 20
"""Staged pages are synced at least so often: a power loss costs no more than this."""

_OVERLAY_BYTES: Final = 1 << 20
"""Of home with staged pages over it, in one piece."""
_NO_PAGE: Final = bytes(PAGE_BYTES)
Reply = tuple[FrameType, bytes]


class HomeFiles:
    """Reads files of home, one open at a time.

    Arguments
    ---------
    volume, root: where home is.
    """

    def __init__(self, volume: Volume, root: str) -> None:
        self._volume = volume
        self._root = root
        self._file_id = 0
        self._file: File | None = None

    def open(self, file_id: int, path: str) -> File | None:
        """The file of an id, at ``path`` when it is opened; None when there is none."""
        if file_id != self._file_id:
            self.close()
            self._file_id = file_id
            try:
                if self._volume.stat(self._root + path).kind == EntryKind.FILE:
                    self._file = self._volume.open(self._root + path, read_only=True)
            except StorageError:  # there is none, or a file where a directory should be
                self._file = None
        return self._file

    def close(self) -> None:
        """Give the handle back."""
        if self._file is not None:
            self._file.close()
        self._file, self._file_id = None, 0


class ImageReceiver:
    """Compares what the source asks about with home and staging, and stages what it sends.

    Arguments
    ---------
    volume, root: the home image, which does not change meanwhile.
    staging: where differing pages go.
    seed: of the digests.
    traffic: where bytes are counted.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        staging: Staging,
        seed: int,
        traffic: BlockTraffic,
    ) -> None:
        self._runtime = runtime
        self._staging = staging
        self._seed = seed
        self._traffic = traffic
        self._files = HomeFiles(volume, root)
        self._entries: dict[int, tuple[str, Entry]] = {
            entry.file_id: (path, entry) for path, entry in staging.catalogue.files()
        }
        self._unusable = shared_paths(volume, root, staging.catalogue)
        staging.from_nothing = sorted(self._unusable)
        self._compare: dict[tuple[int, int], bytes] = {}
        """Extents that differ, with the digests of their pages, until the source tells its own."""
        self._held: deque[tuple[int, int, int]] = deque()
        """(file id, extent, pages) that are not asked for yet."""
        self._asked: dict[tuple[int, int], int] = {}
        self._without_room: dict[tuple[int, int], int] = {}
        """Of extents that are held or asked for: the pages that will need new space in home,
        where comparing has shown it."""
        self._digest_of_zeros = page_digests(b"", 1, seed)
        self._asked_bytes = 0

    async def take(self, frame: Frame) -> list[Reply]:
        """What to answer to a frame of the source; raises ProtocolViolation, NoSpace."""
        replies: list[Reply] = []
        size = HEADER_BYTES + len(frame.payload)
        if frame.type == FrameType.EXTENT_DIGESTS:
            self._traffic.digest_bytes += size
            answer = await self._differing(ExtentDigests.decode(frame.payload))
            replies.append((FrameType.EXTENTS_WANTED, answer.encode()))
        elif frame.type == FrameType.PAGE_DIGESTS:
            self._traffic.digest_bytes += size
            self._compare_pages(PageDigests.decode(frame.payload))
        else:
            self._traffic.data_bytes += size
            await self._stage(PageData.decode(frame.payload))
        replies += [(FrameType.PAGES_WANTED, each.encode()) for each in self._release()]
        self._traffic.question_bytes += sum(HEADER_BYTES + len(each) for _, each in replies)
        return replies

    # -- comparing -----------------------------------------------------------------

    def _entry(self, file_id: int, first_page: int, pages: int) -> Entry:
        found = self._entries.get(file_id)
        if found is None or first_page + pages > pages_of(found[1].size_bytes):
            raise ProtocolViolation(f"file {file_id} has no such pages in the new image")
        return found[1]

    def _home(self, file_id: int) -> File | None:
        path = self._entries[file_id][0]
        return None if path in self._unusable else self._files.open(file_id, path)

    async def _below(self, file_id: int, offset: int, length: int) -> bytes:
        """What home has of a range; nothing beyond the file's size in the new image."""
        file = self._home(file_id)
        length = min(length, self._entries[file_id][1].size_bytes - offset)
        return b"" if file is None or length <= 0 else await file.read_at(offset, length)

    async def _scan(self, file_id: int, scan: Scan) -> list[bytes]:
        """Home with the staged pages laid over it."""
        if not self._staging.inherited_pages:  # an extent is compared before its pages come
            file = self._home(file_id)
            length = min(scan.length, self._entries[file_id][1].size_bytes - scan.offset)
            return [] if file is None else await file.scan(replace(scan, length=length))
        found: list[bytes] = []
        for offset, length in replace(scan, piece_bytes=_OVERLAY_BYTES).pieces():
            below = await self._below(file_id, offset, length)
            shown = await self._staging.overlay(file_id, offset, length, below)
            piece = shown.ljust(length, b"\0")
            found.append(
                await self._runtime.compute(
                    partial(scan.fn, piece), int(length * scan.cost_ns_per_byte)
                )
            )
        return found

    async def _differing(self, frame: ExtentDigests) -> ExtentsWanted:
        file_id, first = frame.file_id, frame.first
        self._entry(file_id, first * PAGES_PER_EXTENT, frame.pages)
        if len(self._compare) + len(self._held) > IN_QUESTION_LIMIT:
            raise ProtocolViolation("more is in question than any source asks at a time")

        own = await digest_range(partial(self._scan, file_id), first, frame.pages, self._seed)
        self._traffic.compared_bytes += frame.pages * PAGE_BYTES
        file = self._home(file_id)
        end = file.size_bytes if file is not None else 0
        differ = differing(own.extents, frame.digests)
        # Where nothing was there before, all there is will be wanted: no need to look closer.
        absent = [
            number
            for number in differ
            if (first + number) * EXTENT_BYTES >= end and not self._staging.inherited_pages
        ]
        different = [number for number in differ if number not in set(absent)]
        for number in different:
            self._compare[file_id, first + number] = own.pages_of_extent(number)
        for number in absent:
            pages = min(PAGES_PER_EXTENT, frame.pages - number * PAGES_PER_EXTENT)
            mask = self._without_room[file_id, first + number] = (1 << pages) - 1
            self._held.append((file_id, first + number, mask))
        return ExtentsWanted(file_id, first, frame.extents, different, absent)

    def _compare_pages(self, frame: PageDigests) -> None:
        for extent, digests in frame.extents:
            own = self._compare.pop((frame.file_id, extent), b"")
            if len(own) != len(digests):
                raise ProtocolViolation("page digests came that were not asked for")
            mask = sum(1 << page for page in differing(own, digests))
            if mask and not self._staging.inherited_pages:
                # A hole, or beyond the end: what is there has the digest of zeros.
                holes = range(0, len(own), DIGEST_BYTES)
                self._without_room[frame.file_id, extent] = sum(
                    1 << at // DIGEST_BYTES
                    for at in holes
                    if own[at : at + DIGEST_BYTES] == self._digest_of_zeros
                )
            self._held.append((frame.file_id, extent, mask))

    # -- asking and staging --------------------------------------------------------

    @property
    def _window_bytes(self) -> int:
        """How much may be asked for and not be here yet."""
        share = self._staging.staged_bytes // WINDOW_SHARE
        return max(WINDOW_FLOOR_BYTES, min(WINDOW_LIMIT_BYTES, share))

    def _release(self) -> list[PagesWanted]:
        """Ask for what the window has room for; at least for one extent's pages."""
        wanted: list[PagesWanted] = []
        together_bytes = 0
        while self._held:
            file_id, extent, mask = self._held[0]
            size_bytes = mask.bit_count() * PAGE_BYTES
            if self._asked_bytes and self._asked_bytes + size_bytes > self._window_bytes:
                break
            self._held.popleft()
            if mask:
                self._asked[file_id, extent] = mask
                self._asked_bytes += size_bytes
            newest = wanted[-1] if wanted else None
            if (
                newest is not None
                and newest.file_id == file_id
                and len(newest.extents) < EXTENTS_PER_FRAME
                and together_bytes + size_bytes <= self._window_bytes // ANSWERS_PER_WINDOW
            ):
                newest.extents.append((extent, mask))
                together_bytes += size_bytes
            else:
                wanted.append(PagesWanted(file_id, [(extent, mask)]))
                together_bytes = size_bytes
        return wanted

    async def _stage(self, frame: PageData) -> None:
        for data in frame.extents:
            key = (frame.file_id, data.extent)
            if self._asked.get(key) != data.pages:
                raise ProtocolViolation(
                    f"pages of file {frame.file_id} came that were not asked for"
                )
            del self._asked[key]
            self._asked_bytes -= data.pages.bit_count() * PAGE_BYTES
            self._traffic.data_pages += (data.pages & ~data.zeros).bit_count()
            self._traffic.zero_pages += data.zeros.bit_count()
            new = self._without_room.pop(key, None)
            if new is None:
                new = await self._look_for_room(frame.file_id, data)
            await self._staging.add(frame.file_id, data, new)

    async def _look_for_room(self, file_id: int, data: ExtentPages) -> int:
        """The pages that will need new space in home: beyond its end, or in what may be a hole."""
        pages = bits_of(data.pages & ~data.zeros)
        if not pages:
            return 0
        start = data.extent * EXTENT_BYTES + pages[0] * PAGE_BYTES
        below = await self._below(file_id, start, (pages[-1] + 1 - pages[0]) * PAGE_BYTES)
        new = 0
        for page in pages:
            at = (page - pages[0]) * PAGE_BYTES
            if below[at : at + PAGE_BYTES] in (b"", _NO_PAGE):
                new |= 1 << page
        return new

    @property
    def sync_due(self) -> bool:
        """Whether so much was staged that it is worth a sync."""
        share = self._staging.staged_bytes // WINDOW_SHARE
        limit = max(SYNC_FLOOR_BYTES, min(SYNC_LIMIT_BYTES, share))
        return self._staging.unsynced_bytes >= limit

    def close(self) -> None:
        """Give the handles back."""
        self._files.close()
