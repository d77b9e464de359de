"""Reading the small store's database at a mount, with the log's word laid over it.

Each page that must be there is read once, in runs of an extent.  For each one the log may
have a last word (a page that redo rebuilds); what the disk says is then only compared by
log position.  All other pages must be whole, belong to this store and hold the piece that
their place demands.  The messages' digests are taken from these very bytes, so what the bench
judges later is what lies on the disk.

Behind the head of the ring nothing is live, but a page found there with a log position that
the log does not reach was written before its log record; a bounded stretch is searched.

Leaves out: pages of no live message further away: their bytes mean nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import xxhash

from replicator.runtime.port import File
from simulator.exchange.small_checkpoint import Checkpoint, Mark
from simulator.exchange.small_files import Paths
from simulator.exchange.small_pages import (
    EXTENT_PAGES,
    PAGE_BYTES,
    BadPage,
    PageContent,
    Totals,
    decode_page,
    decode_totals,
    pages_needed,
)
from simulator.exchange.store import StoreUnmountable

LOOK_AHEAD_PAGES: Final = 256
"""Places behind the head that are searched for pages written before their log."""
_READ_TOTALS_PAGES: Final = 64


@dataclass(slots=True)
class StoredMessage:
    """One entry of the directory."""

    message_id: int
    place: int
    pages: int
    mailbox: int
    payload_bytes: int
    digest: bytes


class PageReader:
    """Fills ``messages``, ``totals``, and ``rewrite``: the pages that redo must write.

    Arguments
    ---------
    mark: the state at the end of the log.
    redo: page number -> what its last log record says.
    verify: check checksums (off in tests only).
    again: redo also what is there already (off in tests only).
    """

    def __init__(
        self,
        paths: Paths,
        checkpoint: Checkpoint,
        database: File,
        mark: Mark,
        redo: dict[int, PageContent],
        verify: bool,
        again: bool,
    ) -> None:
        self._path = paths.database
        self._signature = checkpoint.signature
        self._geometry = checkpoint.geometry
        self._database = database
        self._mark = mark
        self._redo = redo
        self._verify = verify
        self._again = again
        self.rewrite: dict[int, PageContent] = {}
        self.messages: dict[int, StoredMessage] = {}
        self.totals: dict[int, Totals] = {}

    async def read(self) -> None:
        """Read and judge everything; raises StoreUnmountable."""
        live_pages = self._mark.head - self._mark.tail
        if not 0 <= live_pages <= self._geometry.ring_pages:
            raise self._refuse(0, f"{live_pages} live pages do not fit into the database")
        await self._read_messages()
        await self._read_totals()
        await self._look_ahead()

    def _refuse(self, page: int, reason: str) -> StoreUnmountable:
        return StoreUnmountable(reason, path=self._path, offset=page * PAGE_BYTES)

    async def _places(self, first: int, last: int) -> AsyncIterator[tuple[int, int, memoryview]]:
        """Place, page and bytes of the places ``first .. last-1``, read by extents."""
        place = first
        while place < last:
            run = min(EXTENT_PAGES - place % EXTENT_PAGES, last - place)
            page = self._geometry.page_of_place(place)
            data = memoryview(await self._database.read_at(page * PAGE_BYTES, run * PAGE_BYTES))
            for index in range(run):
                at = index * PAGE_BYTES
                yield place + index, page + index, data[at : at + PAGE_BYTES]
            place += run

    def _judge(self, page: int, data: memoryview) -> PageContent | None:
        """What the page says after redo; None when it was never written."""
        wanted = self._redo.get(page)
        found: PageContent | None = None
        try:
            found = decode_page(self._signature, page, data, self._verify)
        except BadPage as bad:
            if wanted is None:
                raise self._refuse(page, f"{bad}, and the log does not rebuild it") from None
        if found is not None:
            self._check_not_ahead(page, found, wanted)
        if wanted is None:
            return found
        old = found is None or found.lsn < wanted.lsn
        # Even if it is there: it may be in the page cache only, and count as written, after a
        # sync that failed and of which the process before has died.
        if old or self._again:
            self.rewrite[page] = wanted
        return wanted if old else found

    def _check_not_ahead(self, page: int, found: PageContent, wanted: PageContent | None) -> None:
        newest_lsn = self._mark.lsn - 1 if wanted is None else wanted.lsn
        if found.lsn > newest_lsn:
            raise self._refuse(
                page,
                f"page {page} was changed at log position {found.lsn}, "
                f"but the log knows no change of it after {newest_lsn}",
            )

    async def _read_messages(self) -> None:
        pieces: list[PageContent] = []
        async for place, page, data in self._places(self._mark.tail, self._mark.head):
            content = self._judge(page, data)
            if content is None or content.fragment is None or content.place != place:
                found = "nothing" if content is None else f"place {content.place}"
                raise self._refuse(
                    page, f"page {page} holds {found} where place {place} of the ring is due"
                )
            self._take_piece(page, content, pieces)
        if pieces:
            raise self._refuse(0, f"message {pieces[0].message_id} lacks its last pages")

    def _take_piece(self, page: int, content: PageContent, pieces: list[PageContent]) -> None:
        """Add one piece to the message being put together; a whole one goes to the directory."""
        first = pieces[0] if pieces else content
        if content.fragment != len(pieces) or content.message_id != first.message_id:
            raise self._refuse(
                page,
                f"page {page} holds piece {content.fragment} of message {content.message_id} "
                f"where piece {len(pieces)} of message {first.message_id} is due",
            )
        pieces.append(content)
        if len(pieces) < pages_needed(first.payload_bytes):
            return
        digest = xxhash.xxh3_128()
        for piece in pieces:
            digest.update(piece.body)
        if first.message_id in self.messages:
            raise self._refuse(page, f"message {first.message_id} is there twice")
        self.messages[first.message_id] = StoredMessage(
            first.message_id,
            first.place,
            len(pieces),
            first.mailbox,
            first.payload_bytes,
            digest.digest(),
        )
        pieces.clear()

    async def _read_totals(self) -> None:
        counted: dict[int, list[int]] = {}
        for message in self.messages.values():
            of_mailbox = counted.setdefault(message.mailbox, [0, 0])
            of_mailbox[0] += 1
            of_mailbox[1] += message.payload_bytes
        for start in range(0, self._geometry.mailboxes, _READ_TOTALS_PAGES):
            pages = min(_READ_TOTALS_PAGES, self._geometry.mailboxes - start)
            data = memoryview(await self._database.read_at(start * PAGE_BYTES, pages * PAGE_BYTES))
            for mailbox in range(start, start + pages):
                at = (mailbox - start) * PAGE_BYTES
                content = self._judge(mailbox, data[at : at + PAGE_BYTES])
                totals = Totals() if content is None else decode_totals(content)
                messages, payload_bytes = counted.get(mailbox, (0, 0))
                if (totals.messages, totals.payload_bytes) != (messages, payload_bytes):
                    raise self._refuse(
                        mailbox,
                        f"mailbox {mailbox} says {totals.messages} messages with "
                        f"{totals.payload_bytes} bytes; there are {messages} with {payload_bytes}",
                    )
                self.totals[mailbox] = totals

    async def _look_ahead(self) -> None:
        head = self._mark.head
        free_pages = self._geometry.ring_pages - (head - self._mark.tail)
        async for _place, page, data in self._places(
            head, head + min(LOOK_AHEAD_PAGES, free_pages)
        ):
            try:
                found = decode_page(self._signature, page, data, self._verify)
            except BadPage:
                continue  # a torn write of a page that holds nothing
            if found is not None:
                self._check_not_ahead(page, found, None)
