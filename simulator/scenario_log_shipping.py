"""``[protection.log_shipping]`` of a scenario: what counts where closed logs are copied.

Keys are written as in :mod:`simulator.scenario_model`, marks as there.  What the simulation of log
shipping cannot judge yet is refused here, before a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from replicator.toml_errors import Remark
from replicator.toml_keys import Duration, PositiveDuration, Table, key
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.scenario_faults import Fault

KIND: Final = "log shipping"


class LogShipping(Table):
    """Closed logs are pulled, inspected and replayed (LCR, CCR, SCR; a DAG in file mode)."""

    poll_ns: PositiveDuration = key(
        "poll", "How often the copy asks for logs that were closed; [A].", "1s"
    )
    patience_ns: PositiveDuration = key(
        "patience", "So long the other end may be silent; [A].", "15s"
    )
    retry_ns: PositiveDuration = key(
        "retry", "Wait after a lost connection or a failure; [A].", "5s"
    )
    tries: int = key(
        None,
        "So often a log is copied that does not pass its inspection; [M].",
        3,
        ge=1,
        le=100,
    )
    replay_lag_ns: Duration = key(
        "replay_lag",
        "ReplayLagTime: so long after its inspection a log is replayed; 24 h by default for SCR, "
        "none for other copies.",
        "0s",
    )
    logs_behind: int = key(
        None,
        "So many inspected logs are always kept back from replay; 50 for a target of SCR.",
        0,
        ge=0,
        le=10_000,
    )
    # "Up to seconds a log on slow disks" [T]; for a sound one [A], as failover.mount_per_log.
    replay_per_log_ns: Duration = key(
        "replay_per_log", "Replay of one log, beside what its disk takes; [A].", "500ms"
    )
    logs_at_once: int = key(
        None, "Most logs that are replayed between two checkpoints of the copy.", 8, ge=1, le=1_000
    )


_NOT_JUDGED: Final = {
    "second_source": "a second source speaks the reference replicator's protocol",
    "wrong_target": "there is no second copy that could be another set's",
    "failover": "a source that lives and its copy have parted then, and seeding anew is not "
    "simulated",
    "replica_restored": "a copy that was put back may need logs that are deleted, and seeding "
    "anew is not simulated",
    "lost_flush": "a source or copy whose disk lies has to be seeded anew, which is not simulated",
    "bit_rot": "a copy whose database rots has to be seeded anew, which is not simulated",
    "misdirected_write": "a copy whose database is damaged has to be seeded anew, which is not "
    "simulated",
}
"""Kinds of faults that a copy by log shipping does not survive without what is left out."""
UNSUITABLE_FAULTS: Final = frozenset(_NOT_JUDGED)
_FORMATS: Final = ("exchange 2007", "exchange 2010")
"""What the format of the logs of older versions leaves out is in no log: streaming files."""


def log_shipping_contradictions(
    kind: str,
    given: LogShipping,
    stream_format: str | None,
    has_candidate: bool,
    replica_sector_bytes: int,
    faults: Sequence[Fault],
) -> Iterator[Remark]:
    """What cannot be run.

    Arguments
    ---------
    kind: of the protection.
    given: the table.
    stream_format: of the store; None where the stream is no store.
    has_candidate: whether somebody else's replicator is to take its place.
    replica_sector_bytes: what the replica's disk writes whole.
    faults: of the scenario.
    """
    here = ("protection", "kind")
    if kind != KIND:
        if given != LogShipping():
            yield Remark(
                (("protection", "log_shipping"), here),
                "these keys mean nothing to the reference replicator",
                f'Take the table out, or write kind = "{KIND}".',
            )
        return
    if has_candidate:
        yield Remark(
            (here, ("candidate", "kind")),
            "a candidate takes the place of the reference replicator only",
            'Take [candidate] out, or write kind = "replicator".',
        )
    if stream_format not in _FORMATS:
        yield Remark(
            (here, ("stream", "format" if stream_format is not None else "kind")),
            "closed logs are shipped of a store of Exchange 2007 or later only",
            'Write format = "exchange 2007" in [stream].',
        )
    else:
        page_bytes = STORE_FORMATS[stream_format].page_bytes
        if replica_sector_bytes < page_bytes:
            yield Remark(
                (("replica", "disk", "sector"), here),
                "a power loss may tear pages of the copy, which has to be seeded anew then, and "
                "that is not simulated",
                f"Set replica.disk.sector to {page_bytes}.",
            )
    for index, fault in enumerate(faults):
        if fault.kind in _NOT_JUDGED:
            yield Remark(
                (("faults", index, "kind"), here), _NOT_JUDGED[fault.kind], "Take the fault out."
            )


__all__ = ["KIND", "UNSUITABLE_FAULTS", "LogShipping", "log_shipping_contradictions"]
