"""The source's sender: brings what the spool holds to the replica.

It keeps a connection and, over it, either streams what the replica lacks or synchronizes
the image.  Nothing here blocks the programs: another process appends to the spool
(:mod:`replicator.history`), and the sender reads from it at the link's pace.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from replicator.batch import Compressor
from replicator.block_frames import BlockTraffic, ExtentsWanted, PagesWanted, pack_document
from replicator.catalogue import Catalogue
from replicator.comparison import ChangeLog, Comparison
from replicator.connection import Connection
from replicator.errors import ConnectionLost, DamagedLog, ProtocolViolation, ReplicatorError
from replicator.image_comparer import ImageComparer
from replicator.image_sender import ANSWERS_LIMIT, Answer, ImageSender
from replicator.protected_files import ProtectedFiles
from replicator.protocol import (
    BATCH_BYTES,
    PROTOCOL_VERSION,
    Acknowledgement,
    BatchHeader,
    Frame,
    FrameType,
    Heartbeat,
    Role,
    State,
)
from replicator.records import InvalidRecord, decode
from replicator.runtime import TimedOut, deadline, group, sleep_ns
from replicator.runtime.channels import Queue, Signal
from replicator.runtime.port import Runtime
from replicator.spool_reader import HistoryEnded, SpoolCursor, SpoolReader
from replicator.untrusted import binary, whole_number

COMPRESS_COST_NS_PER_BYTE = 2
"""Processor time of zstd level 1 in the simulator: about 500 MB/s on one 2.5 GHz core."""


class SourceState(StrEnum):
    """What the source is doing, in one word."""

    STARTING = "starting"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    SYNCHRONIZING = "synchronizing"
    DISCONNECTED = "disconnected"
    WAITING = "waiting"
    """Nobody keeps a history: no program has opened the protected set since the boot."""
    FENCED = "fenced"
    """The replica has taken over: this source's epoch is over."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source replicates; sizes in bytes, times in nanoseconds."""

    set_id: str
    source_id: str
    replica_address: str
    batch_bytes: int = 256 << 10
    window_bytes: int = 4 << 20
    compression_level: int | None = 1
    heartbeat_ns: int = 1_000_000_000
    heartbeat_misses: int = 5
    reconnect_ns: int = 2_000_000_000
    spool_limit_bytes: int = 1 << 30
    release_when_checkpointed: bool = True
    """Free spool only for what the replica has in a checkpoint (not just in its journal),
    so that damage to the journal can be repaired from here; while less than half the spool
    is in use."""


class Refused(ReplicatorError):
    """The replica will not take this source's history."""

    def __init__(self, message: str, code: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class Source:
    """The sender of one protected set.

    Arguments
    ---------
    runtime: the world.
    spool: the history, as it is read from beside.
    files: the protected files as they are now, for synchronizations.
    options: see :class:`SourceOptions`.
    """

    def __init__(
        self, runtime: Runtime, spool: SpoolReader, files: ProtectedFiles, options: SourceOptions
    ) -> None:
        self.runtime = runtime
        self.spool = spool
        self.options = options
        self.state = SourceState.STARTING
        self.cause = ""
        """Why the state is what it is, for people."""
        self.durable = 0
        self.durable_bytes = 0
        """Bytes of records up to there, from the beginning of the history."""
        self.applied = 0
        self.leaving = False
        """The process is about to end in good order: so does its connection."""
        self.replica_stalled = ""
        """Why the replica does not apply, in its own words; empty while it does."""
        self.wire_bytes = 0
        self.resynchronizations = 0
        self._files = files
        self._highest = 0
        """Highest epoch that the replica ever heard of: a new one must be greater."""
        self._committed = False
        self._verify_spool = False
        self._compress = Compressor(options.compression_level)
        self._in_flight: deque[tuple[int, int, int]] = deque()
        self._unreleased: deque[tuple[int, int]] = deque()
        self._in_flight_bytes = 0
        self._window = Signal()
        self._marks: deque[tuple[int, int]] = deque()
        self.block_traffic = BlockTraffic()
        """Of all synchronizations since the start."""
        self._changes = ChangeLog()
        self._comparison: Comparison | None = None
        self._comparison_wanted = Signal()

    def request_comparison(self) -> Comparison:
        """Compare the two images and change neither, as soon as this source streams.

        One at a time: who asks while one is underway gets that one.
        """
        if self._comparison is None:
            self._comparison = Comparison()
            self._comparison_wanted.notify()
        return self._comparison

    @property
    def committed(self) -> bool:
        """Whether the replica's image is of this history: what is acknowledged counts."""
        return self._committed

    # -- connection ----------------------------------------------------------------

    async def run(self) -> None:
        """Keep replicating until cancelled."""
        options = self.options
        patience_ns = options.heartbeat_ns * options.heartbeat_misses
        while self.state != SourceState.FENCED:
            if not self._turn_to_history():
                self._enter(SourceState.WAITING, self.spool.stop_reason)
                await self.spool.wait_for_notice(options.reconnect_ns)
                continue
            self._enter(SourceState.CONNECTING, self.cause)
            connection: Connection | None = None
            try:
                async with deadline(patience_ns):
                    stream = await self.runtime.connect(options.replica_address)
                connection = Connection(stream, Role.SOURCE)
                await self._session(connection, patience_ns)
            except TimedOut:
                self._enter(SourceState.DISCONNECTED, "the replica does not answer")
            except (ConnectionLost, ProtocolViolation, HistoryEnded) as error:
                self._enter(SourceState.DISCONNECTED, error.advice)
            except (DamagedLog, InvalidRecord) as error:
                # The spool cannot be read: what it held is brought over by blocks instead.
                reason = f"the spool is damaged: {error}"
                self.spool.end_epoch(self._highest, reason)
                self._enter(SourceState.DISCONNECTED, reason)
            except Refused as refusal:
                fenced = refusal.code == "promoted"
                # The replica found something wrong in what was sent.  The fault may lie in
                # the spool, so from here on what is read from it is verified first.
                self._verify_spool |= refusal.code == "ProtocolViolation"
                self._enter(
                    SourceState.FENCED if fenced else SourceState.DISCONNECTED, refusal.advice
                )
            finally:
                if connection is not None:
                    self.wire_bytes += connection.sent_bytes
                    if self.leaving:
                        connection.close()
                    else:
                        connection.abort()
            await sleep_ns(options.reconnect_ns)
        if self._comparison is not None:
            self._comparison.fail(
                Refused(self.cause, "promoted", "Compare from the source that replicates now.")
            )

    def _turn_to_history(self) -> bool:
        """Look which history there is now; False while there is none."""
        before = (self.spool.epoch, self.spool.history)
        known = self.spool.pin()
        if (self.spool.epoch, self.spool.history) != before:
            self._committed = False
            self.durable = self.applied = self.durable_bytes = 0
            self._marks.clear()
        return known

    def _enter(self, state: SourceState, cause: str) -> None:
        if (state, cause) != (self.state, self.cause):
            self.runtime.emit("source_state", state.value, cause)
        self.state, self.cause = state, cause

    async def _session(self, connection: Connection, patience_ns: int) -> None:
        async with deadline(patience_ns):
            cursor = await self._handshake(connection)
        self.replica_stalled = ""
        self._in_flight.clear()
        self._unreleased.clear()
        self._in_flight_bytes = 0
        if cursor is not None:
            # What the replica has may never have been acknowledged: it need not be kept.
            self._unreleased.append((self.durable, cursor.total_bytes))
            self.durable_bytes = cursor.total_bytes
        answers: Queue[Answer | None] = Queue(limit_items=ANSWERS_LIMIT)
        names: Queue[bytes] = Queue(limit_items=1)
        async with group() as g:
            if cursor is None:
                cursor, image = await self._prepare_image(patience_ns)
                document = {
                    "epoch": self.spool.epoch,
                    "history": self.spool.history.hex(),
                    "catalogue": image.to_json(),
                }
                payload = pack_document(json.dumps(document))
                await connection.send(FrameType.SYNC_BEGIN, payload)
                self._enter(SourceState.SYNCHRONIZING, "")
                self.resynchronizations += 1
                g.spawn(self._send_image(connection, image, answers), "image")
            else:
                self._enter(SourceState.STREAMING, "")
            self._changes.reset(cursor.sequence)
            g.spawn(self._send_batches(connection, cursor), "batches")
            g.spawn(self._compare_images(connection, answers, names), "comparisons")
            g.spawn(self._send_heartbeats(connection), "heartbeats")
            g.spawn(self._watch_history(), "history")
            while True:
                async with deadline(patience_ns):
                    frame = await connection.receive()
                self._handle(frame, answers, names)

    async def _handshake(self, connection: Connection) -> SpoolCursor | None:
        """Where to resume; None when the replica's image does not fit the history."""
        spool, options = self.spool, self.options
        await connection.send_document(
            FrameType.HELLO,
            {
                "protocol": PROTOCOL_VERSION,
                "set": options.set_id,
                "source": options.source_id,
                "incarnation": self.runtime.incarnation,
                "epoch": spool.epoch,
                "history": spool.history.hex(),
                "completed": spool.completed,
            },
        )
        welcome = await connection.receive()
        if welcome.type == FrameType.REFUSE:
            raise _refusal(welcome)
        document = welcome.document()
        try:
            epoch, durable = whole_number(document, "epoch"), whole_number(document, "durable")
            highest = whole_number(document, "highest")
            chain = binary(document, "chain")
            damaged = str(document["damage"])
        except (KeyError, ValueError) as error:
            raise ProtocolViolation(f"WELCOME lacks a field: {error}") from None
        self._highest = max(epoch, highest)
        if damaged:
            self.runtime.emit("replica_damage", damaged)
        if not spool.capturing or epoch != spool.epoch:
            return None
        if durable < self.durable:
            self.runtime.emit("replica_went_back", self.durable, durable)
        cursor = await spool.cursor_after(durable, chain)
        if cursor is not None:
            self._committed = True
            self.durable = durable
            await connection.send_document(FrameType.RESUME, {"epoch": epoch, "durable": durable})
        return cursor

    async def _prepare_image(self, patience_ns: int) -> tuple[SpoolCursor, Catalogue]:
        """Operation 0 of an epoch that the replica has never heard of: this one or a new one.

        Begun there before, or overtaken: each attempt is an epoch of its own.
        """
        spool = self.spool
        if spool.capturing and spool.epoch > self._highest:
            beginning = await spool.beginning()
            if beginning is not None:
                return beginning
        reason = spool.stop_reason or "the replica's image does not fit the history"
        ended = (spool.epoch, spool.history)
        spool.end_epoch(self._highest, reason)
        try:
            async with deadline(patience_ns):
                while not self._turn_to_history() or (spool.epoch, spool.history) == ended:
                    await spool.wait_for_notice(self.options.heartbeat_ns)
        except TimedOut:
            raise HistoryEnded(
                "a new epoch was asked for and is not begun: does the program that writes "
                "the protected set hang?"
            ) from None
        beginning = await spool.beginning()
        if beginning is None or spool.epoch <= self._highest:
            raise HistoryEnded("another epoch has begun")
        return beginning

    # -- tasks of a connection -----------------------------------------------------

    async def _send_batches(self, connection: Connection, cursor: SpoolCursor) -> None:
        spool, options, runtime = self.spool, self.options, self.runtime
        while True:
            while cursor.sequence >= spool.completed:
                progress = spool.progress()
                if cursor.sequence >= spool.completed:
                    await progress
            while self._in_flight_bytes >= options.window_bytes:
                await self._window
            raw, last = await spool.read_batch(cursor, options.batch_bytes)
            if not raw:
                continue
            if self._verify_spool:
                self._check_spool(raw)
            body, compressed = await runtime.compute(
                lambda raw=raw: self._compress(raw),  # type: ignore[misc]
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
            size = BATCH_BYTES + len(body)
            self._in_flight.append((header.last, size, cursor.total_bytes))
            self._in_flight_bytes += size
            await connection.send(FrameType.BATCH, header.encode(), body)

    def _check_spool(self, raw: bytes) -> None:
        """End the history when the spool does not hold what was captured any more."""
        offset = 0
        while offset < len(raw):
            try:
                offset += decode(raw, offset).size_bytes
            except InvalidRecord as invalid:
                self._verify_spool = False
                reason = f"the spool is damaged: {invalid.reason}"
                self.spool.end_epoch(self._highest, reason)
                raise HistoryEnded(reason) from None

    async def _send_heartbeats(self, connection: Connection) -> None:
        while True:
            spool, wall_ns = self.spool, self.runtime.wall_ns()
            self._marks.append((spool.completed, self.runtime.now_ns()))
            if len(self._marks) > 8192:
                self._marks = deque(list(self._marks)[::2])
            beat = Heartbeat(spool.epoch, spool.completed, wall_ns)
            await connection.send(FrameType.HEARTBEAT, beat.encode())
            await sleep_ns(self.options.heartbeat_ns)
            spool.look_again()

    async def _watch_history(self) -> None:
        """End the session when the keeper ends the history, or begins another."""
        while True:
            self.spool.check()
            await self.spool.wait_for_notice(self.options.heartbeat_ns)

    async def _send_image(
        self, connection: Connection, image: Catalogue, answers: Queue[Answer | None]
    ) -> None:
        spool, traffic = self.spool, self.block_traffic
        sent_pages = traffic.data_pages + traffic.zero_pages
        sender = ImageSender(
            self.runtime,
            self._files,
            image,
            spool.history,
            connection.send,
            answers,
            traffic,
            self.options.compression_level,
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
        self.runtime.emit("image_sent", sent_pages, fence)
        await connection.send_document(FrameType.SYNC_END, {"fence": fence})

    async def _compare_images(
        self, connection: Connection, answers: Queue[Answer | None], names: Queue[bytes]
    ) -> None:
        """Carry out the comparisons that are asked for, while this session streams."""
        while True:
            while self._comparison is None or connection.session.state != State.STREAMING:
                await self._comparison_wanted
            comparison = self._comparison
            comparison.attempts += 1
            comparer = ImageComparer(
                self.runtime,
                self._files,
                self.spool,
                self._changes,
                connection.send,
                answers,
                names,
                self.options.compression_level,
            )
            try:
                report = await comparer.run()
            finally:
                self._files.close()
            self._comparison = None
            self.runtime.emit("compared", report.different_bytes, int(report.identical))
            comparison.finish(report)

    def _handle(self, frame: Frame, answers: Queue[Answer | None], names: Queue[bytes]) -> None:
        if frame.type == FrameType.ACKNOWLEDGE:
            self._acknowledged(Acknowledgement.decode(frame.payload))
        elif frame.type in (FrameType.EXTENTS_WANTED, FrameType.PAGES_WANTED):
            kind = ExtentsWanted if frame.type == FrameType.EXTENTS_WANTED else PagesWanted
            if not answers.try_put(kind.decode(frame.payload)):
                raise ProtocolViolation("more answers than questions about the image")
        elif frame.type == FrameType.COMPARE_NAMES:
            if not names.try_put(frame.payload):
                raise ProtocolViolation("names came that were not asked for")
        elif frame.type == FrameType.RESUME:
            self._committed = True
            self._enter(SourceState.STREAMING, "")
            self.runtime.emit("synchronized", self.spool.epoch)
            self._comparison_wanted.notify()
        elif frame.type == FrameType.CONDITION:
            self.replica_stalled = str(frame.document().get("stalled", ""))
            self.runtime.emit("replica_stalled", self.replica_stalled)
        elif frame.type == FrameType.REFUSE:
            raise _refusal(frame)

    def _acknowledged(self, ack: Acknowledgement) -> None:
        spool = self.spool
        if ack.epoch != spool.epoch:
            raise ProtocolViolation(f"an acknowledgement for epoch {ack.epoch}")
        if ack.durable > spool.completed:
            raise ProtocolViolation(f"operation {ack.durable} was acknowledged but never sent")
        self.durable, self.applied = ack.durable, ack.applied
        while self._in_flight and self._in_flight[0][0] <= ack.durable:
            last, size, total = self._in_flight.popleft()
            self._in_flight_bytes -= size
            self._unreleased.append((last, total))
            self.durable_bytes = total
        self._window.notify()
        if not self._committed:
            return  # the replica's image is not of this history yet: it may ask for all again
        keep_longer = (
            self.options.release_when_checkpointed
            and spool.waiting_bytes * 2 < self.options.spool_limit_bytes
        )
        safe = ack.checkpointed if keep_longer else ack.durable
        released = None
        while self._unreleased and self._unreleased[0][0] <= safe:
            released = self._unreleased.popleft()
        if released is not None:
            spool.release(*released)

    # -- telemetry -----------------------------------------------------------------

    def lag_ns(self) -> int | None:
        """Upper bound for the age of the oldest operation that is not durable; 0 for none.

        None while the replica's image is not of this history: then nobody here knows.
        Never under-reported: the time of the last heartbeat all of whose operations are
        durable is older than any operation that is not.
        """
        if not (self._committed and self.spool.capturing):
            return None
        if self.durable >= self.spool.completed:
            return 0
        while len(self._marks) > 1 and self._marks[1][0] <= self.durable:
            self._marks.popleft()
        if not self._marks or self._marks[0][0] > self.durable:
            return None
        return self.runtime.now_ns() - self._marks[0][1]


def _refusal(frame: Frame) -> Refused:
    document = frame.document()
    return Refused(
        f"the replica refused: {document.get('message', 'no reason given')}",
        str(document.get("code", "")),
        str(document.get("remedy", "")),
    )


__all__ = ["HistoryEnded", "Refused", "Source", "SourceOptions", "SourceState"]
