"""A small transactional mail store: write-ahead log, pages, checkpoint, recovery.

A test double of the bench (``format = "small"``): quick, and independent of the code that writes
and reads the real format.

Models: what a replicator sees of a store of the ESE kind.  Log generations that roll by
rename; group commit; pages of 8 KiB written lazily, only after their log, at scattered
offsets, some of them again and again (the mailboxes' totals); a checkpoint file written
twice; circular deletion of old generations; recovery that redoes, tolerates one torn tail,
and refuses what is damaged.  Leaves out: the true file format, trees and indexes, changes of
a message, undo, free deletion (the ring frees its oldest messages only), reads by clients.
Compared with the order of writes that ESE documents (``ese-format.md`` section 7); the one
difference is that ESE writes the new log's header before the rename.

How a transaction goes::

    deliver() --places, totals, record--> waiting records
        one deliverer, in turn for all: block written --> its pages dirty --> log synced
        --> all whose record was in the block return
    run(): pages whose first change lies back by half the checkpoint depth --> written
        --> database synced --> checkpoint written twice --> old generations deleted

Pages become dirty in the same step in which their block is written, and pages are written
only while nobody is between writing and syncing a block.  So every dirty page that the
writer sees has its log on disk, without comparing anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from replicator.errors import ReplicatorError
from replicator.runtime.channels import Signal
from replicator.runtime.port import Volume
from simulator.exchange.small_checkpoint import Checkpoint, Mark, write_checkpoint
from simulator.exchange.small_files import (
    ALL_SAFEGUARDS,
    WRITTEN_AT_ONCE,
    Paths,
    Safeguards,
    admit_pages,
    write_page,
)
from simulator.exchange.small_log import (
    LoggedMessage,
    LoggedTransaction,
    encode_transaction,
)
from simulator.exchange.small_mount import MountedFiles, open_store
from simulator.exchange.small_pages import (
    PAGE_BYTES,
    PageContent,
    Totals,
    message_pages,
    pages_needed,
    totals_page,
)
from simulator.exchange.small_reader import StoredMessage
from simulator.exchange.small_writer import LogWriter
from simulator.exchange.store import (
    Message,
    MountReport,
    StoreClosed,
    StoreFull,
    payload_digest,
)

_BLOCK_LIMIT_BYTES: Final = 1 << 20
"""Records beyond this wait for the next block; a larger record makes a block alone."""


@dataclass(frozen=True, slots=True)
class SmallStoreConfig:
    """Sizes of a store.  Mailboxes and capacity are fixed when it is created."""

    log_size_bytes: int = 1 << 20
    checkpoint_depth_bytes: int = 4 << 20
    """About how much log recovery has to read."""
    database_capacity_bytes: int = 256 << 20
    mailboxes: int = 100
    dirty_limit_bytes: int = 32 << 20
    """Deliverers wait while more than this waits to be written to the database."""


@dataclass(slots=True)
class _Dirty:
    """A page to be written: its content and the log position of its first change."""

    content: PageContent
    first_lsn: int


class SmallStore:
    """Implements :class:`simulator.exchange.store.Store`; see the module.

    Arguments
    ---------
    directory: where the store's files are; made when missing.
    now_ns: the clock, for the mount's duration and the new store's signature.
    safeguards: switches for tests.
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        *,
        now_ns: Callable[[], int],
        config: SmallStoreConfig | None = None,
        safeguards: Safeguards = ALL_SAFEGUARDS,
    ) -> None:
        self._volume = volume
        self._paths = Paths(directory)
        self._now_ns = now_ns
        self._config = config or SmallStoreConfig()
        self._safeguards = safeguards
        self._files: MountedFiles | None = None
        self._failure: BaseException | None = None
        self._closing = False
        self._running = False
        # Both lose their first entries all the time, which a plain dict is slow at.
        self._messages: OrderedDict[int, StoredMessage] = OrderedDict()
        self._dirty: OrderedDict[int, _Dirty] = OrderedDict()
        self._totals: dict[int, Totals] = {}
        self._state = Mark(0)  # after the last transaction accepted; lsn not used
        self._waiting: list[tuple[LoggedTransaction, bytes]] = []
        self._written = Mark(0)
        self._durable = Mark(0)
        self._log_held = False
        self._page_writer_waits = False
        self._progress = Signal()

    # -- the interface -------------------------------------------------------------

    async def mount(self) -> MountReport:
        """See :meth:`Store.mount`."""
        if self._files is not None:
            raise StoreClosed("the store is mounted already", path=self._paths.directory)
        files, report = await open_store(
            self._volume,
            self._paths,
            self._now_ns,
            self._config.mailboxes,
            self._config.database_capacity_bytes,
            self._config.log_size_bytes,
            self._safeguards,
        )
        self._files = files
        self._closing = False
        self._failure = None
        self._messages = OrderedDict(files.messages)
        self._totals = files.totals
        self._state = self._written = self._durable = files.checkpoint.mark
        return report

    async def deliver(self, messages: Sequence[Message], delete: Sequence[int] = ()) -> None:
        """See :meth:`Store.deliver`.  ``delete`` must name the oldest messages, in order.

        Raises ValueError when it does not, or when a mailbox or a message id is wrong.
        """
        self._mounted()
        if self._closing:
            raise StoreClosed("the store is being dismounted", path=self._paths.directory)
        transaction = self._accept(messages, delete)
        self._waiting.append((transaction, encode_transaction(transaction)))
        while self._durable.transactions < transaction.number:
            if self._log_held or self._page_writer_waits:
                await self._progress
                self._mounted()
            else:
                async with self._holding_log():
                    await self._write_block()
        # Throttle after the commit, so that the order of calls stays that of commits.
        while len(self._dirty) * PAGE_BYTES > self._config.dirty_limit_bytes and self._running:
            await self._progress
            self._mounted()

    async def run(self) -> None:
        """See :meth:`Store.run`."""
        self._mounted()
        self._running = True
        half_depth_bytes = self._config.checkpoint_depth_bytes // 2
        try:
            while not self._closing:
                limit_lsn = self._durable.lsn - half_depth_bytes
                if self._oldest_dirty_lsn() < limit_lsn or self._over_dirty_limit():
                    await self._write_oldest_pages()
                elif self._redo_lsn() - self._mounted().checkpoint.redo_lsn > half_depth_bytes:
                    await self._write_checkpoint(clean=False)
                else:
                    await self._progress
        except ReplicatorError as error:
            self._failure = error
            raise
        finally:
            self._running = False
            self._progress.notify()

    async def dismount(self) -> None:
        """See :meth:`Store.dismount`."""
        files = self._mounted()
        self._closing = True
        self._progress.notify()
        while self._running or self._log_held:
            await self._progress
        while self._waiting or files.log.durable_lsn < files.log.written_lsn:
            async with self._holding_log():
                await self._write_block()
        while self._dirty:
            await self._write_oldest_pages()
        await self._write_checkpoint(clean=True)
        files.close()
        self._files = None

    async def contents(self) -> dict[int, bytes]:
        """See :meth:`Store.contents`; counts what is accepted, durable or not."""
        return {message_id: m.digest for message_id, m in self._messages.items()}

    @property
    def transactions(self) -> int:
        """Number of the last durable transaction."""
        return self._durable.transactions

    @property
    def dirty_bytes(self) -> int:
        """Pages changed and not written."""
        return len(self._dirty) * PAGE_BYTES

    # -- transactions --------------------------------------------------------------

    def _mounted(self) -> MountedFiles:
        if self._failure is not None:
            raise StoreClosed(
                f"the store stopped: {self._failure}", path=self._paths.directory
            ) from self._failure
        if self._files is None:
            raise StoreClosed("the store is not mounted", path=self._paths.directory)
        return self._files

    def _accept(self, messages: Sequence[Message], delete: Sequence[int]) -> LoggedTransaction:
        """Check the transaction, change the state in memory, and make its record."""
        state = self._state
        tail = self._tail_after(delete)
        head = state.head + sum(pages_needed(len(m.payload)) for m in messages)
        ring_pages = self._mounted().checkpoint.geometry.ring_pages
        if head - tail > ring_pages:
            raise StoreFull(
                f"{head - tail} pages would be in use, the database has {ring_pages}",
                path=self._paths.database,
            )
        for message in messages:
            if message.message_id in self._messages or message.mailbox not in self._totals:
                raise ValueError(
                    f"message {message.message_id} for mailbox {message.mailbox}: "
                    "the id is in use, or there is no such mailbox"
                )
        touched: dict[int, Totals] = {}
        for message_id in delete:
            self._count(touched, self._messages.pop(message_id), -1)
        logged, place = [], state.head
        for message in messages:
            payload = message.payload
            stored = StoredMessage(
                message.message_id,
                place,
                pages_needed(len(payload)),
                message.mailbox,
                len(payload),
                payload_digest(payload),
            )
            self._messages[message.message_id] = stored
            self._count(touched, stored, 1)
            logged.append(LoggedMessage(message.message_id, place, message.mailbox, payload))
            place += stored.pages
        self._state = Mark(0, tail, head, state.transactions + 1)
        return LoggedTransaction(self._state.transactions, tail, head, logged, touched)

    def _tail_after(self, delete: Sequence[int]) -> int:
        """The ring's tail when the oldest messages, which ``delete`` must name, are gone."""
        tail = self._state.tail
        for message_id, oldest_id in zip(delete, self._messages, strict=False):
            if message_id != oldest_id:
                raise ValueError(f"message {message_id} to delete is not the oldest")
            tail += self._messages[message_id].pages
        if len(delete) > len(self._messages):
            raise ValueError(f"{len(delete)} messages to delete, {len(self._messages)} are there")
        return tail

    def _count(self, touched: dict[int, Totals], message: StoredMessage, sign: int) -> None:
        totals = self._totals[message.mailbox]
        totals = Totals(
            totals.messages + sign,
            totals.payload_bytes + sign * message.payload_bytes,
            message.message_id if sign > 0 else totals.last_message_id,
        )
        self._totals[message.mailbox] = touched[message.mailbox] = totals

    # -- the log -------------------------------------------------------------------

    @asynccontextmanager
    async def _holding_log(self) -> AsyncIterator[LogWriter]:
        """Be the only one to write the log; what fails in here stops the store."""
        files = self._mounted()
        self._log_held = True
        try:
            yield files.log
        except ReplicatorError as error:
            self._failure = error
            raise
        finally:
            self._log_held = False
            self._progress.notify()

    async def _write_block(self) -> None:
        """Write what waits as one block, make its pages dirty, and sync it."""
        log = self._mounted().log
        if self._waiting:
            count, size = 0, 0
            for _transaction, record in self._waiting:
                if count and size + len(record) > _BLOCK_LIMIT_BYTES:
                    break
                count, size = count + 1, size + len(record)
            await log.make_room(size)
            taken = self._waiting[:count]
            del self._waiting[:count]
            lsn = log.write_block([record for _transaction, record in taken])
            for transaction, _record in taken:
                self._make_dirty(transaction, lsn)
            last = taken[-1][0]
            self._written = Mark(log.written_lsn, last.tail, last.head, last.number)
        written = self._written
        await log.sync()
        self._durable = written

    def _make_dirty(self, transaction: LoggedTransaction, lsn: int) -> None:
        dirty = self._dirty
        page_of_place = self._mounted().checkpoint.geometry.page_of_place
        for m in transaction.messages:
            for content in message_pages(lsn, m.place, m.message_id, m.mailbox, m.payload):
                page = page_of_place(content.place)
                older = dirty.get(page)
                dirty[page] = _Dirty(content, older.first_lsn if older else lsn)
        for mailbox, totals in transaction.totals.items():
            content = totals_page(lsn, mailbox, totals)
            older = dirty.get(mailbox)
            dirty[mailbox] = _Dirty(content, older.first_lsn if older else lsn)

    # -- pages and checkpoint ------------------------------------------------------

    def _over_dirty_limit(self) -> bool:
        return len(self._dirty) * PAGE_BYTES > self._config.dirty_limit_bytes

    def _oldest_dirty_lsn(self) -> int:
        """First change of the page that is dirty for longest; the log's end if none is."""
        for entry in self._dirty.values():  # in the order of their first changes
            return entry.first_lsn
        return self._written.lsn

    def _redo_lsn(self) -> int:
        """All before this log position is in pages that were written."""
        return min(self._oldest_dirty_lsn(), self._durable.lsn)

    async def _write_oldest_pages(self) -> None:
        """Write one batch of the pages that are dirty for longest."""
        files = self._mounted()
        most = await admit_pages(self._volume, WRITTEN_AT_ONCE)
        if not self._safeguards.log_before_page:
            self._write_batch(files, most)
            return
        self._page_writer_waits = True
        try:
            while self._log_held:
                await self._progress
                self._mounted()
        finally:
            self._page_writer_waits = False
            self._progress.notify()
        async with self._holding_log() as log:
            await log.sync()  # owed only when a deliverer was cancelled
            self._durable = self._written
            self._write_batch(files, most)

    def _write_batch(self, files: MountedFiles, most: int) -> None:
        batch = list(islice(self._dirty, most))
        signature = files.checkpoint.signature
        for page in batch:
            write_page(files.database, signature, page, self._dirty.pop(page).content)

    async def _write_checkpoint(self, clean: bool) -> None:
        """Make the pages written so far durable, and move the checkpoint past them."""
        files = self._mounted()
        old = files.checkpoint
        # Both before the sync: pages that change while it runs are not covered by it.
        redo_lsn, mark = self._redo_lsn(), self._durable
        if self._safeguards.sync_pages_before_checkpoint:
            await files.database.sync()
        generation = files.log.generation_of(redo_lsn)
        new = Checkpoint(
            old.signature, old.geometry, old.number + 1, clean, redo_lsn, generation, mark
        )
        if not self._safeguards.checkpoint_before_delete:
            files.log.delete_before(generation)
        await write_checkpoint(
            self._volume, files.checkpoint_file, new, self._safeguards.checkpoint_in_two_steps
        )
        files.checkpoint = new
        files.log.delete_before(generation)
