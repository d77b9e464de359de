"""What no single key of a configuration shows, as far as the file alone can tell.

:func:`contradictions` finds what could only be refused at the start; :func:`doubts` finds what
works, but hardly as it was meant; :func:`exposed` what is only as safe as the network that it
is on.  What the machine has to say (directories, free space) is asked by
:mod:`replicator.host.preflight`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import combinations
from typing import Final

from replicator import units
from replicator.config_model import Configuration, ReplicaTable, SourceTable
from replicator.toml_errors import Remark
from replicator.toml_text import KeyPath, dotted

SHORTEST_HEARTBEAT_NS: Final = 50_000_000
LONGEST_HEARTBEAT_NS: Final = 60 * units.NS_PER_SECOND
_ONLY_THE_OTHER_END: Final = (
    "Lead it through a VPN, or let a firewall admit the other end alone: see 'Who can reach the "
    "port' in docs/operating.md."
)


def directories(configuration: Configuration) -> dict[KeyPath, str]:
    """Each directory that the file names, by its key."""
    found: dict[KeyPath, str] = {}
    source, replica = configuration.source, configuration.replica
    if source is not None:
        found["source", "directory"] = source.directory
        found["source", "spool", "directory"] = source.spool.directory
    if replica is not None:
        found["replica", "directory"] = replica.directory
        if replica.journal.directory is not None:
            found["replica", "journal", "directory"] = replica.journal.directory
    return found


def contradictions(configuration: Configuration) -> Iterator[Remark]:
    """What makes no replicator, though each key alone is in order."""
    source, replica = configuration.source, configuration.replica
    if source is None and replica is None:
        yield Remark(
            ((),),
            "there is neither a table [source] nor a table [replica]",
            "Add [source] on the machine where programs write, [replica] where the copy is.",
        )
    yield from overlaps(directories(configuration))
    if source is not None:
        yield from _source_contradictions(source)
    if replica is not None:
        yield from _replica_contradictions(replica)


def is_inside(inner: str, outer: str) -> bool:
    """Whether ``inner`` is ``outer`` or lies below it."""
    return f"{inner}/".startswith(f"{outer}/")


def overlaps(found: dict[KeyPath, str]) -> Iterator[Remark]:
    """Directories that must be apart and are not."""
    for (one, outer), (two, inner) in combinations(found.items(), 2):
        if one[0] == two[0] == "replica" and is_inside(inner, outer):
            continue  # the journal may be anywhere below its replica
        if outer == inner:
            yield Remark(
                (two, one),
                f"{inner} is {dotted(one)} as well",
                "Give each of them a directory of its own.",
            )
        elif is_inside(inner, outer) or is_inside(outer, inner):
            inside, around = (two, one) if is_inside(inner, outer) else (one, two)
            yield Remark(
                (inside, around),
                f"{found[inside]} lies inside of {dotted(around)} ({found[around]})",
                "Let neither contain the other.",
            )


def _two_segments(table: tuple[str, ...], segment_bytes: int, limit_bytes: int) -> Iterator[Remark]:
    if 2 * segment_bytes > limit_bytes:
        given, limit = units.spell_size(segment_bytes), units.spell_size(limit_bytes)
        name = dotted(table)
        yield Remark(
            ((*table, "segment_size"), (*table, "limit")),
            f"{given} exceeds half of limit ({limit}), which must hold two segments",
            f"Set {name}.segment_size to at most {units.spell_size(limit_bytes // 2)}, or "
            f"{name}.limit to at least {units.spell_size(2 * segment_bytes)}.",
        )


def _source_contradictions(source: SourceTable) -> Iterator[Remark]:
    spool = source.spool
    yield from _two_segments(("source", "spool"), spool.segment_size_bytes, spool.limit_bytes)
    for large, large_bytes in (
        (("source", "spool", "segment_size"), spool.segment_size_bytes),
        (("source", "window"), source.window_bytes),
    ):
        if source.batch_size_bytes > large_bytes:
            limit = units.spell_size(large_bytes)
            yield Remark(
                (("source", "batch_size"), large),
                f"{units.spell_size(source.batch_size_bytes)} exceeds {dotted(large)} ({limit})",
                f"Set source.batch_size to at most {limit}.",
            )


def _replica_contradictions(replica: ReplicaTable) -> Iterator[Remark]:
    journal = replica.journal
    yield from _two_segments(
        ("replica", "journal"), journal.segment_size_bytes, journal.limit_bytes
    )
    if replica.checkpoint_every_bytes > journal.limit_bytes:
        limit = units.spell_size(journal.limit_bytes)
        yield Remark(
            (("replica", "checkpoint_every"), ("replica", "journal", "limit")),
            f"{units.spell_size(replica.checkpoint_every_bytes)} exceeds replica.journal.limit "
            f"({limit})",
            f"Set replica.checkpoint_every to at most {limit}.",
        )


def doubts(configuration: Configuration) -> Iterator[Remark]:
    """What is allowed, but hardly what was meant."""
    source, replica = configuration.source, configuration.replica
    for name, table in (("source", source), ("replica", replica)):
        if table is not None:
            yield from _heartbeat_doubts(name, table.heartbeat_ns)
    if source is None or replica is None:
        return
    if source.heartbeat_ns != replica.heartbeat_ns:
        yield Remark(
            (("replica", "heartbeat"), ("source", "heartbeat")),
            f"{units.spell_duration(replica.heartbeat_ns)} differs from source.heartbeat "
            f"({units.spell_duration(source.heartbeat_ns)})",
            "Give both ends the same: each judges the other's silence by its own.",
        )
    if replica.journal.limit_bytes < source.spool.limit_bytes:
        limit = units.spell_size(source.spool.limit_bytes)
        yield Remark(
            (("replica", "journal", "limit"), ("source", "spool", "limit")),
            f"{units.spell_size(replica.journal.limit_bytes)} is less than source.spool.limit "
            f"({limit}): what is written during a synchronization may not find room there",
            f"Set replica.journal.limit to at least {limit}.",
        )


def exposed(configuration: Configuration) -> Iterator[Remark]:
    """Addresses by which others than this machine come to the connection, or may read it."""
    source, replica = configuration.source, configuration.replica
    if source is not None and not _is_loopback(source.replica):
        yield Remark(
            (("source", "replica"),),
            f"the connection to {source.replica} is neither encrypted nor authenticated",
            _ONLY_THE_OTHER_END,
        )
    if replica is not None and not _is_loopback(replica.listen):
        yield Remark(
            (("replica", "listen"),),
            f"whoever reaches {replica.listen} can replace the copy: connections are neither "
            "encrypted nor authenticated",
            _ONLY_THE_OTHER_END,
        )


def _is_loopback(address: str) -> bool:
    """Whether ``host:port`` stays on this machine; a name is taken for another one's."""
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _heartbeat_doubts(name: str, heartbeat_ns: int) -> Iterator[Remark]:
    given = units.spell_duration(heartbeat_ns)
    if heartbeat_ns < SHORTEST_HEARTBEAT_NS:
        least = units.spell_duration(SHORTEST_HEARTBEAT_NS)
        yield Remark(
            ((name, "heartbeat"),),
            f"{given} is shorter than a busy machine or a link across a continent answers",
            f"Set {name}.heartbeat to at least {least}.",
        )
    elif heartbeat_ns > LONGEST_HEARTBEAT_NS:
        most = units.spell_duration(LONGEST_HEARTBEAT_NS)
        yield Remark(
            ((name, "heartbeat"),),
            f"{given} is long: a dead connection goes unnoticed for several times that",
            f"Set {name}.heartbeat to at most {most}.",
        )
