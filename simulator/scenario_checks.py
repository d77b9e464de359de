"""What no single key of a scenario shows: contradictions, and what is allowed but doubtful.

A :class:`Remark` names the key to blame first and then the keys that it collides with, so that
the error can say where each of them was set.  :func:`contradictions` finds what a run could
only refuse; :func:`doubts` finds what runs, but hardly as it was meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from replicator import units
from replicator.toml_errors import Remark
from replicator.toml_text import KeyPath, dotted
from simulator.fault_checks import contradictions_of_one
from simulator.link import DAY_NS, LinkModel
from simulator.scenario_candidate import candidate_contradictions
from simulator.scenario_faults import (
    Loss,
    OrderedFailover,
    Pause,
    PowerLoss,
    ProcessCrash,
    ReplicaRestored,
    SecondSource,
    SlowProcessor,
)
from simulator.scenario_log_shipping import KIND as LOG_SHIPPING
from simulator.scenario_log_shipping import log_shipping_contradictions
from simulator.scenario_model import Link, Scenario, StoreStream
from simulator.store_checks import mean_message_bytes, store_contradictions, store_doubts
from simulator.traces import read_writes

LARGEST_LOOK: Final = 500_000
"""So many writes of a trace are read to know its average rate."""
_OF_A_HOST: Final = (Loss, Pause, PowerLoss, ProcessCrash, SlowProcessor, ReplicaRestored)
"""Faults that a host has to be up for, or that take it down."""


# -- contradictions --------------------------------------------------------------------


def contradictions(scenario: Scenario) -> Iterator[Remark]:
    """What makes no world, though each key alone is in order."""
    yield from _fault_contradictions(scenario)
    yield from _link_contradictions(scenario.link)
    yield from _protection_contradictions(scenario)
    yield from candidate_contradictions(scenario.candidate, scenario.faults)
    yield from log_shipping_contradictions(
        scenario.protection.kind,
        scenario.protection.log_shipping,
        getattr(scenario.stream, "format", None)
        if isinstance(scenario.stream, StoreStream)
        else None,
        scenario.candidate is not None,
        scenario.replica.disk.sector_bytes,
        scenario.faults,
    )
    if isinstance(scenario.stream, StoreStream):
        yield from store_contradictions(scenario, scenario.stream)


def _fault_contradictions(scenario: Scenario) -> Iterator[Remark]:
    lost: dict[str, tuple[int, int]] = {}
    taken_over: int | None = None
    for index, fault in sorted(enumerate(scenario.faults), key=lambda pair: pair[1].at_ns):
        at, here = units.spell_duration(fault.at_ns), ("faults", index, "at")
        if fault.at_ns > scenario.duration_ns:
            end = units.spell_duration(scenario.duration_ns)
            yield Remark(
                (here, ("duration",)),
                f"{at} is after the end of the scenario ({end})",
                f"Set {dotted(here)} to at most {end}, or duration to at least {at}.",
            )
        host = getattr(fault, "host", None)
        if host in lost:
            gone_ns, by = lost[host]
            gone = units.spell_duration(gone_ns)
            yield Remark(
                (here, ("faults", by, "at")),
                f"at {at} the {host} is gone already (lost at {gone})",
                f"Set {dotted(here)} to less than {gone}, or take the fault out.",
            )
        elif isinstance(fault, Loss):
            lost[fault.host] = (fault.at_ns, index)
        if isinstance(fault, PowerLoss) and fault.host == "source" and fault.when == "apply":
            yield Remark(
                (("faults", index, "when"), ("faults", index, "host")),
                "only the replica applies: write host = replica",
                'Write host = "replica", or when = "resynchronize", or leave when out.',
            )
        if isinstance(fault, OrderedFailover):
            yield from _of_a_failover(index, fault, lost.get("source"), taken_over)
            taken_over = index if taken_over is None else taken_over
        elif isinstance(fault, ReplicaRestored | SecondSource) and taken_over is not None:
            yield Remark(
                (here, ("faults", taken_over, "at")),
                f"at {at} the replica has taken over: its copy is nobody's replica any more",
                f"Set {dotted(here)} to before the failover, or take the fault out.",
            )
        yield from contradictions_of_one(scenario, index, fault)


def _of_a_failover(
    index: int, fault: OrderedFailover, lost: tuple[int, int] | None, taken_over: int | None
) -> Iterator[Remark]:
    """A replica takes over once; of a lost source it does so by itself, as [failover] says."""
    at, here = units.spell_duration(fault.at_ns), ("faults", index, "at")
    if lost is not None:
        gone_ns, by = lost
        gone = units.spell_duration(gone_ns)
        yield Remark(
            (here, ("faults", by, "at"), ("failover", "decide")),
            f"at {at} the source is gone already (lost at {gone}), and [failover] says when the "
            "replica takes over from it",
            f"Set {dotted(here)} to less than {gone}, or take the fault out.",
        )
    if taken_over is not None:
        yield Remark(
            (here, ("faults", taken_over, "at")),
            f"at {at} the replica has taken over already",
            "Take one of the two out.",
        )


def _link_contradictions(link: Link) -> Iterator[Remark]:
    if link.loss >= 1:
        yield Remark(
            (("link", "loss"),),
            "no packet ever arrives",
            'Write less than 100%; for a link that is down, add a fault with kind = "link_outage".',
        )
    if link.initial_window_segments is None:
        for name, given in (
            ("delayed_acknowledgements", link.delayed_acknowledgements),
            ("restart_when_idle", not link.restart_when_idle),
        ):
            if given:
                yield Remark(
                    (("link", name),),
                    "says how connections start, but without link.initial_window they are warm",
                    f"Set link.initial_window to 2 or 10, for instance, or leave {name} out.",
                )
    for index, entry in enumerate(link.schedule):
        here = ("link", "schedule", index)
        if not entry.ranges_ns:
            yield Remark(
                ((*here, "to"), (*here, "from")),
                "begin and end are one: write from 00:00 to 24:00 for the whole day",
                'Write from = "00:00" and to = "24:00" for the whole day, or other times.',
            )
        for earlier, other in enumerate(link.schedule[:index]):
            if any(a < d and c < b for a, b in entry.ranges_ns for c, d in other.ranges_ns):
                yield Remark(
                    ((*here, "from"), ("link", "schedule", earlier, "to")),
                    f"overlaps entry {earlier} of the list",
                    f"Let entry {index} begin where entry {earlier} ends, or take one out.",
                )


def _protection_contradictions(scenario: Scenario) -> Iterator[Remark]:
    for small, large, times in (
        ("segment_size", "spool_limit", 2),
        ("segment_size", "journal_limit", 2),
        ("batch_size", "segment_size", 1),
        ("batch_size", "window", 1),
        ("checkpoint_every", "journal_limit", 1),
    ):
        small_bytes = getattr(scenario.protection, f"{small}_bytes")
        large_bytes = getattr(scenario.protection, f"{large}_bytes")
        if times * small_bytes <= large_bytes:
            continue
        given, limit = units.spell_size(small_bytes), units.spell_size(large_bytes)
        exceeds = f"{given} exceeds {large} ({limit})"
        if small_bytes <= large_bytes:
            exceeds = f"{given} exceeds half of {large} ({limit}), which must hold two segments"
        yield Remark(
            (("protection", small), ("protection", large)),
            exceeds,
            f"Set protection.{small} to at most {units.spell_size(large_bytes // times)}, "
            f"or protection.{large} to at least {units.spell_size(times * small_bytes)}.",
        )


# -- doubts ----------------------------------------------------------------------------


def doubts(scenario: Scenario) -> Iterator[Remark]:
    """What is allowed, but hardly what was meant.

    Reads the beginning of a trace; raises BadInput when it cannot be right.
    """
    yield from _fault_doubts(scenario)
    yield from _heartbeat_doubts(scenario)
    yield from _rate_doubts(scenario)
    if isinstance(scenario.stream, StoreStream):
        yield from store_doubts(scenario, scenario.stream)


def _fault_doubts(scenario: Scenario) -> Iterator[Remark]:
    """Faults of a host that is down at their time, as far as that is known beforehand."""
    down: dict[str, tuple[int, int, bool]] = {}  # until when, by which fault, without power
    for index, fault in sorted(enumerate(scenario.faults), key=lambda pair: pair[1].at_ns):
        if not isinstance(fault, _OF_A_HOST):
            continue
        if isinstance(fault, PowerLoss) and fault.when is not None:
            continue  # it waits until the host is up, and strikes nobody knows when
        host, at_ns = fault.host, fault.at_ns
        until_ns, by, dark = down.get(host, (0, 0, False))
        is_power = isinstance(fault, PowerLoss | ReplicaRestored)
        happens = True
        if at_ns < until_ns:
            happens = isinstance(fault, Loss | ReplicaRestored) or (is_power and not dark)
            yield _remark_of_overlap(fault, index, until_ns, by, happens)
        if happens and isinstance(fault, PowerLoss | ProcessCrash | ReplicaRestored):
            restart_ns = getattr(fault, "restart_ns", None) or getattr(scenario, host).restart_ns
            down[host] = (at_ns + restart_ns, index, is_power)


def _remark_of_overlap(
    fault: Loss | Pause | PowerLoss | ProcessCrash | SlowProcessor | ReplicaRestored,
    index: int,
    until_ns: int,
    by: int,
    happens: bool,
) -> Remark:
    at, until = units.spell_duration(fault.at_ns), units.spell_duration(until_ns)
    what = fault.kind.replace("_", " ")
    effect = (
        f"the {what} strikes a machine of which no process runs, and it does not come back by then"
        if happens
        else f"the {what} cannot happen, and the run will be inconclusive"
    )
    here = ("faults", index, "at")
    return Remark(
        (here, ("faults", by, "at"), (fault.host, "restart")),
        f"at {at} the {fault.host} is down until {until}: {effect}",
        f"Set {dotted(here)} to {until} or more"
        + ("; or keep it, if that is the question." if happens else ", or take the fault out."),
    )


def _heartbeat_doubts(scenario: Scenario) -> Iterator[Remark]:
    protection, link = scenario.protection, scenario.link
    slowest_ns = link.rtt_ns + 2 * link.jitter_ns
    if protection.kind == LOG_SHIPPING:
        return
    if protection.heartbeat_ns >= slowest_ns:
        return
    silence_ns = protection.heartbeat_ns * protection.heartbeat_misses
    if silence_ns <= slowest_ns:
        effect = (
            f"after {units.spell_duration(silence_ns)} of silence a connection is given up, "
            "before any answer can arrive"
        )
    else:
        effect = "the next is due before the answer to the last can arrive"
    jitter: tuple[KeyPath, ...] = (("link", "jitter"),) if link.jitter_ns else ()
    yield Remark(
        (("protection", "heartbeat"), ("link", "rtt"), *jitter),
        f"{units.spell_duration(protection.heartbeat_ns)} is shorter than the link's round trip "
        f"({units.spell_duration(slowest_ns)}): {effect}",
        f"Set protection.heartbeat to {units.spell_duration(slowest_ns)} or more.",
    )


def _rate_doubts(scenario: Scenario) -> Iterator[Remark]:
    stream_rate = stream_bytes_per_second(scenario)
    if stream_rate is None:
        return
    protection, stream = scenario.protection, scenario.stream
    packed = stream_rate * (1 - stream.compressible * (protection.compression == "zstd"))
    if protection.kind == LOG_SHIPPING:
        packed = stream_rate / 2  # logs only, and as they are
    model = scenario.link_model
    line = _line_bytes_per_second(model, scenario.duration_ns)
    single = model.stream_bytes_per_second()
    carried = min(line, single)
    if packed <= carried:
        return
    keys: tuple[KeyPath, ...] = (("link", "bandwidth"),)
    bound = "the link carries"
    if single < line:
        bound = "one TCP stream on this link carries"
        keys = (("link", "loss" if scenario.link.loss else "tcp_window"), ("link", "rtt"))
    load: tuple[KeyPath, ...] = (("stream", "path"), ("stream", "speed"))
    if isinstance(stream, StoreStream):
        load = (("stream", "messages"), ("stream", "message_size"))
    yield Remark(
        (*keys, *load),
        f"{bound} {_rate(carried)} on average, the stream brings about {_rate(packed)} "
        "after compression: the replica falls ever further behind",
        f"Give the link more than {_rate(packed)}, or the stream less; or keep it, if what "
        "happens to an overloaded link is the question.",
    )


def _rate(bytes_per_second: float) -> str:
    return units.format_bits_per_second(8 * bytes_per_second)


def _line_bytes_per_second(model: LinkModel, duration_ns: int) -> float:
    """The line's average over the run; the schedule repeats, so a day says all."""
    end_ns, now_ns, carried = min(duration_ns, DAY_NS), 0, 0.0
    while now_ns < end_ns:
        change_ns = model.next_change_ns(now_ns)
        until_ns = end_ns if change_ns is None else min(change_ns, end_ns)
        carried += model.scheduled_bits_per_second(now_ns) * (until_ns - now_ns)
        now_ns = until_ns
    return carried / end_ns / 8 * model.payload_share


def stream_bytes_per_second(scenario: Scenario) -> float | None:
    """What the stream writes on average; None when that cannot be known.

    Of a store: each message once into the log and once into the database.  Of a trace: its
    first :data:`LARGEST_LOOK` writes, over the time in which they were recorded.
    """
    stream = scenario.stream
    if isinstance(stream, StoreStream):
        return 2 * stream.messages_per_second * mean_message_bytes(stream.load)
    if not stream.path.is_file():
        return None
    first_ns, last_ns, written_bytes = -1, 0, 0
    for write in islice(read_writes(stream.path), LARGEST_LOOK):
        if stream.limit_ns is not None and write.time_ns >= stream.limit_ns:
            break
        first_ns = write.time_ns if first_ns < 0 else first_ns
        last_ns = write.time_ns
        written_bytes += write.length_bytes
    if last_ns <= first_ns:
        return None
    return written_bytes / ((last_ns - first_ns) / units.NS_PER_SECOND) * stream.speed


__all__ = [
    "Remark",
    "contradictions",
    "doubts",
    "mean_message_bytes",
    "stream_bytes_per_second",
]
