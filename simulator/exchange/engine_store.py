"""A mail store of Exchange: the engine of :mod:`simulator.exchange.ese`, as the bench sees it.

Models: a storage group whose databases, logs and checkpoint have the real format; each message is
rows and long values in its mailbox's database, where 2003 has a streaming file also contents in
that; soft recovery at the mount, with the engine's own
error numbers; group commit; pages and checkpoint written behind; logs deleted (circular logging)
or kept.  Leaves out: transactions that overlap (one is carried out after the other; what they share
is the flush), those over several databases, reads by clients, online defragmentation; a limit of
the streaming file: it grows as its volume lets it, but no content is larger than a database [A].

How a transaction goes::

    deliver() --> the queue, in the order of the calls
    run(), one after the other: begin, delete, deliver, commit in the log's buffer, clean up
    deliver() waits until the log is durable up to its commit: one flush for all who wait
    run(), beside: pages older than half the checkpoint depth --> checkpoint --> logs deleted

So transactions stand in the log in the order in which they were given, and what a crash leaves is
all of them up to some point.  A log that lies open too long is closed between two of them.

After a failed write or sync, and where no room for logs is left, the store stops as the engine
does (-510, -529); whoever waits is told the storage's own error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import xxhash

from replicator.errors import NoSpace, NotFound, ReplicatorError, StorageError
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_stream import LogBufferFull
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import Signal, group
from replicator.runtime.port import Volume
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import ALL_SAFEGUARDS, EngineSafeguards
from simulator.exchange.ese.known_messages import known_digests
from simulator.exchange.ese.mail_naming import is_mime
from simulator.exchange.ese.mail_schema import StoredMessage
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.ese.opening import has_logs
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.log_roll import LogRoll
from simulator.exchange.mail_events import INBOX
from simulator.exchange.store import (
    Message,
    MountReport,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreUnmountable,
)

BODY_MOST_BYTES: Final = 16 << 10
"""What is more of a payload is the message's attachment."""
_NO_RECORD: Final = -1601
_FILE_NOT_FOUND: Final = -1811
_DISK_FULL: Final = -1808


@dataclass(slots=True)
class _Waiting:
    """A transaction that was given: what it does, and what became of it."""

    place: int
    messages: Sequence[Message]
    delete: Sequence[int]
    carried_out: bool = False
    position: LogPosition | None = None
    error: Exception | None = None
    changed: Signal = field(default_factory=Signal)


@dataclass(frozen=True, slots=True)
class _Mounted:
    """One database at work."""

    session: StoreSession
    mailboxes: Mailboxes


class EngineStore:
    """Implements :class:`simulator.exchange.store.Store`; see the module.

    Arguments
    ---------
    volume: where it is.
    directory: of logs, checkpoint and databases; made when missing.
    now_ns: the clock, for the mount's duration.
    wall_ns: the time that files and messages carry.
    random: numbers in [0, 1), for the signatures of new files; other ones in each process.
    config: its figures.
    safeguards: for tests that switch one off.
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        *,
        now_ns: Callable[[], int],
        wall_ns: Callable[[], int],
        random: Callable[[], float],
        config: EngineStoreConfig | None = None,
        safeguards: EngineSafeguards = ALL_SAFEGUARDS,
    ) -> None:
        self._volume = volume
        self._directory = directory
        self._now_ns, self._wall_ns, self._random = now_ns, wall_ns, random
        self._config = config or EngineStoreConfig()
        self._safeguards = safeguards
        self._instance: Instance | None = None
        self._databases: list[_Mounted] = []
        self._queue: deque[_Waiting] = deque()
        """The first one is being carried out."""
        self._failure: ReplicatorError | None = None
        self._closing = False
        self._work = Signal()
        self._idle = Signal()
        self._busy = False

    # -- the interface -------------------------------------------------------------

    async def mount(self) -> MountReport:
        """See :meth:`Store.mount`.

        What recovery finds before it begins keeps the files as they are; what shows itself on the
        way (a damaged page) leaves them as after a crash.
        """
        if self._instance is not None:
            raise StoreClosed("the store is mounted already", path=self._directory)
        began_ns = self._now_ns()
        if not self._volume.exists(self._directory):
            self._volume.mkdir(self._directory)
            await self._volume.sync_directory(self._directory.rpartition("/")[0] or "/")
        config = self._config.instance(self._safeguards)
        created = not has_logs(self._volume, self._directory, config.base)
        self._databases, self._failure, self._closing = [], None, False
        with self._refused():
            instance = await Instance.open(
                self._volume, self._directory, config, now=self._time, draw=self._signature
            )
            with ExitStack() as refused:
                refused.callback(instance.abandon)
                for place in range(self._config.databases):
                    self._databases.append(await self._open(instance, place))
                refused.pop_all()
        self._instance = instance
        return self._report(instance, created, began_ns)

    async def run(self) -> None:
        """See :meth:`Store.run`; carries the transactions out as well."""
        instance = self._mounted()
        try:
            async with group() as tasks:
                tasks.spawn(instance.run(), "pages and checkpoint")
                roll = LogRoll(instance.log, self._config.log_roll_ns, self._now_ns)
                clock = tasks.spawn(roll.keep_time(self._work), "log roll")
                while not self._closing or self._queue:
                    if self._failure is not None:
                        raise self._failure  # a flush has failed that somebody waited for
                    if self._queue:
                        self._busy = True
                        await self._carry_out(instance, self._queue[0])
                        roll.note()
                    elif roll.is_due:
                        self._busy = True
                        await roll.carry_out()
                    else:
                        self._idle.notify()
                        await self._work
                        continue
                    if instance.log.must_shut_down:
                        await self._shut_down_for_want_of_room(instance)
                    self._busy = False
                clock.cancel()
                self._idle.notify()
        except (ReplicatorError, EseError, LogBufferFull) as error:
            told = self._stopped(error)
            if told is error:
                raise
            raise told from error

    async def deliver(self, messages: Sequence[Message], delete: Sequence[int] = ()) -> None:
        """See :meth:`Store.deliver`; all messages of a transaction are in one database.

        Raises ValueError for an id that is in use or unknown, a mailbox that is not there, and
        messages of several databases; StoreFull; then nothing is changed.
        """
        instance = self._mounted()
        if self._closing:
            raise StoreClosed("the store is being dismounted", path=self._directory)
        waiting = _Waiting(self._place(messages, delete), messages, delete)
        self._queue.append(waiting)
        self._work.notify()
        while not waiting.carried_out:
            await waiting.changed
            self._mounted()
        if waiting.error is not None:
            raise waiting.error
        if waiting.position is not None and self._safeguards.flush_at_commit:
            try:
                await instance.log.flush(waiting.position)
            except EseError as error:
                raise self._stopped(error) from error

    async def dismount(self) -> None:
        """See :meth:`Store.dismount`."""
        instance = self._mounted()
        self._closing = True
        self._work.notify()
        while self._queue or self._busy:
            await self._idle
            self._mounted()
        try:
            await instance.close()
        except (EseError, LogBufferFull) as error:
            raise self._stopped(error) from error
        self._instance = None
        self._databases = []

    async def contents(self) -> dict[int, bytes]:
        """See :meth:`Store.contents`; read from the rows, one message at a time."""
        self._mounted()
        found: dict[int, bytes] = {}
        with self._refused():
            for each in self._databases:
                known = await known_digests(each.session, each.mailboxes)
                if known is not None:
                    found |= known
                    continue
                async for message in each.mailboxes.messages():
                    found[message.message_id] = _digest(message)
        return found

    # -- mount ---------------------------------------------------------------------

    async def _open(self, instance: Instance, place: int) -> _Mounted:
        """Attach a database, or make it as far as that is not done."""
        name = self._config.database_names[place]
        try:
            one = await instance.attach(name)
        except NotFound:
            # They are made one after the other, so this one had been there.
            later = self._config.database_names[place + 1 :]
            if set(later).intersection(self._volume.list(self._directory)):
                path = f"{self._directory}/{name}"
                detail = "its file is missing, and that of a later database is there"
                raise EseError(_FILE_NOT_FOUND, detail, path=path) from None
            one = await instance.create_database(name, self._config.initial_pages)
        session = instance.session(one)
        try:
            mailboxes = await Mailboxes.open(session)
        except EseError as error:
            if error.number != _NO_RECORD:
                raise
            mailboxes = await self._make_tables(instance, one, session, place)
        return _Mounted(session, mailboxes)

    async def _make_tables(
        self, instance: Instance, one: AttachedDatabase, session: StoreSession, place: int
    ) -> Mailboxes:
        """Tables and mailboxes in one transaction: they are all there, or none is."""
        session.begin()
        single = self._config.single_instance
        mailboxes = await Mailboxes.create(session, single_instance=single)
        for number in self._config.mailboxes_of(place):
            await mailboxes.add_mailbox(number, f"Mailbox {number}")
        await session.commit()
        return mailboxes

    def _report(self, instance: Instance, created: bool, began_ns: int) -> MountReport:
        recovery, size_bytes = instance.recovery, self._config.log_size_bytes
        logs = 0
        if recovery is not None and not recovery.clean_log:
            logs = recovery.last_generation - recovery.first_generation + 1
        return MountReport(
            created=created,
            recovered=logs > 0,
            replayed_logs=logs,
            rewritten_pages=0
            if recovery is None
            else sum(each.written_pages for each in recovery.databases),
            log_bytes_read=logs * size_bytes,
            duration_ns=self._now_ns() - began_ns,
        )

    def _time(self) -> LogTime:
        return log_time_at(self._wall_ns())

    def _signature(self) -> Signature:
        return Signature(int(self._random() * 0xFFFFFFFF) + 1, self._time())

    # -- transactions --------------------------------------------------------------

    def _place(self, messages: Sequence[Message], delete: Sequence[int]) -> int:
        """In which database a transaction is."""
        count, found = self._config.databases, set()
        for message in messages:
            if not 0 <= message.mailbox < self._config.mailboxes:
                raise ValueError(f"there is no such mailbox: {message.mailbox}")
            found.add(message.mailbox % count)
        if len(found) > 1:
            raise ValueError("the messages of a transaction are of several databases")
        if not found and count > 1 and delete:
            raise ValueError("a transaction that deletes only does not say in which database")
        return found.pop() if found else 0

    async def _carry_out(self, instance: Instance, waiting: _Waiting) -> None:
        """One transaction, up to its commit in the log's buffer."""
        one = self._databases[waiting.place]
        one.session.begin()
        try:
            await self._change(one.mailboxes, waiting)
        except (EseError, ValueError) as error:
            instance.check()
            await one.session.rollback()
            waiting.error = self._not_done(error)
        else:
            waiting.position = await one.session.commit(lazy=True)
        waiting.carried_out = True
        self._queue.popleft()
        waiting.changed.notify()
        if waiting.delete:
            await one.session.clean_up()

    async def _change(self, mailboxes: Mailboxes, waiting: _Waiting) -> None:
        for message_id in waiting.delete:
            if not await mailboxes.delete(message_id):
                raise ValueError(f"message {message_id} to delete is not in the database")
        for message in waiting.messages:
            mime = is_mime(message.message_id, self._config.mime_share)
            if mime and len(message.payload) >= self._config.database_size_bytes:
                detail = f"message {message.message_id} is larger than a database may be"
                raise EseError(_DISK_FULL, detail, path=self._directory)
            await mailboxes.deliver(_stored(message, self._wall_ns()), is_mime=mime)

    def _not_done(self, error: EseError | ValueError) -> Exception:
        if isinstance(error, ValueError):
            return error
        if error.number == _DISK_FULL:
            return StoreFull(f"the database may not grow: {error}", path=error.path)
        return ValueError(f"the transaction was refused: {error}")

    async def _shut_down_for_want_of_room(self, instance: Instance) -> None:
        """The last room for logs is in use: it is kept for this."""
        self._closing = True
        await instance.close()
        raise NoSpace("no room is left for logs: the store was shut down", path=self._directory)

    # -- failures ------------------------------------------------------------------

    def _mounted(self) -> Instance:
        if self._failure is not None:
            raise StoreClosed(
                f"the store stopped: {self._failure}", path=self._directory
            ) from self._failure
        if self._instance is None:
            raise StoreClosed("the store is not mounted", path=self._directory)
        return self._instance

    def _stopped(self, error: Exception) -> ReplicatorError:
        """Note what has stopped the store, and wake all who wait; returns what they are told."""
        told: ReplicatorError | None = _storage_error(error)
        if told is None:
            told = error if isinstance(error, ReplicatorError) else StoreError(str(error))
        if self._failure is None:
            self._failure = told
        for waiting in self._queue:
            waiting.changed.notify()
        self._busy = False
        self._work.notify()
        self._idle.notify()
        return told

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """What the engine finds while it mounts or reads, as the interface says it."""
        try:
            yield
        except EseError as error:
            storage = _storage_error(error)
            if storage is not None:
                raise storage from error
            text = f"{error.number} {error.symbol}: {error.detail}"
            raise StoreUnmountable(
                text,
                path=error.place or self._directory,
                number=error.number,
                remedy=error.remedy,
            ) from error


def _storage_error(error: BaseException) -> StorageError | None:
    """The storage's own error that made the engine stop; None when there was none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StorageError):
            return cause
        cause = cause.__cause__
    return None


def _stored(message: Message, received_ns: int) -> StoredMessage:
    """A message of the bench as the store keeps it."""
    body, rest = message.payload[:BODY_MOST_BYTES], message.payload[BODY_MOST_BYTES:]
    return StoredMessage(
        message_id=message.message_id,
        mailbox=message.mailbox,
        folder=INBOX,
        received_ns=received_ns,
        sender=f"sender{message.message_id % 97}@example.org",
        subject=f"Message {message.message_id}",
        body=body,
        attachments=(rest,) if rest else (),
    )


def _digest(message: StoredMessage) -> bytes:
    """As :func:`~simulator.exchange.store.payload_digest` of the payload that was delivered."""
    digest = xxhash.xxh3_128(message.body)
    for part in message.attachments:
        digest.update(part)
    return digest.digest()
