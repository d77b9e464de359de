"""Two copies of a store that have diverged: from where on, and which pages have to be taken over.

After a failover that lost logs, the old active copy has generations that the new one never had.
No page holds a change of a generation that its header does not require (the waypoint, docs:
lost log resilience); so those above it are simply taken away.  Where required ones have diverged,
the pages that they change are the ones to take from the active copy.  All others are of the
history that both have, of whatever age, and the active copy's logs bring them on.

E src/ese/io.cxx; ese-format.md 8.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_state import NEEDING_LOGS
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import LogRole
from replicator.ese.log_page_records import NewPage, PageRecord
from replicator.ese.log_records import AttachDB, CreateDB
from replicator.ese.log_set import BAD_SIGNATURE, LogSet, LogSummary, check_chain
from replicator.ese.page_source import page_offset
from replicator.ese.page_touches import touches
from replicator.ese.recovery_files import FoundDatabase, find_databases, find_logs, read_file
from replicator.ese.values import LogPosition
from replicator.ese.verification import Verdict, judge_page
from replicator.runtime.port import File, Volume

REQUIRED_MISSING: Final = -543
INVALID_RESEED: Final = -1227
FAILED_RESEED: Final = -1228
NO_ATTACHMENT: Final = -1229
RESEEDABLE: Final = frozenset({*NEEDING_LOGS, State.INCREMENTAL_RESEED_IN_PROGRESS})


class PageSet:
    """Numbers of pages, a bit each: 4 MiB for a database of a terabyte."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, pgno: int) -> None:
        at = pgno >> 3
        if at >= len(self._bits):
            self._bits.extend(bytes(at + 1 - len(self._bits)))
        self._bits[at] |= 1 << (pgno & 7)

    def __iter__(self) -> Iterator[int]:
        for at, bits in enumerate(self._bits):
            if bits:
                yield from (at * 8 + bit for bit in range(8) if bits >> bit & 1)

    def __len__(self) -> int:
        return sum(bits.bit_count() for bits in self._bits)


@dataclass(frozen=True, kw_only=True)
class ReseedRequest:
    """Which copy follows which.

    Arguments
    ---------
    directory: of the copy that gives way, its logs and databases.
    active_directory: of the one that is right.
    base: of the logs; None when only one set lies in each.
    """

    directory: str
    active_directory: str
    base: str | None = None


@dataclass(frozen=True, slots=True)
class ReseedDatabase:
    """One database of both copies.

    Arguments
    ---------
    found, active: path and header in each.
    pages: to be taken over; empty where no required generation has diverged.
    is_patched: whether its state says that pages were taken over, now or in an interrupted run.
    first: the lowest generation to be redone then.
    attach_position, consistent_position: as the log of that generation has them.
    last: the highest generation that pages of the active copy may have changes of.
    """

    found: FoundDatabase
    active: FoundDatabase
    pages: PageSet
    is_patched: bool
    first: int
    attach_position: LogPosition
    consistent_position: LogPosition
    last: int


@dataclass(frozen=True, kw_only=True)
class ReseedPlan:
    """What a reseed is going to do; made by :func:`plan_reseed`.

    Arguments
    ---------
    diverged: the first generation that the copies do not have alike; None when there is none.
    removed: logs of the copy that go away, the last one first.
    copied: logs of the active copy that are copied, the first one first.
    last: the last log of the active copy.
    """

    request: ReseedRequest
    base: str
    diverged: int | None
    databases: tuple[ReseedDatabase, ...]
    removed: tuple[LogSummary, ...]
    copied: tuple[LogSummary, ...]
    last: LogSummary


async def plan_reseed(
    volume: Volume, request: ReseedRequest, between: Callable[[], None] | None = None
) -> tuple[ReseedPlan | None, tuple[EseError, ...]]:
    """Look at both copies; give a plan, or None and what is wrong.

    Arguments
    ---------
    between: called before each log is read; what it raises ends the look.

    Raises EseError -1811 when one of them has no logs.
    """
    mine = await find_logs(volume, request.directory, request.base, None, between)
    active = await find_logs(volume, request.active_directory, mine.base, None, between)
    if mine.signature != active.signature:
        detail = f"its log set is {active.signature}, that of {request.directory} {mine.signature}"
        return None, (EseError(BAD_SIGNATURE, detail, path=request.active_directory),)
    diverged = await find_divergence(volume, mine, active)
    databases: list[ReseedDatabase] = []
    errors: list[EseError] = []
    others = await find_databases(volume, (request.active_directory,))
    for found in await find_databases(volume, (request.directory,)):
        if found.header.log_signature != mine.signature:
            continue
        try:
            databases.append(await _database(volume, found, others, mine, active, diverged))
        except EseError as error:
            errors.append(error)
    if not databases and not errors:
        detail = "no database of this log set is there"
        errors.append(EseError(INVALID_RESEED, detail, path=request.directory))
    if errors:
        return None, tuple(errors)
    for each in databases:
        errors += await _unusable_pages(volume, each, between)
    if errors:
        return None, tuple(errors)
    first = min(each.first for each in databases)
    needed = [log for log in active.logs if (log.generation or 0) >= first]
    errors += check_chain(needed)
    if errors:
        return None, tuple(errors)
    limit = diverged if diverged is not None else (active.generations[-1] + 1)
    there = {log.generation for log in mine.logs if (log.generation or 0) < limit}
    removed = [log for log in reversed(mine.logs) if (log.generation or 0) >= limit]
    # A log that is closed by now, and a part of it is here as the current one.
    removed += [log for log in mine.logs if await _is_grown(volume, log, active, limit)]
    gone = {log.generation for log in removed}
    copied = [log for log in needed if log.generation not in there - gone]
    return ReseedPlan(
        request=request,
        base=mine.base,
        diverged=diverged,
        databases=tuple(databases),
        removed=tuple(removed),
        copied=tuple(copied),
        last=needed[-1],
    ), ()


async def _unusable_pages(
    volume: Volume, database: ReseedDatabase, between: Callable[[], None] | None
) -> list[EseError]:
    """The first page to be taken over that does not verify, if one does not.

    Found out before the copy that gives way is changed: until a reseed has come to its end, that
    one is of no use.
    """
    active = volume.open(database.active.path)
    try:
        for pgno in database.pages:
            if between is not None:
                between()
            await active_page(active, pgno, database.found.header.page_size)
    except EseError as error:
        return [error]
    finally:
        active.close()
    return []


async def active_page(active: File, pgno: int, size: int) -> bytes:
    """A page of the active copy; zeros where it has none.  A single wrong bit is not mended.

    Raises EseError -1018 for one that does not verify.
    """
    data = await active.read_at(page_offset(pgno, size), size)
    if len(data) < size:
        return bytes(size)
    judgement = judge_page(data, pgno)
    if judgement.verdict not in (Verdict.GOOD, Verdict.ZERO):
        detail = "the active copy's page does not verify: it cannot be taken over"
        offset = page_offset(pgno, size)
        raise EseError(-1018, detail, path=active.path, page=pgno, offset=offset)
    return data


async def _is_grown(volume: Volume, log: LogSummary, active: LogSet, limit: int) -> bool:
    """Whether a current log is but the beginning of the active copy's log of its generation."""
    generation = log.generation or 0
    twin = active.log(generation)
    if log.name.role is not LogRole.CURRENT or generation >= limit or twin is None:
        return False
    return twin.name.role is LogRole.CLOSED or not await _is_same(volume, log, twin)


async def _is_same(volume: Volume, one: LogSummary, two: LogSummary) -> bool:
    mine, other = await read_file(volume, one.path), await read_file(volume, two.path)
    size = mine.size_bytes
    return size == other.size_bytes and mine.read_at(0, size) == other.read_at(0, size)


async def find_divergence(volume: Volume, mine: LogSet, active: LogSet) -> int | None:
    """The first generation that one copy has otherwise than the other, or that only it has.

    A current log that holds the beginning of what the active copy has is no divergence; a gap is
    one, for nobody knows what stood there.
    """
    for generation in range(mine.generations[0], mine.generations[-1] + 1):
        one, two = mine.log(generation), active.log(generation)
        if one is None:
            return generation
        if two is None:
            if generation > active.generations[-1]:
                return generation
            continue  # the active copy has truncated it
        if one.header is None or two.header is None or one.header.created != two.header.created:
            return generation
        if not await _begins_like(volume, one, two):
            return generation
    return None


async def _begins_like(volume: Volume, one: LogSummary, two: LogSummary) -> bool:
    """Whether all records of a log stand in the other one too, in the same places."""
    if await _is_same(volume, one, two):
        return True
    try:
        ours = LogFile(await read_file(volume, one.path), closed=False).records()
        theirs = LogFile(await read_file(volume, two.path), closed=False).records()
        for record, same in zip_longest(ours, theirs):
            if record is None:
                return True
            if same is None or (record.position, record.data) != (same.position, same.data):
                return False
    except EseError:
        return False
    return True


async def _database(
    volume: Volume,
    found: FoundDatabase,
    others: list[FoundDatabase],
    mine: LogSet,
    active: LogSet,
    diverged: int | None,
) -> ReseedDatabase:
    """What has to be done for one database; raises EseError where it has to be seeded anew."""
    header, path = found.header, found.path
    signature = header.database_signature
    twin = next((each for each in others if each.header.database_signature == signature), None)
    if twin is None or twin.header.page_size != header.page_size:
        detail = f"the active copy has no database of signature {signature}"
        raise EseError(INVALID_RESEED, detail, path=path)
    last = _needs_up_to(header)
    started = header.state is State.INCREMENTAL_RESEED_IN_PROGRESS
    if not started and (diverged is None or last < diverged):
        first = header.first_required_generation or header.consistent_position.generation
        return ReseedDatabase(
            found,
            twin,
            PageSet(),
            False,
            first,
            header.attach_position,
            header.consistent_position,
            last,
        )
    if header.state not in RESEEDABLE:
        detail = f"its state is {header.state_title}, and it has changes of generation 0x{last:X}"
        raise EseError(INVALID_RESEED, detail, path=path)
    pages = PageSet()
    if diverged is not None:
        await _collect(volume, found, mine, diverged, pages, may_lack=started)
    first = min(header.first_required_generation, _needs_from(twin.header))
    attached, consistent = _attachment(header, path, active, first, diverged)
    up_to = max(_needs_up_to(twin.header), first)
    if up_to > active.generations[-1]:
        detail = f"the active copy requires generation 0x{up_to:X}, which is not there"
        raise EseError(REQUIRED_MISSING, detail, path=twin.path, events=(453,))
    return ReseedDatabase(found, twin, pages, True, first, attached, consistent, up_to)


def _needs_from(header: DatabaseHeader) -> int:
    """The generation from which on pages may lack changes."""
    if header.state in RESEEDABLE:
        return header.first_required_generation
    return header.consistent_position.generation


def _needs_up_to(header: DatabaseHeader) -> int:
    """The highest generation that pages may have changes of."""
    if header.state in RESEEDABLE:
        return header.last_required_generation
    return header.consistent_position.generation


async def _collect(
    volume: Volume,
    found: FoundDatabase,
    mine: LogSet,
    diverged: int,
    pages: PageSet,
    *,
    may_lack: bool,
) -> None:
    """The pages that the diverged logs change, as far as they can be on disk.

    Arguments
    ---------
    may_lack: an interrupted reseed has taken some of the logs away, when the pages were there.

    Raises EseError -1228 when a log is missing or damaged: nobody knows its pages then.
    """
    header = found.header
    signature, numbers = header.database_signature, {header.dbid}
    for generation in range(diverged, header.last_required_generation + 1):
        log = mine.log(generation)
        if log is None and may_lack:
            return
        if log is None or log.error is not None:
            why = "missing" if log is None else f"damaged ({log.error})"
            detail = f"generation 0x{generation:X}, which has diverged, is {why}: seed it anew"
            raise EseError(FAILED_RESEED, detail, path=found.path)
        numbers |= {each.dbid for each in log.attachments if each.database_signature == signature}
        closed = log.name.role is LogRole.CLOSED
        for record in LogFile(await read_file(volume, log.path), closed=closed).records():
            content = record.content
            if isinstance(content, AttachDB | CreateDB):
                if content.database_signature == signature:
                    numbers.add(content.dbid)
            elif isinstance(content, PageRecord | NewPage) and content.dbid in numbers:
                for touch in touches(content):
                    pages.add(touch.pgno)


def _attachment(
    header: DatabaseHeader, path: str, active: LogSet, first: int, diverged: int | None
) -> tuple[LogPosition, LogPosition]:
    """Where the database is attached for redo from ``first`` on; raises EseError -1228, -1229."""
    log = active.log(first)
    if log is None:
        detail = f"redo has to begin with generation 0x{first:X}, which the active copy has not"
        raise EseError(REQUIRED_MISSING, detail, path=path, events=(452,))
    for entry in log.attachments:
        if entry.database_signature == header.database_signature:
            if diverged is not None and entry.attach_position.generation >= diverged:
                detail = f"generation 0x{first:X} lies behind the divergence at 0x{diverged:X}"
                raise EseError(FAILED_RESEED, detail, path=path)
            return entry.attach_position, entry.consistent_position
    if first <= header.attach_position.generation < (diverged or 1 << 31):
        return header.attach_position, header.consistent_position
    detail = f"generation 0x{first:X}, where redo has to begin, does not name it"
    raise EseError(NO_ATTACHMENT, detail, path=path)
