"""One connection of the source's sender: where to go on, then batches or an image.

The session ends with an exception: :mod:`replicator.source` decides what it means.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from replicator.block_frames import ExtentsWanted, PagesWanted, pack_document
from replicator.catalogue import Catalogue
from replicator.comparison import ChangeLog
from replicator.connection import Connection
from replicator.errors import ProtocolViolation, ReplicatorError
from replicator.image_comparer import ImageComparer
from replicator.image_sender import ANSWERS_LIMIT, Answer, ImageSender
from replicator.protocol import (
    BATCH_BYTES,
    PROTOCOL_VERSION,
    Acknowledgement,
    BatchHeader,
    Frame,
    FrameType,
    Heartbeat,
    State,
)
from replicator.records import InvalidRecord, decode
from replicator.runtime import TimedOut, deadline, group, sleep_ns
from replicator.runtime.channels import Queue
from replicator.send_window import SendWindow
from replicator.source_options import SourceState
from replicator.spool_reader import HistoryEnded, SpoolCursor
from replicator.untrusted import binary, whole_number

if TYPE_CHECKING:
    from replicator.source import Source

COMPRESS_COST_NS_PER_BYTE = 2
"""Processor time of zstd level 1 in the simulator: about 500 MB/s on one 2.5 GHz core."""


class Refused(ReplicatorError):
    """The replica will not take this source's history."""

    def __init__(self, message: str, code: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class SourceSession:
    """What one connection is about.

    Arguments
    ---------
    source: whose connection; what outlives connections is kept there.
    connection: just opened; who opened it closes it.
    """

    def __init__(self, source: Source, connection: Connection) -> None:
        self._source = source
        self._connection = connection
        self._runtime = source.runtime
        self._spool = source.spool
        self._options = source.options
        self._files = source.files
        self._window = SendWindow(source.options.window_bytes)
        self._changes = ChangeLog()
        self._answers: Queue[Answer | None] = Queue(limit_items=ANSWERS_LIMIT)
        self._names: Queue[bytes] = Queue(limit_items=1)
        self._unverified = ""
        """Why the replica's image must be compared; empty when it need not."""

    async def run(self, patience_ns: int) -> None:
        """Replicate until something ends it.

        Raises TimedOut, ConnectionLost, ProtocolViolation, HistoryEnded, DamagedLog,
        InvalidRecord, Refused.
        """
        source, connection = self._source, self._connection
        async with deadline(patience_ns):
            cursor = await self._handshake()
        source.replica_stalled = ""
        if cursor is None:
            source.has_nothing()
        else:
            # What the replica has may never have been acknowledged: it need not be kept.
            self._window.has(source.durable, cursor.total_bytes)
            source.durable_bytes = cursor.total_bytes
        async with group() as g:
            if cursor is None:
                cursor, image = await self._prepare_image(patience_ns)
                document = {
                    "epoch": source.spool.epoch,
                    "history": source.spool.history.hex(),
                    "catalogue": image.to_json(),
                }
                payload = pack_document(json.dumps(document))
                await connection.send(FrameType.SYNC_BEGIN, payload)
                source.enter(SourceState.SYNCHRONIZING, "")
                source.resynchronizations += 1
                g.spawn(self._send_image(image), "image")
            else:
                source.enter(SourceState.STREAMING, "")
                if self._unverified:
                    source.request_comparison()
            self._changes.reset(cursor.sequence)
            g.spawn(self._send_batches(cursor), "batches")
            g.spawn(self._compare_images(), "comparisons")
            g.spawn(self._send_heartbeats(), "heartbeats")
            g.spawn(self._watch_history(), "history")
            while True:
                self._handle(await connection.receive_alive(patience_ns, lambda: None))

    async def _handshake(self) -> SpoolCursor | None:
        """Where to resume; None when the replica's image does not fit the history."""
        spool, options = self._spool, self._options
        await self._connection.send_document(
            FrameType.HELLO,
            {
                "protocol": PROTOCOL_VERSION,
                "set": options.set_id,
                "source": options.source_id,
                "incarnation": self._runtime.incarnation,
            },
        )
        welcome = await self._connection.receive()
        if welcome.type == FrameType.REFUSE:
            raise _refusal(welcome)
        document = welcome.document()
        try:
            epoch, durable = whole_number(document, "epoch"), whole_number(document, "durable")
            highest = whole_number(document, "highest")
            chain = binary(document, "chain")
            damaged, unverified = str(document["damage"]), str(document["unverified"])
        except (KeyError, ValueError) as error:
            raise ProtocolViolation(f"WELCOME lacks a field: {error}") from None
        self._source.highest_epoch = max(epoch, highest)
        if damaged:
            self._runtime.emit("replica_damage", damaged)
        if not spool.capturing or epoch != spool.epoch:
            return None
        if durable < self._source.durable:
            self._runtime.emit("replica_went_back", self._source.durable, durable)
        cursor = await spool.cursor_after(durable, chain)
        if cursor is not None:
            self._unverified = unverified if options.compare_after_power_loss else ""
            self._source.committed = True
            self._source.durable = durable
            # Another history may have begun meanwhile: its mark says nothing of this one.
            completed = spool.completed
            spool.check()
            document = {"epoch": epoch, "durable": durable, "completed": completed}
            await self._connection.send_document(FrameType.RESUME, document)
        return cursor

    async def _prepare_image(self, patience_ns: int) -> tuple[SpoolCursor, Catalogue]:
        """Operation 0 of an epoch that the replica has never heard of: this one or a new one.

        Begun there before, or overtaken: each attempt is an epoch of its own.
        """
        spool = self._spool
        if spool.capturing and spool.epoch > self._source.highest_epoch:
            beginning = await spool.beginning()
            if beginning is not None:
                return beginning
        reason = spool.stop_reason or "the replica's image does not fit the history"
        ended = (spool.epoch, spool.history)
        spool.end_epoch(self._source.highest_epoch, reason)
        try:
            async with deadline(patience_ns):
                while not self._source.turn_to_history() or (spool.epoch, spool.history) == ended:
                    await spool.wait_for_notice(self._options.heartbeat_ns)
        except TimedOut:
            raise HistoryEnded(
                "a new epoch was asked for and is not begun: does the program that writes "
                "the protected set hang?"
            ) from None
        beginning = await spool.beginning()
        if beginning is None or spool.epoch <= self._source.highest_epoch:
            raise HistoryEnded("another epoch has begun")
        return beginning

    # -- tasks of a connection -----------------------------------------------------

    async def _send_batches(self, cursor: SpoolCursor) -> None:
        spool, options, runtime = self._spool, self._options, self._runtime
        while True:
            while cursor.sequence >= spool.completed:
                progress = spool.progress()
                if cursor.sequence >= spool.completed:
                    await progress
            await self._window.wait_for_room()
            raw, last = await spool.read_batch(cursor, options.batch_bytes)
            if not raw:
                continue
            if self._source.verify_spool:
                self._check_spool(raw)
            body, compressed = await runtime.compute(
                lambda raw=raw: self._source.compress(raw),  # type: ignore[misc]
                len(raw) * COMPRESS_COST_NS_PER_BYTE,
            )
            header = BatchHeader(
                int.from_bytes(raw[12:16], "little"),
                runtime.incarnation,
                int.from_bytes(raw[16:24], "little"),
                int.from_bytes(raw[last + 16 : last + 24], "little"),
                len(raw),
                compressed,
                raw[32:48],
                raw[last + 48 : last + 64],
            )
            self._changes.note(raw, header.last)
            self._window.sent(header.last, BATCH_BYTES + len(body), cursor.total_bytes)
            await self._connection.send(FrameType.BATCH, header.encode(), body)

    def _check_spool(self, raw: bytes) -> None:
        """End the history when the spool does not hold what was captured any more."""
        offset = 0
        while offset < len(raw):
            try:
                offset += decode(raw, offset).size_bytes
            except InvalidRecord as invalid:
                self._source.verify_spool = False
                reason = f"the spool is damaged: {invalid.reason}"
                self._spool.end_epoch(self._source.highest_epoch, reason)
                raise HistoryEnded(reason) from None

    async def _send_heartbeats(self) -> None:
        while True:
            spool, wall_ns = self._spool, self._runtime.wall_ns()
            completed = spool.completed
            spool.check()  # of this history, then
            self._source.marks.note(completed, self._runtime.now_ns())
            beat = Heartbeat(spool.epoch, completed, wall_ns)
            await self._connection.send(FrameType.HEARTBEAT, beat.encode())
            await sleep_ns(self._options.heartbeat_ns)
            spool.look_again()

    async def _watch_history(self) -> None:
        """End the session when the keeper ends the history, or begins another."""
        while True:
            self._spool.check()
            await self._spool.wait_for_notice(self._options.heartbeat_ns)

    async def _send_image(self, image: Catalogue) -> None:
        spool, traffic = self._spool, self._source.block_traffic
        sent_pages = traffic.data_pages + traffic.zero_pages
        sender = ImageSender(
            self._runtime,
            self._files,
            image,
            spool.history,
            self._connection.send,
            self._answers,
            traffic,
            self._options.compression_level,
        )
        try:
            await sender.run()
        finally:
            self._files.close()  # a file that is removed meanwhile gives its space back
        # What was read may show a part of the operation that was under way at that moment,
        # never of one after it.  With it applied, the image is that of an instant: the fence.
        fence = spool.board.intended
        while spool.completed < fence:
            spool.check()
            progress = spool.progress()
            if spool.completed < fence:
                await progress
        spool.check()
        sent_pages = traffic.data_pages + traffic.zero_pages - sent_pages
        self._runtime.emit("image_sent", sent_pages, fence)
        await self._connection.send_document(FrameType.SYNC_END, {"fence": fence})

    async def _compare_images(self) -> None:
        """Carry out the comparisons that are asked for, while this session streams."""
        source, options = self._source, self._options
        while True:
            while source.comparison is None or self._connection.session.state != State.STREAMING:
                await source.comparison_wanted
            comparison = source.comparison
            comparison.attempts += 1
            comparer = ImageComparer(
                self._runtime,
                self._files,
                self._spool,
                self._changes,
                self._connection.send,
                self._answers,
                self._names,
                options.compression_level,
            )
            try:
                # An image that is not verified is when nothing of it was left out.
                report = await comparer.run(options.heartbeat_ns if self._unverified else None)
            finally:
                self._files.close()
            source.comparison = None
            self._runtime.emit("compared", report.different_bytes, int(report.identical))
            comparison.finish(report)
            if self._unverified and not (report.identical and report.complete):
                reason = "the replica's disk does not hold what it had said that it held"
                if report.identical:
                    reason = "what of the replica's disk is in doubt was written all the time"
                self._spool.end_epoch(source.highest_epoch, reason)
                raise HistoryEnded(reason)
            self._unverified = ""

    def _handle(self, frame: Frame) -> None:
        if frame.type == FrameType.ACKNOWLEDGE:
            self._acknowledged(Acknowledgement.decode(frame.payload))
        elif frame.type in (FrameType.EXTENTS_WANTED, FrameType.PAGES_WANTED):
            kind = ExtentsWanted if frame.type == FrameType.EXTENTS_WANTED else PagesWanted
            if not self._answers.try_put(kind.decode(frame.payload)):
                raise ProtocolViolation("more answers than questions about the image")
        elif frame.type == FrameType.COMPARE_NAMES:
            if not self._names.try_put(frame.payload):
                raise ProtocolViolation("names came that were not asked for")
        elif frame.type == FrameType.RESUME:
            self._source.committed = True
            self._source.enter(SourceState.STREAMING, "")
            self._runtime.emit("synchronized", self._spool.epoch)
            self._source.comparison_wanted.notify()
        elif frame.type == FrameType.CONDITION:
            self._source.replica_stalled = str(frame.document().get("stalled", ""))
            self._runtime.emit("replica_stalled", self._source.replica_stalled)
        elif frame.type == FrameType.REFUSE:
            raise _refusal(frame)

    def _acknowledged(self, ack: Acknowledgement) -> None:
        spool = self._spool
        if ack.epoch != spool.epoch:
            raise ProtocolViolation(f"an acknowledgement for epoch {ack.epoch}")
        if ack.durable > spool.completed:
            raise ProtocolViolation(f"operation {ack.durable} was acknowledged but never sent")
        self._source.durable, self._source.applied = ack.durable, ack.applied
        durable_bytes = self._window.acknowledged(ack.durable)
        if durable_bytes is not None:
            self._source.durable_bytes = durable_bytes
        if not self._source.committed:
            return  # the replica's image is not of this history yet: it may ask for all again
        keep_longer = (
            self._options.release_when_checkpointed
            and spool.waiting_bytes * 2 < self._options.spool_limit_bytes
        )
        safe = ack.checkpointed if keep_longer else ack.durable
        released = self._window.release(safe)
        if released is not None:
            spool.release(*released)


def _refusal(frame: Frame) -> Refused:
    document = frame.document()
    return Refused(
        f"the replica refused: {document.get('message', 'no reason given')}",
        str(document.get("code", "")),
        str(document.get("remedy", "")),
    )
