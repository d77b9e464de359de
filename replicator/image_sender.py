"""Block synchronization, the source's part: bringing an image over while programs write on.

The source takes the names and sizes at the instant its epoch begins (operation 0) and then
reads its files at leisure.  What it reads is a mixture of moments, but every change since
operation 0 is captured: replaying operations 1 to n over pages that were read before
operation n + 1 gives exactly the image after operation n.  So

1. the source tells the digests of its extents, the replica answers which of them differ
   (:mod:`replicator.digests`, :mod:`replicator.block_frames`);
2. of those it tells the digests of their pages, and the replica asks for pages;
3. the replica *stages* what it gets, its old image untouched and usable
   (:mod:`replicator.staging`);
4. on SYNC_END(n) it waits until operations up to n are in its journal, and commits names,
   staged pages and operations with one journal record.

The replica compares against its image *with the staged pages laid over it*.  What a broken
attempt brought over therefore does not differ any more in the next one.

At most :data:`COMPARE_WINDOW_BYTES` of the image are in question at a time, so that both ends
read and digest at once and neither holds more than some frames.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from replicator.block_frames import (
    EXTENTS_PER_FRAME,
    EXTENTS_PER_PAGE_FRAME,
    BlockTraffic,
    ExtentDigests,
    ExtentPages,
    ExtentsWanted,
    PageData,
    PageDigests,
    PagesWanted,
    bits_of,
)
from replicator.catalogue import Catalogue, Entry
from replicator.compression import contexts
from replicator.digests import (
    EXTENT_BYTES,
    PAGE_BYTES,
    PAGES_PER_EXTENT,
    RangeDigests,
    digest_range,
    extents_of,
    pages_of,
)
from replicator.errors import ProtocolViolation
from replicator.protected_files import ProtectedFiles
from replicator.protocol import HEADER_BYTES, FrameType
from replicator.runtime import group
from replicator.runtime.channels import Queue, Signal
from replicator.runtime.port import Runtime, Scan

COMPARE_WINDOW_BYTES: Final = 32 << 20
"""How much of the image may be in question, from its extents' digests to its last page."""
QUESTIONS_UNDERWAY: Final = 64
"""So many files may be in question at a time where they are small."""
ANSWERS_LIMIT: Final = QUESTIONS_UNDERWAY + COMPARE_WINDOW_BYTES // EXTENT_BYTES + 1
"""No replica has more to say at a time."""
_PACK_COST_NS_PER_BYTE: Final = 2
_NO_PAGE: Final = bytes(PAGE_BYTES)

ScanFile = Callable[[int, Scan], Awaitable[list[bytes]]]
"""Scans the file of an id; see :data:`~replicator.digests.DigestScan`."""
SendFrame = Callable[[FrameType, bytes], Awaitable[int]]
Answer = ExtentsWanted | PagesWanted


@dataclass(slots=True)
class _Question:
    """One EXTENT_DIGESTS underway."""

    pages: int
    digests: RangeDigests
    open_extents: int = -1
    """Those that differ and are not dealt with yet; -1 before the answer."""


class Questioner:
    """Asks about extents of files and keeps count of what is underway.

    Arguments
    ---------
    scan: reads the files.
    send: sends one frame.
    seed: of the digests.
    answers: what the replica said; see :meth:`run`.
    on_pages: called with a file's id and (extent, one bit for each page that differs) each.
    traffic: where bytes are counted.
    compression_level: zstd level, or None.
    """

    def __init__(
        self,
        scan: ScanFile,
        send: SendFrame,
        seed: int,
        answers: Queue[Answer | None],
        on_pages: Callable[[int, list[tuple[int, int]]], Awaitable[None]],
        traffic: BlockTraffic,
        compression_level: int | None,
    ) -> None:
        self._scan = scan
        self._send = send
        self._seed = seed
        self._answers = answers
        self._on_pages = on_pages
        self._traffic = traffic
        self.compress = None if compression_level is None else contexts(compression_level).compress
        self._questions: dict[tuple[int, int], _Question] = {}
        """By file id and first extent."""
        self._extents: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
        """Extents that differ: to their question, and their pages."""
        self._underway_bytes = 0
        self._changed = Signal()

    async def run(self, files: list[tuple[int, int, int]], after: int = 0) -> None:
        """Ask about all of these; returns when all is answered and dealt with.

        Arguments
        ---------
        files: (file id, first extent, pages) each.
        after: operation that the replica must have applied before it compares.
        """
        asked = False

        async def ask() -> None:
            for file_id, first_extent, pages in files:
                step = EXTENTS_PER_FRAME * PAGES_PER_EXTENT
                for page in range(0, pages, step):
                    extent = first_extent + page // PAGES_PER_EXTENT
                    await self._ask(file_id, extent, min(step, pages - page), after)
            await self._answers.put(None)

        async with group() as g:
            g.spawn(ask(), "questions")
            while not asked or self._questions:
                answer = await self._answers.get()
                if answer is None:
                    asked = True
                    continue
                self._traffic.question_bytes += HEADER_BYTES + len(answer.encode())
                if isinstance(answer, ExtentsWanted):
                    await self._tell_pages(answer)
                else:
                    await self._take_wishes(answer)

    async def _ask(self, file_id: int, first: int, pages: int, after: int) -> None:
        size_bytes = pages * PAGE_BYTES
        while self._questions and (
            self._underway_bytes + size_bytes > COMPARE_WINDOW_BYTES
            or len(self._questions) >= QUESTIONS_UNDERWAY
        ):
            await self._changed
        self._underway_bytes += size_bytes

        digests = await digest_range(partial(self._scan, file_id), first, pages, self._seed)
        frame = ExtentDigests(file_id, first, after, pages, digests.extents)
        self._questions[file_id, first] = _Question(pages, digests)
        self._traffic.compared_bytes += size_bytes
        self._traffic.digest_bytes += await self._send(
            FrameType.EXTENT_DIGESTS, frame.encode(self.compress)
        )

    async def _tell_pages(self, answer: ExtentsWanted) -> None:
        """Of the extents that differ, tell the digests of their pages."""
        key = (answer.file_id, answer.first)
        question = self._questions.get(key)
        fits = question is not None and extents_of(question.pages) == answer.extents
        if question is None or not fits or question.open_extents >= 0:
            raise ProtocolViolation("an answer to a question about extents that was not asked")
        question.open_extents = len(answer.different) + len(answer.absent)
        for number in (*answer.different, *answer.absent):
            pages = min(PAGES_PER_EXTENT, question.pages - number * PAGES_PER_EXTENT)
            self._extents[answer.file_id, answer.first + number] = (key, pages)
        if not question.open_extents:
            self._close(key)
        for at in range(0, len(answer.different), EXTENTS_PER_PAGE_FRAME):
            extents = [
                (answer.first + number, question.digests.pages_of_extent(number))
                for number in answer.different[at : at + EXTENTS_PER_PAGE_FRAME]
            ]
            frame = PageDigests(answer.file_id, extents)
            self._traffic.digest_bytes += await self._send(
                FrameType.PAGE_DIGESTS, frame.encode(self.compress)
            )

    async def _take_wishes(self, answer: PagesWanted) -> None:
        keys: list[tuple[int, int]] = []
        for extent, mask in answer.extents:
            key, pages = self._extents.pop((answer.file_id, extent), (None, 0))
            if key is None or mask >> pages:
                raise ProtocolViolation("pages are wanted that were not in question")
            keys.append(key)
        await self._on_pages(answer.file_id, [each for each in answer.extents if each[1]])
        for key in keys:
            question = self._questions[key]
            question.open_extents -= 1
            if not question.open_extents:
                self._close(key)

    def _close(self, key: tuple[int, int]) -> None:
        self._underway_bytes -= self._questions.pop(key).pages * PAGE_BYTES
        self._changed.notify()


class ImageSender:
    """Compares an image with the replica's and sends what differs.

    Arguments
    ---------
    files: the protected files as they are now; an inode keeps its file through renames.
    catalogue: names and sizes at operation 0.
    history: of the epoch; seeds the digests.
    send: sends one frame.
    answers: the EXTENTS_WANTED and PAGES_WANTED that arrive.
    traffic: where bytes are counted.
    compression_level: zstd level, or None.
    """

    def __init__(
        self,
        runtime: Runtime,
        files: ProtectedFiles,
        catalogue: Catalogue,
        history: bytes,
        send: SendFrame,
        answers: Queue[Answer | None],
        traffic: BlockTraffic,
        compression_level: int | None,
    ) -> None:
        self._runtime = runtime
        self._files = files
        self._send = send
        self._traffic = traffic
        self._entries: dict[int, tuple[str, Entry]] = {
            entry.file_id: (path, entry) for path, entry in catalogue.files()
        }
        self._questioner = Questioner(
            self._scan,
            send,
            seed_of(history),
            answers,
            self._send_pages,
            traffic,
            compression_level,
        )

    async def run(self) -> None:
        """Compare all files and send what differs; returns when all of it has been sent."""
        files = [
            (file_id, 0, pages_of(entry.size_bytes))
            for file_id, (_, entry) in self._entries.items()
        ]
        await self._questioner.run(files)

    async def _scan(self, file_id: int, scan: Scan) -> list[bytes]:
        """Digests of the bytes as they are now; see :meth:`_read`."""
        path, entry = self._entries[file_id]
        length = min(scan.length, entry.size_bytes - scan.offset)
        return await self._files.scan(path, entry.inode, replace(scan, length=length))

    async def _read(self, file_id: int, offset: int, length: int) -> bytes:
        """The bytes as they are now; nothing when the file is gone or has shrunk.

        Whatever made them disappear is an operation that will be replayed.
        """
        path, entry = self._entries[file_id]
        length = min(length, entry.size_bytes - offset)
        return await self._files.read_at(path, entry.inode, offset, length)

    async def _send_pages(self, file_id: int, wishes: list[tuple[int, int]]) -> None:
        """Send the pages that are wanted of a file: (extent, one bit for each page) each."""
        extents: list[ExtentPages] = []
        pages = 0
        for extent, mask in wishes:
            count = mask.bit_count()
            if len(extents) == EXTENTS_PER_PAGE_FRAME or pages + count > PAGES_PER_EXTENT:
                await self._send_extents(PageData(file_id, extents))
                extents, pages = [], 0
            extents.append(await self._read_pages(file_id, extent, mask))
            pages += count
        if extents:
            await self._send_extents(PageData(file_id, extents))

    async def _read_pages(self, file_id: int, extent: int, mask: int) -> ExtentPages:
        wanted = bits_of(mask)
        first, last = wanted[0], wanted[-1]
        offset, length = extent * EXTENT_BYTES, (last + 1) * PAGE_BYTES
        if len(wanted) * 4 > last + 1 - first:
            start = first * PAGE_BYTES
            data = await self._read(file_id, offset + start, length - start)
            data = data.ljust(length - start, b"\0")
            places = [n * PAGE_BYTES - start for n in wanted]
            pages = [data[at : at + PAGE_BYTES] for at in places]
        else:
            pages = [
                (await self._read(file_id, offset + n * PAGE_BYTES, PAGE_BYTES)).ljust(
                    PAGE_BYTES, b"\0"
                )
                for n in wanted
            ]
        zeros = sum(1 << n for n, page in zip(wanted, pages, strict=True) if page == _NO_PAGE)
        full = [page for page in pages if page != _NO_PAGE]
        return ExtentPages(extent, mask, zeros, full[0] if len(full) == 1 else b"".join(full))

    async def _send_extents(self, frame: PageData) -> None:
        payload = await self._runtime.compute(
            lambda: frame.encode(self._questioner.compress),
            sum(len(each.data) for each in frame.extents) * _PACK_COST_NS_PER_BYTE,
        )
        self._traffic.data_bytes += await self._send(FrameType.PAGE_DATA, payload)
        for each in frame.extents:
            self._traffic.data_pages += (each.pages & ~each.zeros).bit_count()
            self._traffic.zero_pages += each.zeros.bit_count()


def seed_of(history: bytes) -> int:
    """The seed of the digests of a synchronization to this epoch."""
    return int.from_bytes(history[:8].ljust(8, b"\0"), "little")
