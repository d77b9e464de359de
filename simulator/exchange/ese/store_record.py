"""The JSON record of ``simulator store``: its shape as models, its schema, its text.

What :mod:`simulator.exchange.ese.generated_store` tells of a store that it has written is made of
these models, so the record and ``docs/store-record.schema.json`` (``simulator schema --store``)
cannot drift apart.  Within one version of :data:`STORE_SCHEMA` fields are only added.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

STORE_SCHEMA: Final = "simulator-store/1"

StoreVersion = Annotated[str, Field(pattern="^(2003|2007|2010)$")]
FileKind = Literal["database", "streaming file", "log", "reserve log", "checkpoint", "ledger"]

Count = Annotated[int, Field(ge=0)]
SizeBytes = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    """Base: unknown and missing fields are errors, and a number is never text."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class StoreHour(_Part):
    """One hour of a store."""

    hour: Count
    """From the begin of the stream, the first is 0."""
    log_bytes: SizeBytes
    """Of log files filled; what was left in logs that were closed for being idle is not counted."""
    view_bytes: SizeBytes
    """Of these, logged for views and the like, which no message needs."""
    log_writes: Count
    """Calls that wrote to a log, what prepares an empty one among them."""
    database_reads: Count
    """Calls that read from a database: a page, or neighbours together."""
    database_writes: Count
    """Calls that wrote to a database: a page, its neighbours with it, or the header."""
    database_read_bytes: SizeBytes
    database_written_bytes: SizeBytes
    stand_in_reads: Count
    """Of the reads, those of older mail."""
    stand_in_writes: Count
    """Pages of older mail that were changed; they are written within minutes of traffic."""


class BackupRecord(_Part):
    """A streaming backup: what the set is."""

    begun_at_ns: Count
    """Instant of the stream."""
    finished_at_ns: Count
    """Instant of the stream."""
    first_generation: Count
    last_generation: Count
    pages: Count
    messages: Count
    """That must be in it: committed when it was finished."""
    deleted_logs: Count
    """Of the store, because it is backed up."""
    files: list[str]


class StoreFile(_Part):
    """One file that was written."""

    name: str
    kind: FileKind
    size_bytes: SizeBytes


class StoreRecord(_Part):
    """What was written."""

    schema_: Annotated[Literal["simulator-store/1"], Field(alias="schema")]
    version: StoreVersion
    """Of Exchange."""
    profile: str
    """What a mailbox sends and receives, a name of docs/mail-load.md."""
    mailboxes: Count
    days: Count
    databases: Count
    seed: Count
    state: Literal["clean shutdown", "dirty shutdown"]
    crashed_at_ns: Count | None
    """Instant of the stream; null for a store that was shut down."""
    messages: Count
    """That must be there once the store is clean."""
    mailboxes_with_messages: Count
    uncommitted_messages: Count
    """That must not be there."""
    first_generation: Count
    last_generation: Count
    required_generations: tuple[Count, Count] | None
    """Logs that the databases need, first and last; null when they need none."""
    database_bytes: SizeBytes
    streaming_file_bytes: SizeBytes
    log_bytes: SizeBytes
    view_bytes: SizeBytes
    """Logged for views and the like, which this store does not model."""
    older_pages: Count
    """That each mailbox had before its first day, to be read and changed."""
    hours: list[StoreHour]
    """Each whole hour of the store's life."""
    backup: BackupRecord | None
    """The set that was taken in the midst of it; null without one."""
    events: dict[str, Count]
    """Of the stream, by kind."""
    files: list[StoreFile]


def store_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the record."""
    schema = StoreRecord.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "What simulator store has written",
    }


def store_text(record: StoreRecord) -> str:
    """The record as JSON text."""
    return record.model_dump_json(indent=2, by_alias=True) + "\n"
