"""The source: keeps the history going and sends it to the replica.

``start`` decides, before any program writes, whether the history of an earlier process can
be continued; ``run`` keeps a connection to the replica and, over it, either streams what
the replica lacks or synchronizes the image.  Nothing here blocks the programs: they append
to the spool, and the sender reads from it at the link's pace.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import xxhash

from replicator.batch import Compressor
from replicator.blocksync import ImageSender
from replicator.capture import Capture
from replicator.catalogue import Catalogue
from replicator.connection import Connection
from replicator.errors import ConnectionLost, DamagedLog, ProtocolViolation, ReplicatorError
from replicator.journal import Position
from replicator.protocol import (
    BATCH_BYTES,
    PROTOCOL_VERSION,
    Acknowledgement,
    BatchHeader,
    BlocksWanted,
    Frame,
    FrameType,
    Heartbeat,
    Role,
)
from replicator.records import InvalidRecord, decode
from replicator.runtime import TimedOut, deadline, group, sleep_ns
from replicator.runtime.channels import Queue, Signal
from replicator.runtime.port import Runtime
from replicator.slots import StateSlots
from replicator.untrusted import whole_number

COMPRESS_COST_NS_PER_BYTE = 2
"""Processor time of zstd level 1 in the simulator: about 500 MB/s on one 2.5 GHz core."""


class SourceState(StrEnum):
    """What the source is doing, in one word."""

    STARTING = "starting"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    SYNCHRONIZING = "synchronizing"
    DISCONNECTED = "disconnected"
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
    release_when_checkpointed: bool = True
    """Free spool only for what the replica has in a checkpoint (not just in its journal),
    so that damage to the journal can be repaired from here; while less than half the spool
    is in use."""


class HistoryEnded(ReplicatorError):
    """Capture has stopped, so there is nothing left to stream; synchronize instead."""

    default_remedy = "Nothing: the source synchronizes at the next connection."


class Refused(ReplicatorError):
    """The replica will not take this source's history."""

    def __init__(self, message: str, code: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class Source:
    """One protected set's source.

    Arguments
    ---------
    runtime: the world.
    capture: the protected set and its spool.
    slots: the source's own durable state: epoch and boot.
    options: see :class:`SourceOptions`.
    """

    def __init__(
        self, runtime: Runtime, capture: Capture, slots: StateSlots, options: SourceOptions
    ) -> None:
        self.runtime = runtime
        self.capture = capture
        self.spool = capture.spool
        self.options = options
        self.state = SourceState.STARTING
        self.cause = ""
        """Why the state is what it is, for people."""
        self.durable = 0
        self.applied = 0
        self.replica_stalled = ""
        """Why the replica does not apply, in its own words; empty while it does."""
        self.wire_bytes = 0
        self.resynchronizations = 0
        self._slots = slots
        self._random = runtime.random("history")
        self._history = b""
        """Tells this epoch from any other of the same number."""
        self._epoch_floor = 0
        """Highest epoch ever heard of: a new one must be greater."""
        self._image: Catalogue | None = None
        """Names and sizes at operation 0, while no replica has committed this epoch."""
        self._committed = False
        self._verify_spool = False
        self._compress = Compressor(options.compression_level)
        self._in_flight: deque[tuple[int, int, int]] = deque()
        self._unreleased: deque[tuple[int, int]] = deque()
        self._in_flight_bytes = 0
        self._window = Signal()
        self._marks: deque[tuple[int, int]] = deque()

    @property
    def committed(self) -> bool:
        """Whether the replica's image is of this history: what is acknowledged counts."""
        return self._committed

    # -- start ---------------------------------------------------------------------

    async def start(self) -> None:
        """Continue the history of an earlier process of this boot, or begin an epoch.

        Must have returned before any program writes to the protected set.
        """
        state = await self._slots.load()
        reason = "first start"
        if state is not None:
            self._epoch_floor = int(state["epoch"])
            self._history = bytes.fromhex(state["history"])
            if state["boot_id"] != self.runtime.boot_id:
                reason = "the machine was restarted without an orderly stop"
            else:
                found = await self.spool.recover(self._epoch_floor)
                reason = found.gap
                if not reason:
                    if found.unfinished is not None:
                        await self.capture.roll_forward(found.unfinished)
                    self.capture.continue_epoch()
                    self.runtime.emit("continue", self.spool.epoch, self.spool.completed)
                    return
            self.capture.rescan()
        await self._begin_epoch(reason)

    async def _begin_epoch(self, reason: str) -> None:
        """Durably claim the next epoch, then make the image now its operation 0."""
        runtime = self.runtime
        self._epoch_floor += 1
        origin = (
            f"{self.options.source_id}/{runtime.boot_id}/{runtime.incarnation}/"
            f"{runtime.wall_ns()}/{self._random()}"
        )
        self._history = xxhash.xxh3_128_digest(origin.encode())
        await self._slots.write(
            {
                "set": self.options.set_id,
                "epoch": self._epoch_floor,
                "history": self._history.hex(),
                "boot_id": self.runtime.boot_id,
            }
        )
        self.runtime.emit("epoch_reason", reason)
        self.capture.capturing = False
        self._committed = False
        self._image = self.capture.begin_epoch(self._epoch_floor, self._history)
        self.durable = self.applied = 0
        self._marks.clear()

    # -- connection ----------------------------------------------------------------

    async def run(self) -> None:
        """Keep replicating until cancelled."""
        options = self.options
        patience_ns = options.heartbeat_ns * options.heartbeat_misses
        while self.state != SourceState.FENCED:
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
                self._enter(SourceState.DISCONNECTED, str(error))
            except (DamagedLog, InvalidRecord) as error:
                # The spool cannot be read: what it held is brought over by blocks instead.
                self.capture.stop(f"the spool is damaged: {error}")
                self._enter(SourceState.DISCONNECTED, self.capture.stop_reason)
            except Refused as refusal:
                fenced = refusal.code == "promoted"
                # The replica found something wrong in what was sent.  The fault may lie in
                # the spool, so from here on what is read from it is verified first.
                self._verify_spool |= refusal.code == "ProtocolViolation"
                self._enter(
                    SourceState.FENCED if fenced else SourceState.DISCONNECTED, str(refusal)
                )
            finally:
                if connection is not None:
                    self.wire_bytes += connection.sent_bytes
                    connection.abort()
            await sleep_ns(options.reconnect_ns)

    def _enter(self, state: SourceState, cause: str) -> None:
        if (state, cause) != (self.state, self.cause):
            self.runtime.emit("source_state", state.value, cause)
        self.state, self.cause = state, cause

    async def _session(self, connection: Connection, patience_ns: int) -> None:
        async with deadline(patience_ns):
            position = await self._handshake(connection)
        self.replica_stalled = ""
        self._in_flight.clear()
        self._unreleased.clear()
        self._in_flight_bytes = 0
        if position is not None:
            # What the replica has may never have been acknowledged: it need not be kept.
            segment = self.spool.log.segment(position.segment)
            self._unreleased.append((self.durable, segment.total_at(position.offset)))
        answers: Queue[BlocksWanted] = Queue(limit_items=64)
        async with group() as g:
            if position is None:
                image = await self._prepare_image()
                document = {
                    "epoch": self.spool.epoch,
                    "history": self._history.hex(),
                    "catalogue": image.to_json(),
                }
                await connection.send_document(FrameType.SYNC_BEGIN, document)
                self._enter(SourceState.SYNCHRONIZING, "")
                self.resynchronizations += 1
                position = self.spool.log.start
                g.spawn(self._send_image(connection, image, answers), "image")
            else:
                self._enter(SourceState.STREAMING, "")
            g.spawn(self._send_batches(connection, position), "batches")
            g.spawn(self._send_heartbeats(connection), "heartbeats")
            g.spawn(self._watch_history(), "history")
            while True:
                async with deadline(patience_ns):
                    frame = await connection.receive()
                self._handle(frame, answers)

    async def _handshake(self, connection: Connection) -> Position | None:
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
                "history": self._history.hex(),
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
            chain = bytes.fromhex(document["chain"])
            damaged = str(document["damage"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolViolation(f"WELCOME lacks a field: {error}") from None
        self._epoch_floor = max(self._epoch_floor, epoch, highest)
        if damaged:
            self.runtime.emit("replica_damage", damaged)
        if highest >= spool.epoch:
            self._image = None  # begun there before, or overtaken: each attempt is an epoch
        if not self.capture.capturing or epoch != spool.epoch:
            return None
        if durable < self.durable:
            self.runtime.emit("replica_went_back", self.durable, durable)
        position = await spool.position_after(durable, chain)
        if position is not None:
            self._image, self._committed = None, True
            self.durable = durable
            await connection.send_document(FrameType.RESUME, {"epoch": epoch, "durable": durable})
        return position

    async def _prepare_image(self) -> Catalogue:
        """The image to synchronize to: this epoch's operation 0, or a new epoch's."""
        if (
            self._image is None
            or not self.capture.capturing
            or (self._epoch_floor > self.spool.epoch)
        ):
            reason = self.capture.stop_reason or "the replica's image does not fit the history"
            await self._begin_epoch(reason)
        assert self._image is not None
        return self._image

    # -- tasks of a connection -----------------------------------------------------

    async def _send_batches(self, connection: Connection, position: Position) -> None:
        spool, options, runtime = self.spool, self.options, self.runtime
        while True:
            while position >= spool.completed_end:
                await spool.progress
            while self._in_flight_bytes >= options.window_bytes:
                await self._window
            raw, last, position = await spool.read_batch(position, options.batch_bytes)
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
            total = spool.log.segment(position.segment).total_at(position.offset)
            size = BATCH_BYTES + len(body)
            self._in_flight.append((header.last, size, total))
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
                self.capture.stop(f"the spool is damaged: {invalid.reason}")
                raise HistoryEnded(self.capture.stop_reason) from None

    async def _send_heartbeats(self, connection: Connection) -> None:
        while True:
            spool, wall_ns = self.spool, self.runtime.wall_ns()
            self._marks.append((spool.completed, self.runtime.now_ns()))
            if len(self._marks) > 8192:
                self._marks = deque(list(self._marks)[::2])
            beat = Heartbeat(spool.epoch, spool.completed, wall_ns)
            await connection.send(FrameType.HEARTBEAT, beat.encode())
            await sleep_ns(self.options.heartbeat_ns)

    async def _watch_history(self) -> None:
        while self.capture.capturing:
            await self.capture.stopped
        raise HistoryEnded(f"capture stopped: {self.capture.stop_reason}")

    async def _send_image(
        self, connection: Connection, image: Catalogue, answers: Queue[BlocksWanted]
    ) -> None:
        sender = ImageSender(
            self.runtime,
            self.capture,
            image,
            connection.send,
            answers,
            self.options.compression_level,
        )
        await sender.run()
        if not self.capture.capturing:
            raise HistoryEnded(f"capture stopped: {self.capture.stop_reason}")
        # Everything was read before this operation was followed by another: the fence.
        fence = self.spool.completed
        self.runtime.emit("image_sent", sender.sent_blocks, fence)
        await connection.send_document(FrameType.SYNC_END, {"fence": fence})

    def _handle(self, frame: Frame, answers: Queue[BlocksWanted]) -> None:
        if frame.type == FrameType.ACKNOWLEDGE:
            self._acknowledged(Acknowledgement.decode(frame.payload))
        elif frame.type == FrameType.BLOCKS_WANTED:
            if not answers.try_put(BlocksWanted.decode(frame.payload)):
                raise ProtocolViolation("more answers than questions about blocks")
        elif frame.type == FrameType.RESUME:
            self._image, self._committed = None, True
            self._enter(SourceState.STREAMING, "")
            self.runtime.emit("synchronized", self.spool.epoch)
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
        self._window.notify()
        if not self._committed:
            return  # the replica's image is not of this history yet: it may ask for all again
        keep_longer = (
            self.options.release_when_checkpointed
            and spool.waiting_bytes * 2 < spool.log.limit_bytes
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
        if not self._committed:
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
