"""The JSON Schema of what ``replicator ese`` writes with ``--json``: its records as models.

``docs/store-files.schema.json`` is generated from them (``replicator schema --ese``), and
``docs/store-log-records.schema.json`` (``replicator schema --ese-dump``).  Tests hold the real
output of each command against the models, which know no other keys than those here.
Within one version of a record keys are only added.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from replicator.ese.attachments import Attachment, EngineParameters
from replicator.ese.backup_trailer import BackupTrailer
from replicator.ese.checkpoint import Checkpoint
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.flush_map import FlushMapHeader
from replicator.ese.layout import Structure, places
from replicator.ese.log_header import LogHeader
from replicator.ese.log_record_types import LENGTHS, is_skippable, title_of
from replicator.ese.log_records import CONTENTS, Skippable, Unparsed
from replicator.ese.values import LogPosition
from replicator.ese_header_report import HEADER_DAMAGE_SCHEMA, HEADER_SCHEMA
from replicator.ese_log_report import DAMAGE_SCHEMA, DUMP_SCHEMA, LOGS_SCHEMA
from replicator.ese_recovery_report import RECOVERY_SCHEMA
from replicator.ese_report import VERIFY_SCHEMA
from replicator.ese_reseed_report import RESEED_SCHEMA

Count = Annotated[int, Field(ge=0)]
SizeBytes = Annotated[int, Field(ge=0, description="bytes")]
Position = Annotated[
    str,
    Field(
        pattern=r"^\(-?[0-9A-F]+,[0-9A-F]+,[0-9A-F]+\)$",
        description="place in the logs: generation, sector, byte, in hex",
    ),
]
Hex = Annotated[str, Field(pattern="^([0-9a-f]{2})*$", description="bytes in hex")]
Version = Annotated[str, Field(pattern=r"^\d+(\.\d+){3}$")]
Passed = Annotated[Literal[0, 1], Field(description="as the command ends")]


class _Part(BaseModel):
    """Base: unknown and missing keys are errors, and a number is never text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Finding(_Part):
    """An error or a note, with the engine's number and name."""

    number: Annotated[int, Field(description="negative: error; positive: warning")]
    symbol: str
    meaning: str
    detail: str
    events: list[Count]
    path: str | None
    page: Annotated[Count | None, Field(description="the first data page is 1")]
    offset: Annotated[Count | None, Field(description="byte in the file")]
    remedy: str


def _fields(kind: type[Structure], octets: Any = str, **more: Any) -> Any:
    """A model of all fields of a layout.

    Arguments
    ---------
    kind: the layout.
    octets: what bytes become.
    more: keys beside the fields.
    """
    new = kind()
    types: dict[str, Any] = {}
    for name in places(kind):
        value = getattr(new, name)
        if isinstance(value, int):
            types[name] = int
        elif isinstance(value, bytes):
            types[name] = octets
        else:
            types[name] = Position if isinstance(value, LogPosition) else str
    arguments = {name: (kind_, ...) for name, kind_ in {**types, **more}.items()}
    made = create_model(f"{kind.__name__}Fields", __base__=_Part, **cast("Any", arguments))
    made.__doc__ = "All fields by name; times, signatures and backup marks as text."
    return made


_ATTACHMENT: Final = _fields(Attachment, names=list[str])
_PARAMETERS: Final = _fields(EngineParameters)


def _header(kinds: str | tuple[str, ...], layout: type[Structure], **more: Any) -> Any:
    """The record of ``replicator ese header`` of the kinds of files that have one layout."""
    keys = {
        "schema_": Annotated[Literal[HEADER_SCHEMA], Field(alias="schema")],
        "path": str,
        "type": Literal[kinds],
        "copies": str,
        "exit_code": Passed,
        "expected_checksum": Count,
        "fields_": Annotated[_fields(layout), Field(alias="fields")],
        **more,
    }
    kind = kinds if isinstance(kinds, str) else kinds[0]
    name = "".join(word.capitalize() for word in kind.split("_")) + "HeaderRecord"
    arguments = {key: (type_, ...) for key, type_ in keys.items()}
    return create_model(name, __base__=_Part, **cast("Any", arguments))


HEADERS: Final = (
    _header(
        ("database", "streaming_file"),
        DatabaseHeader,
        state=str,
        page_size=SizeBytes,
        streaming_file=bool,
        shadowed=bool,
        trailer=Annotated[
            _fields(BackupTrailer) | None, Field(description="null: no copy of a streaming backup")
        ],
    ),
    _header(
        "log",
        LogHeader,
        version=Version,
        file_bytes=SizeBytes,
        parameters=_PARAMETERS,
        attachments=list[_ATTACHMENT],  # type: ignore[valid-type]
    ),
    _header(
        "checkpoint",
        Checkpoint,
        parameters=_PARAMETERS,
        attachments=Annotated[
            list[_ATTACHMENT] | None,  # type: ignore[valid-type]
            Field(description="null: the file does not vouch for its list"),
        ],
    ),
    _header("flush_map", FlushMapHeader, map_pages=Count),
)


class HeaderDamageRecord(_Part):
    """Of ``header``, where no copy of the header can be used."""

    schema_: Annotated[Literal[HEADER_DAMAGE_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    path: str
    exit_code: Literal[1]
    errors: Annotated[list[Finding], Field(min_length=1)]


class PagesRecord(_Part):
    """Pages of a database by the verdict of their checksums."""

    all: Count
    initialised: Count
    verified: Count
    good: Count
    zero: Count
    mended: Count
    misplaced: Count
    damaged: Count
    wrong_number: Count
    unreadable: Count
    bad_tags: Count
    lost_flushes: Count
    highest_dbtime: Count
    highest_dbtime_page: Count


class FileRecord(_Part):
    """One file that was verified."""

    path: str
    type: Literal["database", "streaming_file", "log", "checkpoint", "flush_map"]
    verdict: Literal["sound", "mendable", "damaged", "nothing to verify"]
    pages: Annotated[PagesRecord | None, Field(description="null: no database, or unreadable")]
    notes: list[str]
    finding_count: Count
    findings: Annotated[list[Finding], Field(description="the first thousand")]


class VerifyRecord(_Part):
    """Of ``verify``."""

    schema_: Annotated[Literal[VERIFY_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    exit_code: Literal[0, 1, 2]
    files: list[FileRecord]


class SegmentTally(_Part):
    """Segments of a log of version 8."""

    data: Count
    shadow: Count
    stale: Count
    zero: Count
    damaged: Count


class SectorTally(_Part):
    """Sectors of a log of version 7."""

    data: Count
    shadow: Count
    unused: Count
    other: Count


class LogFileRecord(_Part):
    """One log of a set."""

    path: str
    role: Literal["current", "closed", "temporary", "reserve", "checkpoint"]
    generation: int | None
    size_bytes: SizeBytes
    verdict: Annotated[str, Field(pattern="^(ok|header ok|-[0-9]+)$")]
    created: str | None
    previous_created: str | None
    version: Version | None
    log_signature: str | None
    accumulated_checksum: Annotated[str, Field(pattern="^[0-9A-F]{16}$")] | None
    segments: Annotated[SegmentTally | None, Field(description="of version 8")]
    sectors: Annotated[SectorTally | None, Field(description="of version 7")]


class AttachedRecord(_Part):
    """A database that is attached where the last log ends."""

    dbid: Count
    path: str


class LogsRecord(_Part):
    """Of ``logs``."""

    schema_: Annotated[Literal[LOGS_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    base: str
    exit_code: Passed
    logs: list[LogFileRecord]
    missing: Annotated[
        list[Annotated[list[Count], Field(min_length=2, max_length=2)]],
        Field(description="ranges of generations: first and last"),
    ]
    reserves: list[str]
    checkpoint: Position | None
    attached: Annotated[list[AttachedRecord] | None, Field(description="null: not known")]
    errors: list[Finding]
    notes: list[Finding]


class DumpDamageRecord(_Part):
    """Of ``dump``: its last line, where damage ended it."""

    schema_: Annotated[Literal[DAMAGE_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    error: Finding


class RecoveredRecord(_Part):
    """One database that was recovered."""

    path: str
    state_before: str
    state: str
    dbtime: Count
    read_pages: Count
    written_pages: Count
    pages: Annotated[Count, Field(description="of the file now")]
    unread_pages: Annotated[
        Count, Field(description="of these: no log names them, and nobody has looked at them")
    ]
    unread_streaming_file: Annotated[
        str | None, Field(description="recovery never looks into it; null: there is none")
    ]


class RefusedRecoveryRecord(_Part):
    """Of ``recover`` and ``restore``, when they were refused or failed."""

    schema_: Annotated[Literal[RECOVERY_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    exit_code: Literal[1]
    directory: str
    errors: Annotated[list[Finding], Field(min_length=1)]


class RecoveryRecord(_Part):
    """Of ``recover`` and ``restore``, when they came to their end."""

    schema_: Annotated[Literal[RECOVERY_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    exit_code: Literal[0, 3]
    directory: str
    errors: Annotated[list[Finding], Field(max_length=0)]
    base: str
    first_generation: int
    last_generation: int
    redone_page_changes: Count
    skipped_page_changes: Count
    transactions_rolled_back: Count
    undone_changes: Count
    clean_log: bool
    stopped_before_undo: bool
    lost_generations: Annotated[
        list[Annotated[list[Count], Field(min_length=2, max_length=2)]],
        Field(description="ranges of generations: first and last"),
    ]
    removed_generations: list[int]
    cut_at: Annotated[Position | None, Field(description="where the last log was cut, as allowed")]
    warnings: Annotated[list[int], Field(description="the engine's numbers")]
    databases: list[RecoveredRecord]
    notes: list[Finding]


class ReseededRecord(_Part):
    """One database that took over pages, or was told of other logs."""

    path: str
    state_before: str
    state: str
    patched_pages: Count


class RefusedReseedRecord(_Part):
    """Of ``reseed``, when it was refused or failed."""

    schema_: Annotated[Literal[RESEED_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    exit_code: Literal[1]
    directory: str
    active_directory: str
    errors: Annotated[list[Finding], Field(min_length=1)]


class ReseedRecord(_Part):
    """Of ``reseed``, when it came to its end."""

    schema_: Annotated[Literal[RESEED_SCHEMA], Field(alias="schema")]  # type: ignore[valid-type]
    exit_code: Literal[0]
    directory: str
    active_directory: str
    errors: Annotated[list[Finding], Field(max_length=0)]
    base: str
    first_diverged_generation: Annotated[
        Count | None, Field(description="null: the copies have not diverged")
    ]
    removed_generations: list[int]
    copied_generations: list[int]
    databases: list[ReseededRecord]


def _line(kind: type[Structure], numbers: Iterable[int]) -> Any:
    """A line of ``dump``: the record types that have one layout."""
    keys = {
        "schema_": Annotated[Literal[DUMP_SCHEMA], Field(alias="schema")],
        "position": Position,
        "type": Literal[tuple(title_of(number) for number in sorted(numbers))],
        "bytes": SizeBytes,
        "fields_": Annotated[_fields(kind, Hex), Field(alias="fields")],
    }
    arguments = {key: (type_, ...) for key, type_ in keys.items()}
    made = create_model(f"{kind.__name__}Line", __base__=_Part, **cast("Any", arguments))
    made.__doc__ = "Of ``dump``: a line a record."
    return made


def _lines() -> list[Any]:
    layouts: dict[type[Structure], list[int]] = {}
    for number, rule in enumerate(LENGTHS):
        if rule is not None:
            layouts.setdefault(CONTENTS.get(number, Unparsed), []).append(number)
            if is_skippable(number):
                layouts.setdefault(Skippable, []).append(number)
    return [_line(kind, numbers) for kind, numbers in layouts.items()]


DOCUMENTS: Final[TypeAdapter[Any]] = TypeAdapter(
    reduce(
        or_,
        (
            *HEADERS,
            HeaderDamageRecord,
            VerifyRecord,
            LogsRecord,
            RecoveryRecord,
            RefusedRecoveryRecord,
            ReseedRecord,
            RefusedReseedRecord,
        ),
    )
)
"""Any document of ``header``, ``verify``, ``logs``, ``recover``, ``restore``, ``reseed``."""

LINES: Final[TypeAdapter[Any]] = TypeAdapter(reduce(or_, (*_lines(), DumpDamageRecord)))
"""Any line of ``dump``."""


def ese_json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the documents."""
    return _schema(DOCUMENTS, "replicator ese header, verify, logs, recover, restore, reseed")


def dump_json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a line of ``dump``."""
    return _schema(LINES, "replicator ese dump: a line")


def _schema(records: TypeAdapter[Any], title: str) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_untitled(records.json_schema(by_alias=True)),
    }


def _untitled(node: Any) -> Any:
    """Without the titles that repeat the names of the keys."""
    if isinstance(node, list):
        return [_untitled(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _untitled(value)
        for name, value in node.items()
        if name != "title" or not isinstance(value, str)
    }
