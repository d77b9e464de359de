"""What one fault of a scenario contradicts: its own keys, or the disks and the link there are."""

from __future__ import annotations

from collections.abc import Iterator

from replicator import units
from replicator.toml_errors import Remark
from replicator.toml_text import dotted
from simulator.scenario_faults import (
    BitRot,
    ClockJump,
    DiskFull,
    Fault,
    LinkLoss,
    PowerLoss,
    ReplicaRestored,
    VolumeFault,
)
from simulator.scenario_hosts import Disk
from simulator.scenario_model import Scenario

_OWNERS = {
    "spool": "source",
    "journal": "replica",
    "checkpoint": "replica",
    "home": "replica",
    "staging": "replica",
}


def contradictions_of_one(scenario: Scenario, index: int, fault: Fault) -> Iterator[Remark]:
    """What makes no world of this fault, the ``index``-th of the scenario's list."""
    here = ("faults", index)
    if isinstance(fault, VolumeFault):
        yield from _of_another(index, "volume", fault.volume, fault.host)
    if isinstance(fault, PowerLoss) and fault.when is not None and fault.calls is not None:
        yield Remark(
            ((*here, "calls"), (*here, "when")),
            "an activity is waited for, or calls are counted, not both",
            "Leave out one of when and calls.",
        )
    if isinstance(fault, BitRot):
        yield from _of_another(index, "where", fault.where, fault.host)
    if isinstance(fault, DiskFull):
        yield from _more_than_there_is(scenario, index, fault)
    if isinstance(fault, LinkLoss) and fault.loss >= 1:
        yield Remark(
            ((*here, "loss"),),
            "no packet ever arrives",
            'Write less than 100%, or kind = "link_outage".',
        )
    if isinstance(fault, ClockJump) and not fault.by_ns:
        yield Remark(
            ((*here, "by"),),
            "a clock that jumps by nothing does not jump",
            'Write for instance by = "1h" or by = "-90s".',
        )
    if isinstance(fault, ReplicaRestored) and fault.age_ns > fault.at_ns:
        age, at = units.spell_duration(fault.age_ns), units.spell_duration(fault.at_ns)
        yield Remark(
            ((*here, "age"), (*here, "at")),
            f"{age} before {at} there was no replica to copy",
            f"Set {dotted((*here, 'age'))} to at most {at}.",
        )


def _of_another(index: int, key: str, place: str, host: str) -> Iterator[Remark]:
    owner = _OWNERS.get(place, host)
    if owner != host:
        yield Remark(
            (("faults", index, key), ("faults", index, "host")),
            f"the {host} has no {place}, the {owner} has it",
            f'Write host = "{owner}", or another {key}.',
        )


def _more_than_there_is(scenario: Scenario, index: int, fault: DiskFull) -> Iterator[Remark]:
    host = getattr(scenario, fault.host)
    own: Disk | None = None
    if fault.volume in ("spool", "journal"):
        own = getattr(host, f"{fault.volume}_disk", None)
    size_bytes = (own or host.disk).size_bytes
    if fault.free_bytes >= size_bytes:
        free, size = units.spell_size(fault.free_bytes), units.spell_size(size_bytes)
        which = f"{fault.host}.{f'{fault.volume}_disk' if own else 'disk'}"
        yield Remark(
            (("faults", index, "free"), (fault.host, which.split(".")[1], "size")),
            f"{free} of free room is all of {which} ({size}), or more",
            f"Set {dotted(('faults', index, 'free'))} to less than {size}.",
        )
