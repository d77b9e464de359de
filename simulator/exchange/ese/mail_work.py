"""The load at work: a stream of mail carried out on the databases of one instance.

::

    what users do           changes of rows: simulator.exchange.ese.mail_changes
    Maintenance, IdleTick   the store's own work

Each event is one transaction.  Some are committed together by one flush (group commit), as they
are where many clients wait at a time: so many at most, within so short a time.  What a flush has
made durable is told to the ledger, nothing earlier.

Everything is done by one task, in the order of the stream; so the same events make the same
bytes, on a disk of any speed.  Pages are written and the checkpoint moves behind a group, when
the log has grown by a part of the checkpoint depth.

Left out: what Outbox, transport, views and search folders add
(:mod:`simulator.exchange.ese.mail_views` stands for their logs,
:mod:`simulator.exchange.ese.older_mail` for their reads and writes); pages that online
defragmentation rewrites, beyond cleaning up what was deleted; reads of the background scan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.long_value_encoding import chunk_bytes
from replicator.ese.values import LogPosition
from replicator.runtime import yield_now
from simulator.exchange.engine_config import WITHOUT_LOG_ROLL
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.mail_changes import MailChanges, Note
from simulator.exchange.ese.mail_ledger import MailNotes
from simulator.exchange.ese.mail_naming import (
    StoreClock,
    folder_name,
    user_name,
)
from simulator.exchange.ese.mail_views import MailViews, log_distance_bytes
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.ese.older_mail import OlderMail
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.mail_events import (
    FIRST_FOLDER,
    Deliver,
    IdleTick,
    MailEvent,
    Maintenance,
)
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.message_payload import PayloadMaker

WRITE_CONFLICT: Final = -1102

_MAILBOXES_AT_ONCE: Final = 50
_CLEANED_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCommit:
    """Which transactions are committed by one flush.

    Attributes
    ----------
    most_transactions: no more [A].
    within_ns: no longer than this from the first to the last [A].
    """

    most_transactions: int = 16
    within_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        if self.most_transactions < 1 or self.within_ns < 0:
            raise ValueError("a group has a transaction at least, and no negative time")


@dataclass(slots=True)
class _Mdb:
    """One database at work."""

    name: str
    one: AttachedDatabase
    session: StoreSession
    mailboxes: Mailboxes


class MailWork:
    """See the module.

    Arguments
    ---------
    instance: whose log it is; nobody else may work on its databases.
    plan: of the stream.
    clock: set to the time of each event.
    notes: told of what is durable.
    payload: makes the bytes.
    group: see there.
    views: what is logged besides; None for nothing.
    older: what is read and written besides; None for nothing.
    mime_share: of the messages came from the Internet, 0 to 1; they go into a streaming file.

    Attributes
    ----------
    counts: events carried out, by kind; ``missing`` for what concerns messages that are not there,
        ``idle logs`` for logs that were closed before they were full.
    idle_log_bytes: what these had left.
    """

    def __init__(
        self,
        instance: Instance,
        plan: MailPlan,
        clock: StoreClock,
        notes: MailNotes,
        *,
        payload: PayloadMaker | None = None,
        group: GroupCommit | None = None,
        views: MailViews | None = None,
        older: OlderMail | None = None,
        mime_share: float = 0.0,
    ) -> None:
        self._instance, self._plan, self._clock, self._notes = instance, plan, clock, notes
        self._changes = MailChanges(
            plan,
            clock,
            notes,
            payload or PayloadMaker(seed=plan.seed),
            chunk_bytes=chunk_bytes(instance.config.store_format.page_bytes),
            mime_share=mime_share,
        )
        self._group = group or GroupCommit()
        self._views, self._older = views, older
        self._databases: list[_Mdb] = []
        self._waiting: list[Note] = []
        self._commits = 0
        self._group_began_ns = 0
        self._last_commit: LogPosition | None = None
        self._upkeep_at = LogPosition()
        self._rolls_idle_logs = f"exchange {plan.profile.version}" not in WITHOUT_LOG_ROLL
        self._tick_tip = self._rolled_tip = LogPosition()
        self.counts: Counter[str] = Counter()
        self.idle_log_bytes = 0

    # -- the beginning -------------------------------------------------------------------

    async def create(
        self,
        names: Sequence[str],
        begin_ns: int = 0,
        between: Callable[[], None] | None = None,
    ) -> None:
        """Make the databases, their tables, and all mailboxes with their first folders.

        Arguments
        ---------
        names: of the files; as many as the plan has databases.
        begin_ns: instant of the stream from which on its events come.
        between: called after each few mailboxes; what it raises ends the work.

        Raises what :meth:`Instance.create_database` does.
        """
        if len(names) != self._plan.databases:
            raise ValueError(f"the plan has {self._plan.databases} databases, not {len(names)}")
        for name in names:
            await self._add(name, await self._instance.create_database(name))
        first_folders = self._plan.habits.first_folders
        for number, mdb in enumerate(self._databases):
            every = range(number, self._plan.mailboxes, self._plan.databases)
            for begin in range(0, len(every), _MAILBOXES_AT_ONCE):
                mdb.session.begin()
                for mailbox in every[begin : begin + _MAILBOXES_AT_ONCE]:
                    await mdb.mailboxes.add_mailbox(mailbox, user_name(mailbox))
                    if self._views is not None:
                        await self._views.add_mailbox(mdb.session, mailbox)
                    for folder in range(FIRST_FOLDER, FIRST_FOLDER + first_folders):
                        await mdb.mailboxes.add_folder(mailbox, folder, folder_name(folder))
                await mdb.session.commit()
                if between is not None:
                    await yield_now()  # whoever wants it to end can say so
                    between()
            if self._older is not None:
                await self._older.add_mailboxes(mdb.session, every)
        if self._older is not None:
            # What was there before is on the disk, not waiting to be written there.
            await self._instance.write_old_pages()
            self._older.begin(begin_ns)
        if self._views is not None:
            self._views.begin()

    async def _add(self, name: str, one: AttachedDatabase) -> None:
        session = self._instance.session(one)
        single = self._plan.profile.single_instance
        mailboxes = await Mailboxes.create(session, single_instance=single)
        if self._views is not None:
            await self._views.create(session)
        if self._older is not None:
            await self._older.create(session)
        self._databases.append(_Mdb(name, one, session, mailboxes))

    # -- events --------------------------------------------------------------------------

    async def carry_out(self, event: MailEvent) -> None:
        """Take the next event of the stream; durable with the group that it is in."""
        late = event.time_ns - self._group_began_ns > self._group.within_ns
        if self._commits and (late or isinstance(event, Maintenance | IdleTick)):
            await self.settle()
        await self._follow(event.time_ns)
        self._clock.time_ns = max(self._clock.time_ns, event.time_ns)
        self.counts[type(event).__name__] += 1
        if isinstance(event, Maintenance):
            await self._maintain(self._databases[event.database])
        elif isinstance(event, IdleTick):
            if event.database == 0:  # the log is one for all databases
                await self._tick()
        else:
            mdb = self._of(event)
            mdb.session.begin()
            notes = await self._apply(mdb, event, committed=True)
            if self._views is not None:
                mailbox = event.recipients[0] if isinstance(event, Deliver) else event.mailbox
                await self._views.follow(mdb.session, event, mailbox)
            position = await mdb.session.commit(lazy=True)
            if position is not None:
                self._last_commit = position
                if not self._commits:
                    self._group_began_ns = event.time_ns
                self._commits += 1
            self._waiting += notes
            if self._commits >= self._group.most_transactions:
                await self.settle()

    async def wait_until(self, time_ns: int) -> None:
        """Do what is due by an instant at which nothing happens, log what is missing by then."""
        if self._views is not None:
            await self._views.catch_up(self._databases[0].session, 0)
        await self._follow(time_ns)

    async def _follow(self, time_ns: int) -> None:
        if self._older is not None:
            await self._older.follow(time_ns, [each.session for each in self._databases])

    async def settle(self) -> None:
        """Make the group underway durable, tell the ledger, and write pages that are old."""
        if self._commits:
            await self._instance.log.flush(self._last_commit)
            self._commits = 0
        for note in self._waiting:
            note()
        self._waiting.clear()
        for mdb in self._databases:
            await mdb.session.clean_up(_CLEANED_AT_ONCE)
        await self._write_behind()

    async def end(self) -> None:
        """Finish the group, clean up what was deleted, and shut all databases down."""
        await self.settle()
        if self._views is not None:
            await self._views.catch_up(self._databases[0].session, 0)
        for mdb in self._databases:
            await self._maintain(mdb)
        await self._instance.close()

    async def die(self, events: Iterable[MailEvent]) -> None:
        """End as a killed process does, in the midst of some events.

        Arguments
        ---------
        events: what was underway, each in a session of its own.  Of these the first half is in the
            log, and in pages that have been written; the other half was in memory only.
        """
        await self.settle()
        doing = [each for each in events if not isinstance(each, Maintenance | IdleTick)]
        for number, event in enumerate(doing):
            if number == len(doing) // 2:
                await self._instance.log.flush()
                await self._instance.write_old_pages(self._log_bytes_behind() // 2)
            self._clock.time_ns = max(self._clock.time_ns, event.time_ns)
            mdb = self._of(event)
            session = self._instance.session(mdb.one)
            own = _Mdb(mdb.name, mdb.one, session, await Mailboxes.open(session))
            session.begin()
            try:
                notes = await self._apply(own, event, committed=False)
            except EseError as error:
                if error.number != WRITE_CONFLICT:
                    raise
                await session.rollback()  # another one has to do with the message
                continue
            for note in notes:
                note()
        self._instance.abandon()

    def _log_bytes_behind(self) -> int:
        """Of the log, from the checkpoint on."""
        tip, checkpoint = self._instance.log.tip, self._instance.checkpoint
        return log_distance_bytes(self._instance, checkpoint, tip)

    def _of(self, event: MailEvent) -> _Mdb:
        """The database that an event concerns."""
        if isinstance(event, Deliver | Maintenance | IdleTick):
            return self._databases[event.database]
        return self._databases[event.mailbox % self._plan.databases]

    async def _apply(self, mdb: _Mdb, event: MailEvent, *, committed: bool) -> list[Note]:
        told = await self._changes.apply(mdb.mailboxes, mdb.name, event, committed=committed)
        self.counts["missing"] = self._changes.missing_count
        return told

    # -- the store's own work ------------------------------------------------------------

    async def _maintain(self, mdb: _Mdb) -> None:
        """Clean up all that was deleted."""
        while mdb.session.database.versions.to_clean:
            await mdb.session.clean_up(_CLEANED_AT_ONCE)
        await self._write_behind()

    async def _tick(self) -> None:
        """Close a log that is begun and idle, once, so that whoever copies logs gets it.

        Before 2007 nobody copied logs, and the store left such a log open.
        """
        if not self._rolls_idle_logs:
            return
        if self._views is not None:
            await self._views.catch_up(self._databases[0].session, 0)
        tip = self._instance.log.tip
        if tip == self._tick_tip != self._rolled_tip:
            await self._instance.log.roll("idle")
            self._rolled_tip = self._instance.log.tip
            self.idle_log_bytes += log_distance_bytes(self._instance, tip, self._rolled_tip)
            self.counts["idle logs"] += 1
            if self._views is not None:
                self._views.pass_over()
        self._tick_tip = self._instance.log.tip

    async def _write_behind(self) -> None:
        """Write pages and move the checkpoint when the log has grown by an eighth of its depth."""
        config, tip = self._instance.config, self._instance.log.tip
        grown = (tip.generation - self._upkeep_at.generation) * config.log_file_bytes
        if grown * 8 < config.checkpoint_depth_bytes:
            return
        self._upkeep_at = tip
        await self._instance.write_old_pages(config.checkpoint_depth_bytes // 2)
        await self._instance.move_checkpoint()
