"""What ``replicator ese logs`` and ``replicator ese dump`` tell, as lines and as JSON.

The documents carry the name of their schema; a name is never given another meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from replicator.errors import BadInput, ExitCode
from replicator.ese.database_header import DatabaseHeader, FileType, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.layout import places
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import LogRole, log_bases, parse_log_name
from replicator.ese.log_need import ATTACHED_MISMATCH, check_recovery
from replicator.ese.log_page_records import NewPage, NodeRecord, PageRecord
from replicator.ese.log_record import LogRecord
from replicator.ese.log_set import LogSet, LogSummary, open_log_directory
from replicator.ese.reader import FileReader
from replicator.ese_files import check_written, identify
from replicator.ese_findings import INPUT_ERRORS, as_bad_input, finding_document

LOGS_SCHEMA: Final = "replicator-ese-logs/1"
DUMP_SCHEMA: Final = "replicator-ese-log-records/1"
DAMAGE_SCHEMA: Final = "replicator-ese-log-damage/1"

_LOG_ROLES: Final = (LogRole.CLOSED, LogRole.CURRENT, LogRole.TEMPORARY)
TITLES: Final = ("verdict", "generation", "created", "version", "segments", "file")


def _one_set_or_named(directory: Path, base: str | None) -> None:
    bases = log_bases(each.name for each in directory.iterdir()) if directory.is_dir() else ()
    if base is None and len(bases) > 1:
        raise BadInput(
            f"several log sets lie here: {', '.join(bases)}",
            path=str(directory),
            remedy="Say with --base which one.",
        )


def survey(
    directory: Path, base: str | None, databases: list[Path], *, contents: bool
) -> tuple[LogSet, tuple[EseError, ...]]:
    """A log set, and all that is wrong with it and for these databases.

    Arguments
    ---------
    directory: where the logs are.
    base: their three characters; needed when several sets lie there.
    databases: those to be recovered with them; may be empty, and then none is missed.
    contents: whether every segment or sector is verified.

    A database whose header cannot be used is one of the errors.  Raises BadInput when there is
    nothing to look into.
    """
    _one_set_or_named(directory, base)
    headers: dict[str, DatabaseHeader] = {}
    errors: list[EseError] = []
    try:
        logs = open_log_directory(directory, base=base, contents=contents)
        errors.extend(logs.errors)
        for path in databases:
            try:
                headers[str(path)] = _database(path)
            except EseError as error:
                if error.number in INPUT_ERRORS:
                    raise
                errors.append(error)
    except EseError as error:
        raise as_bad_input(error) from error
    found = check_recovery(logs, headers)
    # Without databases the question was only whether the chain is whole.
    errors.extend(each for each in found if databases or each.number != ATTACHED_MISMATCH)
    return logs, tuple(errors)


def _database(path: Path) -> DatabaseHeader:
    with FileReader(path) as reader:
        return read_database_header(reader)[0]


def verdict_of(log: LogSummary) -> str:
    """One word about a log by itself."""
    if log.error is not None:
        return str(log.error.number)
    return "ok" if log.scan is not None else "header ok"


def _units(log: LogSummary) -> str:
    if log.scan is None:
        return "-"
    parts = [f"{count} {what}" for what, count in log.scan.tally.items() if count]
    return ", ".join(parts)


def rows_of(logs: LogSet) -> Iterator[tuple[str, ...]]:
    """The cells of one line a log, as in :data:`TITLES`."""
    for log in logs.logs:
        generation = "-" if log.generation is None else f"0x{log.generation:X}"
        created, version = "-", "-"
        if log.header is not None:
            created, version = str(log.header.created), str(log.header.version)
        yield verdict_of(log), generation, created, version, _units(log), log.path


def preparation_lines(logs: LogSet) -> Iterator[str]:
    """A line about the log that is being prepared, where there is one: it is in no table."""
    log = logs.temporary
    if log is not None:
        what = "it holds nothing yet" if log.header is None else "it has a header already"
        yield (
            f"note: {log.path}: prepared to be the next log ({log.size_bytes:,} bytes, {what}), "
            "no part of the chain"
        )


def logs_document(logs: LogSet, errors: tuple[EseError, ...]) -> dict[str, Any]:
    """All that was found about a log set."""
    checkpoint = logs.checkpoint
    return {
        "schema": LOGS_SCHEMA,
        "base": logs.base,
        "exit_code": int(exit_code(errors)),
        "logs": [_log_document(log) for log in logs.logs],
        "missing": [[gap[0], gap[-1]] for gap in logs.missing],
        "reserves": list(logs.reserves),
        "checkpoint": None if checkpoint is None else str(checkpoint.position),
        "attached": None
        if logs.attached is None
        else [{"dbid": each.dbid, "path": each.path} for each in logs.attached],
        "errors": [finding_document(error) for error in errors],
        "notes": [finding_document(note) for note in logs.notes],
    }


def _log_document(log: LogSummary) -> dict[str, Any]:
    header, scan = log.header, log.scan
    accumulated = None if scan is None else scan.accumulated_checksum
    return {
        "path": log.path,
        "role": log.name.role.value,
        "generation": log.generation,
        "size_bytes": log.size_bytes,
        "verdict": verdict_of(log),
        "created": None if header is None else str(header.created),
        "previous_created": None if header is None else str(header.previous_created),
        "version": None if header is None else str(header.version),
        "log_signature": None if header is None else str(header.log_signature),
        "accumulated_checksum": None if accumulated is None else f"{accumulated:016X}",
        "segments": None,
        "sectors": None,
        **({} if scan is None else {scan.unit: dict(scan.tally)}),
    }


def exit_code(errors: tuple[EseError, ...]) -> ExitCode:
    return ExitCode.BROKEN if errors else ExitCode.PASS


def open_log(reader: FileReader, path: Path) -> LogFile:
    """A log to dump; by its name it is closed or not.

    What has neither the name nor the content of a log is bad input, not a damaged log.

    Raises EseError where its header or content is damaged, BadInput for another file.
    """
    name = parse_log_name(path.name)
    is_named_so = name is not None and name.role in _LOG_ROLES
    if not is_named_so and (kind := identify(reader, str(path))) is not FileType.LOG:
        raise BadInput(
            f"this is a {kind.name.lower().replace('_', ' ')}, no log",
            path=str(path),
            remedy="Give a log; 'replicator ese header' shows what another file is.",
        )
    if name is not None and name.role is LogRole.TEMPORARY:
        check_written(reader, str(path))
    return LogFile(reader, closed=name is not None and name.role is LogRole.CLOSED)


def record_line(record: LogRecord) -> str:
    """One line a record: where, what, and the place in the database that it changes."""
    content = record.content
    parts = [f"{record.position!s:<14} {record.title:<24} {len(record.data):>6}"]
    if isinstance(content, PageRecord):
        parts.append(f"page {content.pgno} line {content.line} dbtime {content.dbtime}")
    elif isinstance(content, NewPage):
        parts.append(f"page {content.pgno} dbtime {content.dbtime}")
    if isinstance(content, NodeRecord | NewPage):
        parts.append(f"objid {content.objid}")
    return "  ".join(parts)


def record_document(record: LogRecord) -> dict[str, Any]:
    """A record with all its fields; what is no number or text is given in hex."""
    content = record.content
    fields = {}
    for name in places(type(content)):
        value = getattr(content, name)
        if isinstance(value, bytes):
            value = value.hex()
        elif not isinstance(value, int):
            value = str(value)
        fields[name] = value
    return {
        "schema": DUMP_SCHEMA,
        "position": str(record.position),
        "type": record.title,
        "bytes": len(record.data),
        "fields": fields,
    }


def damage_document(error: EseError) -> dict[str, Any]:
    """The last line of a dump that damage ended."""
    return {"schema": DAMAGE_SCHEMA, "error": finding_document(error)}
