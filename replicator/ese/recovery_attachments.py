"""Which databases of a recovery are attached, under which numbers, as its logs go on to say.

A log begins with the list of what is attached; AttachDB, CreateDB, DetachDB and ShutDown change
it.  A database belongs to an entry or a record by its signature, whatever its path is; that it
goes on from where the logs do is checked here.

E src/ese/_log/logredo.cxx; docs/store-recovery.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from replicator.ese.database_header import State
from replicator.ese.errors import EseError
from replicator.ese.log_header import LogHeader
from replicator.ese.log_records import AttachDB, CreateDB
from replicator.ese.recovered_database import RecoveredDatabase
from replicator.ese.redo import RedoDatabase
from replicator.ese.values import LogPosition, LogTime, Signature

NOT_ATTACHED: Final = -550
OTHER_DATABASE: Final = -531
TOO_OLD: Final = -551


class LoggedDatabases:
    """See the module.

    Arguments
    ---------
    databases: that are recovered.
    first_generation: where redo begins.

    Attributes
    ----------
    attached: those of them that are, by their numbers; kept up as records are read.
    """

    def __init__(self, databases: Sequence[RecoveredDatabase], first_generation: int) -> None:
        self._databases, self._first_generation = databases, first_generation
        self._named: set[int] = set()
        """Databases, by place in the list, that the logs have named."""
        self.attached: dict[int, RedoDatabase] = {}

    def attach_listed(self, header: LogHeader) -> None:
        """Take the databases that were attached when the first log began.

        Raises EseError -551 for one that is too old for these logs.
        """
        for entry in header.attachments:
            for index, database in self._of(entry.database_signature):
                self._check_listed(database, entry.attach_position)
                if self._was_shut_down_before(database):
                    self._named.add(index)
                    continue
                self._enter(entry.dbid, index, database)
                database.is_attached = True

    async def attach(
        self, content: AttachDB | CreateDB, position: LogPosition, init_time: LogTime
    ) -> None:
        """Carry out an attach.

        Arguments
        ---------
        position: of the record.
        init_time: when the engine that logged it began.

        Raises EseError -531 for another database than the record's, -551 for one that was shut
        down elsewhere; StorageError.
        """
        self._check_identity(content, position)
        for index, database in self._of(content.database_signature):
            self._enter(content.dbid, index, database)
            consistent = (
                content.consistent_position if isinstance(content, AttachDB) else LogPosition()
            )
            await database.attach(position, consistent, init_time)

    def detach(self, dbid: int, position: LogPosition) -> None:
        """Carry out a detach; nothing when no such database is attached.

        Arguments
        ---------
        position: of the record.
        """
        redo = self.attached.pop(dbid, None)
        for database in self._databases:
            if database.redo is redo:
                database.detach(position)

    def detach_all(self, position: LogPosition) -> None:
        """Carry out a shutdown of the engine."""
        for dbid in list(self.attached):
            self.detach(dbid, position)

    def check_named(self) -> None:
        """Raises EseError -550 for a database that needs logs and that these do not name."""
        for index, database in enumerate(self._databases):
            if database.is_dirty and index not in self._named:
                detail = f"the logs from generation 0x{self._first_generation:X} do not name it"
                raise EseError(NOT_ATTACHED, detail, path=database.path)

    def check_ended(self, end: LogPosition) -> None:
        """Raises EseError -551 for a database that was shut down behind the end of these logs.

        Its header says clean, and its ShutDown record is in none of them: the copy's logs are older
        than its database.  That the engine answers so, and not later, when it attaches the
        database again, is assumed.

        Arguments
        ---------
        end: of the logs.
        """
        for database in self._databases:
            if database.is_attached and database.header.state is State.CLEAN_SHUTDOWN:
                detail = (
                    f"it was shut down at {database.consistent}, and the logs end at {end} with it "
                    "attached: newer logs are missing"
                )
                raise EseError(TOO_OLD, detail, path=database.path)

    def _of(self, signature: Signature) -> list[tuple[int, RecoveredDatabase]]:
        return [
            (index, each)
            for index, each in enumerate(self._databases)
            if each.before.database_signature == signature
        ]

    def _enter(self, dbid: int, index: int, database: RecoveredDatabase) -> None:
        self._named.add(index)
        database.redo.dbid = dbid
        self.attached[dbid] = database.redo

    def _was_shut_down_before(self, database: RecoveredDatabase) -> bool:
        """Whether a log that lists it began between its ShutDown record and the last ones."""
        clean = database.before.state is State.CLEAN_SHUTDOWN
        return clean and database.consistent.generation < self._first_generation

    def _check_listed(self, database: RecoveredDatabase, attached_at: LogPosition) -> None:
        """A database that was shut down, or attached last, before these logs begin is too old."""
        before = database.before
        if before.state is State.CLEAN_SHUTDOWN and database.consistent <= attached_at:
            what = f"it was shut down at {database.consistent}"
        elif before.attach_position < attached_at:
            what = f"it was attached last at {before.attach_position}"
        else:
            return
        detail = (
            f"{what}, and redo begins in generation 0x{self._first_generation:X} with it "
            f"attached at {attached_at}: older logs have to be redone first (without the "
            "checkpoint file redo begins with the oldest)"
        )
        raise EseError(TOO_OLD, detail, path=database.path)

    def _check_identity(self, content: AttachDB | CreateDB, position: LogPosition) -> None:
        """Whether the file that says it was attached here is the one that was."""
        for database in self._databases:
            before = database.before
            if before.attach_position == position and (
                before.database_signature != content.database_signature
            ):
                detail = f"it is {before.database_signature}, the log attaches at {position} "
                detail += str(content.database_signature)
                raise EseError(OTHER_DATABASE, detail, path=database.path)
