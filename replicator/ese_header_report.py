"""What ``replicator ese header`` says of a file of the store: as JSON and in words.

The JSON has the schema ``replicator-ese-header/1``; docs/store-files.md describes it.  Keys are
only ever added; the number changes when one goes away or changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from replicator.errors import ExitCode
from replicator.ese.attachments import Attachment
from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.database_header import (
    DatabaseHeader,
    FileType,
    HeaderReading,
    read_database_header,
)
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FlushMap
from replicator.ese.layout import Structure, places
from replicator.ese.log_header import read_log_header
from replicator.ese.reader import FileReader
from replicator.ese_files import as_replicator_error, identify

HEADER_SCHEMA: Final = "replicator-ese-header/1"

_SAID_BEFORE: Final = (
    "magic",
    "format_version",
    "revision",
    "minor_revision",
    "state_number",
    "page_size_field",
    "file_type_number",
    "parameter_bytes",
    "first_required_generation",
    "last_required_generation",
    "last_committed_generation",
)
_SAYS_NOTHING: Final = (0, "", "-", "(0,0,0)")


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
        """BROKEN when only one of two copies can be used."""
        damaged = self.reading is not None and self.reading.events
        return ExitCode.BROKEN if damaged else ExitCode.PASS

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
    """The header of a file of the store; raises BadInput and DamagedStore."""
    try:
        with FileReader(path) as reader:
            kind = identify(reader, str(path))
            if kind is FileType.DATABASE:
                database, reading = read_database_header(reader)
                return HeaderReport(str(path), kind, database, reading)
            if kind is FileType.CHECKPOINT:
                checkpoint, reading = read_checkpoint(reader)
                more = {
                    "parameters": checkpoint.parameters,
                    "attachments": checkpoint.attachments,
                }
                return HeaderReport(str(path), kind, checkpoint, reading, more)
            if kind is FileType.LOG:
                log = read_log_header(reader)
                told = {"parameters": log.parameters, "attachments": log.attachments}
                return HeaderReport(str(path), kind, log, None, told)
            flush_map = FlushMap(reader)
            return HeaderReport(
                str(path), kind, flush_map.header, None, {"map_pages": flush_map.map_pages}
            )
    except EseError as error:
        raise as_replicator_error(error) from error


def header_document(report: HeaderReport) -> dict[str, Any]:
    """The JSON of ``replicator ese header``."""
    document: dict[str, Any] = {
        "schema": HEADER_SCHEMA,
        "path": report.path,
        "type": report.type.name.lower(),
        "copies": report.copies,
        "exit_code": int(report.exit_code),
        "fields": fields_of(report.header),
    }
    if isinstance(report.header, DatabaseHeader):
        document["state"] = report.header.state_title
        document["page_size"] = report.header.page_size
    for name, value in report.more.items():
        document[name] = _plain(value)
    return document


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


def header_lines(report: HeaderReport) -> list[str]:
    """What a person is shown: what matters first, then every field that is not zero."""
    rows = [("file type", report.type.name.lower().replace("_", " ")), ("copies", report.copies)]
    header = report.header
    if isinstance(header, DatabaseHeader):
        rows += _database_rows(header)
    rows += _rows(fields_of(header))
    for name, value in report.more.items():
        if isinstance(value, Structure):
            rows += _rows(fields_of(value))
        elif isinstance(value, tuple):
            rows += [("attached", f"{each.path} since {each.attach_position}") for each in value]
        else:
            rows.append((_words(name), "none that counts" if value is None else str(value)))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}" for name, value in rows]


def _database_rows(header: DatabaseHeader) -> list[tuple[str, str]]:
    first, last = header.first_required_generation, header.last_required_generation
    committed = header.last_committed_generation
    required = f"{first}-{last} (0x{first:X}-0x{last:X})" if last else "none"
    return [
        ("format", f"0x{header.format_version:X},{header.revision:X}/{header.minor_revision}"),
        ("page size", str(header.page_size)),
        ("state", header.state_title),
        ("logs required", required),
        ("logs committed", f"up to {committed} (0x{committed:X})" if committed else "none"),
    ]


def _rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Fields for a person: those that say something and are not said above."""
    return [
        (_words(name), f"0x{value:08X}" if name == "checksum" else str(value))
        for name, value in values.items()
        if name not in _SAID_BEFORE and value not in _SAYS_NOTHING
    ]


def _words(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")
