"""One database under recovery: its pages, its counters, and the header that it shows meanwhile.

Order on disk (ese-format.md 7.1, 7.2), so that a crash at any point leaves a database that can be
recovered again::

    before pages      the log has their changes (undo), and the header says that the generation
                      is required: a page must not be newer than the header admits
    before an attach  all pages of the run before, durable; then the header: state 2, its position
    at the end        pages, sync; size; ShutDown in the log, durable; header: state 3

``genRecovering`` in the header tells how far redo has come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import (
    FIRST_RECORD_BYTE,
    NEEDING_LOGS,
    attached,
    detached,
    raised,
    recovering,
)
from replicator.ese.errors import EseError
from replicator.ese.owned_size import last_owned
from replicator.ese.page_cache import CACHED_PAGES, PageCache
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import HEADER_PAGES
from replicator.ese.recovery_files import READ_BYTES, FoundDatabase
from replicator.ese.redo import RedoDatabase
from replicator.ese.space import too_short
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.ese.verification import is_zero
from replicator.runtime.port import Volume

ECC_SINCE: Final = 0xB
"""The format revision from which pages carry ECC checksums."""


@dataclass(frozen=True, slots=True)
class RecoverySafeguards:
    """What makes recovery repeatable; all on but in tests, which show that each is needed."""

    header_before_pages: bool = True
    """A generation is required by the header before its changes are on pages."""
    log_before_pages: bool = True
    """What undo logs is durable before the pages that it changes."""
    hold_pages: bool = True
    """A page whose before-image would be lost waits for the end of its transaction."""
    write_again: bool = True
    """Pages that have their changes already are written: perhaps the cache alone has them."""
    sync_before_clean: bool = True
    """All pages are durable before the header says that no log is needed."""


ALL_SAFEGUARDS: Final = RecoverySafeguards()


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """Where recovery is: asked before pages are written.

    Arguments
    ---------
    generation: whose records are being redone, or that undo writes.
    created: its creation time.
    """

    generation: int
    created: LogTime


class RecoveredDatabase:
    """See the module.

    Arguments
    ---------
    volume: of the file.
    found: path and header, as recovery found them.
    point: says where recovery is.
    log_durable: makes durable what undo has logged.
    held: whether a page must not be written now.
    flush_signature: draws a new signature for each header write.
    limit_pages: pages kept in memory.
    vouched: as of :class:`~replicator.ese.recovery_result.RecoverySettings`.

    Attributes
    ----------
    is_attached: by the records read so far.
    consistent: where the database was shut down last, by its header or by the records.
    """

    def __init__(
        self,
        volume: Volume,
        found: FoundDatabase,
        *,
        point: Callable[[], RecoveryPoint],
        log_durable: Callable[[], Awaitable[None]],
        held: Callable[[int, int], bool],
        flush_signature: Callable[[], Signature],
        limit_pages: int = CACHED_PAGES,
        vouched: bool = False,
        safeguards: RecoverySafeguards = ALL_SAFEGUARDS,
    ) -> None:
        header = found.header
        self.path, self.before = found.path, header
        self.file = volume.open(found.path)
        self._volume = volume
        self._point = point
        self._log_durable = log_durable
        self._flush_signature = flush_signature
        self._guards = safeguards
        self._header_file: DatabaseHeaderFile | None = None
        self._header = header
        self._pages_written = False
        self.cache = PageCache(
            volume,
            self.file,
            header.page_size,
            new_checksums=header.revision >= ECC_SINCE,
            ready=self._ready,
            held=lambda pgno: safeguards.hold_pages and held(self.redo.dbid, pgno),
            limit_pages=limit_pages,
        )
        self.is_attached = False
        self.consistent = header.consistent_position
        dirty = header.state in NEEDING_LOGS
        self.redo = RedoDatabase(
            header.dbid,
            self.cache,
            redo_from=max(header.attach_position, header.consistent_position),
            last_required=header.last_required_generation if dirty else 0,
            dbtime=header.dbtime,
            last_objid=header.last_objid,
            grow=self._grow,
            write_again=safeguards.write_again and not vouched,
        )

    @property
    def header(self) -> DatabaseHeader:
        """As it is on disk."""
        return self._header if self._header_file is None else self._header_file.header

    @property
    def is_dirty(self) -> bool:
        return self.header.state in NEEDING_LOGS

    # -- attach and detach, by records -----------------------------------------------------

    async def attach(self, position: LogPosition, consistent: LogPosition, time: LogTime) -> None:
        """A record attaches it.

        Arguments
        ---------
        position: of the record.
        consistent: where the database was shut down before, as the record says.
        time: of the attach.

        Raises EseError -551 (event 517) when it was shut down elsewhere.
        """
        self.is_attached = True
        if position <= self.redo.redo_from:
            return
        self.check_consistent(consistent, position)
        await self.cache.settle()
        first = position.generation
        header = self.header
        if header.state is State.CLEAN_SHUTDOWN:
            header = attached(
                header,
                position=position,
                time=time,
                generation_created=self._point().created,
                dbtime=max(header.dbtime, self.redo.dbtime),
            )
        else:
            header = replace(header, attach_position=position, attach_time=time)
            header = self._raised(header, first)
        self.redo.redo_from = position
        await self._write(header)

    def check_consistent(self, consistent: LogPosition, position: LogPosition) -> None:
        """Whether an attach at ``position`` goes on with this very file; raises EseError -551."""
        if consistent != self.consistent:
            detail = (
                f"it is consistent as of {self.consistent}, and the attach at {position} goes on "
                f"from {consistent}"
            )
            raise EseError(-551, detail, path=self.path)

    def detach(self, position: LogPosition) -> None:
        """A record detaches it; its header follows when recovery ends."""
        self.is_attached = False
        if position > self.redo.redo_from:
            first = position.byte == FIRST_RECORD_BYTE
            self.consistent = replace(position, byte=0) if first else position

    # -- pages -----------------------------------------------------------------------------

    async def _grow(self, last_pgno: int) -> None:
        """Make the file as long as a record says."""
        more = self.cache.check_room(last_pgno)
        if more > 0:
            self.file.truncate(self.file.size_bytes + more)

    async def _ready(self) -> None:
        """What must be on disk before pages are; see the module."""
        if self._guards.log_before_pages:
            await self._log_durable()
        self._pages_written = True
        if not self._guards.header_before_pages:
            return
        header, point = self.header, self._point()
        changed = header
        if header.state is State.DIRTY_AND_PATCHED_SHUTDOWN:
            changed = changed.with_state(State.DIRTY_SHUTDOWN)
        if header.last_required_generation < point.generation:
            changed = self._raised(changed)
        if header.recovering_generation != point.generation:
            changed = recovering(changed, point.generation)
        # A flush map knows nothing of the pages that are written now: it is not theirs any more.
        changed = replace(changed, map_flush_signature=Signature())
        if changed != header:
            await self._write(changed)

    def _raised(self, header: DatabaseHeader, first: int | None = None) -> DatabaseHeader:
        """The header requires the log that is being redone, and those from ``first`` on."""
        point = self._point()
        last = max(point.generation, header.last_required_generation)
        committed = max(last, header.last_committed_generation)
        newer = last > header.last_committed_generation
        # It may be another log than the one that was committed under this number, and given up.
        instead = committed == point.generation and not header.last_committed_created.is_zero
        return raised(
            header,
            first=first,
            last=last,
            committed=committed,
            committed_created=point.created if newer or instead else None,
        )

    async def _write(self, header: DatabaseHeader) -> None:
        if self._header_file is None:
            self._header_file = await DatabaseHeaderFile.open(
                self._volume, self.file, self._flush_signature
            )
        await self._header_file.write(header)

    async def write_out(self) -> None:
        """Write what may be written, and make it durable."""
        await self.cache.write_out()
        if self._guards.sync_before_clean:
            await self.file.sync()

    async def trim(self) -> None:
        """Give the file the size that the tree of owned extents says.

        What is cut off was never written: where anything lies behind, the file stays as it is.
        Raises EseError -1206 for one that is shorter.
        """
        last = await self.check_whole()
        if last is None:
            return
        size, now = (last + HEADER_PAGES) * self.cache.page_bytes, self.file.size_bytes
        for at in range(size, now, READ_BYTES):
            if not is_zero(await self.file.read_at(at, min(READ_BYTES, now - at))):
                return
        if size < now:
            self.file.truncate(size)

    async def check_whole(self) -> int | None:
        """The last page that belongs to anything; raises EseError -1206 when it is not there."""
        last = await last_owned(self._loaded, self.path)
        there = self.file.size_bytes // self.cache.page_bytes - HEADER_PAGES
        if last is not None and last > there:
            raise too_short(there, last, self.path)
        return last

    async def _loaded(self, pgno: int) -> PageEditor:
        await self.cache.load([pgno])
        return self.cache.page(pgno)

    # -- the end ---------------------------------------------------------------------------

    async def shut_down(self, position: LogPosition, time: LogTime) -> None:
        """All is on disk and the record at ``position`` too: the header says so.

        Arguments
        ---------
        position: of the ShutDown or DetachDB record.
        time: of it.
        """
        header = self.header
        if header.state is State.DIRTY_AND_PATCHED_SHUTDOWN:
            header = header.with_state(State.DIRTY_SHUTDOWN)
        clean = detached(
            header,
            position=position,
            time=time,
            dbtime=max(header.dbtime, self.redo.dbtime),
            last_objid=max(header.last_objid, self.redo.last_objid),
        )
        resized = header.engine_format_version or not header.last_resize_position.is_zero
        clean = replace(
            clean,
            extend_count=self.before.extend_count + (self.redo.extends if resized else 0),
            shrink_count=self.before.shrink_count + (self.redo.shrinks if resized else 0),
            last_resize_position=clean.consistent_position
            if resized
            else header.last_resize_position,
        )
        if self._pages_written:
            clean = replace(clean, map_flush_signature=Signature())
        await self._write(clean)
        self.consistent = clean.consistent_position

    def close(self) -> None:
        self.file.close()
