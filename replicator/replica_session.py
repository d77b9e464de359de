"""One connection of the replica: what a welcomed source says, and what becomes of it.

Several tasks work in a row, each at its own pace: frames are received and verified, journalled
in groups (one sync for many batches), acknowledged when durable, and applied by the store
behind.  When the journal cannot follow, the receiving task stops reading, and the stream's own
flow control holds the source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from replicator.block_frames import PageData, unpack_document
from replicator.catalogue import Catalogue
from replicator.compared_image import ComparedImage
from replicator.connection import Connection
from replicator.errors import ProtocolViolation
from replicator.image_receiver import ImageReceiver
from replicator.image_sender import seed_of
from replicator.protocol import Frame, FrameType, Heartbeat, State
from replicator.recent_batches import VerifiedBatch
from replicator.runtime import group, sleep_ns
from replicator.runtime.channels import Queue, Signal
from replicator.staging import Staging
from replicator.untrusted import binary, json_object, whole_number

if TYPE_CHECKING:
    from replicator.replica import Replica

RECEIVE_QUEUE_BYTES = 8 << 20
"""Memory for what was received and is not journalled, or not answered, yet; of each kind."""
SPEAKING: Final = frozenset(
    {State.STREAMING, State.SYNCHRONIZING, State.COMMITTING, State.COMPARING}
)
"""When acknowledgements, heartbeats and conditions may be sent."""
VERIFY_COST_NS_PER_BYTE: Final = 1
"""Processor time of decompression and checksums in the simulator: about 1 GB/s."""


class ReplicaSession:
    """One connection that was welcomed.

    Arguments
    ---------
    replica: whose connection it is; told what is heard and what is taken.
    connection: with a source whose HELLO was answered.
    """

    def __init__(self, replica: Replica, connection: Connection) -> None:
        self.replica = replica
        self.store = replica.store
        self.connection = connection
        self._received: Queue[VerifiedBatch] = Queue(
            limit_items=4096,
            limit_bytes=RECEIVE_QUEUE_BYTES,
            size=lambda batch: batch.held_bytes,
        )
        self._questions: Queue[Frame] = Queue(
            limit_items=64,
            limit_bytes=RECEIVE_QUEUE_BYTES,
            size=lambda frame: len(frame.payload),
        )
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
                frame = await self.connection.receive_alive(replica.patience_ns, replica.heard)
                replica.heard()
                replica.listening = False
                try:
                    await self._handle(frame)
                finally:
                    replica.listening = True
                    replica.heard()

    async def _handle(self, frame: Frame) -> None:
        store = self.store
        if frame.type == FrameType.BATCH:
            payload = frame.payload
            batch = await self.replica.runtime.compute(
                lambda: store.intake.verify(payload, self._after, self._chain),
                len(payload) * VERIFY_COST_NS_PER_BYTE,
            )
            self._after, self._chain = batch.header.last, batch.header.chain_after
            await self._received.put(batch)
        elif frame.type == FrameType.HEARTBEAT:
            store.heard(Heartbeat.decode(frame.payload))
        elif frame.type == FrameType.RESUME:
            self._resumed(frame.document())
            store.tell()  # what is safe already may be all that the source waits for
        elif frame.type == FrameType.SYNC_BEGIN:
            await self._begin_synchronization(frame)
        else:
            await self._questions.put(frame)

    def _resumed(self, document: dict[str, Any]) -> None:
        store = self.store
        try:
            epoch, durable = whole_number(document, "epoch"), whole_number(document, "durable")
            completed = whole_number(document, "completed")
        except ValueError as error:
            raise ProtocolViolation(f"RESUME cannot be understood: {error}") from None
        if (epoch, durable) != (store.stream_epoch, store.durable) or completed < durable:
            raise ProtocolViolation(
                f"the source goes on behind operation {durable} of epoch {epoch}, of {completed}; "
                f"durable is operation {store.durable} of epoch {store.stream_epoch}"
            )
        self._after, self._chain = store.durable, store.stream_chain
        store.intake.resume(completed)

    async def _journal(self) -> None:
        while True:
            batches = await self._received.get_batch(256)
            await self.store.intake.append(batches)
            self.replica.took_something()

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
        connection, replica, told = self.connection, self.replica, ""
        while True:
            news = replica.stalled != told
            if news and connection.session.state in SPEAKING:
                told = replica.stalled
                await connection.send_document(FrameType.CONDITION, {"stalled": told})
            else:
                await self.store.changed

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
        store.intake.begin_synchronization(epoch, history)
        self._after, self._chain = 0, store.stream_chain
        self._staging = await store.intake.staging_for(epoch, history, catalogue)

    async def _synchronize(self) -> None:
        """Answer questions about extents, stage the pages that come, commit at the end."""
        while True:
            frame = await self._questions.get()
            staging = self._staging
            if frame.type == FrameType.COMPARE_BEGIN:
                if self._compared is not None:
                    self._compared.close()
                self._compared = ComparedImage(self.replica.runtime, self.store)
                await self.connection.send(*await self._compared.begin(frame))
            elif frame.type == FrameType.COMPARE_REPORT and self._compared is not None:
                self.replica.comparison = found = frame.document()
                if found.get("identical") is True and found.get("complete") is True:
                    self.store.image.verified()
                    self.store.tell()
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
        await store.adopt()
        await store.drained()
        return ImageReceiver(
            self.replica.runtime,
            store.image.home.volume,
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
            self.replica.took_something()
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
        await store.intake.commit(staging, fence)
        self.replica.took_something()
        await self.connection.send_document(FrameType.RESUME, {"epoch": staging.epoch})
        while self._syncing:
            await self._staged
        self.close()
        store.tell()
