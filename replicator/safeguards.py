"""The rules that keep a replica's promises, and that a test may take away from it."""

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
    both_copies_at_names: bool = True
    """The one before it in both copies of the checkpoint; so around a new image."""
    sequence_check: bool = True
    """Each number once: batches without a gap, and redo skips what a checkpoint includes."""
    stable_file_ids: bool = True
    """Operations find their file by id, never by a path from the past."""
    atomic_resynchronization: bool = True
    """Differing blocks are staged and committed with one record."""


ALL_SAFEGUARDS: Final = Safeguards()
