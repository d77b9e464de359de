"""The verdict on pages: good, misplaced, one bit wrong (and which), damaged, never written.

The order of the checks is that of the engine (E src/ese/cpage.cxx, ErrValidatePage): all zero,
checksum, page number of a large page, flush type, tags.  The first two are done for thousands of
pages at once; only what they suspect is looked at page by page.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from replicator.ese.checksum import (
    CHECKSUM_BYTES,
    FORMAT_FLAG_BIT,
    MAGIC,
    NEW_CHECKSUM_FLAG,
    block_sizes,
    block_sums,
    checksum_offsets,
    page_checksums,
    sums_of_one,
    uses_new_checksum,
)
from replicator.ese.errors import EseError

PAGE_NUMBER_AT: Final = 64
"""Pages above 8 KiB carry their number here."""

LARGEST_SMALL_PAGE: Final = 8192
_CHUNK_BYTES: Final = 1024 * 1024
"""What is summed at once: with less the calls weigh more, with more it leaves the core's cache."""


class Verdict(IntEnum):
    """What the checksums say about a page."""

    GOOD = 0
    ZERO = 1
    """All zero: allocated and never written.  Valid on disk, -1019 when read as a live page."""
    MENDED = 2
    """Single-bit errors were located; with them turned back the page is good (event 399)."""
    MISPLACED = 3
    """Whole, but written for another page number."""
    DAMAGED = 4
    WRONG_NUMBER = 5
    """The checksum fits, the number in a large page's header does not (-1118)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of one page.

    Arguments
    ---------
    verdict: see :class:`Verdict`.
    pgno: the number under which it was read.
    probable_pgno: where a misplaced page belongs.
    flipped_bits: numbers of the bits to turn, counted from the start of the page.
    mended: the page with them turned; None unless the verdict is MENDED.
    events: ids that the engine would log.
    """

    verdict: Verdict
    pgno: int
    probable_pgno: int | None = None
    flipped_bits: tuple[int, ...] = ()
    mended: bytes | None = None
    events: tuple[int, ...] = ()

    @property
    def error(self) -> EseError | None:
        """What reading this page as a live page gives; None when it can be used."""
        page = self.pgno
        if self.verdict is Verdict.ZERO:
            return EseError(-1019, "the page is all zero", page=page, events=self.events)
        if self.verdict is Verdict.MISPLACED:
            detail = f"the page is whole but belongs to page {self.probable_pgno}"
            return EseError(-1018, detail, page=page, events=self.events)
        if self.verdict is Verdict.DAMAGED:
            return EseError(-1018, "the checksum is wrong", page=page, events=self.events)
        if self.verdict is Verdict.WRONG_NUMBER:
            detail = f"the page's header names page {self.probable_pgno}"
            return EseError(-1118, detail, page=page, events=self.events)
        return None


def quick_verdicts(
    data: bytes | memoryview, page_size: int, first_pgno: int
) -> npt.NDArray[np.bool_]:
    """For each page, whether its checksum (and number, in a large page) is right.

    Arguments
    ---------
    data: whole pages, one behind the other.
    page_size: bytes a page.
    first_pgno: number of the first one.

    Zero pages are False here; :func:`judge_page` tells them from damage.
    """
    pages = np.frombuffer(data, np.uint8).reshape(-1, page_size)
    good = np.empty(len(pages), np.bool_)
    step = max(1, _CHUNK_BYTES // page_size)
    for start in range(0, len(pages), step):
        chunk = pages[start : start + step]
        numbers = np.arange(start + first_pgno, start + first_pgno + len(chunk), dtype=np.int64)
        good[start : start + step] = _chunk_good(chunk, numbers.astype(np.uint32), page_size)
    return good


def _chunk_good(
    pages: npt.NDArray[np.uint8], numbers: npt.NDArray[np.uint32], page_size: int
) -> npt.NDArray[np.bool_]:
    words: npt.NDArray[np.uint32] = pages.view("<u4")
    is_new = (words[:, 9] & np.uint32(NEW_CHECKSUM_FLAG)) != 0
    sizes = block_sizes(page_size)
    sums = block_sums(pages.reshape(-1, sizes[0]), len(sizes))
    xor, ecc = (each.reshape(-1, len(sizes)) for each in sums)
    good = np.ones(len(pages), np.bool_)
    for number, at in enumerate(checksum_offsets(len(sizes))):
        good &= (words[:, at // 4] == xor[:, number] ^ numbers) & (
            words[:, at // 4 + 1] == ecc[:, number]
        )
    xor_of_page = words[:, 0] ^ words[:, 1] ^ np.bitwise_xor.reduce(xor, axis=1)
    old_good = (xor_of_page == np.uint32(MAGIC)) & (words[:, 1] == numbers)
    good = np.where(is_new, good, old_good)
    if page_size > LARGEST_SMALL_PAGE:
        good &= words[:, PAGE_NUMBER_AT // 4] == numbers
    return good


def is_zero(data: bytes) -> bool:
    """Whether all bytes are zero, at the speed of a search."""
    return data.count(0) == len(data)


def judge_page(page: bytes | memoryview, pgno: int) -> Judgement:
    """Everything that the checksums tell about one page.

    Arguments
    ---------
    page: its bytes, the whole page.
    pgno: the number under which it was read.
    """
    data = bytes(page)
    if is_zero(data):
        return Judgement(Verdict.ZERO, pgno, events=(476,))
    if not uses_new_checksum(data):
        return _judge_old(data, pgno)
    mended, flipped, misplaced = _mend(data, pgno)
    if misplaced is not None:
        return Judgement(Verdict.MISPLACED, pgno, misplaced, events=(474,))
    if mended is None:
        events = (474, 398) if flipped else (474,)
        return Judgement(Verdict.DAMAGED, pgno, flipped_bits=flipped, events=events)
    if len(data) > LARGEST_SMALL_PAGE:
        own = int.from_bytes(mended[PAGE_NUMBER_AT : PAGE_NUMBER_AT + 4], "little")
        if own != pgno:
            return Judgement(Verdict.WRONG_NUMBER, pgno, own, events=(475,))
    if flipped:
        return Judgement(Verdict.MENDED, pgno, None, flipped, mended, (399,))
    return Judgement(Verdict.GOOD, pgno)


def _judge_old(data: bytes, pgno: int) -> Judgement:
    own = int.from_bytes(data[4:8], "little")
    [expected] = page_checksums(data, own)
    if expected & 0xFFFFFFFF != int.from_bytes(data[:4], "little"):
        return Judgement(Verdict.DAMAGED, pgno, events=(474,))
    if own != pgno:
        return Judgement(Verdict.MISPLACED, pgno, own, events=(475,))
    if len(data) > LARGEST_SMALL_PAGE:
        own = int.from_bytes(data[PAGE_NUMBER_AT : PAGE_NUMBER_AT + 4], "little")
        if own != pgno:
            return Judgement(Verdict.WRONG_NUMBER, pgno, own, events=(475,))
    return Judgement(Verdict.GOOD, pgno)


def _mend(data: bytes, pgno: int) -> tuple[bytes | None, tuple[int, ...], int | None]:
    """The whole page if it is good or can be made so; the turned bits; where it belongs.

    Each block is judged by itself, so that a bit in each of them can be mended.  The first one
    goes first: it covers the checksums of the others, and a bit that is turned there has to be
    turned back before they are used.
    """
    page = bytearray(data)
    sizes = block_sizes(len(page))
    offsets = checksum_offsets(len(sizes))
    written_for: set[int] = set()
    flipped: list[int] = []
    damaged = False
    start = 0
    for number, size in enumerate(sizes):
        block = _Block(number, start, size, offsets[number])
        finding = block.judge(page, pgno)
        if finding.bit is not None:
            page[finding.bit // 8] ^= 1 << finding.bit % 8
            flipped.append(finding.bit)
            finding = block.judge(page, pgno)
        if finding.pgno is None:
            damaged = True
        else:
            written_for.add(finding.pgno)
        start += size
    if not damaged and written_for != {pgno}:
        if len(written_for) == 1 and not flipped:
            return None, (), written_for.pop()
        damaged = True
    return None if damaged else bytes(page), tuple(flipped), None


class _Finding(NamedTuple):
    """About one block: the page it was written for when it is whole, else the bit that is wrong.

    Neither: damaged.
    """

    pgno: int | None = None
    bit: int | None = None


@dataclass(frozen=True, slots=True)
class _Block:
    number: int
    start: int
    size: int
    checksum_at: int

    def judge(self, page: bytearray, pgno: int) -> _Finding:
        first = self.number == 0
        found_xor, found_ecc = sums_of_one(
            memoryview(page)[self.start : self.start + self.size], first_of_page=first
        )
        at = self.checksum_at
        stored = int.from_bytes(page[at : at + CHECKSUM_BYTES], "little")
        xor = (stored & 0xFFFFFFFF) ^ found_xor ^ pgno & 0xFFFFFFFF
        ecc = (stored >> 32) ^ found_ecc
        if ecc == 0:
            return _Finding(pgno=pgno ^ xor)
        low, high = ecc & 0xFFFF, ecc >> 16
        protected = first and (low < 8 * CHECKSUM_BYTES or low == FORMAT_FLAG_BIT)
        if low ^ high == 8 * self.size - 1 and xor.bit_count() == 1 and not protected:
            return _Finding(bit=self.start * 8 + low)
        return _Finding()
