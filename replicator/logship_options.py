"""What can be chosen of log shipping, and the rules that a test may take away from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from replicator.logship_queue import ReplayDelay


@dataclass(frozen=True, slots=True)
class LogShipSafeguards:
    """The rules that keep a copy usable and its words true; all on but in tests."""

    closed_logs_only: bool = True
    """The log that is being written is never served."""
    durable_before_served: bool = True
    """A log is told of when a power loss of the source cannot take its name or content back."""
    keep_until_replayed: bool = True
    """The source deletes no log before its copy has replayed it (a lagged one: inspected it)."""
    inspect_before_replay: bool = True
    """Only a log that was found good gets into the log directory."""
    sync_before_inspected: bool = True
    """A log counts as inspected when it is durable in its place."""
    keep_open_transactions: bool = True
    """Redo begins again where the oldest change may lie that is on no page yet."""


ALL_SAFEGUARDS: Final = LogShipSafeguards()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogServerOptions:
    """The source's end.

    Arguments
    ---------
    set_id: names the log set to both ends.
    address: where it listens.
    truncate: whether logs that neither recovery nor the copy needs are deleted (circular
        logging under continuous replication); False where backups delete them.
    patience_ns: so long a copy may be silent.
    connections: most that are served at a time.
    """

    set_id: str
    address: str
    truncate: bool = False
    patience_ns: int = 60_000_000_000
    connections: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCopyOptions:
    """The copy's end.

    Arguments
    ---------
    set_id: names the log set to both ends.
    source_address: where the source listens.
    poll_ns: how often the source is asked for new logs [A].
    patience_ns: so long the source may be silent.
    retry_ns: how long to wait after a failure or a lost connection.
    tries: so often a log is copied that does not pass its inspection; then the copy is Failed
        (three [M]).
    piece_bytes: read at a time.
    delay: how far replay stays behind on purpose.
    logs_a_run: most logs that are replayed between two checkpoints of the copy.
    replay_per_log_ns: least time that the replay of a log takes, for a world in which computing
        takes none.
    limit_pages: of each database, kept in memory while logs are replayed.
    """

    set_id: str
    source_address: str
    poll_ns: int = 1_000_000_000
    patience_ns: int = 15_000_000_000
    retry_ns: int = 5_000_000_000
    tries: int = 3
    piece_bytes: int = 256 << 10
    delay: ReplayDelay = field(default_factory=ReplayDelay)
    logs_a_run: int = 8
    replay_per_log_ns: int = 0
    limit_pages: int = 4096


__all__ = ["ALL_SAFEGUARDS", "LogCopyOptions", "LogServerOptions", "LogShipSafeguards"]
