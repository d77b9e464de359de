"""The models of a replicator's configuration: what each table of the TOML file may hold.

Attributes are plain numbers whose names carry the unit; keys in TOML have no unit suffix and
their values carry it.  ``docs/configuration.md`` is made from these declarations.  Checks that
span several keys stand in :mod:`replicator.config_checks`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from replicator.capture import SpoolPolicy
from replicator.replica_options import ReplicaOptions
from replicator.source import SourceOptions
from replicator.source_place import SpoolOptions
from replicator.toml_keys import (
    REQUIRED,
    Duration,
    KeyProblem,
    PositiveDuration,
    PositiveSize,
    SegmentSize,
    Table,
    key,
)

COMPRESSION_LEVEL = 1


def _absolute(given: str) -> str:
    if not given.startswith("/") or "\0" in given:
        raise KeyProblem(
            f"{given[:60]!r} is no absolute path",
            'Write the whole path, for instance "/srv/exchange".',
        )
    if {".", ".."} & set(given.split("/")):
        raise KeyProblem(
            f"{given[:60]!r} goes through '.' or '..'", "Write the path without detours."
        )
    path = "/" + "/".join(part for part in given.split("/") if part)
    if path == "/":
        raise KeyProblem("the root of the machine cannot be it", "Name a directory below it.")
    return path


def _address(given: str, host_needed: bool) -> str:
    example = "replica.example:7000" if host_needed else ":7000"
    remedy = f'Write host:port, for instance "{example}" or "[::1]:7000".'
    host, separator, port = given.rpartition(":")
    if not separator or not port:
        raise KeyProblem(f"{given[:60]!r} has no port", remedy)
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    bracketed = host.startswith("[") and host.endswith("]")
    if not 1 <= number <= 65535:
        raise KeyProblem(f"{port[:20]!r} is no port from 1 to 65535", remedy)
    if (":" in host) != bracketed or any(c.isspace() or c in "/\0" for c in host):
        raise KeyProblem(f"{host[:60]!r} is no host", remedy)
    if host_needed and not host:
        raise KeyProblem(f"{given[:60]!r} names no host to connect to", remedy)
    return given


def _peer_address(given: str) -> str:
    return _address(given, host_needed=True)


def _own_address(given: str) -> str:
    return _address(given, host_needed=False)


Directory = Annotated[str, AfterValidator(_absolute)]


class SpoolTable(Table):
    """Where the source keeps what the replica does not have yet."""

    directory: Directory = key(
        None,
        "Directory of the spool; best a volume of its own. It must exist and belong to this set.",
        REQUIRED,
        examples=["/var/spool/replicator/first"],
    )
    limit_bytes: PositiveSize = key("limit", "Hard limit of the spool.", "1GiB")
    segment_size_bytes: SegmentSize = key("segment_size", "Size of one segment.", "8MiB")
    policy: Literal["resynchronize", "hold"] = key(
        None,
        "At the limit: let the programs go on and resynchronize later, or hold them.",
        "resynchronize",
    )
    patience_ns: PositiveDuration = key(
        "patience", "With the policy hold: how long a write waits for room before it fails.", "1m"
    )


class SourceTable(Table):
    """The end where the programs write."""

    directory: Directory = key(
        None, "The protected set: everything below it.", REQUIRED, examples=["/srv/exchange"]
    )
    spool: SpoolTable = key(None, "The queue for the replica.", REQUIRED)
    replica: Annotated[str, AfterValidator(_peer_address)] = key(
        None, "Address of the replica, host:port.", REQUIRED, examples=["replica.example:7000"]
    )
    name: str = key(
        None, "What the replica calls this source.", "source", min_length=1, max_length=100
    )
    heartbeat_ns: PositiveDuration = key(
        "heartbeat", "Interval of signs of life; the same at both ends.", "1s"
    )
    heartbeat_misses: int = key(None, "Missed heartbeats that end a connection.", 5, ge=1, le=1_000)
    reconnect_ns: PositiveDuration = key("reconnect", "Wait between attempts to connect.", "2s")
    batch_size_bytes: SegmentSize = key(
        "batch_size", "Operations sent as one batch, before compression.", "256KiB"
    )
    window_bytes: SegmentSize = key("window", "Wire bytes sent ahead of acknowledgement.", "4MiB")
    compression: Literal["zstd", "none"] = key(None, "Compression of batches.", "zstd")
    release: Literal["checkpoint", "durable"] = key(
        None,
        "What the replica must have done before spool is freed; less than half full, that is.",
        "checkpoint",
    )
    compare_after_power_loss: bool = key(
        None,
        "Compare the images once the replica's machine was started anew; resynchronize if needed.",
        True,
    )
    drain_ns: Duration = key(
        "drain", "After SIGTERM: how long to wait until all is durable at the replica.", "30s"
    )

    def options(self, set_id: str) -> SourceOptions:
        """The sender's settings."""
        return SourceOptions(
            set_id=set_id,
            source_id=self.name,
            replica_address=self.replica,
            batch_bytes=self.batch_size_bytes,
            window_bytes=self.window_bytes,
            compression_level=COMPRESSION_LEVEL if self.compression == "zstd" else None,
            heartbeat_ns=self.heartbeat_ns,
            heartbeat_misses=self.heartbeat_misses,
            reconnect_ns=self.reconnect_ns,
            spool_limit_bytes=self.spool.limit_bytes,
            release_when_checkpointed=self.release == "checkpoint",
            compare_after_power_loss=self.compare_after_power_loss,
        )

    @property
    def spool_options(self) -> SpoolOptions:
        """The spool's settings."""
        spool = self.spool
        return SpoolOptions(spool.limit_bytes, spool.segment_size_bytes, SpoolPolicy(spool.policy))


class JournalTable(Table):
    """The replica's journal: what arrived, before and until it is in the image for good."""

    directory: Directory | None = key(
        None, "Where it is when not in the replica's directory; another volume, for instance.", None
    )
    limit_bytes: PositiveSize = key("limit", "Hard limit of the journal.", "1GiB")
    segment_size_bytes: SegmentSize = key("segment_size", "Size of one segment.", "8MiB")


class ReplicaTable(Table):
    """The end that holds the copy."""

    directory: Directory = key(
        None,
        "Holds `image` (the copy), checkpoint and staging, and the journal. It must exist.",
        REQUIRED,
        examples=["/srv/replica/first"],
    )
    listen: Annotated[str, AfterValidator(_own_address)] = key(
        None,
        "Address to listen on, host:port; without a host, all addresses of the machine.",
        REQUIRED,
        examples=[":7000"],
    )
    name: str = key(
        None, "What the source calls this replica.", "replica", min_length=1, max_length=100
    )
    journal: JournalTable = key(None, "What arrived and is not in the image for good.", {})
    heartbeat_ns: PositiveDuration = key(
        "heartbeat", "Interval of signs of life; the same at both ends.", "1s"
    )
    heartbeat_misses: int = key(None, "Missed heartbeats that end a connection.", 5, ge=1, le=1_000)
    checkpoint_every_bytes: PositiveSize = key(
        "checkpoint_every", "Applied bytes between two checkpoints.", "32MiB"
    )
    checkpoint_interval_ns: PositiveDuration = key(
        "checkpoint_interval", "Longest time between two checkpoints.", "30s"
    )
    retry_ns: PositiveDuration = key(
        "retry", "How long to wait before a volume that was full is tried again.", "5s"
    )
    drain_ns: Duration = key(
        "drain", "After SIGTERM: how long to wait until all is applied and in a checkpoint.", "30s"
    )

    def options(self, set_id: str) -> ReplicaOptions:
        """The store's settings."""
        return ReplicaOptions(
            set_id=set_id,
            replica_id=self.name,
            journal_limit_bytes=self.journal.limit_bytes,
            segment_bytes=self.journal.segment_size_bytes,
            checkpoint_bytes=self.checkpoint_every_bytes,
            checkpoint_interval_ns=self.checkpoint_interval_ns,
            retry_ns=self.retry_ns,
        )

    @property
    def journal_directory(self) -> str:
        """Where the journal is."""
        return self.journal.directory or self.directory


class LogTable(Table):
    """What the processes say on standard error."""

    level: Literal["debug", "info", "warning"] = key(
        None, "The least that is said: everything, changes of state, or what needs a look.", "info"
    )
    format: Literal["text", "json"] = key(None, "Lines for people, or a JSON object each.", "text")


class Configuration(Table):
    """One protected set, and the end or ends of it that run on this machine."""

    set: str = key(
        None,
        "Name of the protected set; the same at both ends, and never given to another.",
        REQUIRED,
        min_length=1,
        max_length=100,
        examples=["first storage group"],
    )
    source: SourceTable | None = key(None, "The end where the programs write.", None)
    replica: ReplicaTable | None = key(None, "The end that holds the copy.", None)
    log: LogTable = key(None, "What is said, and how.", {})
