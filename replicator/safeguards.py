"""What a replica is told to do, and the rules that a test may take away from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Safeguards:
    """The rules that keep the promises; all of them always on, except in tests."""

    journal_before_apply: bool = True
    """Nothing reaches home that is not in the journal."""
    sync_before_acknowledge: bool = True
    """The durable mark waits for the journal's sync."""
    chain_check: bool = True
    """Each operation is the successor of the one before, unchanged since its capture."""
    apply_in_order: bool = True
    barrier_at_names: bool = True
    """Checkpoints before and after each change of names."""
    sequence_check: bool = True
    """Each number once: batches without a gap, and redo skips what a checkpoint includes."""
    stable_file_ids: bool = True
    """Operations find their file by id, never by a path from the past."""
    atomic_resynchronization: bool = True
    """Differing blocks are staged and committed with one record."""


ALL_SAFEGUARDS: Final = Safeguards()


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
