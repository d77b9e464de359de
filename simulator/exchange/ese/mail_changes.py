"""What an event of the mail changes in the rows of its database, and what the ledger hears of it.

::

    Submit      a message in Sent Items          Move, SoftDelete   another folder
    Deliver     one in each recipient's inbox    HardDelete         the row goes, with its content
    Read, Flag  a property of the row            CreateFolder       a row of Folders

The bytes of a message are those of its number; see :mod:`simulator.exchange.message_payload`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from simulator.exchange.ese.mail_ledger import MailNotes, ledger_digest, ledger_entry
from simulator.exchange.ese.mail_naming import (
    CopyIds,
    StoreClock,
    folder_name,
    is_mime,
    sender_address,
    subject_of,
)
from simulator.exchange.ese.mail_schema import StoredMessage
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.mail_events import (
    INBOX,
    RECOVERABLE,
    SENT_ITEMS,
    CreateFolder,
    Deliver,
    Flag,
    HardDelete,
    MailEvent,
    Move,
    Read,
    SoftDelete,
    Submit,
)
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.message_payload import PayloadMaker

Note = Callable[[], None]
"""Tells the ledger one thing, once it is durable."""

_UNMARKED: Final = bytes(byte | 0x40 if 0x08 <= byte < 0x40 else byte for byte in range(256))
"""First bytes of chunks: readers take some for marks of compression, whatever the column says.
libesedb 20260704 does so for 0x18, dissect.esedb 3.18 for the third and later chunks whose upper
five bits are 1 to 7."""


class MailChanges:
    """See the module.

    Arguments
    ---------
    plan: of the stream.
    clock: of the store.
    notes: the ledger.
    payload: makes the bytes.
    chunk_bytes: of a long value.
    mime_share: of the messages came from the Internet, 0 to 1; they go into a streaming file.

    Attributes
    ----------
    missing_count: events that concerned messages that are not there.
    """

    def __init__(
        self,
        plan: MailPlan,
        clock: StoreClock,
        notes: MailNotes,
        payload: PayloadMaker,
        *,
        chunk_bytes: int,
        mime_share: float = 0.0,
    ) -> None:
        self._clock, self._notes, self._payload = clock, notes, payload
        self._chunk_bytes, self._mime_share = chunk_bytes, mime_share
        self._ids = CopyIds(plan.mailboxes)
        self.missing_count = 0

    async def apply(
        self, mailboxes: Mailboxes, database: str, event: MailEvent, *, committed: bool
    ) -> list[Note]:
        """Carry out what an event says; returns what the ledger is told of it.

        Arguments
        ---------
        mailboxes, database: where its mailbox is, and the name of that file.
        committed: False in a transaction that never will be: of those the ledger hears only which
            messages must not be there.
        """
        boxes, notes = mailboxes, self._notes
        done = True
        told: list[Note] = []
        match event:
            case Submit():
                to = [(event.mailbox, SENT_ITEMS)]
                sender = event.mailbox
                return await self._deliver(boxes, database, event, sender, to, committed)
            case Deliver():
                to = [(mailbox, INBOX) for mailbox in event.recipients]
                sender = event.sender
                return await self._deliver(boxes, database, event, sender, to, committed)
            case CreateFolder():
                name = folder_name(event.folder)
                await boxes.add_folder(event.mailbox, event.folder, name)
            case Read():
                copy = self._ids.of(event.message_id, event.mailbox)
                done = await boxes.mark_read(copy)
                told = [partial(notes.marked_read, copy)]
            case Flag():
                copy = self._ids.of(event.message_id, event.mailbox)
                done = await boxes.mark_flagged(copy)
                told = [partial(notes.marked_flagged, copy)]
            case Move() | SoftDelete():
                copy = self._ids.of(event.message_id, event.mailbox)
                folder = event.folder if isinstance(event, Move) else RECOVERABLE
                done = await boxes.move(copy, folder)
                told = [partial(notes.moved, copy, folder)]
            case HardDelete():
                copy = self._ids.of(event.message_id, event.mailbox)
                done = await boxes.delete(copy)
                told = [partial(notes.deleted, copy)]
        self.missing_count += not done
        return told if done and committed else []

    async def _deliver(
        self,
        mailboxes: Mailboxes,
        database: str,
        event: Submit | Deliver,
        sender: int,
        to: Sequence[tuple[int, int]],
        committed: bool,
    ) -> list[Note]:
        """Put a message into folders of some mailboxes of one database."""
        name = event.message_id
        body_bytes = event.size_bytes - sum(event.attachments)
        body = self._readable(self._payload.body(name, body_bytes))
        attachments = tuple(
            self._readable(self._payload.attachment(name, number, size))
            for number, size in enumerate(event.attachments)
        )
        digest = None
        notes: list[Note] = []
        for mailbox, folder in to:
            message = StoredMessage(
                self._ids.of(name, mailbox),
                mailbox,
                folder,
                self._clock.wall_ns(event.time_ns),
                sender_address(sender),
                subject_of(name),
                body,
                attachments,
            )
            digest = digest or ledger_digest(message)
            mime = is_mime(name, self._mime_share)
            await mailboxes.deliver(message, shared_as=name, is_mime=mime)
            entry = ledger_entry(message, database, digest=digest, committed=committed)
            notes.append(partial(self._notes.delivered, entry))
        return notes

    def _readable(self, data: bytes) -> bytes:
        """The bytes, so that other readers give them back; see ``_UNMARKED``."""
        marks = data[:: self._chunk_bytes]
        unmarked = marks.translate(_UNMARKED)
        if unmarked == marks:
            return data
        changed = bytearray(data)
        changed[:: self._chunk_bytes] = unmarked
        return bytes(changed)
