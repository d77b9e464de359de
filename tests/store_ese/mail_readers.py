"""Messages of a database file as three readers see them: libesedb, dissect.esedb and our own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyesedb
from dissect.esedb.esedb import EseDB

from replicator.ese.database import Database
from replicator.ese.page import NodeFlag
from replicator.ese.reader import BytesReader
from replicator.ese.streaming_file import read_content, stream_places, streaming_path
from simulator.exchange.ese.mail_ledger import LedgerEntry
from simulator.exchange.ese.mail_schema import ATTACHMENT, BODY, MESSAGES

Rows = Callable[[str], Iterator[dict[str, Any]]]
COLUMNS = {
    each.name: [column.name for column in each.columns] for each in (MESSAGES, BODY, ATTACHMENT)
}


def by_libesedb(path: Path) -> dict[int, LedgerEntry]:
    file = pyesedb.open(str(path))
    try:
        return _messages(lambda name: _libesedb_rows(file.get_table_by_name(name), name), path)
    finally:
        file.close()


def by_dissect(path: Path) -> dict[int, LedgerEntry]:
    with path.open("rb") as stream:
        file = EseDB(stream)
        return _messages(lambda name: _dissect_rows(file.table(name), name), path)


def by_our_reader(path: Path) -> dict[int, LedgerEntry]:
    database = Database(BytesReader(path.read_bytes(), str(path)))

    def rows(name: str) -> Iterator[dict[str, Any]]:
        for row in database.table(name).rows():
            yield {column: row[column] for column in COLUMNS[name]}

    return _messages(rows, path)


READERS = (by_libesedb, by_dissect, by_our_reader)


def _libesedb_rows(table: Any, name: str) -> Iterator[dict[str, Any]]:
    names = [table.get_column(at).name for at in range(table.get_number_of_columns())]
    assert names == COLUMNS[name]
    for number in range(table.get_number_of_records()):
        record = table.get_record(number)
        found: dict[str, Any] = {}
        for at, column in enumerate(names):
            if column == "Data":
                found[column] = _libesedb_long(record, at)
            elif column in ("Sender", "Subject"):
                found[column] = (_libesedb_long(record, at) or b"").decode("utf-16-le")
            elif column in ("IsRead", "IsFlagged"):
                found[column] = record.get_value_data(at) != b"\0"
            else:
                found[column] = record.get_value_data_as_integer(at)
        yield found


def _libesedb_long(record: Any, at: int) -> bytes | None:
    """A value that stands in the record or apart from it."""
    if record.get_value_data_flags(at) & 4 and record.is_long_value(at):
        return record.get_value_data_as_long_value(at).get_data()
    return record.get_value_data(at)


def _dissect_rows(table: Any, name: str) -> Iterator[dict[str, Any]]:
    for record in table.records():
        # It shows nodes that are flagged deleted too.
        if not record._node.tag.flags & NodeFlag.DELETED:
            yield {column: record.get(column) for column in COLUMNS[name]}


def _messages(rows: Rows, path: Path) -> dict[int, LedgerEntry]:
    """Put together; no row of content may be left over."""
    contents: dict[int, list[bytes]] = {row["ContentId"]: [_bytes(row)] for row in rows("Body")}
    for row in rows("Attachment"):
        parts = contents[row["ContentId"]]
        assert row["Number"] == len(parts) - 1
        parts.append(_bytes(row))
    for content_id, streamed in streamed_contents(path):
        assert content_id not in contents
        contents[content_id] = streamed
    found, used = {}, set()
    for row in rows("Msg"):
        body, *attachments = contents[row["ContentId"]]
        used.add(row["ContentId"])
        assert row["SizeBytes"] == len(body) + sum(map(len, attachments))
        assert row["Attachments"] == len(attachments)
        entry = LedgerEntry(
            message_id=row["MessageId"],
            database=path.name,
            mailbox=row["Mailbox"],
            folder=row["Folder"],
            received_ns=row["Received"],
            sender=row["Sender"] or "",
            subject=row["Subject"] or "",
            body_bytes=len(body),
            attachment_bytes=tuple(map(len, attachments)),
            digest=_sha256(body, *attachments),
            is_read=bool(row["IsRead"]),
            is_flagged=bool(row["IsFlagged"]),
        )
        assert entry.message_id not in found
        found[entry.message_id] = entry
    assert used == set(contents)
    return found


def streamed_contents(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The contents in the streaming file, by our own reader: the others know nothing of such."""
    database = Database(BytesReader(path.read_bytes(), str(path)))
    beside = Path(streaming_path(str(path)))
    if beside.exists():
        stream = BytesReader(beside.read_bytes(), str(beside))
        for content_id, place in stream_places(database):
            yield content_id, place.parts(read_content(stream, place))


def _bytes(row: dict[str, Any]) -> bytes:
    return row["Data"] or b""


def _sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def expected_of(entries: Iterable[LedgerEntry], name: str) -> dict[int, LedgerEntry]:
    """What a ledger says must be in a database."""
    return {each.message_id: each for each in entries if each.committed and each.database == name}
