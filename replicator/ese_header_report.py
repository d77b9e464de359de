"""What ``replicator ese header`` says of a file of the store, and its JSON.

The JSON has the schema ``replicator-ese-header/1``, one whose header cannot be used at all
``replicator-ese-header-damage/1``; :mod:`replicator.ese_schema` describes both.  Keys are only ever
added; the number changes when one goes away or changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from replicator.errors import ExitCode
from replicator.ese.attachments import Attachment
from replicator.ese.backup_trailer import BackupTrailer, read_backup_trailer
from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.checksum import header_checksum
from replicator.ese.database_header import (
    DatabaseHeader,
    FileType,
    HeaderReading,
    read_database_header,
)
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FlushMap
from replicator.ese.layout import Structure, places
from replicator.ese.log_header import LogHeader, read_log_header
from replicator.ese.reader import FileReader
from replicator.ese_files import identify
from replicator.ese_findings import finding_document

HEADER_SCHEMA: Final = "replicator-ese-header/1"
HEADER_DAMAGE_SCHEMA: Final = "replicator-ese-header-damage/1"
SHADOWING_DISABLED: Final = 1


@dataclass(frozen=True)
class HeaderReport:
    """A header and what is to be said of its copies.

    Arguments
    ---------
    path: the file.
    type: what it is.
    header: the copy that counts.
    reading: both copies; None where the format has one only.
    more: further structures of the same file, by name.
    """

    path: str
    type: FileType
    header: Structure
    reading: HeaderReading | None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """BROKEN when only one of two copies can be used, or the trailer is another backup's."""
        damaged = self.reading is not None and self.reading.events
        return ExitCode.BROKEN if damaged or self.has_foreign_trailer else ExitCode.PASS

    @property
    def expected_checksum(self) -> int:
        """What the content of the header gives."""
        return header_checksum(self.header.raw)

    @property
    def has_foreign_trailer(self) -> bool:
        """Whether a backup copy's trailer is not of the backup that the header names (-552)."""
        trailer = self.more.get("trailer")
        return (
            isinstance(trailer, BackupTrailer)
            and isinstance(self.header, DatabaseHeader)
            and not self.header.current_full_backup.is_zero
            and not trailer.belongs_to(self.header)
        )

    @property
    def copies(self) -> str:
        """How the two copies stand to each other, in words."""
        if self.reading is None:
            return "one copy, good"
        if not self.reading.events:
            return "both good and equal"
        which = "first" if self.reading.events == (456,) else "second"
        return f"the {which} is damaged or differs (event {self.reading.events[0]})"


def read_header(path: Path) -> HeaderReport:
    """The header of a file of the store.

    Raises BadInput for what is none, and EseError when no copy can be used.
    """
    with FileReader(path) as reader:
        kind = identify(reader, str(path))
        if kind in (FileType.DATABASE, FileType.STREAMING_FILE):
            database, reading = read_database_header(reader)
            is_database = kind is FileType.DATABASE
            found = {"trailer": read_backup_trailer(reader, database) if is_database else None}
            return HeaderReport(str(path), kind, database, reading, found)
        if kind is FileType.CHECKPOINT:
            checkpoint, reading = read_checkpoint(reader)
            more = {"parameters": checkpoint.parameters, "attachments": checkpoint.attachments}
            return HeaderReport(str(path), kind, checkpoint, reading, more)
        if kind is FileType.LOG:
            log = read_log_header(reader)
            told = {"parameters": log.parameters, "attachments": log.attachments}
            return HeaderReport(str(path), kind, log, None, told)
        flush_map = FlushMap(reader)
        pages = {"map_pages": flush_map.map_pages}
        return HeaderReport(str(path), kind, flush_map.header, None, pages)


def header_document(report: HeaderReport) -> dict[str, Any]:
    """The JSON of ``replicator ese header``."""
    document: dict[str, Any] = {
        "schema": HEADER_SCHEMA,
        "path": report.path,
        "type": report.type.name.lower(),
        "copies": report.copies,
        "exit_code": int(report.exit_code),
        "expected_checksum": report.expected_checksum,
        "fields": fields_of(report.header),
    }
    if isinstance(report.header, DatabaseHeader):
        document["state"] = report.header.state_title
        document["page_size"] = report.header.page_size
        document["streaming_file"] = has_streaming_file(report.header)
        document["shadowed"] = is_shadowed(report.header)
    if isinstance(report.header, LogHeader):
        document["version"] = str(report.header.version)
        document["file_bytes"] = report.header.file_bytes
    for name, value in report.more.items():
        document[name] = _plain(value)
    return document


def damage_document(path: Path, error: EseError) -> dict[str, Any]:
    """The JSON of ``replicator ese header`` where no copy of the header can be used."""
    return {
        "schema": HEADER_DAMAGE_SCHEMA,
        "path": str(path),
        "exit_code": int(ExitCode.BROKEN),
        "errors": [finding_document(error)],
    }


def has_streaming_file(header: DatabaseHeader) -> bool:
    """Whether a streaming file (.stm) belongs to the database: the header names its signature."""
    return not header.streaming_signature.is_zero


def is_shadowed(header: DatabaseHeader) -> bool:
    """Whether the header has a second copy, as in all but temporary databases."""
    return not header.flags & SHADOWING_DISABLED


def fields_of(structure: Structure) -> dict[str, Any]:
    """Every field of a structure as JSON has it: numbers, or text as the tools print it."""
    return {name: _plain(getattr(structure, name)) for name in places(type(structure))}


def _plain(value: Any) -> Any:
    if isinstance(value, Attachment):
        return {**fields_of(value), "names": list(value.names)}
    if isinstance(value, Structure):
        return fields_of(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode("latin-1")
    return value if value is None or isinstance(value, int) else str(value)
