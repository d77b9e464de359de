"""Contents in the streaming file, as rows of ``Stream``: put, read and deleted in transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from replicator.ese.errors import EseError
from replicator.ese.records import Record
from replicator.ese.streaming_file import STREAM, StreamPlace
from replicator.ese.versions import Change
from replicator.runtime import Cancelled
from simulator.exchange.ese.mail_schema import row_values
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.streaming_file import version_of
from simulator.exchange.ese.table import Table
from simulator.exchange.ese.versions import Version

BAD_PAGE: Final = -1018

_ROWS_AT_ONCE: Final = 64


class StreamedContents:
    """Those of one database, as one session changes them.

    Arguments
    ---------
    session: on a database with a streaming file and its table.

    Raises ValueError when there is no such file, EseError -1601 without the table.
    """

    def __init__(self, session: StoreSession) -> None:
        if session.streaming is None:
            raise ValueError("the database has no streaming file")
        self._session, self._file = session, session.streaming
        found = session.database.tables.get(STREAM.name)
        self._table: Table = session.database.open_table(STREAM) if found is None else found

    async def put(self, content_id: int, parts: Sequence[bytes]) -> None:
        """Write a content and its row, in the caller's transaction.

        Raises EseError -1605 when there is one of this number, StorageError.
        """
        await self._file.begin(self.places)
        place = await self._file.put(parts)
        try:
            version = await self._session.do(self._insert, content_id, place)
        except (Exception, Cancelled):
            self._file.give_back(place)
            raise
        self._file.inserted(place, version)

    def _insert(self, session: Session, content_id: int, place: StreamPlace) -> Version:
        row: dict[str, Any] = {"ContentId": content_id, **place.as_row()}
        key = self._table.insert(session, row)
        return version_of(session, self._table, key, Change.INSERT)

    async def get(self, content_id: int) -> list[bytes] | None:
        """The parts of a content; None when it is not in the streaming file.

        Raises EseError -1018, event 478, for a page that does not verify; StorageError.
        """
        key = self._table.key(content_id)
        place = await self._session.do(self._place, key)
        if place is None:
            return None
        try:
            return place.parts(await self._file.get(place))
        except EseError as error:
            # Deleted meanwhile, its clusters are another content's.
            again = await self._session.do(self._place, key)
            if error.number == BAD_PAGE and again != place:
                return None if again is None else place.parts(await self._file.get(again))
            raise

    async def delete(self, content_id: int) -> bool:
        """Delete a content in the caller's transaction; False when it is not in this file."""
        key = self._table.key(content_id)
        if await self._session.do(self._place, key) is None:
            return False
        await self._file.begin(self.places)
        place, version = await self._session.do(self._delete, key)
        self._file.deleted(place, version)
        return True

    def _delete(self, session: Session, key: bytes) -> tuple[StreamPlace, Version]:
        place = self._place(session, key)
        if place is None:
            raise EseError(-1601, "the content has been deleted meanwhile")
        self._table.delete(session, key)
        return place, version_of(session, self._table, key, Change.FLAG_DELETE)

    def _place(self, _: Session, key: bytes) -> StreamPlace | None:
        record = self._table.get(key)
        return None if record is None else self._place_of(record)

    def _place_of(self, record: Record) -> StreamPlace:
        return StreamPlace.from_row(row_values(self._table, record))

    async def places(self) -> AsyncIterator[StreamPlace]:
        """Where all contents lie."""
        after: bytes | None = b""
        while after is not None:
            found, after = await self._session.do(self._some, after)
            for each in found:
                yield each

    def _some(self, _: Session, after: bytes) -> tuple[list[StreamPlace], bytes | None]:
        """Some rows behind a key, and the key from which to go on; None at the end."""
        found: list[StreamPlace] = []
        for node in self._table.rows.from_key(after):
            if len(found) == _ROWS_AT_ONCE:
                return found, node.key
            found.append(self._place_of(self._table.record_of(node)))
        return found, None
