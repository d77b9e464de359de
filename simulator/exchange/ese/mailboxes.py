"""Mailboxes, folders, messages and attachments as rows of one database.

Each call is a transaction within the one that the caller has begun, so it is carried out whole
or not at all, and is durable when the caller's commit is::

    session = instance.session(one)
    mailboxes = await Mailboxes.create(session)
    session.begin()
    await mailboxes.add_mailbox(0, "Anna")
    await mailboxes.deliver(StoredMessage(1, 0, INBOX, 0, "bob@example.org", "Hello", b"..."))
    await session.commit()

Several sessions may work on one database, each with its own ``Mailboxes``.  What one has changed
and not committed, another one cannot change (EseError -1102): who meets that rolls back and tries
again.

No statement holds more than one row's pages; :meth:`Mailboxes.messages` reads one message at a
time, so memory does not grow with the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from replicator.ese.columns import Value
from replicator.ese.errors import EseError
from replicator.ese.schema import TableDefinition
from replicator.ese.streaming_file import STREAM
from simulator.exchange.ese.database import Database
from simulator.exchange.ese.mail_schema import (
    ATTACHMENT,
    BODY,
    CONTENT,
    FOLDERS,
    MAIL_TABLES,
    MAILBOX,
    MESSAGES,
    StoredMessage,
    message_from_row,
    row_values,
)
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.streamed_contents import StreamedContents
from simulator.exchange.ese.table import Table
from simulator.exchange.mail_events import INBOX, RECOVERABLE, SENT_ITEMS

NOT_FOUND: Final = -1601
STANDARD_FOLDERS: Final = {
    INBOX: "Inbox",
    SENT_ITEMS: "Sent Items",
    RECOVERABLE: "Recoverable Items",
}
"""Folders that every mailbox has."""

_ROWS_AT_ONCE: Final = 64
Change = Callable[[dict[str, Any]], None]


class Mailboxes:
    """See the module; made by :meth:`create` or :meth:`open`.

    Attributes
    ----------
    single_instance: whether a body is kept once for all mailboxes of the database.
    """

    def __init__(self, session: StoreSession) -> None:
        self._session = session
        self._mailboxes = _table(session.database, MAILBOX)
        self._folders = _table(session.database, FOLDERS)
        self._messages = _table(session.database, MESSAGES)
        self._bodies = _table(session.database, BODY)
        self._attachments = _table(session.database, ATTACHMENT)
        self._contents = _table_or_none(session.database, CONTENT)
        self._streams = None if session.streaming is None else StreamedContents(session)
        self.single_instance = self._contents is not None

    @classmethod
    async def create(cls, session: StoreSession, *, single_instance: bool = True) -> Mailboxes:
        """Make the tables, in one transaction.

        Arguments
        ---------
        session: on a database that has none of them.
        single_instance: keep what several mailboxes get once, as to 2007.

        Raises EseError -1303 when the tables are there.
        """
        made: list[str] = []
        session.begin()
        try:
            more = (CONTENT,) if single_instance else ()
            streams = () if session.streaming is None else (STREAM,)
            for each in (*MAIL_TABLES, *more, *streams):
                await session.do(session.database.create_table, each)
                made.append(each.name)
        except Exception:
            await session.rollback()
            for name in made:
                del session.database.tables[name]
            raise
        await session.commit()
        return cls(session)

    @classmethod
    async def open(cls, session: StoreSession) -> Mailboxes:
        """The tables that are there; raises EseError -1601 when they are not."""
        streams = () if session.streaming is None else (STREAM,)
        database, tables = session.database, (*MAIL_TABLES, *streams)
        await session.read(database.look_at_tables, [each.name for each in (*tables, CONTENT)])
        for each in tables:
            # One by one: what is missing of one does not begin the others anew.
            await session.read(_table, database, each)
        await session.read(_table_or_none, database, CONTENT)
        return cls(session)

    # -- mailboxes and folders -----------------------------------------------------------

    async def add_mailbox(self, number: int, name: str) -> None:
        """Add a mailbox with its standard folders; raises EseError -1605 when it is there."""
        async with self._whole():
            await self._session.do(self._mailboxes.insert, {"Number": number, "Name": name})
            for folder, folder_name in STANDARD_FOLDERS.items():
                await self.add_folder(number, folder, folder_name)

    async def add_folder(self, mailbox: int, folder: int, name: str) -> None:
        """Add a folder; raises EseError -1605 when it is there, -1601 without the mailbox."""
        if await self._session.do(lambda _: self._mailboxes.get(self._mailboxes.key(mailbox))):
            row: dict[str, Any] = {"Mailbox": mailbox, "Folder": folder, "Name": name}
            await self._session.do(self._folders.insert, row)
        else:
            raise EseError(NOT_FOUND, f"there is no mailbox {mailbox}")

    async def mailboxes(self) -> AsyncIterator[tuple[int, str]]:
        """Numbers and names, in order."""
        async for row in self._rows(self._mailboxes):
            yield row["Number"], row["Name"] or ""

    async def folders(self) -> AsyncIterator[tuple[int, int, str]]:
        """Mailbox, number and name of every folder, in order."""
        async for row in self._rows(self._folders):
            yield row["Mailbox"], row["Folder"], row["Name"] or ""

    # -- messages ------------------------------------------------------------------------

    async def deliver(
        self,
        message: StoredMessage,
        *,
        shared_as: int | None = None,
        is_mime: bool = False,
    ) -> None:
        """Put a message into its folder.

        Arguments
        ---------
        message: its id is new to the database.
        shared_as: number of its content.  Copies with the same number share body and attachments
            where the store keeps them once; by default the message's id, shared with nobody.
        is_mime: it came from the Internet: its content goes into the streaming file, if there is
            one.

        Raises EseError: -1605 when there is a message of this id, -1601 when there is no such
        folder, -1102 while another session delivers or deletes a copy, -1808 when the file may
        not grow; ValueError when ``shared_as`` has other bytes.
        """
        content_id = message.message_id
        if shared_as is not None and self.single_instance:
            content_id = shared_as
        async with self._whole():
            await self._session.do(self._insert_message, message, content_id)
            if await self._session.do(self._count_copy, message, content_id):
                return
            if is_mime and self._streams is not None:
                await self._streams.put(content_id, (message.body, *message.attachments))
                return
            body: dict[str, Any] = {"ContentId": content_id, "Data": message.body}
            await self._session.do(self._bodies.insert, body)
            for number, data in enumerate(message.attachments):
                row: dict[str, Any] = {"ContentId": content_id, "Number": number, "Data": data}
                await self._session.do(self._attachments.insert, row)

    async def get(self, message_id: int) -> StoredMessage | None:
        """A message; None when there is none of this id."""
        row = await self._row(message_id)
        return None if row is None else await self._message(row)

    async def properties(self, message_id: int) -> dict[str, Any] | None:
        """The row of ``Msg`` by column, without the content; None when there is none."""
        return await self._row(message_id)

    async def delete(self, message_id: int) -> bool:
        """Remove a message for good, and its content with the last copy; False without one.

        Raises EseError -1102 while another session has to do with it.
        """
        row = await self._row(message_id)
        if row is None:
            return False
        content_id, attachments = row["ContentId"], row["Attachments"]
        async with self._whole():
            await self._session.do(self._messages.delete, self._messages.key(message_id))
            if not await self._session.do(self._forget_copy, content_id):
                return True
            if self._streams is not None and await self._streams.delete(content_id):
                return True
            await self._session.do(self._bodies.delete, self._bodies.key(content_id))
            for number in range(attachments):
                key = self._attachments.key(content_id, number)
                await self._session.do(self._attachments.delete, key)
        return True

    async def move(self, message_id: int, folder: int) -> bool:
        """Move a message to another folder of its mailbox; False when there is no message.

        Raises EseError -1601 when there is no such folder, -1102 as :meth:`delete` does.
        """

        def change(row: dict[str, Any]) -> None:
            self._check_folder(row["Mailbox"], folder)
            row["Folder"] = folder

        return await self._session.do(self._change, message_id, change)

    async def mark_read(self, message_id: int) -> bool:
        """Say that it was read; False when there is no message.  Raises EseError -1102."""
        return await self._session.do(self._change, message_id, _set_read)

    async def mark_flagged(self, message_id: int) -> bool:
        """Flag it; False when there is no message.  Raises EseError -1102."""
        return await self._session.do(self._change, message_id, _set_flagged)

    async def messages(self) -> AsyncIterator[StoredMessage]:
        """All messages by id, those of open transactions among them; ``async for`` reads on.

        A message that is deleted while this goes on may be missing or not.
        """
        async for row in self._rows(self._messages):
            message = await self._message(row)
            if message is not None:
                yield message

    # -- statements ----------------------------------------------------------------------

    @asynccontextmanager
    async def _whole(self) -> AsyncIterator[None]:
        """A transaction within the caller's."""
        self._session.begin()
        try:
            yield
        except Exception:
            await self._session.rollback()
            raise
        await self._session.commit()

    def _check_folder(self, mailbox: int, folder: int) -> None:
        if self._folders.get(self._folders.key(mailbox, folder)) is None:
            raise EseError(NOT_FOUND, f"mailbox {mailbox} has no folder {folder}")

    def _insert_message(self, session: Session, message: StoredMessage, content_id: int) -> None:
        self._check_folder(message.mailbox, message.folder)
        row: dict[str, Any] = {
            "MessageId": message.message_id,
            "Mailbox": message.mailbox,
            "Folder": message.folder,
            "Received": message.received_ns,
            "ContentId": content_id,
            "SizeBytes": message.size_bytes,
            "Attachments": len(message.attachments),
            "IsRead": False,
            "IsFlagged": False,
            "Sender": message.sender,
            "Subject": message.subject,
        }
        self._messages.insert(session, row)

    def _count_copy(self, session: Session, message: StoredMessage, content_id: int) -> bool:
        """Count one more copy; False when it is the first one, whose bytes are to be kept."""
        table = self._contents
        if table is None:
            return False
        key = table.key(content_id)
        record = table.get(key)
        digest = message.content_digest
        if record is None:
            table.insert(session, {"ContentId": content_id, "Copies": 1, "Digest": digest})
            return False
        row: dict[str, Any] = row_values(table, record)
        if row["Digest"] != digest:
            raise ValueError(f"content {content_id} has other bytes than this message")
        table.update(session, key, {**row, "Copies": row["Copies"] + 1})
        return True

    def _forget_copy(self, session: Session, content_id: int) -> bool:
        """Count one copy less; whether it was the last one."""
        table = self._contents
        if table is None:
            return True
        key = table.key(content_id)
        record = table.get(key)
        if record is None:
            raise EseError(NOT_FOUND, f"content {content_id} of a message is missing")
        row: dict[str, Any] = row_values(table, record)
        if row["Copies"] <= 1:
            table.delete(session, key)
            return True
        table.update(session, key, {**row, "Copies": row["Copies"] - 1})
        return False

    def _change(self, session: Session, message_id: int, change: Change) -> bool:
        key = self._messages.key(message_id)
        record = self._messages.get(key)
        if record is None:
            return False
        before = row_values(self._messages, record)
        row: dict[str, Any] = dict(before)
        change(row)
        if row != before:
            self._messages.update(session, key, row)
        return True

    # -- reading -------------------------------------------------------------------------

    async def _row(self, message_id: int) -> dict[str, Any] | None:
        key = self._messages.key(message_id)

        def read(_: Session) -> dict[str, Any] | None:
            record = self._messages.get(key)
            return None if record is None else row_values(self._messages, record)

        return await self._session.do(read)

    async def _message(self, row: dict[str, Any]) -> StoredMessage | None:
        """A row with its content; None when that has been deleted meanwhile."""
        content_id = row["ContentId"]
        if self._streams is not None:
            streamed = await self._streams.get(content_id)
            if streamed is not None:
                return message_from_row(row, streamed[0], tuple(streamed[1:]))
        keys = [(self._bodies, self._bodies.key(content_id))]
        for number in range(row["Attachments"]):
            keys.append((self._attachments, self._attachments.key(content_id, number)))
        parts: list[bytes] = []
        for table, key in keys:
            data = await self._session.do(_data, table, key)
            if data is None:
                return None
            parts.append(data)
        return message_from_row(row, parts[0], tuple(parts[1:]))

    async def _rows(self, table: Table) -> AsyncIterator[dict[str, Any]]:
        after = b""
        while True:
            rows, after = await self._session.do(_some_rows, table, after)
            for row in rows:
                yield row
            if len(rows) < _ROWS_AT_ONCE:
                return


def _set_read(row: dict[str, Any]) -> None:
    row["IsRead"] = True


def _set_flagged(row: dict[str, Any]) -> None:
    row["IsFlagged"] = True


def _data(_: Session, table: Table, key: bytes) -> bytes | None:
    record = table.get(key)
    if record is None:
        return None
    data: Value = row_values(table, record)["Data"]
    return data if isinstance(data, bytes) else b""


def _some_rows(_: Session, table: Table, after: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Rows behind a key, and the key from which to go on."""
    rows: list[dict[str, Any]] = []
    for node in table.rows.from_key(after):
        record = table.get(node.key)
        if record is not None:
            rows.append(row_values(table, record))
        after = node.key + b"\0"
        if len(rows) == _ROWS_AT_ONCE:
            break
    return rows, after


def _table(database: Database, definition: TableDefinition) -> Table:
    """The table: one object for all sessions, since it counts its long values."""
    found = database.tables.get(definition.name)
    return database.open_table(definition) if found is None else found


def _table_or_none(database: Database, definition: TableDefinition) -> Table | None:
    try:
        return _table(database, definition)
    except EseError as error:
        if error.number != NOT_FOUND:
            raise
        return None
