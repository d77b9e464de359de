"""The replica's connections: who may speak, and who speaks now.

One source at a time.  Whoever connects is first heard out beside the session that is open: only
a source of this protected set that may speak replaces it, because then the one before may be a
remnant that nobody has noticed yet.  Whatever else knocks (a health check, a scan of ports, a
stranger) disturbs nothing.  What a welcomed source says: :mod:`replicator.replica_session`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NamedTuple

from replicator.block_frames import BlockTraffic
from replicator.connection import Connection
from replicator.errors import (
    CannotListen,
    ConnectionLost,
    ListenerClosed,
    NoSpace,
    ProtocolViolation,
    ReplicatorError,
)
from replicator.protocol import PROTOCOL_VERSION, FrameType, Role
from replicator.replica_session import ReplicaSession
from replicator.replica_store import ReplicaStore
from replicator.runtime import Task, TimedOut, cleanup, deadline, group, sleep_ns
from replicator.runtime.port import Listener, Runtime, Stream

GREETINGS_LIMIT: Final = 16
"""Connections that may be open without having said who they are; the oldest goes first."""
HELLO_LIMIT_BYTES: Final = 64 << 10


class Refusal(ReplicatorError):
    """Who connects may not speak here.

    Arguments
    ---------
    code: for the peer's program.
    message: for this replica's status and log.
    told: what the peer is told instead, where the message says what is none of its business.
    """

    def __init__(self, code: str, message: str, remedy: str, told: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.told = told or message


class _Greeting(NamedTuple):
    """A connection that has not said yet who it is."""

    task: Task[None]
    stream: Stream


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
        self.listening = True
        """False while a session works on a frame and reads no further."""
        self.connected = False
        self.cause = "no source has connected yet"
        self.refused = ""
        """Why a source was refused last; empty once something of one was taken again."""
        self._full = ""
        """Which volume had no room for what a source sent; empty once it had."""
        self.block_traffic = BlockTraffic()
        """Of all synchronizations since the start."""
        self.comparison: dict[str, Any] | None = None
        """What the last comparison found, as the source told it."""
        self._greetings: dict[int, _Greeting] = {}
        self._arrivals = 0
        self._session: Task[None] | None = None
        self._session_number = 0

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
        return self.runtime.now_ns() - self._heard_ns if self.listening else 0

    @property
    def stalled(self) -> str:
        """Why the replica stands still, in apply or before; empty while it works."""
        return self.store.stalled or self._full

    def took_something(self) -> None:
        """Something that a source sent is in the journal, or staged."""
        if self.refused:
            self.refused = self._full = ""
            self.store.tell()

    # -- connections -----------------------------------------------------------------

    async def _listen(self) -> Listener:
        try:
            return await self.runtime.listen(self.address)
        except ConnectionLost as refusal:
            raise CannotListen(str(refusal)) from None

    async def check_address(self) -> None:
        """Raises CannotListen where :meth:`run` would; for before anything is recovered."""
        (await self._listen()).close()

    async def run(self) -> None:
        """Serve until cancelled; raises CannotListen."""
        listener = await self._listen()
        async with group() as g:
            g.spawn(self.store.run(), "apply")
            while True:
                stream = await self._accept(listener)
                if self.leaving:
                    stream.close()
                    continue
                while len(self._greetings) >= GREETINGS_LIMIT:
                    oldest = self._greetings.pop(next(iter(self._greetings)))
                    oldest.task.cancel()
                    oldest.stream.abort()
                number = self._arrivals = self._arrivals + 1
                task = g.spawn(self._serve(stream, number), "connection")
                self._greetings[number] = _Greeting(task, stream)

    async def _accept(self, listener: Listener) -> Stream:
        """The next connection; one that cannot be taken now is waited for."""
        told = ""
        while True:
            try:
                stream = await listener.accept()
            except ListenerClosed:
                raise
            except ConnectionLost as refusal:  # too many open files, for one: that passes
                if str(refusal) != told:
                    told = str(refusal)
                    self.runtime.emit("not_accepted", told)
                await sleep_ns(self.heartbeat_ns)
                continue
            if told:
                self.runtime.emit("not_accepted", "")
            return stream

    async def leave(self) -> None:
        """End in good order: hear no source any more, apply what is journalled, checkpoint."""
        self.leaving = True
        for greeting in list(self._greetings.values()):
            greeting.task.cancel()
        await self._end_session("the replica is being stopped")
        self.cause = "the replica is being stopped"
        await self.store.intake.settle()
        await self.store.drained()

    async def _end_session(self, cause: str) -> None:
        """Cancel and join the session that is open, if any."""
        while self._session is not None and not self._session.done:
            self.cause = cause
            self._session.cancel()
            await sleep_ns(0)

    async def promote(self) -> None:
        """Take over: no source is listened to from here on, and its epoch is over.

        Returns when that is durable and all that had been promised is applied.
        """
        self.store.promoted = True
        await self._end_session("the replica takes over")
        await self.store.intake.settle()
        await self.store.promote()
        await self.store.drained()

    # -- one connection --------------------------------------------------------------

    async def _serve(self, stream: Stream, number: int) -> None:
        connection = Connection(stream, Role.REPLICA)
        try:
            greeted = await self._greet(connection)
            if greeted and await self._take_the_place(connection, number):
                await self._converse(connection)
        finally:
            self._greetings.pop(number, None)
            if self.leaving:
                async with cleanup(self.heartbeat_ns):
                    await self._say_goodbye(connection)
                stream.close()
            else:
                stream.abort()

    async def _greet(self, connection: Connection) -> bool:
        """Hear who it is; returns whether it may speak."""
        try:
            async with deadline(self.patience_ns):
                frame = await connection.receive(HELLO_LIMIT_BYTES)
            self._examine(frame.document())
        except (TimedOut, ConnectionLost):
            return False  # nobody who has anything to say
        except (Refusal, ProtocolViolation) as refusal:
            await self._turn_away(connection, refusal)
            return False
        return True

    def _examine(self, hello: dict[str, Any]) -> None:
        """Raises Refusal for who may not speak here."""
        store = self.store
        if hello.get("protocol") != PROTOCOL_VERSION:
            raise Refusal(
                "version",
                f"it speaks protocol {hello.get('protocol')}, here {PROTOCOL_VERSION} is spoken",
                "Install the same release at both ends.",
            )
        if hello.get("set") != store.options.set_id:
            raise Refusal(
                "set",
                f"this replica holds {store.options.set_id!r}, not {hello.get('set')!r}",
                "Check the address and the name of the protected set in the configuration.",
                told=f"it holds another protected set than {hello.get('set')!r}",
            )
        self._refuse_when_promoted()

    def _refuse_when_promoted(self) -> None:
        if self.store.promoted:
            raise Refusal(
                "promoted",
                f"the replica has taken over; epoch {self.store.epoch} is over",
                "Stop the programs on the old source; switch back only in good order.",
            )

    async def _turn_away(self, connection: Connection, refusal: ReplicatorError) -> None:
        who = "a source" if isinstance(refusal, Refusal) else "a connection"
        cause = f"{who} was refused: {refusal.advice}"
        self.runtime.emit("turned_away", cause)
        if isinstance(refusal, Refusal) and not self.store.promoted:
            self.refused = cause
        if not self.connected:
            self.cause = cause
        await self._refuse(connection, refusal)

    async def _take_the_place(self, connection: Connection, number: int) -> bool:
        """End the session that is open, if this connection is newer, and begin one."""
        while self._session is not None and not self._session.done:
            if number < self._session_number:
                return False
            self.cause = "another connection of the source replaced it"
            self._session.cancel()
            await sleep_ns(0)
        greeting = self._greetings.pop(number, None)
        if greeting is None or self.leaving:
            return False
        try:
            self._refuse_when_promoted()  # since it was greeted
        except Refusal as refusal:
            await self._turn_away(connection, refusal)
            return False
        self._session, self._session_number = greeting.task, number
        return True

    async def _converse(self, connection: Connection) -> None:
        try:
            await self._welcome(connection)
            session = ReplicaSession(self, connection)
            try:
                await session.run()
            finally:
                session.close()
        except TimedOut:
            self.cause = "the source fell silent"
        except (ConnectionLost, ProtocolViolation, NoSpace) as error:
            self.cause = error.advice
            if not isinstance(error, ConnectionLost):
                self.refused = error.advice
                self._full = error.advice if isinstance(error, NoSpace) else ""
                await self._refuse(connection, error)
        finally:
            self.connected = False
            self.runtime.emit("session_end", self.cause)

    async def _say_goodbye(self, connection: Connection) -> None:
        document = {"code": "stopped", "message": "it is being stopped", "remedy": ""}
        with suppress(ConnectionLost, ProtocolViolation):
            await connection.send_document(FrameType.REFUSE, document)

    async def _refuse(self, connection: Connection, error: ReplicatorError) -> None:
        """Tell the source why, if it still listens; it shows it to its operator."""
        code, message = type(error).__name__, str(error)
        if isinstance(error, Refusal):
            code, message = error.code, error.told
        document = {"code": code, "message": message, "remedy": error.remedy}
        try:
            async with deadline(self.heartbeat_ns):
                await connection.send_document(FrameType.REFUSE, document)
                connection.close()
                await sleep_ns(self.heartbeat_ns // 2)
        except (ConnectionLost, ProtocolViolation, TimedOut):
            return

    async def _welcome(self, connection: Connection) -> None:
        store = self.store
        await store.intake.settle()
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
                "unverified": store.image.unverified,
            },
        )
