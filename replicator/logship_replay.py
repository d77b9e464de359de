"""Replay: inspected logs are redone in the databases of the copy, and its checkpoint follows.

The redo is that of soft recovery (:mod:`replicator.ese.recovery`), stopped before the undo: the
databases stay dirty, and later logs go on.  Memory: one log, and the pages of the recovery.  A
run goes through::

    redo      from the copy's checkpoint to the last log that is due; what is on the pages already
              is passed over by its dbtime
    pages     all but those that wait for an open transaction are written and synced
    headers   require the logs from where redo may begin again (:mod:`replicator.logship_restart`)
    checkpoint  says the same
    logs      below it go away, if the source has deleted its own

Each step rests on the one before being durable, so a crash between any two is made good by the
next run.  The end of it is :mod:`replicator.logship_activate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from replicator.errors import StorageError
from replicator.ese.checkpoint import new_checkpoint, read_checkpoint
from replicator.ese.checkpoint_file import CheckpointFile
from replicator.ese.database_header import State
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import NEEDING_LOGS, raised
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import BASE_CHARACTERS, LogNames, LogRole, parse_log_name
from replicator.ese.log_need import check_recovery
from replicator.ese.log_set import (
    FILE_NOT_FOUND,
    LogSet,
    LogSummary,
    check_chain,
    databases_in,
    summarise,
)
from replicator.ese.recovery import recover
from replicator.ese.recovery_checks import RecoveryPlan
from replicator.ese.recovery_files import FoundDatabase, find_databases, joined, read_file
from replicator.ese.recovery_result import RecoverySettings
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.logship_options import ALL_SAFEGUARDS, LogShipSafeguards
from replicator.logship_restart import RestartPoint
from replicator.runtime.port import Volume

MISSING_LOG: Final = -528


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlace:
    """Where a copy lies.

    Arguments
    ---------
    volume: of all of it.
    log_directory: logs and the copy's checkpoint.
    inspection_directory: logs on their way, on the same volume; nothing else.
    database_directories: empty where they lie with the logs.
    base: the set's three characters.
    seed_directory: where the current log and the checkpoint lie that the databases were shut down
        with, if they were brought: a store that is activated before any log has come goes on with
        them. Empty: it begins a log set of its own.
    """

    volume: Volume
    log_directory: str
    inspection_directory: str
    base: str = "E00"
    database_directories: tuple[str, ...] = ()
    seed_directory: str = ""

    @property
    def checkpoint_name(self) -> str:
        return LogNames(self.base).checkpoint

    def closed(self) -> dict[int, str]:
        """The closed logs that are there: generation to name, in order."""
        found: dict[int, str] = {}
        for name in self.volume.list(self.log_directory):
            parsed = parse_log_name(name)
            if parsed and (parsed.role, parsed.base) == (LogRole.CLOSED, self.base.upper()):
                found[parsed.generation or 0] = name
        return dict(sorted(found.items()))

    def named(self, generation: int, offered: str) -> str:
        """Under which name a log is kept that the source calls so.

        All closed logs of a copy have as many digits as its first one: a recovery that goes on
        behind them tells by one name how the others are called, and a source may have both kinds.
        """
        first = next(iter(self.closed().values()), offered)
        short = len(first) == len(LogNames(self.base, digits=5).closed(1))
        return LogNames(offered[:BASE_CHARACTERS], digits=5 if short else 8).closed(generation)

    @property
    def is_opened(self) -> bool:
        """Whether an activation has begun a log of its own: it is no copy any more."""
        roles = (LogRole.CURRENT, LogRole.TEMPORARY)
        names = (parse_log_name(name) for name in self.volume.list(self.log_directory))
        return any(each and each.role in roles and each.base == self.base.upper() for each in names)

    async def databases(self) -> list[FoundDatabase]:
        """The databases of the copy; raises EseError for a header that cannot be used."""
        directories = self.database_directories or (self.log_directory,)
        return await find_databases(self.volume, directories)


def first_needed(databases: list[FoundDatabase]) -> int:
    """The first generation that any of these databases needs; raises EseError -1811 for none."""
    if not databases:
        raise EseError(FILE_NOT_FOUND, "the copy has no database any more")
    return min(
        each.header.first_required_generation
        if each.header.state in NEEDING_LOGS
        else max(1, each.header.consistent_position.generation)
        for each in databases
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """What the volume refused is its own error, and none of the store's.

    A recovery tells of a failed sync under the engine's number (-510): but it is the process that
    has to end and start again, and nothing is wrong with the files.
    """
    try:
        yield
    except EseError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, StorageError):
                raise cause from error
            cause = cause.__cause__
        raise


class Replayer:
    """Replays into one copy; see the module.

    Arguments
    ---------
    place: the copy.
    now: the time, for headers.
    flush_signature: draws a new signature for each header write.
    limit_pages: of each database, in memory.
    safeguards: for tests.

    Attributes
    ----------
    required: the last generation whose changes a database may hold already; the first run after
        :meth:`start` goes so far at the least.
    """

    def __init__(
        self,
        place: CopyPlace,
        *,
        now: Callable[[], LogTime],
        flush_signature: Callable[[], Signature],
        limit_pages: int,
        safeguards: LogShipSafeguards = ALL_SAFEGUARDS,
    ) -> None:
        self._place = place
        self._now, self._flush_signature = now, flush_signature
        self._limit_pages = limit_pages
        self._guards = safeguards
        self.required = 0
        self._restart: RestartPoint | None = None
        self._seen = 0
        self._vouched = False
        """Whether the last run of this process wrote and synced all that it touched."""

    async def start(self) -> int:
        """Where redo begins: at the checkpoint, or with the first log that a database needs.

        Raises EseError and StorageError.
        """
        place = self._place
        databases = await place.databases()
        needed = first_needed(databases)
        self.required = max(each.header.last_required_generation for each in databases)
        path = joined(place.log_directory, place.checkpoint_name)
        found = None
        if place.volume.exists(path):
            with suppress(EseError):  # without one that can be used, headers say where it begins
                found = read_checkpoint(await read_file(place.volume, path))[0]
        start = needed if found is None else min(needed, found.position.generation)
        self._restart, self._seen = RestartPoint(start), start - 1
        return start

    async def run(
        self, last: int, delete_below: int = 0, tell: Callable[[str], None] = lambda _doing: None
    ) -> int:
        """Replay up to the end of a generation; returns where redo may begin again.

        Arguments
        ---------
        last: of the logs that are due, all of which are there.
        delete_below: logs below this generation and below the copy's checkpoint may go.
        tell: told what is done next, ``apply`` or ``checkpoint``.

        Raises EseError, with the path of a log where one is to blame, and StorageError; then the
        databases are as a crash would leave them, and the next run begins at the checkpoint.
        ValueError for a generation before the one that redo begins with.
        """
        restart = self._restart
        if restart is None:
            await self.start()
            restart = self._restart
        assert restart is not None
        if last < restart.generation:
            raise ValueError(f"redo begins at generation 0x{restart.generation:X}, not before")
        self._restart = None  # if it fails, redo begins at the checkpoint
        vouched, self._vouched = self._vouched, False
        plan = await self._plan(restart, last)
        settings = RecoverySettings(undo=False, limit_pages=self._limit_pages, vouched=vouched)
        tell("apply")
        with storage_errors():
            await recover(
                self._place.volume,
                plan,
                settings,
                now=self._now,
                flush_signature=self._flush_signature,
            )
        begin = restart.end_of_run(self._seen + 1, last)
        if not self._guards.keep_open_transactions:
            begin = restart.generation = last
        tell("checkpoint")
        with storage_errors():
            await self._require(plan, begin)
            await self._move_checkpoint(plan, begin)
        self._delete(min(begin, delete_below))
        self._restart, self._seen = restart, last
        self._vouched = True
        return begin

    async def _plan(self, restart: RestartPoint, last: int) -> RecoveryPlan:
        """What is redone, judged once more; the records that are new in this run are noted."""
        place = self._place
        databases = await place.databases()
        names = place.closed()
        logs: list[LogSummary] = []
        attached = named = None
        for generation in range(restart.generation, last + 1):
            if generation not in names:
                detail = f"generation 0x{generation:X} is missing"
                raise EseError(MISSING_LOG, detail, path=place.log_directory)
            path = joined(place.log_directory, names[generation])
            parsed = parse_log_name(names[generation])
            assert parsed is not None
            content = await read_file(place.volume, path)
            log = summarise(parsed, content, path)
            logs.append(log)
            if log.error is None and (generation > self._seen or generation == last):
                opened = LogFile(content, closed=True)
                if generation > self._seen:
                    restart.see(opened.records())
                if generation == last:
                    attached, named = databases_in(opened)
        found = LogSet(place.base, tuple(logs), None, (), None, attached, (), (), named or ())
        mine = [each for each in databases if each.header.log_signature == found.signature]
        headers = {each.path: each.header for each in mine}
        for error in (*check_chain(logs), *check_recovery(found, headers)):
            raise error
        assert found.signature is not None
        plan = RecoveryPlan(
            base=place.base,
            log_directory=place.log_directory,
            system_directory=place.log_directory,
            checkpoint=None,
            checkpoint_name=place.checkpoint_name,
            signature=found.signature,
            logs=tuple(logs),
            dropped=(),
            lost=range(0),
            databases=tuple(mine),
            names={each.signature: each.path for each in attached or ()},
        )
        return plan

    async def _require(self, plan: RecoveryPlan, begin: int) -> None:
        """The headers ask for the logs from where redo may begin again."""
        volume = self._place.volume
        logs = {log.generation: log for log in plan.logs}
        for database in plan.databases:
            file = volume.open(database.path)
            try:
                header_file = await DatabaseHeaderFile.open(volume, file, self._flush_signature)
                header = header_file.header
                if header.state not in NEEDING_LOGS or header.first_required_generation >= begin:
                    continue
                if header.state is State.DIRTY_AND_PATCHED_SHUTDOWN:
                    header = header.with_state(State.DIRTY_SHUTDOWN)
                last = max(begin, header.last_required_generation)
                newer = last > header.last_committed_generation
                log = logs[last] if newer else None
                header = raised(
                    header,
                    first=begin,
                    last=last,
                    committed=max(last, header.last_committed_generation),
                    committed_created=log.header.created if log and log.header else None,
                )
                await header_file.write(header)
            finally:
                file.close()

    async def _move_checkpoint(self, plan: RecoveryPlan, begin: int) -> None:
        place = self._place
        log = next(each for each in plan.logs if each.generation == begin)
        assert log.header is not None
        start = LogPosition(begin, log.header.header_sectors, 0)
        file = await CheckpointFile.open(place.volume, place.log_directory, place.checkpoint_name)
        try:
            on_disk = file.checkpoint
            same = on_disk is not None and on_disk.log_signature == plan.signature
            if on_disk is None or not same or on_disk.position < start:
                await file.write(new_checkpoint(start, plan.signature, log.header.parameters))
        finally:
            file.close()

    def _delete(self, below: int) -> None:
        for generation, name in self._place.closed().items():
            if generation >= below:
                break
            self._place.volume.unlink(joined(self._place.log_directory, name))


__all__ = ["CopyPlace", "Replayer", "first_needed", "storage_errors"]
