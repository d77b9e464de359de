"""The log that recovery goes on with: it is like the last one there is, and says who writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replicator.ese.log_encoding import LogFormat
from replicator.ese.log_header import LogHeader
from replicator.ese.log_names import BASE_CHARACTERS, LogNames, LogRole
from replicator.ese.log_options import LogOwner, LogStreamOptions
from replicator.ese.log_page_records import Record
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import RecoveryUndo2, Term, Term2
from replicator.ese.log_stream import LogStream
from replicator.ese.log_v7_encoding import LogV7Format, digits_of_version_7
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.recovery_checks import RecoveryPlan
from replicator.ese.recovery_files import joined
from replicator.ese.values import LogPosition, LogTime
from replicator.runtime.port import Volume

_SHORT_DIGITS, _LONG_DIGITS = 5, 8
_SUFFIX: Final = ".log"


def undo_record(plan: RecoveryPlan, now: LogTime) -> Record:
    """Begins the undo; logs of version 7 have the one without a time."""
    if _last_header(plan).is_segmented:
        return RecoveryUndo2(number=Kind.RECOVERY_UNDO2, time=now)
    return Record(number=Kind.RECOVERY_UNDO)


def quit_record(plan: RecoveryPlan, begin: LogPosition, now: LogTime) -> Record:
    """Ends the recovery.

    Arguments
    ---------
    begin: where its undo began.
    """
    header = _last_header(plan)
    undo = LogPosition(begin.generation, begin.sector, 0)
    start = LogPosition(plan.first_generation, header.header_sectors, 0)
    if header.is_segmented:
        return Term2(number=Kind.RECOVERY_QUIT2, undo_position=undo, redo_from=start, time=now)
    return Term(number=Kind.RECOVERY_QUIT, undo_position=undo, redo_from=start)


async def resume_log(
    volume: Volume, plan: RecoveryPlan, now: Callable[[], LogTime], owner: LogOwner
) -> LogStream:
    """Go on behind the last log; raises EseError as :meth:`LogStream.resume` does."""
    log_format, base = _log_format(plan, now), plan.logs[-1].name.name[:BASE_CHARACTERS]
    names = LogNames(base, log_format.digits, log_format.shared_reserves)
    await _name_as_written(volume, plan, names)
    return await LogStream.resume(
        volume,
        plan.log_directory,
        log_format,
        owner,
        now=now,
        options=LogStreamOptions(base=base),
    )


async def _name_as_written(volume: Volume, plan: RecoveryPlan, names: LogNames) -> None:
    """Give the last log the name that logs are written under, where its letters are of other case.

    Files from Windows may be called ``E00.LOG``.  Whoever writes would not find that one, and begin
    its generation a second time beside it.
    """
    last = plan.logs[-1]
    closed = last.name.role is LogRole.CLOSED
    name = names.closed(plan.last_generation) if closed else names.current
    if name != last.name.name:
        volume.rename(last.path, joined(plan.log_directory, name))
        await volume.sync_directory(plan.log_directory)


def _last_header(plan: RecoveryPlan) -> LogHeader:
    header = plan.logs[-1].header
    assert header is not None  # a plan holds no log without a header
    return header


def _log_format(plan: RecoveryPlan, now: Callable[[], LogTime]) -> LogFormat:
    """New logs are like the last one that is there."""
    header = _last_header(plan)
    closed = [each.name.name for each in plan.logs if each.name.role is LogRole.CLOSED]
    if closed:
        short = len(closed[0]) == BASE_CHARACTERS + _SHORT_DIGITS + len(_SUFFIX)
        digits = _SHORT_DIGITS if short else _LONG_DIGITS
    else:  # the current log alone does not tell how the ones before it were called
        digits = _LONG_DIGITS if header.is_segmented else digits_of_version_7(header.page_size)
    if not header.is_segmented:
        return LogV7Format(
            file_bytes=header.file_bytes,
            version=header.version,
            sector_bytes=header.sector_bytes,
            page_size=header.page_size,
            digits=digits,
            parameters=header.parameters,
        )
    return LogV8Format(
        now=now,
        file_bytes=header.file_bytes,
        version=header.version,
        engine_format_version=header.engine_format_version,
        page_size=header.page_size,
        digits=digits,
        parameters=header.parameters,
    )
