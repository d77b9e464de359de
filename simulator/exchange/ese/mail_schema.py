"""The tables of a mail store, and a message as its user has it.

::

    Mailbox     Number, Name
    Folders     Mailbox, Folder, Name
    Msg         MessageId, Mailbox, Folder, Received, ...      by id; by folder and date
    Content     ContentId, Copies, Digest                      only with single-instance storage
    Body        ContentId, Data (long value)
    Attachment  ContentId, Number, Data (long value)
    Stream      ContentId, where it lies                       only with a streaming file

A row of ``Msg`` is one message in one mailbox.  What it says stands in the tables below under
its content's number, or in the streaming file: with single-instance storage (to 2007) once for
all mailboxes of the database that got it, and ``Content`` counts them; later once for each, under
the message's id.

Modelled after the stores of Exchange 2003 and 2007, which have ``Mailbox``, ``Folders`` and
``Msg`` in each database [M].  Left out: a table for each folder, and from 2010 on for each
mailbox; views, search folders, named properties, counts in folders.  What these add to the log
is a parameter of whoever drives the store.

Numbers of 64 bits are CURRENCY columns, as before the engine had another type for them.  Text
has no limit and is UTF-16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import xxhash

from replicator.ese.columns import UNICODE, ColumnFlag, ColumnType, Value
from replicator.ese.records import Record
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from simulator.exchange.ese.table import Table

SINGLE_INSTANCE_VERSIONS: Final = ("2003", "2007")
"""Those that keep a message once for all its recipients in a database [S]; gone in 2010 [M]."""
STREAMING_VERSIONS: Final = ("2003",)
"""Those with a streaming file beside each database."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message in one mailbox.

    Arguments
    ---------
    message_id: of this copy; no other message of the database has it, and it is not given again.
    mailbox, folder: numbers.
    received_ns: when it came; any clock that its user keeps to.
    sender, subject: text.
    body, attachments: bytes.
    """

    message_id: int
    mailbox: int
    folder: int
    received_ns: int
    sender: str
    subject: str
    body: bytes
    attachments: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of body and attachments."""
        return len(self.body) + sum(map(len, self.attachments))

    @property
    def content_digest(self) -> bytes:
        """Of body and attachments; 16 bytes."""
        return content_digest(self.body, self.attachments)


def content_digest(body: bytes, attachments: tuple[bytes, ...]) -> bytes:
    """What tells contents apart: XXH3 (128 bits) over each part behind its length."""
    digest = xxhash.xxh3_128()
    for part in (body, *attachments):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _number(name: str, kind: ColumnType = ColumnType.LONG) -> ColumnDefinition:
    return ColumnDefinition(name, kind, flags=ColumnFlag.NOT_NULL)


def _identifier(name: str) -> ColumnDefinition:
    return _number(name, ColumnType.CURRENCY)


def _text(name: str) -> ColumnDefinition:
    return ColumnDefinition(name, ColumnType.LONG_TEXT, code_page=UNICODE)


MAILBOX: Final = TableDefinition(
    "Mailbox",
    (_number("Number"), _text("Name")),
    (IndexDefinition("ByNumber", ("Number",), primary=True),),
)
FOLDERS: Final = TableDefinition(
    "Folders",
    (_number("Mailbox"), _number("Folder"), _text("Name")),
    (IndexDefinition("ByMailbox", ("Mailbox", "Folder"), primary=True),),
)
MESSAGES: Final = TableDefinition(
    "Msg",
    (
        _identifier("MessageId"),
        _number("Mailbox"),
        _number("Folder"),
        _identifier("Received"),
        _identifier("ContentId"),
        _identifier("SizeBytes"),
        _number("Attachments"),
        _number("IsRead", ColumnType.BIT),
        _number("IsFlagged", ColumnType.BIT),
        _text("Sender"),
        _text("Subject"),
    ),
    (
        IndexDefinition("ById", ("MessageId",), primary=True),
        IndexDefinition("ByFolderAndDate", ("Mailbox", "Folder", "-Received", "MessageId")),
    ),
)
CONTENT: Final = TableDefinition(
    "Content",
    (
        _identifier("ContentId"),
        _number("Copies"),
        ColumnDefinition("Digest", ColumnType.BINARY, 16),
    ),
    (IndexDefinition("ById", ("ContentId",), primary=True),),
)
BODY: Final = TableDefinition(
    "Body",
    (_identifier("ContentId"), ColumnDefinition("Data", ColumnType.LONG_BINARY)),
    (IndexDefinition("ById", ("ContentId",), primary=True),),
)
ATTACHMENT: Final = TableDefinition(
    "Attachment",
    (
        _identifier("ContentId"),
        _number("Number"),
        ColumnDefinition("Data", ColumnType.LONG_BINARY),
    ),
    (IndexDefinition("ByContent", ("ContentId", "Number"), primary=True),),
)
MAIL_TABLES: Final = (MAILBOX, FOLDERS, MESSAGES, BODY, ATTACHMENT)
"""Those of every store; ``CONTENT`` comes with single-instance storage."""


def row_values(table: Table, record: Record) -> dict[str, Value]:
    """A row as it was given to the table: every column by name, long values in whole.

    Raises EseError for a record, or a long value, that does not hold together.
    """
    layout = table.definition.layout
    offsets = layout.fixed_offsets()
    found: dict[str, Value] = {}
    for column in layout.columns.values():
        stored = record.instances(column, offsets.get(column.identifier, 0))
        value: Value = None
        if stored:
            data = stored[0].data
            if stored[0].separated:
                data = table.long_value(int.from_bytes(data, "little"))
            value = column.decode(data)
        found[column.name] = value
    return found


def message_from_row(
    row: Mapping[str, Value], body: bytes, attachments: tuple[bytes, ...]
) -> StoredMessage:
    """The message of a row of ``Msg`` and its content."""
    return StoredMessage(
        message_id=_int(row["MessageId"]),
        mailbox=_int(row["Mailbox"]),
        folder=_int(row["Folder"]),
        received_ns=_int(row["Received"]),
        sender=_str(row["Sender"]),
        subject=_str(row["Subject"]),
        body=body,
        attachments=attachments,
    )


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _str(value: Value) -> str:
    """Text; what is empty may be null."""
    return value if isinstance(value, str) else ""
