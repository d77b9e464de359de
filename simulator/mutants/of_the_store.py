"""Rules of the emulated store: a copy of a store that is not sound itself is worth nothing.

Three more of its rules matter within instants that a drawn plan hardly ever meets (a page that
is written while its log is being synced, the two copies of a checkpoint): they are taken away in
``tests/store/test_crashes.py``, where every step is enumerated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from simulator.exchange.small_files import Safeguards as StoreSafeguards
from simulator.exchange.small_store import SmallStore
from simulator.mutants.mutant import Mutant


def _switched_off(name: str, meaning: str) -> Mutant:
    """A rule that the store can switch off itself."""

    def with_one_off(original: Any) -> Any:
        def init(self: Any, *arguments: Any, **named: Any) -> None:
            original(
                self,
                *arguments,
                **named | {"safeguards": replace(StoreSafeguards(), **{name: False})},
            )

        return init

    return Mutant(f"store_{name}", meaning, ((SmallStore, "__init__", with_one_off),))


STORE_MUTANTS: Final = (
    _switched_off("sync_log_before_commit", "the store acknowledges before its log is synced"),
    _switched_off("page_checksums", "the store takes a torn page for a whole one"),
    _switched_off("block_checksums", "the store takes a torn log block for a whole one"),
    _switched_off(
        "sync_pages_before_checkpoint", "the store's checkpoint passes pages in the cache"
    ),
    _switched_off(
        "checkpoint_before_delete", "the store deletes logs that its checkpoint still needs"
    ),
    _switched_off("sync_directory_after_roll", "the store writes to a log without a durable name"),
    _switched_off(
        "sync_after_recovery", "the store's recovery moves the checkpoint past what is in the cache"
    ),
)
