"""The replica's connections: who may speak, and what becomes of what is said.

One source at a time.  A new connection replaces the one before, which may be a remnant
that nobody has noticed yet.  Of a connection several tasks work in a row, each at its own
pace: frames are received and verified, journalled in groups (one sync for many batches),
acknowledged when durable, and applied by the store behind.  When the journal cannot follow,
the receiving task stops reading, and the stream's own flow control holds the source.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from replicator.block_frames import BlockTraffic, PageData, unpack_document
from replicator.catalogue import Catalogue
from replicator.compared_image import ComparedImage
from replicator.connection import Connection
from replicator.errors import (
    CannotListen,
    ConnectionLost,
    NoSpace,
    ProtocolViolation,
    ReplicatorError,
)
from replicator.image_receiver import ImageReceiver
from replicator.image_sender import seed_of
from replicator.protocol import (
    PROTOCOL_VERSION,
    Frame,
    FrameType,
    Heartbeat,
    Role,
    State,
)
from replicator.recent_batches import VerifiedBatch
from replicator.replica_store import ReplicaStore
from replicator.runtime import Task, TimedOut, cleanup, deadline, group, sleep_ns
from replicator.runtime.channels import Queue, Signal
from replicator.runtime.port import Runtime, Stream
from replicator.staging import Staging
from replicator.untrusted import binary, json_object, whole_number

RECEIVE_QUEUE_BYTES = 8 << 20
SPEAKING = frozenset({State.STREAMING, State.SYNCHRONIZING, State.COMMITTING, State.COMPARING})
"""When acknowledgements, heartbeats and conditions may be sent."""
VERIFY_COST_NS_PER_BYTE = 1
"""Processor time of decompression and checksums in the simulator: about 1 GB/s."""


class Replica:
    """Accepts the source's connections and feeds the store.

    Arguments
    ---------
    runtime: the world.
    store: an open :class:`~replicator.replica_store.ReplicaStore`.
    address: where to listen, ``host:port``.
    heartbeat_ns, heartbeat_misses: after so much silence a connection is given up.
    """

    def __init__(
        self,
        runtime: Runtime,
        store: ReplicaStore,
        address: str,
        heartbeat_ns: int = 1_000_000_000,
        heartbeat_misses: int = 5,
    ) -> None:
        self.runtime = runtime
        self.store = store
        self.address = address
        self.heartbeat_ns = heartbeat_ns
        self.patience_ns = heartbeat_ns * heartbeat_misses
        self._heard_ns: int | None = None
        self.leaving = False
        """The process is about to end in good order: so do its connections."""
        self._listening = True
        """False while a session works on a frame and reads no further."""
        self.connected = False
        self.cause = "no source has connected yet"
        self.block_traffic = BlockTraffic()
        """Of all synchronizations since the start."""
        self.comparison: dict[str, Any] | None = None
        """What the last comparison found, as the source told it."""
        self._session: Task[None] | None = None

    def heard(self) -> None:
        """A source gave a sign of life just now."""
        self._heard_ns = self.runtime.now_ns()

    def silent_ns(self) -> int | None:
        """How long nothing was heard of a source; None when none ever spoke.

        While the replica itself is behind and does not listen, nobody can call the source
        silent: then it is 0.
        """
        if self._heard_ns is None:
            return None
        return self.runtime.now_ns() - self._heard_ns if self._listening else 0

    async def run(self) -> None:
        """Serve until cancelled; raises CannotListen."""
        try:
            listener = await self.runtime.listen(self.address)
        except ConnectionLost as refusal:
            raise CannotListen(str(refusal)) from None
        async with group() as g:
            g.spawn(self.store.run(), "apply")
            while True:
                stream = await listener.accept()
                await self._end_session()
                if self.leaving:
                    stream.close()
                else:
                    self._session = g.spawn(self._serve(stream), "session")

    async def leave(self) -> None:
        """End in good order: hear no source any more, apply what is journalled, checkpoint."""
        self.leaving = True
        await self._end_session()
        self.cause = "the replica is being stopped"
        await self.store.settle()
        await self.store.drained()

    async def _end_session(self) -> None:
        """Cancel and join the session that is open, if any."""
        session = self._session
        if session is not None:
            session.cancel()
            while not session.done:
                await sleep_ns(0)

    async def promote(self) -> None:
        """Take over: no source is listened to from here on, and its epoch is over.

        Returns when that is durable and all that had been promised is applied.
        """
        self.store.promoted = True
        await self._end_session()
        await self.store.settle()
        await self.store.promote()
        await self.store.drained()

    async def _serve(self, stream: Stream) -> None:
        connection = Connection(stream, Role.REPLICA)
        try:
            async with deadline(self.patience_ns):
                hello = await connection.receive()
            if await self._welcome(connection, hello):
                session = _Session(self, connection)
                try:
                    await session.run()
                finally:
                    session.close()
        except TimedOut:
            self.cause = "the source fell silent"
        except (ConnectionLost, ProtocolViolation, NoSpace) as error:
            self.cause = error.advice
            if not isinstance(error, ConnectionLost):
                await self._refuse(connection, error)
        finally:
            self.connected = False
            self.runtime.emit("session_end", self.cause)
            if self.leaving:
                async with cleanup(self.heartbeat_ns):
                    await self._say_goodbye(connection)
                stream.close()
            else:
                stream.abort()

    async def _say_goodbye(self, connection: Connection) -> None:
        document = {"code": "stopped", "message": "it is being stopped", "remedy": ""}
        with suppress(ConnectionLost, ProtocolViolation):
            await connection.send_document(FrameType.REFUSE, document)

    async def _refuse(self, connection: Connection, error: ReplicatorError) -> None:
        """Tell the source why, if it still listens; it shows it to its operator."""
        try:
            async with deadline(self.heartbeat_ns):
                await connection.send_document(
                    FrameType.REFUSE,
                    {
                        "code": type(error).__name__,
                        "message": str(error),
                        "remedy": error.remedy,
                    },
                )
                connection.close()
                await sleep_ns(self.heartbeat_ns // 2)
        except (ConnectionLost, ProtocolViolation, TimedOut):
            return

    async def _welcome(self, connection: Connection, frame: Frame) -> bool:
        store, hello = self.store, frame.document()
        refusal: tuple[str, str, str] | None = None
        if hello.get("protocol") != PROTOCOL_VERSION:
            refusal = (
                "version",
                f"it speaks protocol {hello.get('protocol')}, here {PROTOCOL_VERSION} is spoken",
                "Install the same release at both ends.",
            )
        elif hello.get("set") != store.options.set_id:
            refusal = (
                "set",
                f"this replica holds {store.options.set_id!r}, not {hello.get('set')!r}",
                "Check the address and the name of the protected set in the configuration.",
            )
        elif store.promoted:
            refusal = (
                "promoted",
                f"the replica has taken over; epoch {store.epoch} is over",
                "Stop the programs on the old source; switch back only in good order.",
            )
        if refusal is not None:
            code, message, remedy = refusal
            self.cause = f"a source was refused: {message}; what to do: {remedy}"
            await connection.send_document(
                FrameType.REFUSE, {"code": code, "message": message, "remedy": remedy}
            )
            connection.close()
            await sleep_ns(self.heartbeat_ns)
            return False
        await store.settle()
        try:
            store.source_has(
                whole_number(hello, "epoch"),
                binary(hello, "history"),
                whole_number(hello, "completed"),
            )
        except ValueError as error:
            raise ProtocolViolation(f"HELLO cannot be understood: {error}") from None
        resumable = store.stream_epoch == store.committed_epoch
        await connection.send_document(
            FrameType.WELCOME,
            {
                "protocol": PROTOCOL_VERSION,
                "replica": store.options.replica_id,
                "epoch": store.committed_epoch,
                "highest": max(store.committed_epoch, store.promised_epoch, store.stream_epoch),
                "durable": store.durable if resumable else 0,
                "chain": (store.stream_chain if resumable else bytes(16)).hex(),
                "damage": store.damage,
            },
        )
        return True


class _Session:
    """One connection that was welcomed."""

    def __init__(self, replica: Replica, connection: Connection) -> None:
        self.replica = replica
        self.store = replica.store
        self.connection = connection
        self._received: Queue[VerifiedBatch] = Queue(
            limit_items=4096,
            limit_bytes=RECEIVE_QUEUE_BYTES,
            size=lambda batch: len(batch.payload),
        )
        self._questions: Queue[Frame] = Queue(limit_items=64)
        self._after = 0
        self._chain = b""
        self._acknowledge = Signal()
        self._staging: Staging | None = None
        self._receiver: ImageReceiver | None = None
        self._compared: ComparedImage | None = None
        self._staged = Signal()
        self._syncing = False

    async def run(self) -> None:
        replica, runtime = self.replica, self.replica.runtime
        replica.connected = True
        replica.cause = ""
        runtime.emit("session_begin")
        async with group() as g:
            g.spawn(self._journal(), "journal")
            g.spawn(self._send_acknowledgements(), "acknowledge")
            g.spawn(self._send_heartbeats(), "heartbeats")
            g.spawn(self._send_conditions(), "conditions")
            g.spawn(self._synchronize(), "synchronize")
            g.spawn(self._keep_staged(), "keep staged")
            while True:
                async with deadline(replica.patience_ns):
                    frame = await self.connection.receive()
                replica.heard()
                replica._listening = False
                try:
                    await self._handle(frame)
                finally:
                    replica._listening = True
                    replica.heard()

    async def _handle(self, frame: Frame) -> None:
        store = self.store
        if frame.type == FrameType.BATCH:
            payload = frame.payload
            batch = await self.replica.runtime.compute(
                lambda: store.verify(payload, self._after, self._chain),
                len(payload) * VERIFY_COST_NS_PER_BYTE,
            )
            self._after, self._chain = batch.header.last, batch.header.chain_after
            await self._received.put(batch)
        elif frame.type == FrameType.HEARTBEAT:
            store.heard(Heartbeat.decode(frame.payload))
        elif frame.type == FrameType.RESUME:
            self._after, self._chain = store.durable, store.stream_chain
            store.changed.notify()  # what is safe already may be all that the source waits for
        elif frame.type == FrameType.SYNC_BEGIN:
            await self._begin_synchronization(frame)
        else:
            await self._questions.put(frame)

    async def _journal(self) -> None:
        while True:
            batches = await self._received.get_batch(256)
            await self.store.append(batches)

    async def _send_acknowledgements(self) -> None:
        store, connection = self.store, self.connection
        sent = None
        while True:
            ack = store.acknowledgement()
            news = sent is None or (
                (ack.epoch, ack.durable, ack.checkpointed)
                != (sent.epoch, sent.durable, sent.checkpointed)
            )
            if (news or (sent is not None and ack.applied == ack.durable > sent.applied)) and (
                connection.session.state in SPEAKING
            ):
                sent = ack
                await connection.send(FrameType.ACKNOWLEDGE, ack.encode())
            else:
                await store.changed

    async def _send_heartbeats(self) -> None:
        connection, store, runtime = self.connection, self.store, self.replica.runtime
        while True:
            await sleep_ns(self.replica.heartbeat_ns)
            if connection.session.state in SPEAKING:
                beat = Heartbeat(store.epoch, store.applied, runtime.wall_ns())
                await connection.send(FrameType.HEARTBEAT, beat.encode())

    async def _send_conditions(self) -> None:
        """Tell the source why apply stands still, and when it works again."""
        connection, store, told = self.connection, self.store, ""
        while True:
            news = store.stalled != told
            if news and connection.session.state in SPEAKING:
                told = store.stalled
                await connection.send_document(FrameType.CONDITION, {"stalled": told})
            else:
                await store.changed

    # -- synchronization -----------------------------------------------------------

    async def _begin_synchronization(self, frame: Frame) -> None:
        store = self.store
        try:
            document = json_object(unpack_document(frame.payload))
            epoch, history = whole_number(document, "epoch"), binary(document, "history")
            catalogue = Catalogue.from_json(document.get("catalogue"))
        except ValueError as error:
            raise ProtocolViolation(f"SYNC_BEGIN cannot be understood: {error}") from None
        if epoch <= store.committed_epoch or epoch < store.promised_epoch:
            raise ProtocolViolation(f"epoch {epoch} is over")
        store.begin_synchronization(epoch, history)
        self._after, self._chain = 0, store.stream_chain
        self._staging = await store.staging_for(epoch, history, catalogue)

    async def _synchronize(self) -> None:
        """Answer questions about extents, stage the pages that come, commit at the end."""
        while True:
            frame = await self._questions.get()
            staging = self._staging
            if frame.type == FrameType.COMPARE_BEGIN:
                self._compared = ComparedImage(self.replica.runtime, self.store)
                await self.connection.send(*await self._compared.begin(frame))
            elif frame.type == FrameType.COMPARE_REPORT and self._compared is not None:
                self.replica.comparison = frame.document()
                self._compared.close()
                self._compared = None
            elif self._compared is not None:
                for reply in await self._compared.take(frame):
                    await self.connection.send(*reply)
            elif staging is None:
                raise ProtocolViolation(f"{frame.type.name} outside a synchronization")
            elif frame.type == FrameType.SYNC_END:
                await self._commit(staging, frame)
            else:
                if self._receiver is None:
                    self._receiver = await self._begin_comparing(staging)
                await self._take(self._receiver, staging, frame)

    def close(self) -> None:
        """Give the handles back; what was staged stays for the next attempt."""
        for each in (self._receiver, self._compared, self._staging):
            if each is not None:
                each.close()
        self._receiver, self._compared, self._staging = None, None, None

    async def _begin_comparing(self, staging: Staging) -> ImageReceiver:
        store = self.store
        await store.drained()
        return ImageReceiver(
            self.replica.runtime,
            store.volume,
            store.image.home.root,
            staging,
            seed_of(staging.history),
            self.replica.block_traffic,
        )

    async def _take(self, receiver: ImageReceiver, staging: Staging, frame: Frame) -> None:
        store = self.store
        for reply in await receiver.take(frame):
            await self.connection.send(*reply)
        if frame.type == FrameType.PAGE_DATA:
            if not store.safeguards.atomic_resynchronization:
                store.image.home.overwrite(
                    staging.catalogue, PageData.decode(frame.payload).places()
                )
            if receiver.sync_due:
                self._staged.notify()

    async def _keep_staged(self) -> None:
        """Sync what was staged now and then: the next attempt goes on with it."""
        while True:
            await self._staged
            if self._staging is not None:
                self._syncing = True
                await self._staging.sync()
                self._syncing = False
                self._staged.notify()

    async def _commit(self, staging: Staging, frame: Frame) -> None:
        store = self.store
        try:
            fence = whole_number(frame.document(), "fence")
        except ValueError as error:
            raise ProtocolViolation(f"SYNC_END cannot be understood: {error}") from None
        while store.durable < fence:
            await store.changed
        await store.commit(staging, fence)
        await self.connection.send_document(FrameType.RESUME, {"epoch": staging.epoch})
        while self._syncing:
            await self._staged
        self.close()
        store.changed.notify()
