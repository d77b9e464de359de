"""What a run is measured by, and the record that a run leaves.

Every figure of a table, plot, JSON file or report comes from :class:`RunResult`.
Times are seconds of simulated time since the start of the run unless a name says
otherwise; sizes are bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

RESULT_SCHEMA = "simulator-run/1"
LOSS_OF_SOURCE = "loss of source"
"""The failure that the headline quotes when it happened."""
ORDERED_FAILOVER = "failover of replica"
"""Likewise: clients have gone over to the replica, though the source may have lived."""
WRITTEN_AFTERWARDS = "written after the failover"
"""No failure of its own: what an old source acknowledged that did not know of it yet."""


class Verdict(StrEnum):
    """How a run ends, worst first in the order of :data:`SEVERITY`."""

    PASS = "pass"
    OBJECTIVE = "objective"
    """The invariants hold, an objective of the scenario is missed."""
    INCONCLUSIVE = "inconclusive"
    """The run ended before the question could be answered, or an objective could be measured."""
    UNRECOVERABLE = "unrecoverable"
    """Bytes are gone that no design could keep under these faults; they are named."""
    LIVENESS = "liveness"
    """After all faults were healed the replica did not converge within the bound, or a process
    gave up by itself without a fault that explains it."""
    SAFETY = "safety"
    """An invariant is broken: a wrong image, a lost acknowledged operation, a lie."""


SEVERITY = (
    Verdict.SAFETY,
    Verdict.LIVENESS,
    Verdict.UNRECOVERABLE,
    Verdict.INCONCLUSIVE,
    Verdict.OBJECTIVE,
    Verdict.PASS,
)


@dataclass(frozen=True, slots=True)
class LossMeasure:
    """What would be, or was, lost at one failure: the recovery point against the truth.

    ``messages`` is None when the write stream has no messages (a block trace).
    """

    failure: str
    """For instance ``"power_loss of replica"`` or ``"loss of source"``; or
    :data:`WRITTEN_AFTERWARDS`."""
    at_seconds: float
    seconds: float
    """Age of the oldest source operation that the replica's image lacks; 0 when none."""
    bytes: int
    operations: int
    messages: int | None = None
    mailboxes: int | None = None
    """That lack one of these messages; None where nobody counts them."""


@dataclass(frozen=True, slots=True)
class RecoveryTime:
    """RTO by part, in seconds (exchange.md section 8: humans and caches dominate)."""

    detect: float
    decide: float
    recover: float
    mount: float
    redirect: float

    @property
    def total(self) -> float:
        return self.detect + self.decide + self.recover + self.mount + self.redirect


@dataclass(frozen=True, slots=True)
class FaultMark:
    """A fault as it really happened, for the time axis of plots."""

    kind: str
    where: str
    start_seconds: float
    end_seconds: float | None
    """None when it never ended (a lost machine)."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One judgement of an oracle."""

    invariant: str
    """For instance ``"prefix"``, ``"mountable"``, ``"durable means durable"``."""
    at_seconds: float
    occasion: str
    """What gave rise to it: ``"power_loss of replica"``, ``"end of run"``."""
    holds: bool
    """As far as the faults until then let it: see :mod:`simulator.expectations`."""
    detail: str = ""
    circumstances: list[str] = field(default_factory=list)
    """What was so just then and may be the reason: :mod:`simulator.circumstances`."""
    error_number: int | None = None
    """The store engine's own number, where that is why."""


@dataclass(slots=True)
class Samples:
    """State over time, one row per sampling instant; all lists have one length."""

    time_seconds: list[float] = field(default_factory=list)
    spool_bytes: list[int] = field(default_factory=list)
    """Bytes on disk at the source that wait for the replica."""
    journal_bytes: list[int] = field(default_factory=list)
    """Bytes on disk at the replica that wait for apply or checkpoint."""
    lag_seconds: list[float] = field(default_factory=list)
    """Age of the oldest operation that is not durable at the replica; 0 when none."""
    lag_operations: list[int] = field(default_factory=list)
    captured_bytes: list[int] = field(default_factory=list)
    """Cumulative bytes written by the source's programs."""
    wire_bytes: list[int] = field(default_factory=list)
    """Cumulative bytes sent from source to replica, frames included."""
    link_bytes_per_second: list[float] = field(default_factory=list)
    """Capacity of the link at that instant by schedule and faults; 0 while it is down."""
    source_state: list[str] = field(default_factory=list)
    """The source's own word for its state: ``"streaming"``, ``"disconnected"`` ..."""
    copy_queue_logs: list[int] = field(default_factory=list)
    """Of log shipping, else empty: closed logs that the copy has not inspected, in truth."""
    copy_queue_bytes: list[int] = field(default_factory=list)
    replay_queue_logs: list[int] = field(default_factory=list)
    """Inspected logs that are not replayed, as the copy tells them."""
    replay_queue_bytes: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class QueuePeaks:
    """The longest queues of log shipping."""

    copy_queue_logs: int
    copy_queue_bytes: int
    replay_queue_logs: int
    replay_queue_bytes: int


@dataclass(frozen=True, slots=True)
class LiveNotes:
    """What must be known of a run with real processes to read its figures."""

    without_counterpart: list[str]
    """What the scenario has and this machine has not: faults and figures, in words."""
    copies: int
    """So often the replica was copied to be judged."""
    longest_copy_seconds: float
    """Most that it stood still for a copy."""
    mount_seconds: float | None
    """What mounting the emulated store really took; None when nothing was mounted."""
    converged_seconds: float | None
    """When the image was found equal to the source, byte by byte; None when it was not due."""


@dataclass(slots=True)
class RunResult:
    """All that is known of one run."""

    scenario: str
    description: str
    seed: int
    verdict: Verdict
    reasons: list[str]
    """Why the verdict is not a pass, worst first; empty for a pass."""
    losses: list[LossMeasure]
    recovery: RecoveryTime | None
    """None when the scenario does not lose its source."""
    objectives: dict[str, tuple[float, float | None]]
    """Name to (wanted, measured); for instance ``rpo_seconds``.  Smaller is better."""
    checks: list[Check]
    faults: list[FaultMark]
    samples: Samples
    spool_peak_bytes: int
    spool_limit_bytes: int
    journal_peak_bytes: int
    wire_bytes: int
    reverse_wire_bytes: int
    captured_bytes: int
    operations: int
    messages: int | None
    resynchronizations: int
    prefix: tuple[int, int]
    """Last epoch and operation of it that the replica's image is known to equal."""
    trace_hash: str
    wall_seconds: float
    simulated_seconds: float
    world: str = "simulated"
    live: LiveNotes | None = None
    """None for any other world than the live one."""
    queue_peaks: QueuePeaks | None = None
    """None where no logs are shipped."""
    not_judged: dict[str, str] = field(default_factory=dict)
    """Invariants that there was no ground to judge, and why: they count for nothing."""
    never_happened: list[str] = field(default_factory=list)
    """Of the reasons, those that tell of a fault that had no occasion."""

    @property
    def rpo_seconds(self) -> float | None:
        """RPO at the loss of the source or an ordered failover; else the worst of all failures."""
        worst = self.worst_loss
        return None if worst is None else worst.seconds

    @property
    def worst_loss(self) -> LossMeasure | None:
        """The loss that the headline quotes."""
        final = [loss for loss in self.losses if loss.failure in (LOSS_OF_SOURCE, ORDERED_FAILOVER)]
        candidates = final or [loss for loss in self.losses if loss.failure != WRITTEN_AFTERWARDS]
        return max(candidates, key=lambda loss: (loss.seconds, loss.bytes), default=None)

    @property
    def written_afterwards(self) -> LossMeasure | None:
        """What an old source acknowledged after the failover; None when none was ordered."""
        return next((loss for loss in self.losses if loss.failure == WRITTEN_AFTERWARDS), None)

    @property
    def rto_seconds(self) -> float | None:
        return None if self.recovery is None else self.recovery.total

    def to_json(self) -> dict[str, Any]:
        """The record of ``simulator run --json``; ``docs/run-result.schema.json`` describes it."""
        worst = self.worst_loss
        return {
            "schema": RESULT_SCHEMA,
            "scenario": self.scenario,
            "description": self.description,
            "world": self.world,
            "seed": self.seed,
            "verdict": self.verdict.value,
            "reasons": self.reasons,
            "rpo_seconds": self.rpo_seconds,
            "rpo_operations": None if worst is None else worst.operations,
            "rpo_bytes": None if worst is None else worst.bytes,
            "rpo_messages": None if worst is None else worst.messages,
            "rto_seconds": self.rto_seconds,
            "rto_parts_seconds": None if self.recovery is None else asdict(self.recovery),
            "losses": [asdict(loss) for loss in self.losses],
            "objectives": {
                name: {"wanted": wanted, "measured": measured}
                for name, (wanted, measured) in self.objectives.items()
            },
            "spool_peak_bytes": self.spool_peak_bytes,
            "spool_limit_bytes": self.spool_limit_bytes,
            "journal_peak_bytes": self.journal_peak_bytes,
            "queue_peaks": None if self.queue_peaks is None else asdict(self.queue_peaks),
            "wire_bytes": self.wire_bytes,
            "reverse_wire_bytes": self.reverse_wire_bytes,
            "captured_bytes": self.captured_bytes,
            "operations": self.operations,
            "messages": self.messages,
            "resynchronizations": self.resynchronizations,
            "prefix": {"epoch": self.prefix[0], "operation": self.prefix[1]},
            "checks": [asdict(check) for check in self.checks],
            "faults": [asdict(fault) for fault in self.faults],
            "trace_hash": self.trace_hash,
            "wall_seconds": self.wall_seconds,
            "simulated_seconds": self.simulated_seconds,
            "live": None if self.live is None else asdict(self.live),
            "not_judged": self.not_judged,
        }
