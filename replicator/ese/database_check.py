"""Every page of a database judged, in one pass over the file and in bounded memory.

What the engine's own tool calls a checksum run: no recovery, no change, and pages of zeros are
no errors unless a tree leads to them (:mod:`replicator.ese.page_links`).  The order of the checks
for a page is that of a read (E src/ese/cpage.cxx).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from replicator.ese.database_header import (
    DatabaseHeader,
    HeaderReading,
    block_is_good,
    read_database_header,
)
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FlushMap, LostFlush, lost_flushes
from replicator.ese.page import CORRUPTED, Page, PageFlag
from replicator.ese.page_links import SYSTEM_ROOTS, ZeroPages, check_links, check_size, roots_of
from replicator.ese.page_source import HEADER_PAGES, PageSource, page_offset
from replicator.ese.reader import DISK_IO, Reader, name_of, read_exactly
from replicator.ese.verification import Judgement, Verdict, judge_page, quick_verdicts

CHUNK_BYTES: Final = 4 * 1024 * 1024
DBTIME_CORRUPTED: Final = -344
LISTED_FINDINGS: Final = 1000
"""More than so many findings are counted and not kept."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

Chunk = tuple[int, bytes]
"""Number of its first page, and whole pages."""

Judged = tuple[int, bytes, "npt.NDArray[np.bool_]"]
"""The same, and for each page whether its checksum is right."""

Ahead = Callable[[Callable[[Chunk], Judged], Iterator[Chunk]], Iterable[Judged]]
"""Like ``map``: gives the results in order, and may work on a few of them at the same time."""

_TRAILER_ZEROS: Final = (1, 2, 3, 6)
"""Dwords that are zero in the trailer of a streaming backup (E src/_esefile/checksum.cxx)."""


@dataclass
class DatabaseCheck:
    """What was found.

    Arguments
    ---------
    header: the copy that counts.
    reading: both copies.
    pages: data pages in the file, the trailer of a backup not among them.
    verdicts: how many pages have which verdict of their checksums.
    bad_tags: pages whose checksum fits and whose tags or keys do not (-1206).
    lost_flushes: pages that are not the ones last written (-1119).
    newer_than_map: pages of a database that was not shut down that are newer than the flush map
        and carry another type than it has: the map is written behind the pages, so they tell
        nothing.
    foreign_flush_map: the map given is of another database or another state of it; as the engine
        does (event 640), it is not used.
    map_damage: what is wrong with pages of the flush map, each once; it is not used there.
    unreadable: pages that the disk did not give (-1022).
    unchecked: the file is a temporary database, whose pages carry no checksums.
    has_trailer: it is the copy of a streaming backup.
    rest_bytes: bytes behind the last whole page.
    highest_dbtime, highest_dbtime_pgno: of all good pages.
    no_catalog: why the trees could not be followed to pages of zeros, where they could not.
    findings: the first of them, in order; ``finding_count`` counts all.
    """

    header: DatabaseHeader
    reading: HeaderReading
    pages: int
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    bad_tags: int = 0
    lost_flushes: int = 0
    newer_than_map: int = 0
    foreign_flush_map: bool = False
    map_damage: list[EseError] = field(default_factory=list)
    unreadable: int = 0
    unchecked: bool = False
    has_trailer: bool = False
    rest_bytes: int = 0
    highest_dbtime: int = 0
    highest_dbtime_pgno: int = 0
    no_catalog: EseError | None = None
    findings: list[EseError] = field(default_factory=list)
    finding_count: int = 0

    @property
    def initialised(self) -> int:
        """Pages that were ever written, of those that could be read."""
        return self.verdicts.total() - self.verdicts[Verdict.ZERO]

    @property
    def verified(self) -> int:
        """Initialised pages that are good as they are."""
        return self.verdicts[Verdict.GOOD]

    @property
    def mended(self) -> int:
        """Pages that are good once single-bit errors are turned back."""
        return self.verdicts[Verdict.MENDED]

    @property
    def sound(self) -> bool:
        """Nothing was found that reading the database would stumble over."""
        return not self.finding_count

    def note(self, error: EseError, path: str | None) -> None:
        """Keep a finding, or only count it."""
        error.path = error.path or path
        self.finding_count += 1
        if len(self.findings) < LISTED_FINDINGS:
            self.findings.append(error)


@dataclass(frozen=True, slots=True)
class _Options:
    flush_map: FlushMap | None
    contents: bool
    path: str | None
    zero: ZeroPages | None
    unread: dict[int, EseError]
    """Why pages of the chunks underway could not be read."""


def check_database(
    reader: Reader,
    flush_map: FlushMap | None = None,
    *,
    contents: bool = False,
    progress: Progress = lambda done, total: None,
    ahead: Ahead = map,
) -> DatabaseCheck:
    """Judge every page of a database.

    Arguments
    ---------
    reader: the file.
    flush_map: its flush map; one that does not belong to it is not used.
    contents: also hold the tags and keys of each page against its size, and the keys against each
        other; that is much slower than the checksums.
    progress: called after each chunk.
    ahead: how chunks of 4 MiB are gone through; numpy lets go of the interpreter, so threads help.

    A page that cannot be read is a finding like others (-1022), and the pass goes on behind it.
    Raises EseError when the header cannot be read; everything else becomes a finding.
    """
    header, reading = read_database_header(reader)
    path = name_of(reader)
    size = header.page_size
    whole, rest = divmod(reader.size_bytes, size)
    check = DatabaseCheck(header, reading, max(0, whole - HEADER_PAGES), rest_bytes=rest)
    for event in reading.events:
        which = "first" if event == 456 else "second"
        detail = f"the {which} copy of the header is damaged or differs"
        check.note(EseError(-1018, detail, offset=0, events=(event,)), path)
    if header.is_temporary:
        check.unchecked = True
        return check
    check.has_trailer = has_trailer(reader, check.pages, size)
    check.pages -= check.has_trailer
    if flush_map is not None and not flush_map.header.belongs_to(header):
        check.foreign_flush_map = True
        flush_map = None
    zero = ZeroPages(check.pages) if header.is_clean else None
    unread: dict[int, EseError] = {}
    options = _Options(flush_map, contents, path, zero, unread)

    def judge(chunk: Chunk) -> Judged:
        return (*chunk, quick_verdicts(chunk[1], size, chunk[0]))

    total = page_offset(check.pages + 1, size)
    for first, data, good in ahead(judge, _chunks(reader, check.pages, size, unread)):
        _check_chunk(check, first, data, good, options)
        progress(page_offset(first, size) + len(data), total)
    for error in unread.values():  # where the file ends by now
        check.note(_at(error, size), path)
    if header.is_clean and check.highest_dbtime > header.dbtime:
        detail = (
            f"its dbtime is {check.highest_dbtime:,}, the header counts up to {header.dbtime:,}"
        )
        newer = EseError(DBTIME_CORRUPTED, detail, page=check.highest_dbtime_pgno)
        check.note(_at(newer, size), path)
    if zero is not None:
        _check_use(check, PageSource(reader, size), zero, path)
    return check


def _check_use(check: DatabaseCheck, source: PageSource, zero: ZeroPages, path: str | None) -> None:
    """Whether all pages that are in use are there."""
    try:
        roots = roots_of(source)
    except EseError as error:
        roots, check.no_catalog = dict(SYSTEM_ROOTS), error
    short = list(check_size(source))
    dead = check_links(source, zero, roots)
    # What a file that was cut lacks need not be told page by page.
    behind = () if short else (-1022,)
    for found in (*short, *(each for each in dead if each.number in (-1019, *behind))):
        check.note(_at(found, source.page_size), path)


def _chunks(reader: Reader, pages: int, size: int, unread: dict[int, EseError]) -> Iterator[Chunk]:
    """All pages, some MiB at a time; one that the disk does not give counts as zero.

    Arguments
    ---------
    unread: is given the error of each such page; and where the file has become shorter meanwhile,
        that of the first page behind its end, with which the chunks end.
    """
    step = CHUNK_BYTES // size
    for first in range(1, pages + 1, step):
        count = min(step, pages + 1 - first)
        try:
            yield first, read_exactly(reader, page_offset(first, size), count * size)
            continue
        except EseError:
            data = _page_by_page(reader, range(first, first + count), size, unread)
        if data:
            yield first, data
        if len(data) < count * size:
            return


def _page_by_page(reader: Reader, pages: range, size: int, unread: dict[int, EseError]) -> bytes:
    """The pages up to the end of the file, as it is now."""
    parts = []
    for pgno in pages:
        offset = page_offset(pgno, size)
        try:
            page = bytes(reader.read_at(offset, size))
        except EseError as error:
            unread[pgno] = EseError(DISK_IO, error.detail, page=pgno)
            page = bytes(size)
        if len(page) < size:
            detail = (
                f"the file became shorter while it was read: page {pgno:,} is not there any more"
            )
            unread[pgno] = EseError(DISK_IO, detail, page=pgno)
            break
        parts.append(page)
    return b"".join(parts)


def has_trailer(reader: Reader, pages: int, size: int) -> bool:
    """Whether the last page is the trailer of a streaming backup, as far as it can be read."""
    if not pages:
        return False
    try:
        data = read_exactly(reader, page_offset(pages, size), size)
    except EseError:
        return False
    return looks_like_trailer(data) and block_is_good(data)


def looks_like_trailer(page: bytes) -> bool:
    """Whether a page has zeros where a trailer has them, and is not all zero.

    A page of the database has its dbtime there.
    """
    return any(page) and not any(any(page[4 * word : 4 * word + 4]) for word in _TRAILER_ZEROS)


def _check_chunk(
    check: DatabaseCheck,
    first: int,
    data: bytes,
    good: npt.NDArray[np.bool_],
    options: _Options,
) -> None:
    size, path = check.header.page_size, options.path
    table = np.frombuffer(data, np.uint8).reshape(-1, size)
    _note_dbtime(check, first, table, good)
    losses = _losses(check, first, table, options)
    check.verdicts[Verdict.GOOD] += int(good.sum())
    suspects = np.ones(len(good), np.bool_) if options.contents else ~good
    suspects[[pgno - first for pgno in losses]] = True
    for index in map(int, np.flatnonzero(suspects)):
        pgno = first + index
        if (unread := options.unread.pop(pgno, None)) is not None:
            check.unreadable += 1
            check.note(_at(unread, size), path)
            continue
        page = data[index * size : (index + 1) * size]
        verdict = Verdict.GOOD
        if not good[index]:
            judgement = judge_page(page, pgno)
            verdict, page = judgement.verdict, judgement.mended or page
            check.verdicts[verdict] += 1
            if verdict is Verdict.ZERO and options.zero is not None and pgno not in losses:
                options.zero.add(pgno)
            _note_judgement(check, judgement, path)
        usable = verdict in (Verdict.GOOD, Verdict.MENDED)
        if pgno in losses and (usable or verdict is Verdict.ZERO):
            check.lost_flushes += 1
            check.note(_at(losses[pgno].error, size), path)
        if usable and options.contents:
            _check_tags(check, page, pgno, path)


def _note_dbtime(
    check: DatabaseCheck,
    first: int,
    table: npt.NDArray[np.uint8],
    good: npt.NDArray[np.bool_],
) -> None:
    dbtimes = np.where(good, table[:, 8:16].copy().view("<u8")[:, 0], np.uint64(0))
    index = int(np.argmax(dbtimes))
    if int(dbtimes[index]) > check.highest_dbtime:
        check.highest_dbtime, check.highest_dbtime_pgno = int(dbtimes[index]), first + index


def _losses(
    check: DatabaseCheck, first: int, table: npt.NDArray[np.uint8], options: _Options
) -> dict[int, LostFlush]:
    flush_map = options.flush_map
    if flush_map is None:
        return {}
    try:
        expected = flush_map.types(first, len(table))
        found = list(lost_flushes(table, first, expected))
        if not check.header.is_clean:
            newer = {
                each.pgno for each in found if _is_newer(flush_map, table[each.pgno - first], each)
            }
            check.newer_than_map += len(newer - options.unread.keys())
            found = [each for each in found if each.pgno not in newer]
    except EseError as error:
        # As the engine does, which makes a new one (event 640).
        if error.offset not in {each.offset for each in check.map_damage}:
            check.map_damage.append(error)
        return {}
    return {each.pgno: each for each in found}


def _is_newer(flush_map: FlushMap, page: npt.NDArray[np.uint8], loss: LostFlush) -> bool:
    """Whether a page was changed after the map was written, which then knows nothing of it."""
    return int.from_bytes(page[8:16].tobytes(), "little") > flush_map.max_dbtime(loss.pgno)


def _note_judgement(check: DatabaseCheck, judgement: Judgement, path: str | None) -> None:
    problem = judgement.error
    if judgement.verdict is Verdict.MENDED:
        bits = ", ".join(map(str, judgement.flipped_bits))
        detail = f"single-bit errors, which can be mended: bits {bits}"
        problem = EseError(-1018, detail, page=judgement.pgno, events=judgement.events)
    if problem is not None and judgement.verdict is not Verdict.ZERO:
        check.note(_at(problem, check.header.page_size), path)


def _check_tags(check: DatabaseCheck, data: bytes, pgno: int, path: str | None) -> None:
    try:
        _check_order(Page(data, pgno))
    except EseError as error:
        check.bad_tags += 1
        check.note(_at(error, check.header.page_size), path)


def _check_order(page: Page) -> None:
    """Raises EseError -1206 for a key that does not fit its line or is not above the one before.

    The last line of a branch page has no key.
    """
    unique = page.is_leaf and not page.flags & PageFlag.NON_UNIQUE_KEYS
    before: tuple[bytes, bytes] | None = None
    for node in page.nodes():
        if not page.is_leaf and node.line == page.line_count - 1:
            break
        place = (node.key, b"" if unique or not page.is_leaf else node.data)
        if before is not None and place <= before:
            detail = f"line {node.line} is out of order"
            raise EseError(CORRUPTED, detail, page=page.pgno)
        before = place


def _at(error: EseError, page_size: int) -> EseError:
    if error.page is not None:
        error.offset = page_offset(error.page, page_size)
    return error
