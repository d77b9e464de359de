"""What must be in a mail store, kept outside of it: one line a message.

The ledger hears of a change when its transaction is durable, and of messages whose transaction
never came to its commit.  It is kept in a temporary database of SQLite, which takes its pages to
a file of its own as it grows, so that memory does not grow with the number of messages.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol

from simulator.exchange.ese.mail_schema import StoredMessage

_TABLE: Final = """
CREATE TABLE message (
    message_id INTEGER PRIMARY KEY, database TEXT, mailbox INTEGER, folder INTEGER,
    received_ns INTEGER, sender TEXT, subject TEXT, body_bytes INTEGER, attachment_bytes TEXT,
    digest TEXT, is_read INTEGER, is_flagged INTEGER, committed INTEGER
) WITHOUT ROWID
"""
_COLUMNS: Final = (
    "message_id",
    "database",
    "mailbox",
    "folder",
    "received_ns",
    "sender",
    "subject",
    "body_bytes",
    "attachment_bytes",
    "digest",
    "is_read",
    "is_flagged",
    "committed",
)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One message of the ledger, without its bytes.

    Arguments
    ---------
    database: name of the file.
    digest: SHA-256 over the body and the attachments, one behind the other, in hexadecimal.
    committed: whether the message must be there; otherwise it must not.

    The others are those of :class:`~simulator.exchange.ese.mail_schema.StoredMessage`.
    """

    message_id: int
    database: str
    mailbox: int
    folder: int
    received_ns: int
    sender: str
    subject: str
    body_bytes: int
    attachment_bytes: tuple[int, ...]
    digest: str
    is_read: bool = False
    is_flagged: bool = False
    committed: bool = True

    def as_json(self) -> str:
        """One line of the file."""
        found = {name: getattr(self, name) for name in _COLUMNS}
        return json.dumps(found, ensure_ascii=False)


def ledger_digest(message: StoredMessage) -> str:
    """See :attr:`LedgerEntry.digest`."""
    digest = hashlib.sha256(message.body)
    for each in message.attachments:
        digest.update(each)
    return digest.hexdigest()


def ledger_entry(
    message: StoredMessage, database: str, *, digest: str | None = None, committed: bool = True
) -> LedgerEntry:
    """The entry of a message; ``digest`` where it is known already."""
    return LedgerEntry(
        message.message_id,
        database,
        message.mailbox,
        message.folder,
        message.received_ns,
        message.sender,
        message.subject,
        len(message.body),
        tuple(map(len, message.attachments)),
        ledger_digest(message) if digest is None else digest,
        committed=committed,
    )


class MailNotes(Protocol):
    """Who is told of what became of messages."""

    def delivered(self, entry: LedgerEntry) -> None:
        """A message was put in; durable when it is ``committed``, else it is lost with a crash."""

    def moved(self, message_id: int, folder: int) -> None: ...

    def marked_read(self, message_id: int) -> None: ...

    def marked_flagged(self, message_id: int) -> None: ...

    def deleted(self, message_id: int) -> None: ...


class MailLedger:
    """See the module; implements :class:`MailNotes`, to be used as a context manager."""

    def __init__(self) -> None:
        # An empty name: a file of SQLite's own, gone with the connection.
        self._store = sqlite3.connect("", isolation_level=None)
        self._store.execute(_TABLE)
        self._store.execute("BEGIN")

    def __enter__(self) -> MailLedger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store.close()

    def delivered(self, entry: LedgerEntry) -> None:
        """See :class:`MailNotes`; raises ValueError for a message that is there."""
        values = [getattr(entry, name) for name in _COLUMNS]
        values[8] = json.dumps(entry.attachment_bytes)
        marks = ",".join("?" * len(values))
        try:
            self._store.execute(f"INSERT INTO message VALUES ({marks})", values)
        except sqlite3.IntegrityError as error:
            raise ValueError(f"message {entry.message_id} was delivered before") from error

    def moved(self, message_id: int, folder: int) -> None:
        self._change("UPDATE message SET folder = ? WHERE message_id = ?", folder, message_id)

    def marked_read(self, message_id: int) -> None:
        self._change("UPDATE message SET is_read = 1 WHERE message_id = ?", message_id)

    def marked_flagged(self, message_id: int) -> None:
        self._change("UPDATE message SET is_flagged = 1 WHERE message_id = ?", message_id)

    def deleted(self, message_id: int) -> None:
        self._change("DELETE FROM message WHERE message_id = ?", message_id)

    def _change(self, statement: str, *values: int) -> None:
        if self._store.execute(statement, values).rowcount != 1:
            raise ValueError(f"message {values[-1]} was never delivered, or is gone")

    def entries(self) -> Iterator[LedgerEntry]:
        """All messages by id."""
        found = self._store.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM message ORDER BY message_id"
        )
        for row in found:
            values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
            values["attachment_bytes"] = tuple(json.loads(values["attachment_bytes"]))
            for name in ("is_read", "is_flagged", "committed"):
                values[name] = bool(values[name])
            yield LedgerEntry(**values)

    def count(self, *, committed: bool) -> tuple[int, int]:
        """How many messages, and in how many mailboxes."""
        found = self._store.execute(
            "SELECT COUNT(*), COUNT(DISTINCT mailbox) FROM message WHERE committed = ?",
            (committed,),
        )
        messages, mailboxes = found.fetchone()
        return messages, mailboxes


def read_entry(line: str) -> LedgerEntry:
    """One line of the file back; raises ValueError for what is none."""
    values = json.loads(line)
    if not isinstance(values, dict) or set(values) != set(_COLUMNS):
        raise ValueError("this is no line of a ledger")
    values["attachment_bytes"] = tuple(values["attachment_bytes"])
    return LedgerEntry(**values)
