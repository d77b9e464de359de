"""How a source replicates, and what it is doing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SourceState(StrEnum):
    """What the source is doing, in one word."""

    STARTING = "starting"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    SYNCHRONIZING = "synchronizing"
    DISCONNECTED = "disconnected"
    WAITING = "waiting"
    """Nobody keeps a history: no program has opened the protected set since the boot."""
    FENCED = "fenced"
    """The replica has taken over: this source's epoch is over."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source replicates; sizes in bytes, times in nanoseconds."""

    set_id: str
    source_id: str
    replica_address: str
    batch_bytes: int = 256 << 10
    window_bytes: int = 4 << 20
    compression_level: int | None = 1
    heartbeat_ns: int = 1_000_000_000
    heartbeat_misses: int = 5
    reconnect_ns: int = 2_000_000_000
    spool_limit_bytes: int = 1 << 30
    compare_after_power_loss: bool = True
    """Compare the images once the replica's machine was started anew: its disk may have lost
    what it said that it had.  What differs is brought over again."""
    release_when_checkpointed: bool = True
    """Free spool only for what the replica has in a checkpoint (not just in its journal),
    so that damage to the journal can be repaired from here; while less than half the spool
    is in use."""
