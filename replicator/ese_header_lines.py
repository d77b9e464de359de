"""A header in words: what eseutil's ``/mh``, ``/ml``, ``/mk`` show, then what else says something.

Generations and dbtimes stand in decimal and in hex, for files are named in hex and messages often
count in decimal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from replicator.ese.attachments import Attachment, EngineParameters
from replicator.ese.backup_trailer import BackupTrailer
from replicator.ese.checkpoint import Checkpoint
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.flush_map import FlushMapHeader
from replicator.ese.log_header import LogHeader
from replicator.ese.values import BackupInfo
from replicator.ese_header_report import HeaderReport, fields_of, has_streaming_file, is_shadowed

Row = tuple[str, str]

_SAYS_NOTHING: Final = (0, "", "-", "(0,0,0)")
_IN_HEX_TOO: Final = ("generation", "dbtime", "preredo_first_consistent", "preredo_first_required")
_BACKUP_KINDS: Final = {0: "streaming", 1: "snapshot", 2: "surrogate"}
_SAID_OF_ALL: Final = (
    "checksum",
    "magic",
    "format_version",
    "revision",
    "minor_revision",
    "page_size_field",
    "file_type_number",
    "parameter_bytes",
    "version_bits",
)
_SAID_OF: Final[dict[type, tuple[str, ...]]] = {
    DatabaseHeader: (
        *("state_", "created_", "first_required", "first_consistent", "last_required_generation"),
        *("last_committed_generation", "consistent_", "attach_", "detach_", "reattach_", "os_"),
        *(
            "last_objid",
            "sort_version",
            "repair_",
            "old_repair",
            "ecc_",
            "old_ecc",
            "bad_",
            "old_bad",
            "current_",
        ),
        *("last_full", "full_", "last_incremental", "incremental_", "last_copy", "copy_"),
        *("last_differential", "differential_"),
    ),
    LogHeader: (
        *("generation", "sector_bytes", "header_sectors", "file_sectors", "version_", "flags"),
        "previous_accumulated",
    ),
    Checkpoint: ("position", "last_full", "last_incremental"),
    FlushMapHeader: ("version_", "flags"),
}
"""How the names of fields begin that the rows of a kind of file say already."""


def header_lines(report: HeaderReport) -> list[str]:
    """What a person is shown: what eseutil shows first, then every other field that is not zero."""
    header = report.header
    rows = [("file type", report.type.name.lower().replace("_", " ")), ("copies", report.copies)]
    if isinstance(header, DatabaseHeader):
        rows += _database_rows(header)
    elif isinstance(header, LogHeader):
        rows += _log_rows(header)
    elif isinstance(header, Checkpoint):
        rows += _checkpoint_rows(header)
    elif isinstance(header, FlushMapHeader):
        rows += _map_rows(header)
    fields = fields_of(header)
    expected = report.expected_checksum
    rows.append(("checksum", f"0x{fields['checksum']:08X} (expected 0x{expected:08X})"))
    rows += _other_rows(fields, _SAID_OF_ALL + _SAID_OF[type(header)])
    for name, value in report.more.items():
        if isinstance(value, EngineParameters):
            rows += _parameter_rows(value)
        elif name == "attachments":
            rows += _attachment_rows(value)
        elif name == "trailer":
            rows += _trailer_rows(report, value)
        else:
            rows.append((_words(name), str(value)))
    width = max(len(name) for name, _ in rows)
    # A path in a damaged file may hold anything; a row stays one line.
    return [f"{name:<{width}}  {' '.join(value.splitlines())}" for name, value in rows]


def _both(number: int) -> str:
    return f"{number} (0x{number:X})"


def _range(first: int, last: int) -> str:
    return f"{first}-{last} (0x{first:X}-0x{last:X})" if last else "none"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _database_rows(header: DatabaseHeader) -> list[Row]:
    committed = header.last_committed_generation
    consistent = header.first_consistent_generation
    revision = header.revision
    system = (header.os_major, header.os_minor, header.os_build)
    rows = [
        (
            "format",
            f"0x{header.format_version:X},{revision},{header.minor_revision} "
            f"(revision 0x{revision:X})",
        ),
        ("created as", f"0x{header.created_version:X},{header.created_revision}"),
        ("page size", str(header.page_size)),
        ("state", header.state_title),
        (
            "logs required",
            _range(header.first_required_generation, header.last_required_generation),
        ),
        ("logs committed", f"up to {_both(committed)}" if committed else "none"),
        ("logs consistent", f"from {_both(consistent)}" if consistent else "none"),
        ("last consistent", f"{header.consistent_position} {header.consistent_time}"),
        ("last attach", f"{header.attach_position} {header.attach_time}"),
        ("last detach", f"{header.detach_position} {header.detach_time}"),
    ]
    if not header.reattach_position.is_zero:
        rows.append(("last re-attach", f"{header.reattach_position} {header.reattach_time}"))
    rows += [
        ("streaming file", _yes(has_streaming_file(header))),
        ("shadowed", _yes(is_shadowed(header))),
        ("last objid", str(header.last_objid)),
        (
            "os version",
            f"{'.'.join(map(str, system))} service pack {header.os_service_pack}, "
            f"sort order {header.sort_version >> 32:X}.{header.sort_version & 0xFFFFFFFF:X}",
        ),
    ]
    for name in ("repair", "ecc_fixed", "ecc_failed", "bad_checksum"):
        count, when = getattr(header, f"{name}_count"), getattr(header, f"{name}_time")
        before = getattr(header, f"old_{name}_count")
        last = "" if when.is_zero else f", last {when}"
        rows.append((f"{_words(name)} count", f"{count}{last}; before the last repair {before}"))
    for name in ("full", "incremental", "copy", "differential"):
        backup, kind = (
            getattr(header, f"last_{name}_backup"),
            getattr(header, f"{name}_backup_kind"),
        )
        rows += _backup_rows(f"last {name} backup", backup, _BACKUP_KINDS.get(kind, f"kind {kind}"))
    rows += _backup_rows("current full backup", header.current_full_backup, "this file is its copy")
    rows += _backup_rows("current snapshot", header.current_snapshot_backup, "this file is in it")
    return rows


def _backup_rows(name: str, backup: BackupInfo, kind: str) -> list[Row]:
    if backup.is_zero:
        return [(name, "none")]
    logs = _range(backup.first_generation, backup.last_generation)
    if backup.first_generation and not backup.last_generation:
        logs = f"from {_both(backup.first_generation)}"
    return [(name, f"{backup.position} {backup.taken} logs {logs}, {kind}")]


def _trailer_rows(report: HeaderReport, trailer: BackupTrailer | None) -> list[Row]:
    header = report.header
    if trailer is None:
        marked = isinstance(header, DatabaseHeader) and not header.current_full_backup.is_zero
        return [("backup trailer", "missing")] if marked else []
    whose = "of another backup (-552)" if report.has_foreign_trailer else "there"
    return [
        ("backup trailer", whose),
        *_backup_rows("  backup", trailer.backup, "as the trailer says"),
        ("  database signature", str(trailer.database_signature)),
        ("  log signature", str(trailer.log_signature)),
        (
            "  logs required",
            _range(trailer.first_required_generation, trailer.last_required_generation),
        ),
        ("  logs committed", f"up to {_both(trailer.last_committed_generation)}"),
        ("  last required created", str(trailer.last_required_created)),
        ("  last committed created", str(trailer.last_committed_created)),
    ]


def _log_rows(header: LogHeader) -> list[Row]:
    size = f"{header.file_sectors} sectors of {header.sector_bytes} bytes, {header.file_bytes:,}"
    rows = [
        ("version", str(header.version)),
        ("generation", _both(header.generation)),
        ("size", f"{size} in all; the header takes {header.header_sectors}"),
        ("database page size", str(header.page_size)),
        ("circular logging", _yes(header.circular_logging)),
        ("circular before", _yes(header.circular_logging_before)),
        ("reserve log used", _yes(header.reserve_log_used)),
    ]
    if header.has_accumulated_checksum:
        before = header.previous_accumulated_checksum
        rows.append(("previous accumulated checksum", f"{before:016X}"))
    return rows


def _checkpoint_rows(header: Checkpoint) -> list[Row]:
    return [
        ("position", str(header.position)),
        ("last full backup checkpoint", str(header.last_full_backup_checkpoint)),
        ("last full backup", f"{header.last_full_backup} {header.last_full_backup_time}"),
        (
            "last incremental backup",
            f"{header.last_incremental_backup} {header.last_incremental_backup_time}",
        ),
    ]


def _map_rows(header: FlushMapHeader) -> list[Row]:
    version = (header.version_major, header.version_minor, header.version_update)
    return [
        ("version", ".".join(map(str, version))),
        ("closed in good order", _yes(header.is_clean)),
    ]


def _parameter_rows(parameters: EngineParameters) -> list[Row]:
    """The environment line of eseutil, a row each; zero says something here."""
    rows = [
        ("system path", parameters.system_path),
        ("log path", parameters.log_path),
        ("engine: circular logging", _yes(parameters.circular_logging)),
    ]
    for name, value in fields_of(parameters).items():
        if isinstance(value, int) and name != "flags":
            rows.append((f"engine: {_words(name)}", str(value)))
    return rows


def _attachment_rows(attachments: Iterable[Attachment] | None) -> list[Row]:
    if attachments is None:
        return [("attachments", "none that counts")]
    rows: list[Row] = []
    for each in attachments:
        rows += [
            ("attached", f"{each.path} since {each.attach_position}"),
            *[("  streaming file", name) for name in each.names[1:]],
            ("  dbid", str(each.dbid)),
            ("  consistent position", str(each.consistent_position)),
            ("  dbtime", _both(each.dbtime)),
            ("  last objid", str(each.last_objid)),
            ("  maximum size", f"{each.max_size_pages} pages" if each.max_size_pages else "none"),
            ("  database signature", str(each.database_signature)),
        ]
    return rows or [("attachments", "none")]


def _other_rows(values: dict[str, Any], said: tuple[str, ...]) -> list[Row]:
    """Fields that say something and are not said above."""
    return [
        (_words(name), _both(value) if name.endswith(_IN_HEX_TOO) else str(value))
        for name, value in values.items()
        if not name.startswith(said) and value not in _SAYS_NOTHING
    ]


def _words(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")
