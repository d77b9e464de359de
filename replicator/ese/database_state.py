"""What may happen to a database header: its life in nine changes, each with its rules.

A change is pure: it takes a header and gives the next one.  ``database_header_file`` writes it.
The order against logs and pages is the caller's: ese-format.md 7.2.  E src/inc/daedef.hxx
(SetDbstate), src/ese/_log/log.cxx, src/ese/db.cxx.

===========  =======================  =================================================
change       state                    generations (first, consistent, last, committed)
===========  =======================  =================================================
created      - to JustCreated         all 0
attached     JustCreated or Clean     all the generation of the AttachDB or CreateDB record
             to Dirty
raised       Dirty, patched           each stays or rises, in order
recovering   Dirty, patched           as they are; says how far redo has come
detached     Dirty to Clean           all 0
restored     Dirty                    those of the logs of a backup
log removed  Dirty                    committed falls by one, not below required
reseeding    Dirty, patched to 6      the lowest that either copy requires
reseeded     6 to patched             those that the other copy's logs have
===========  =======================  =================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from replicator.ese.checksum import MAGIC
from replicator.ese.database_header import FORMAT_VERSION, DatabaseHeader, FileType, State
from replicator.ese.values import BackupInfo, LogPosition, LogTime, Signature

NEEDING_LOGS: Final = frozenset({State.DIRTY_SHUTDOWN, State.DIRTY_AND_PATCHED_SHUTDOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFormat:
    """The format that one release of the store gives a new database.

    Arguments
    ---------
    revision, minor_revision: "update major" and "update minor".
    page_size: bytes.
    file_type: the field at 667, 0 where formats are thought not to have had it.
    engine_format_version: the field at 648.
    consistent_generation: whether the field at 640 is in use.
    origin: of these figures.
    """

    revision: int
    page_size: int
    minor_revision: int = 0
    file_type: FileType = FileType.UNKNOWN
    engine_format_version: int = 0
    consistent_generation: bool = False
    origin: str = ""


DATABASE_FORMATS: Final[dict[str, DatabaseFormat]] = {
    "exchange 2003 rtm": DatabaseFormat(
        revision=0x9,
        page_size=4096,
        origin="E src/ese/sysver.cxx; V on a header of Windows XP",
    ),
    "exchange 2003": DatabaseFormat(
        revision=0xB,
        page_size=4096,
        origin="SP1 on: L; KB 867626; not seen in a real store",
    ),
    "exchange 2007": DatabaseFormat(
        revision=0xC,
        page_size=8192,
        origin="inferred from dates (ese-format.md 2.4); page size L",
    ),
    "exchange 2010": DatabaseFormat(
        revision=0x11,
        page_size=32768,
        origin="inferred from dates and page size (ese-format.md 2.4)",
    ),
    "exchange 2016": DatabaseFormat(
        revision=0x14,
        page_size=32768,
        file_type=FileType.DATABASE,
        engine_format_version=9100,
        consistent_generation=True,
        origin="revision E src/ese/sysver.cxx; fields V on files of Windows 10, revision 14",
    ),
}
"""By the release that makes them.  Bytes from 668 on stay zero in all of them: readers sum only
what is before, and refuse a header that has something there."""


def created(
    database_format: DatabaseFormat, *, signature: Signature, dbid: int, log_signature: Signature
) -> DatabaseHeader:
    """The header of a new database, in the state JustCreated.

    Arguments
    ---------
    signature: new, of this database.
    dbid: its number in the log set, from 1.
    log_signature: of the set.
    """
    return DatabaseHeader(
        magic=MAGIC,
        format_version=FORMAT_VERSION,
        database_signature=signature,
        state_number=State.JUST_CREATED,
        dbid=dbid,
        log_signature=log_signature,
        revision=database_format.revision,
        minor_revision=database_format.minor_revision,
        page_size_field=database_format.page_size,
        created_version=FORMAT_VERSION,
        created_revision=database_format.revision,
        engine_format_version=database_format.engine_format_version,
        file_type_number=database_format.file_type,
    )


def attached(
    header: DatabaseHeader,
    *,
    position: LogPosition,
    time: LogTime,
    generation_created: LogTime,
    dbid: int | None = None,
    log_signature: Signature | None = None,
    dbtime: int | None = None,
) -> DatabaseHeader:
    """Attached by a record at ``position``, which is durable: from here on it needs that log.

    Arguments
    ---------
    position: of the AttachDB or CreateDB record.
    time: of the attach.
    generation_created: creation time of that generation.
    dbid, log_signature: where they change, as for a database that joins another log set.
    dbtime: highest handed out; None leaves it.

    Raises ValueError when the state does not allow it.
    """
    generation = position.generation
    changed = header.with_state(State.DIRTY_SHUTDOWN)
    if log_signature is not None and log_signature != header.log_signature:
        # Positions in another log set say nothing here, nor do backups with its logs
        # [E src/ese/db.cxx: DBISetHeaderAfterAttach].
        changed = replace(
            changed,
            consistent_position=LogPosition(),
            last_resize_position=LogPosition(),
            last_full_backup=BackupInfo(),
            last_incremental_backup=BackupInfo(),
            last_copy_backup=BackupInfo(),
            last_differential_backup=BackupInfo(),
        )
    return replace(
        changed,
        attach_position=position,
        attach_time=time,
        detach_position=LogPosition(),
        detach_time=LogTime(),
        first_required_generation=generation,
        first_consistent_generation=generation if _knows_consistent(header) else 0,
        last_required_generation=generation,
        last_committed_generation=generation,
        last_committed_created=generation_created,
        dbid=header.dbid if dbid is None else dbid,
        log_signature=header.log_signature if log_signature is None else log_signature,
        dbtime=header.dbtime if dbtime is None else dbtime,
    )


def raised(
    header: DatabaseHeader,
    *,
    first: int | None = None,
    consistent: int | None = None,
    last: int | None = None,
    committed: int | None = None,
    committed_created: LogTime | None = None,
    dbtime: int | None = None,
) -> DatabaseHeader:
    """Other generations are required; None leaves a field.

    Arguments
    ---------
    first: all pages with older changes are durable; ``consistent`` follows it when not given.
    last: that generation is durable in the log.
    committed, committed_created: the highest there is; its creation time goes with it.
    dbtime: highest handed out.

    Raises ValueError when one would fall, when they are out of order, for another highest log
    without its creation time, or without need of logs.
    """
    if header.state not in NEEDING_LOGS:
        raise ValueError(f"a database in state {header.state_title} requires no generations")
    if consistent is None and first is not None:
        consistent = max(first, header.first_consistent_generation)
    if not _knows_consistent(header):
        consistent = None
    changes = {
        "first_required_generation": first,
        "first_consistent_generation": consistent,
        "last_required_generation": last,
        "last_committed_generation": committed,
        "dbtime": dbtime,
    }
    for name, value in changes.items():
        if value is not None and value < getattr(header, name):
            raise ValueError(
                f"{name} does not fall from 0x{getattr(header, name):X} to 0x{value:X}"
            )
    given = {name: value for name, value in changes.items() if value is not None}
    if committed_created is None and (committed or 0) > header.last_committed_generation:
        raise ValueError(f"when was generation 0x{committed:X} created?")
    if committed_created is not None:
        given["last_committed_created"] = committed_created  # type: ignore[assignment]
    changed: DatabaseHeader = replace(header, **given)  # type: ignore[arg-type]
    check_generations(changed)
    return changed


def recovering(header: DatabaseHeader, generation: int) -> DatabaseHeader:
    """Redo has come to a generation; raises ValueError for a database that needs no recovery."""
    if header.state not in NEEDING_LOGS:
        raise ValueError(f"a database in state {header.state_title} is not recovered")
    return replace(header, recovering_generation=generation)


def detached(
    header: DatabaseHeader,
    *,
    position: LogPosition,
    time: LogTime,
    dbtime: int,
    last_objid: int,
) -> DatabaseHeader:
    """Shut down cleanly: all changes are in the file, and durable there.

    Arguments
    ---------
    position: of the ShutDown or DetachDB record, which is durable; the byte becomes 0 where it is
        the first of its segment (V).
    time: of the detach.
    dbtime, last_objid: highest handed out.
    """
    if position.byte == FIRST_RECORD_BYTE:
        position = replace(position, byte=0)
    ready = replace(
        header,
        first_required_generation=0,
        first_consistent_generation=0,
        last_required_generation=0,
        last_committed_created=LogTime(),
        recovering_generation=0,
    )
    return replace(
        ready.with_state(State.CLEAN_SHUTDOWN),
        consistent_position=position,
        consistent_time=time,
        detach_position=position,
        detach_time=time,
        dbtime=dbtime,
        last_objid=last_objid,
    )


FIRST_RECORD_BYTE: Final = 40
"""Where the first record of a version 8 segment stands."""


def restored(
    header: DatabaseHeader, *, first: int, last: int, last_created: LogTime
) -> DatabaseHeader:
    """A streaming backup's copy becomes a dirty database that needs the logs of its backup.

    E src/ese/_log/logutil.cxx: the mark of the backup becomes the last full backup, and the
    generations that the copy was made with are required and committed.

    Arguments
    ---------
    first, last: generations of the backup's logs that its pages need.
    last_created: creation time of the last one.

    Raises ValueError for what is no such copy.
    """
    mark = header.current_full_backup
    if mark.is_zero or header.state not in NEEDING_LOGS:
        raise ValueError("this is no copy of a streaming backup")
    changed = replace(
        header,
        first_required_generation=first,
        first_consistent_generation=first if _knows_consistent(header) else 0,
        last_required_generation=last,
        last_committed_generation=last,
        last_committed_created=last_created,
        recovering_generation=0,
        last_full_backup=replace(mark, first_generation=first, last_generation=last),
        last_incremental_backup=BackupInfo(),
        current_full_backup=BackupInfo(),
        map_flush_signature=Signature(),
    )
    check_generations(changed)
    return changed


def without_last_log(
    header: DatabaseHeader, generation: int, log_signature: Signature, created_before: LogTime
) -> DatabaseHeader:
    """The last committed log is not needed any more: it may be taken out of the set.

    E src/ese/io.cxx (ErrIsamRemoveLogfile).

    Arguments
    ---------
    generation, log_signature: of that log.
    created_before: creation time of the one before it, which is the last one then.

    Raises ValueError when the database is not dirty, the log belongs to another set, is not the
    last one, or is required.
    """
    committed, required = header.last_committed_generation, header.last_required_generation
    if header.state is not State.DIRTY_SHUTDOWN:
        raise ValueError(f"a database in state {header.state_title} counts no logs")
    if log_signature != header.log_signature:
        raise ValueError("the log belongs to another log set")
    if generation != committed:
        raise ValueError(f"generation 0x{generation:X} is not the last one, 0x{committed:X}")
    if generation <= required:
        raise ValueError(f"generation 0x{generation:X} is required")
    return replace(
        header,
        last_committed_generation=generation - 1,
        last_committed_created=created_before,
    )


def reseeding(header: DatabaseHeader, *, first: int, time: LogTime) -> DatabaseHeader:
    """Pages are about to be taken from another copy; the database cannot be used meanwhile.

    Arguments
    ---------
    first: the lowest generation that this copy or the other one requires.
    time: of the beginning.

    One that was begun before and interrupted stays in that state.
    """
    if header.state is not State.INCREMENTAL_RESEED_IN_PROGRESS:
        header = replace(
            header.with_state(State.INCREMENTAL_RESEED_IN_PROGRESS),
            reseed_count=header.reseed_count + 1,
            reseed_time=time,
        )
    lowest = min(first, header.first_required_generation)
    return replace(
        header,
        first_required_generation=lowest,
        first_consistent_generation=lowest if header.first_consistent_generation else 0,
        map_flush_signature=Signature(),
    )


def reseeded(
    header: DatabaseHeader,
    *,
    last: int,
    committed: int,
    committed_created: LogTime,
    attach_position: LogPosition,
    consistent_position: LogPosition,
    dbtime: int,
) -> DatabaseHeader:
    """All pages are taken over: what is left is to redo the other copy's logs.

    E src/ese/io.cxx: marks of backups at or above the first required generation are forgotten.

    Arguments
    ---------
    last: the highest generation whose changes the pages of the other copy may have.
    committed, committed_created: the last of its logs.
    attach_position, consistent_position: as the log of the first required generation has them.
    dbtime: the highest of both copies.
    """
    first = header.first_required_generation

    def kept(mark: BackupInfo) -> BackupInfo:
        return mark if mark.first_generation < first else BackupInfo()

    changed = replace(
        header.with_state(State.DIRTY_AND_PATCHED_SHUTDOWN),
        last_required_generation=last,
        last_committed_generation=committed,
        last_committed_created=committed_created,
        recovering_generation=0,
        attach_position=attach_position,
        consistent_position=consistent_position,
        dbtime=max(dbtime, header.dbtime),
        last_full_backup=kept(header.last_full_backup),
        last_incremental_backup=kept(header.last_incremental_backup),
        last_copy_backup=kept(header.last_copy_backup),
        last_differential_backup=kept(header.last_differential_backup),
    )
    check_generations(changed)
    return changed


def check_generations(header: DatabaseHeader) -> None:
    """Raises ValueError when the generation fields contradict the state, or one another."""
    fields = (
        header.first_required_generation,
        header.first_consistent_generation,
        header.last_required_generation,
        header.last_committed_generation,
    )
    shown = ", ".join(f"0x{field:X}" for field in fields)
    if header.state in NEEDING_LOGS or header.state is State.INCREMENTAL_RESEED_IN_PROGRESS:
        if not fields[0] or not header.generations_in_order:
            raise ValueError(f"generations are out of order: {shown}")
    elif any(fields):
        raise ValueError(f"generations in state {header.state_title}: {shown}")


def _knows_consistent(header: DatabaseHeader) -> bool:
    """Formats that do not know the field leave it zero; those that do have a format version."""
    return header.engine_format_version > 0
