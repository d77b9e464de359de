"""Plans drawn at random: a pure function of a name, for whatever machine and release of Python.

A :class:`PlanSpace` says which kinds of faults there are, how often each is taken, and within
which times.  Times lie on a grid, so that plans can be compared and shrunk.  With *swarm* each
plan first takes a random part of the kinds: faults that hide each other are then also drawn
without each other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

from replicator import units
from simulator.plans.budget import Budget, within
from simulator.plans.plan import PLAN_FORMAT, FaultPlan
from simulator.scenario import Fault, Scenario
from simulator.scenario_faults import (
    BitRot,
    ClockJump,
    DiskFull,
    DiskSlow,
    DiskStall,
    LinkBandwidth,
    LinkCorruption,
    LinkLatency,
    LinkLoss,
    LinkOutage,
    LinkReset,
    Loss,
    LostFlush,
    MisdirectedWrite,
    OrderedFailover,
    Pause,
    PowerLoss,
    ProcessCrash,
    ReplicaRestored,
    SecondSource,
    SlowProcessor,
    SyncFailure,
    WrongTarget,
)
from simulator.scenario_log_shipping import KIND as LOG_SHIPPING
from simulator.scenario_log_shipping import UNSUITABLE_FAULTS

T = TypeVar("T")
MS: Final = 1_000_000
ROT_OF_HOME: Final = "bit_rot_of_home"
"""The kind, in drawing only, of rot in the copy itself."""


class Draw:
    """Choices named by a text: only ``random()`` is the same in every release of Python."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(name).random

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count`` - 1."""
        return min(count - 1, int(self._random() * count))

    def one(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.below(len(choices))]

    def often(self, share: float) -> bool:
        """True in so many of all cases."""
        return self._random() < share

    def weighted(self, weights: Mapping[str, float]) -> str:
        """One of the names, each as often as its weight says."""
        at = self._random() * sum(weights.values())
        for name, weight in weights.items():
            at -= weight
            if at < 0:
                return name
        return list(weights)[-1]


@dataclass(frozen=True)
class PlanSpace:
    """Which plans there are for a scenario.

    Arguments
    ---------
    horizon_ns: faults begin before this.
    weights: of each kind of fault; those without one are never drawn.
    fewest, most: faults of a plan.
    grid_ns: all times are multiples of this.
    longest_ns: of what lasts.
    swarm: each plan takes a random part of the kinds.
    lose_the_source: how often a plan ends with the loss of the source, and a failover.
    activities: of the replica, in the midst of which its power may fail.
    budget: what goes beyond it is left out of each plan.
    """

    horizon_ns: int
    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    fewest: int = 1
    most: int = 6
    grid_ns: int = 10 * MS
    longest_ns: int = 1_500 * MS
    swarm: bool = True
    lose_the_source: float = 0.1
    activities: tuple[str, ...] = ("apply", "checkpoint", "resynchronize")
    budget: Budget | None = None


def space_of(scenario: Scenario, harsh: bool = False) -> PlanSpace:
    """The space that is drawn from when nothing else is asked for.

    ``harsh``: with the kinds of faults that no design survives unharmed, too; what is left of the
    promises under them is in ``docs/invariants.md``.
    """
    grid_ns = max(MS, scenario.duration_ns // 400)
    weights = {**DEFAULT_WEIGHTS, **HARSH_WEIGHTS} if harsh else DEFAULT_WEIGHTS
    activities: tuple[str, ...] = ("apply", "checkpoint", "resynchronize")
    if scenario.protection.kind == LOG_SHIPPING:
        unsuitable = {*UNSUITABLE_FAULTS, ROT_OF_HOME}
        weights = {kind: each for kind, each in weights.items() if kind not in unsuitable}
        activities = ("apply", "checkpoint")
    return PlanSpace(
        horizon_ns=scenario.duration_ns,
        weights=weights,
        activities=activities,
        grid_ns=grid_ns,
        longest_ns=max(grid_ns, scenario.duration_ns * 3 // 8),
    )


def draw_plan(name: str, space: PlanSpace) -> FaultPlan:
    """The plan of this name: the same one each time, on every machine."""
    draw = Draw(name)
    weights = dict(space.weights)
    if space.swarm:
        chosen = {kind: weight for kind, weight in weights.items() if draw.often(0.5)}
        weights = chosen or weights
    count = space.fewest + draw.below(space.most - space.fewest + 1)
    faults = [_MAKERS[draw.weighted(weights)](draw, space) for _ in range(count)]
    lost_at_ns = _at(draw, space) if draw.often(space.lose_the_source) else None
    if lost_at_ns is not None:
        loss = Loss.model_validate({"kind": "loss", "at": _text(lost_at_ns), "host": "source"})
        faults = [each for each in faults if _before(each, lost_at_ns)] + [loss]
    faults.sort(key=lambda each: each.at_ns)
    faults = list(_up_to_a_takeover(faults))
    seed = draw.below(1 << 31)
    if space.budget is not None:
        faults = list(within(tuple(faults), space.budget))
    return FaultPlan(
        format=PLAN_FORMAT, name=name[:100] or "fault plan", seed=seed, faults=tuple(faults)
    )


def _before(fault: Fault, lost_at_ns: int) -> bool:
    """Whether a fault can happen although the source is gone from then on."""
    return getattr(fault, "host", None) != "source" or fault.at_ns < lost_at_ns


def _up_to_a_takeover(faults: list[Any]) -> Iterator[Any]:
    """Without what cannot happen to a replica that was told to take over, or will be anyway."""
    taken_over = False
    lost = any(isinstance(each, Loss) for each in faults)
    for each in faults:
        ordered = isinstance(each, OrderedFailover)
        if (ordered and (taken_over or lost)) or (
            taken_over and isinstance(each, ReplicaRestored | SecondSource)
        ):
            continue
        taken_over |= ordered
        yield each


def _text(time_ns: int) -> str:
    return f"{time_ns}ns"


def _at(draw: Draw, space: PlanSpace) -> int:
    return draw.below(space.horizon_ns // space.grid_ns) * space.grid_ns


def _span(draw: Draw, space: PlanSpace) -> str:
    """Short spans as often as long ones: each doubling of the length is as likely."""
    steps = max(1, space.longest_ns // space.grid_ns)
    longest = 1 << draw.below(steps.bit_length())
    return _text((1 + draw.below(min(steps, longest))) * space.grid_ns)


_LONGEST_WAIT_CALLS: Final = 256
_HOSTS: Final[tuple[Literal["source", "replica"], ...]] = ("source", "replica")
Maker = Callable[[Draw, PlanSpace], Any]


def _maker(table: type[Any], kind: str, **more: Callable[[Draw, PlanSpace], Any]) -> Maker:
    def make(draw: Draw, space: PlanSpace) -> Any:
        values = {"kind": kind, "at": _text(_at(draw, space))}
        for name, choose in more.items():
            value = choose(draw, space)
            if value is not None:
                values[name] = value
        return table(**values)

    return make


def _of(*choices: Any) -> Callable[[Draw, PlanSpace], Any]:
    return lambda draw, _space: draw.one(choices)


def _calls(draw: Draw, _space: PlanSpace) -> int:
    """Few calls as often as many: each doubling is as likely."""
    return 1 + draw.below(1 << draw.below(_LONGEST_WAIT_CALLS.bit_length()))


def _rot(draw: Draw, space: PlanSpace) -> BitRot:
    """Where somebody will read it: into the files of the copy nobody looks by himself."""
    where = draw.one(("journal", "journal", "checkpoint", "spool", "staging"))
    values = {
        "kind": "bit_rot",
        "at": _text(_at(draw, space)),
        "host": "source" if where == "spool" else "replica",
        "where": where,
        "count": draw.one((1, 8)),
    }
    return BitRot.model_validate(values)


_OWN_VOLUMES: Final = {"source": "spool", "replica": "journal"}


def _full(draw: Draw, space: PlanSpace) -> DiskFull:
    """All volumes of a host or one of them, with room for nothing, for pages, for logs.

    With a few blocks left a write is cut short, rather than refused.
    """
    at, host = _text(_at(draw, space)), draw.one(_HOSTS)
    values = {
        "kind": "disk_full",
        "at": at,
        "host": host,
        "duration": _span(draw, space),
        "free": draw.one(("0B", "16KiB", "64KiB", "512KiB")),
        "volume": draw.one(("all", "data", "data", _OWN_VOLUMES[host])),
    }
    return DiskFull.model_validate(values)


def _restored(draw: Draw, space: PlanSpace) -> ReplicaRestored:
    """From a copy that is not older than the replica itself."""
    at_ns, longest = max(space.grid_ns, _at(draw, space)), _span(draw, space)
    age_ns = min(at_ns, units.parse_duration_ns(longest))
    return ReplicaRestored.model_validate(
        {"kind": "replica_restored", "at": _text(at_ns), "age": _text(age_ns)}
    )


_MAKERS: Final[Mapping[str, Maker]] = {
    "link_outage": _maker(
        LinkOutage, "link_outage", duration=_span, direction=_of("both", "to_replica", "to_source")
    ),
    "link_reset": _maker(LinkReset, "link_reset"),
    "link_bandwidth": _maker(
        LinkBandwidth,
        "link_bandwidth",
        duration=_span,
        bandwidth=_of("200kbit/s", "1Mbit/s", "5Mbit/s"),
    ),
    "process_crash": _maker(ProcessCrash, "process_crash", host=_of(*_HOSTS)),
    "process_crash_within": _maker(ProcessCrash, "process_crash", host=_of(*_HOSTS), calls=_calls),
    "pause": _maker(Pause, "pause", host=_of(*_HOSTS), duration=_span),
    "power_loss": _maker(
        PowerLoss, "power_loss", host=_of(*_HOSTS), survive=_of("seeded", "seeded", "none", "all")
    ),
    "power_loss_within": _maker(
        PowerLoss,
        "power_loss",
        host=_of("replica"),
        when=lambda draw, space: draw.one(space.activities),
        survive=_of("seeded", "seeded", "none", "all"),
    ),
    "power_loss_in_a_call": _maker(
        PowerLoss,
        "power_loss",
        host=_of(*_HOSTS),
        calls=_calls,
        survive=_of("seeded", "seeded", "none", "all"),
    ),
    "sync_failure": _maker(SyncFailure, "sync_failure", host=_of(*_HOSTS), count=_of(1, 1, 2, 5)),
    "link_latency": _maker(
        LinkLatency, "link_latency", duration=_span, rtt=_of("0ms", "60ms", "300ms", "2s")
    ),
    "link_loss": _maker(LinkLoss, "link_loss", duration=_span, loss=_of("0.1%", "2%", "20%")),
    "link_corruption": _maker(
        LinkCorruption,
        "link_corruption",
        duration=_span,
        count=_of(1, 3, 10),
        direction=_of("to_replica", "to_source", "both"),
    ),
    "slow_processor": _maker(
        SlowProcessor, "slow_processor", host=_of(*_HOSTS), duration=_span, factor=_of(10, 100)
    ),
    "clock_jump": _maker(
        ClockJump, "clock_jump", host=_of(*_HOSTS), by=_of("-1h", "-3s", "500ms", "1h")
    ),
    "disk_full": _full,
    "disk_slow": _maker(
        DiskSlow, "disk_slow", host=_of(*_HOSTS), duration=_span, factor=_of(10.0, 100.0)
    ),
    "disk_stall": _maker(DiskStall, "disk_stall", host=_of(*_HOSTS), duration=_span),
    "bit_rot": _rot,
    "replica_restored": _restored,
    "lost_flush": _maker(LostFlush, "lost_flush", host=_of(*_HOSTS), duration=_span),
    ROT_OF_HOME: _maker(BitRot, "bit_rot", host=_of("replica"), where=_of("home"), count=_of(1, 8)),
    "misdirected_write": _maker(MisdirectedWrite, "misdirected_write", host=_of(*_HOSTS)),
    "second_source": _maker(SecondSource, "second_source", duration=_span),
    "wrong_target": _maker(WrongTarget, "wrong_target", duration=_span),
    "failover": _maker(OrderedFailover, "failover"),
}

DEFAULT_WEIGHTS: Final[Mapping[str, float]] = {
    "link_outage": 3,
    "link_reset": 3,
    "link_bandwidth": 1,
    "process_crash": 2,
    "process_crash_within": 3,
    "pause": 1,
    "power_loss": 3,
    "power_loss_within": 3,
    "power_loss_in_a_call": 2,
    "sync_failure": 1,
    "link_latency": 1,
    "link_loss": 1,
    "link_corruption": 2,
    "slow_processor": 0.5,
    "clock_jump": 0.5,
    "disk_full": 2,
    "disk_slow": 1,
    "disk_stall": 0.5,
    "bit_rot": 2,
    "replica_restored": 0.5,
}
"""Those under which every promise holds, or what was lost is named; see :data:`HARSH_WEIGHTS`."""

HARSH_WEIGHTS: Final[Mapping[str, float]] = {
    "lost_flush": 2,
    ROT_OF_HOME: 1,
    "misdirected_write": 1,
    "second_source": 0.5,
    "wrong_target": 0.5,
    "failover": 0.5,
}
"""Those that no design survives unharmed: a disk that lies about its flushes or writes to the
wrong place, rot where nothing looks, a second source, a failover while the source lives; and a
wrong target.  Drawn on request only."""


def without(space: PlanSpace, *kinds: str) -> PlanSpace:
    """The space without some kinds of faults."""
    left = {kind: weight for kind, weight in space.weights.items() if kind not in kinds}
    return replace(space, weights=left)
