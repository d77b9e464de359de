"""What a replica is told about its work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """How a replica works; sizes in bytes, times in nanoseconds."""

    set_id: str
    replica_id: str
    journal_limit_bytes: int = 1 << 30
    segment_bytes: int = 8 << 20
    checkpoint_bytes: int = 32 << 20
    checkpoint_interval_ns: int = 30_000_000_000
    retry_ns: int = 5_000_000_000
    """How long apply waits before it tries again on a volume that was full."""
