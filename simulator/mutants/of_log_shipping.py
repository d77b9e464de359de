"""Rules of log shipping, taken away where the scenario's protection is that.

Each is a switch of :class:`replicator.logship_options.LogShipSafeguards`, at both ends and in the
oracle's copies of the replica: what recovers an image has the same rules as what made it.

Plans of ``scenarios/campaign_log_shipping.toml`` find those in ``LOG_SHIPPING_MUTANTS``; what the
others are for, tests make (``LOG_SHIPPING_ENUMERATED`` says which).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from simulator.mutants.mutant import Enumerated, Mutant
from simulator.systems.log_shipping import LogShippingSystem


def _switched_off(name: str, meaning: str) -> Mutant:
    """A rule that log shipping can switch off itself."""

    def with_one_off(original: Any) -> Any:
        def init(
            self: Any, world: Any, workload: Any, store: Any, options: Any, until_ns: int
        ) -> None:
            safeguards = replace(options.safeguards, **{name: False})
            options = replace(options, safeguards=safeguards)
            original(self, world, workload, store, options, until_ns)

        return init

    return Mutant(f"logship_{name}", meaning, ((LogShippingSystem, "__init__", with_one_off),))


LOG_SHIPPING_MUTANTS: Final = (
    _switched_off("closed_logs_only", "the log that is being written is served like a closed one"),
    _switched_off("keep_until_replayed", "the source deletes logs that its copy still needs"),
    _switched_off("sync_before_inspected", "a log counts as inspected while it is in the cache"),
)
"""Found by drawn plans."""

_SAFEGUARDS: Final = "tests/log_shipping/test_safeguards.py"

LOG_SHIPPING_ENUMERATED: Final = (
    Enumerated(
        _switched_off("durable_before_served", "a log is told of that the source may still lose"),
        "the engine has a new log's names durable a tenth of a millisecond after its roll: the "
        "copy's question and a power loss have to meet in it",
        f"{_SAFEGUARDS}::test_a_log_is_served_when_its_name_is_durable",
    ),
    Enumerated(
        _switched_off("inspect_before_replay", "a log is taken as it came, good or not"),
        "frames have a checksum, and rot is not drawn where logs are shipped: no bad log comes",
        f"{_SAFEGUARDS}::test_a_log_is_inspected_before_it_counts",
    ),
    Enumerated(
        _switched_off(
            "keep_open_transactions", "redo begins behind changes that are on no page yet"
        ),
        "it takes a transaction that is longer than a log, and a message of the scenario is a "
        "tenth of one",
        "tests/log_shipping/test_replay.py::test_forgetting_open_transactions_is_found",
    ),
)
"""What its plans hardly find, and the tests that do."""
