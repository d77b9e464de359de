"""Hypothesis strategies: hosts, times on a grid, faults of each kind, whole fault plans.

What is drawn is always the faults themselves, never a seed that stands for them: so Hypothesis
can take faults out, move them towards the beginning, and make them shorter and plainer::

    from hypothesis import given
    from simulator.scenario import load_scenario
    from simulator.testing import PlannedRun, strategies

    WAN = load_scenario("scenarios/campaign.toml")

    @given(strategies.fault_plans(WAN, kinds=["link_outage", "link_reset"]))
    def test_flaps(plan):
        assert not PlannedRun(WAN, plan).breaches

Every plan fits its scenario.  One run takes some 50 ms for a small scenario: give Hypothesis
``deadline=None``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from replicator.errors import BadInput
from replicator.units import parse_duration_ns, spell_duration, spell_size
from simulator.plans.draw import DEFAULT_WEIGHTS, space_of
from simulator.plans.plan import FaultPlan
from simulator.scenario import Fault, Scenario
from simulator.testing.fault_documents import (
    CRASH_WITHIN,
    IN_A_CALL,
    WITHIN,
    has_key,
    known_kind,
    plan_from,
    table_kind,
)

HOSTS: Final = ("replica", "source")
"""The replica first: what goes wrong there alone is the simpler case."""

DEFAULT_KINDS: Final = tuple(sorted(DEFAULT_WEIGHTS, key=lambda kind: kind != table_kind(kind)))
"""The plainest first.  Those under which every promise holds, or the damage is named
(``docs/invariants.md``)."""

Value = Any
"""Of a key, as it stands in TOML; or a strategy of such values."""


def hosts() -> SearchStrategy[str]:
    """``"replica"`` or ``"source"``."""
    return st.sampled_from(HOSTS)


def times(
    scenario: Scenario,
    *,
    begin_ns: int = 0,
    end_ns: int | None = None,
    grid_ns: int | None = None,
) -> SearchStrategy[int]:
    """Instants of a scenario in nanoseconds after its start, on a grid; they shrink to the first.

    Arguments
    ---------
    begin_ns, end_ns: from here to there, both included; ``end_ns`` None: the scenario's
        duration, short of which every fault begins.
    grid_ns: all are multiples of this; None: 1/400 of the duration, at least a millisecond.

    Raises BadInput when no such instant exists.
    """
    grid_ns = _grid(scenario, grid_ns)
    last_ns = scenario.duration_ns - 1 if end_ns is None else end_ns
    first, last = -(-begin_ns // grid_ns), min(last_ns, scenario.duration_ns) // grid_ns
    if first > last:
        raise BadInput(
            f"no multiple of {spell_duration(grid_ns)} lies from {spell_duration(begin_ns)} to "
            f"{spell_duration(last_ns)}",
            remedy="Give a finer grid_ns, or more time.",
        )
    return st.integers(first, last).map(lambda steps: steps * grid_ns)


def durations(
    scenario: Scenario, *, longest_ns: int | None = None, grid_ns: int | None = None
) -> SearchStrategy[int]:
    """Lengths in nanoseconds, on a grid; they shrink to one step of it.

    Arguments
    ---------
    longest_ns: None for three eighths of the scenario's duration.
    grid_ns: as for :func:`times`.
    """
    grid_ns = _grid(scenario, grid_ns)
    longest_ns = space_of(scenario).longest_ns if longest_ns is None else longest_ns
    return st.integers(1, max(1, longest_ns // grid_ns)).map(lambda steps: steps * grid_ns)


def faults(
    scenario: Scenario,
    kind: str,
    *,
    begin_ns: int = 0,
    end_ns: int | None = None,
    longest_ns: int | None = None,
    grid_ns: int | None = None,
    **keys: Value,
) -> SearchStrategy[Fault]:
    """Faults of one kind, each of which fits the scenario.

    Arguments
    ---------
    kind: as in a scenario; or ``"power_loss_within"``: one that waits for an activity;
        ``"power_loss_in_a_call"``, ``"process_crash_within"``: inside a storage call.
    begin_ns, end_ns, longest_ns, grid_ns: as for :func:`times` and :func:`durations`.
    keys: keys that are to be as given, by their names in TOML, e.g. ``host="source"``; or
        strategies of them.

    Raises BadInput for an unknown kind, and, when it draws, for keys that do not fit.
    """
    known_kind(kind)
    spans = {"longest_ns": longest_ns, "grid_ns": grid_ns}
    documents = _documents(scenario, kind, {"begin_ns": begin_ns, "end_ns": end_ns}, spans, keys)
    return documents.map(lambda document: plan_from([document], scenario).faults[0])


def fault_plans(
    scenario: Scenario,
    *,
    kinds: Iterable[str | Mapping[str, Value]] = DEFAULT_KINDS,
    min_faults: int = 0,
    max_faults: int = 6,
    begin_ns: int = 0,
    end_ns: int | None = None,
    longest_ns: int | None = None,
    grid_ns: int | None = None,
    seeds: SearchStrategy[int] | None = None,
) -> SearchStrategy[FaultPlan]:
    """Fault plans that fit the scenario, their faults in the order of time.

    They shrink towards fewer faults, and those earlier, shorter, and of the kind named first.

    Arguments
    ---------
    kinds: kinds of faults, or tables of keys that are to be as given, such as
        ``{"kind": "disk_full", "host": "source"}``.
    min_faults, max_faults: how many; those of a host that is lost by then are left out.
    begin_ns, end_ns, longest_ns, grid_ns: as for :func:`times` and :func:`durations`.
    seeds: name what faults leave open, such as which unsynced writes survive; None for 1, always.

    Raises BadInput for an unknown kind.
    """
    space = {"begin_ns": begin_ns, "end_ns": end_ns}
    spans = {"longest_ns": longest_ns, "grid_ns": grid_ns}
    one_of: list[SearchStrategy[dict[str, Any]]] = []
    for each in kinds:
        wish = {"kind": each} if isinstance(each, str) else dict(each)
        kind = known_kind(wish.pop("kind", None))
        one_of.append(_documents(scenario, kind, space, spans, wish))
    if not one_of:
        raise BadInput("there is no kind of fault to draw", remedy="Name at least one kind.")
    lists = st.lists(st.one_of(one_of), min_size=min_faults, max_size=max_faults)
    return st.builds(
        lambda documents, seed: _plan(documents, scenario, seed),
        lists,
        st.just(1) if seeds is None else seeds,
    )


# -- how ---------------------------------------------------------------------------------------


def _grid(scenario: Scenario, grid_ns: int | None) -> int:
    return space_of(scenario).grid_ns if grid_ns is None else grid_ns


_OF_A_COPY: Final = frozenset({"failover", "replica_restored", "second_source"})
"""What cannot be once a replica has taken over."""


def _plan(documents: Sequence[Mapping[str, Any]], scenario: Scenario, seed: int) -> FaultPlan:
    """Their plan, without what befalls a host that is lost, or a copy that is none, by then."""
    each_alone = [plan_from([document], scenario).faults[0] for document in documents]
    lost: dict[str, int] = {}
    kept: list[Fault] = []
    taken_over = False
    for fault in sorted(each_alone, key=lambda f: (f.at_ns, f.kind == "loss")):
        host = str(getattr(fault, "host", ""))
        if host in lost and fault.at_ns >= lost[host]:
            continue
        if fault.kind in _OF_A_COPY and taken_over:
            continue
        if fault.kind == "failover":
            if "source" in lost:
                continue
            taken_over = True
        if fault.kind == "loss":
            lost[host] = fault.at_ns
        kept.append(fault)
    return FaultPlan(format=1, name="fault plan", seed=seed, faults=tuple(kept))


def _documents(
    scenario: Scenario,
    kind: str,
    window: Mapping[str, int | None],
    spans: Mapping[str, int | None],
    given: Mapping[str, Value],
) -> SearchStrategy[dict[str, Any]]:
    """Tables of faults as they stand in TOML."""
    grid_ns = spans["grid_ns"]
    at = times(
        scenario, begin_ns=window["begin_ns"] or 0, end_ns=window["end_ns"], grid_ns=grid_ns
    ).map(spell_duration)
    keys: dict[str, SearchStrategy[Any]] = {"kind": st.just(table_kind(kind)), "at": at}
    if has_key(kind, "duration"):
        keys["duration"] = durations(scenario, **spans).map(spell_duration)
    if has_key(kind, "host"):
        keys["host"] = st.just("replica") if kind == "bit_rot" else hosts()
    for name, value in given.items():
        keys[name] = value if isinstance(value, SearchStrategy) else st.just(value)
    owner = next(
        (_OWNERS[value] for value in given.values() if isinstance(value, str) and value in _OWNERS),
        None,
    )
    if owner is not None and "host" in keys and "host" not in given:
        keys["host"] = st.just(owner)
    drawn = st.fixed_dictionaries(keys)
    more = _MORE.get(kind)
    if more is None:
        return drawn

    def completed(document: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
        rest = {
            name: values for name, values in more(scenario, document).items() if name not in given
        }
        return st.fixed_dictionaries(rest).map(lambda drawn_too: document | drawn_too)

    return drawn.flatmap(completed)


def _of(*choices: Any) -> SearchStrategy[Any]:
    """The plainest first."""
    return st.sampled_from(choices)


_SURVIVE = _of("none", "all", "seeded")
_CALLS = st.integers(1, 256)
_OWNERS: Final = {
    "spool": "source",
    "journal": "replica",
    "checkpoint": "replica",
    "home": "replica",
    "staging": "replica",
    "apply": "replica",
}
"""Who has a place, or does a thing, that a key names."""
_OTHER_HOSTS_VOLUME = {"source": "journal", "replica": "spool"}
_PLACES = {"source": ("spool",), "replica": ("journal", "checkpoint")}


def _volume(document: Mapping[str, Any]) -> SearchStrategy[Any]:
    names = ["all", "data", "spool", "journal"]
    names.remove(_OTHER_HOSTS_VOLUME.get(str(document["host"]), "spool"))
    return _of(*names)


def _room(scenario: Scenario, document: Mapping[str, Any]) -> dict[str, SearchStrategy[Any]]:
    """Less free room than there is on the smallest of the host's disks."""
    host = getattr(scenario, str(document["host"]), None)
    disks = [getattr(host, name, None) for name in ("disk", "spool_disk", "journal_disk")]
    smallest = min((disk.size_bytes for disk in disks if disk is not None), default=1 << 30)
    sizes = [size for size in (0, 64 << 10, 512 << 10) if size < smallest]
    return {"free": _of(*(spell_size(size) for size in sizes)), "volume": _volume(document)}


def _age(scenario: Scenario, document: Mapping[str, Any]) -> dict[str, SearchStrategy[Any]]:
    """No older than the replica itself; at the very beginning there is nothing to copy."""
    grid_ns = space_of(scenario).grid_ns
    at_ns = parse_duration_ns(document["at"])
    if at_ns == 0:
        at_ns = grid_ns
    steps = st.integers(1, max(1, at_ns // grid_ns))
    return {
        "at": st.just(spell_duration(at_ns)),
        "age": steps.map(lambda count: spell_duration(min(at_ns, count * grid_ns))),
    }


_MORE: Final[Mapping[str, Any]] = {
    "link_outage": lambda _s, _d: {"direction": _of("both", "to_replica", "to_source")},
    "link_bandwidth": lambda _s, _d: {"bandwidth": _of("5Mbit/s", "1Mbit/s", "200kbit/s")},
    "link_latency": lambda _s, _d: {"rtt": _of("60ms", "300ms", "2s")},
    "link_loss": lambda _s, _d: {"loss": _of("0.1%", "2%", "20%")},
    "link_corruption": lambda _s, _d: {
        "count": _of(1, 3),
        "direction": _of("to_replica", "to_source", "both"),
    },
    "power_loss": lambda _s, _d: {"survive": _SURVIVE},
    WITHIN: lambda _s, d: {
        "survive": _SURVIVE,
        "when": _of("apply", "checkpoint", "resynchronize")
        if d["host"] == "replica"
        else _of("checkpoint", "resynchronize"),
    },
    IN_A_CALL: lambda _s, _d: {"survive": _SURVIVE, "calls": _CALLS},
    CRASH_WITHIN: lambda _s, _d: {"calls": _CALLS},
    "sync_failure": lambda _s, _d: {"count": _of(1, 2, 5)},
    "slow_processor": lambda _s, _d: {"factor": _of(10, 100)},
    "clock_jump": lambda _s, _d: {"by": _of("500ms", "-3s", "1h", "-1h")},
    "disk_full": _room,
    "disk_slow": lambda _s, d: {"factor": _of(10.0, 100.0), "volume": _volume(d)},
    "disk_stall": lambda _s, d: {"volume": _volume(d)},
    "bit_rot": lambda _s, d: {
        "where": _of(*_PLACES.get(str(d["host"]), ("spool",))),
        "count": _of(1, 8),
    },
    "misdirected_write": lambda _s, d: {"volume": _volume(d)},
    "replica_restored": _age,
}
