"""What no single key of a scenario's store shows: sizes that do not go together, or hardly."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log
from statistics import NormalDist
from typing import Final

from replicator import units
from replicator.toml_errors import Remark
from replicator.toml_text import dotted
from simulator.exchange.engine_config import (
    LOG_SECTOR_BYTES,
    EngineFormat,
    least_database_bytes,
    least_log_bytes,
)
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.load import LoadConfig
from simulator.exchange.small_pages import BODY_BYTES, EXTENT_PAGES, PAGE_BYTES
from simulator.scenario_faults import PowerLoss
from simulator.scenario_model import Scenario, StoreStream

MOST_MESSAGES_PER_SECOND: Final = 1_000_000
_OF_EXCHANGE_ONLY: Final = {"databases": 1, "circular": True, "durability": "write-through"}
"""Keys that mean something to a store in a format of Exchange, with their defaults."""


def store_contradictions(scenario: Scenario, stream: StoreStream) -> Iterator[Remark]:
    """What makes no store, though each key alone is in order."""
    smallest_bytes = LoadConfig(messages_per_second=1).smallest_bytes
    if stream.messages_per_second > MOST_MESSAGES_PER_SECOND:
        yield Remark(
            (("stream", "messages"),),
            "more than a million messages a second is more than can be emulated",
            f"Write at most {MOST_MESSAGES_PER_SECOND}/s.",
        )
    if stream.message_size_bytes < smallest_bytes:
        yield Remark(
            (("stream", "message_size"),),
            f"{units.spell_size(stream.message_size_bytes)} is less than any message has",
            f"Write {units.spell_size(smallest_bytes)} or more.",
        )
    if stream.format == "small":
        yield from _small_contradictions(stream)
    else:
        yield from _engine_contradictions(stream, stream.format)
    for host in ("source", "replica"):
        disk_bytes = getattr(scenario, host).disk.size_bytes
        capacity_bytes = stream.databases * stream.database_size_bytes
        if capacity_bytes > disk_bytes:
            yield Remark(
                (("stream", "database_size"), (host, "disk", "size")),
                f"{units.spell_size(capacity_bytes)} does not fit on the {host}'s disk "
                f"({units.spell_size(disk_bytes)})",
                f"Set {host}.disk.size to more than stream.database_size.",
            )


def _small_contradictions(stream: StoreStream) -> Iterator[Remark]:
    size, database = ("stream", "message_size"), ("stream", "database_size")
    for name, default in _OF_EXCHANGE_ONLY.items():
        if getattr(stream, name) != default:
            yield Remark(
                (("stream", name), ("stream", "format")),
                f"the small store does not know {name}",
                'Take it out, or write format = "exchange 2007".',
            )
    # Half of the database is for messages that are kept, a quarter for what their pages leave
    # empty; the rest is for the mailboxes, a page each.
    needed_bytes = max(
        2 * stream.message_size_bytes,
        4 * stream.mailboxes * PAGE_BYTES,
        2 * EXTENT_PAGES * PAGE_BYTES,
    )
    if needed_bytes > stream.database_size_bytes:
        given = units.spell_size(stream.database_size_bytes)
        if needed_bytes == 2 * stream.message_size_bytes:
            other, why = size, "a message of mean size does not fit into half of it"
        elif needed_bytes == 4 * stream.mailboxes * PAGE_BYTES:
            other, why = ("stream", "mailboxes"), "the mailboxes do not fit into a quarter of it"
        else:
            other, why = database, "there is no room for messages"
        yield Remark(
            tuple(dict.fromkeys((database, other))),
            f"{given} is too small: {why}",
            f"Set stream.database_size to at least {units.spell_size(needed_bytes)}"
            + ("." if other == database else f", or lower {dotted(other)}."),
        )


def _engine_contradictions(stream: StoreStream, name: EngineFormat) -> Iterator[Remark]:
    if stream.mailboxes < stream.databases:
        yield Remark(
            (("stream", "databases"), ("stream", "mailboxes")),
            f"{stream.databases} databases have only {stream.mailboxes} mailboxes",
            f"Set stream.mailboxes to at least {stream.databases}.",
        )
    least = least_log_bytes(name)
    if stream.log_size_bytes < least or stream.log_size_bytes % LOG_SECTOR_BYTES:
        yield Remark(
            (("stream", "log_size"), ("stream", "format")),
            f"{units.spell_size(stream.log_size_bytes)} is no size of a log of {name}",
            f"Write {units.spell_size(least)} or more, in steps of 512 B.",
        )
    needed = max(least_database_bytes(name), 12 * stream.message_size_bytes)
    if stream.database_size_bytes < needed:
        given = units.spell_size(stream.database_size_bytes)
        other = "format" if needed == least_database_bytes(name) else "message_size"
        yield Remark(
            (("stream", "database_size"), ("stream", other)),
            f"{given} is too small for a database of {name} with messages of "
            f"{units.spell_size(stream.message_size_bytes)}",
            f"Set stream.database_size to at least {units.spell_size(needed)}.",
        )


# -- doubts ----------------------------------------------------------------------------


def store_doubts(scenario: Scenario, stream: StoreStream) -> Iterator[Remark]:
    """What is allowed, but hardly what was meant."""
    if stream.format == "small":
        yield from _room_doubts(scenario, stream)
        return
    strikes = [
        index
        for index, fault in enumerate(scenario.faults)
        if isinstance(fault, PowerLoss) and fault.host == "source"
    ]
    page_bytes = STORE_FORMATS[stream.format].page_bytes
    if strikes and scenario.source.disk.sector_bytes < page_bytes:
        yield Remark(
            (("source", "disk", "sector"), ("stream", "format"), ("faults", strikes[0], "kind")),
            f"a power loss may tear pages of {units.spell_size(page_bytes)}, which "
            f"{stream.format} cannot mend (-1018): its store may not mount afterwards",
            f"Set source.disk.sector to {page_bytes}, for a controller with power of its own; "
            "or keep it, if that is the question.",
        )
    if strikes and stream.durability == "flush":
        yield Remark(
            (("stream", "durability"), ("faults", strikes[0], "kind")),
            "a power loss keeps the writes of one flush in any order on these disks: the store "
            "may not mount afterwards (-501)",
            "Set stream.durability to write-through; or keep it, if that is the question.",
        )


def _room_doubts(scenario: Scenario, stream: StoreStream) -> Iterator[Remark]:
    """Messages fill whole pages: many small ones need more room than their bytes say."""
    mean_bytes = mean_message_bytes(stream.load)
    pages = max(1.0, mean_bytes / BODY_BYTES + 0.5)
    arriving = stream.messages_per_second * scenario.duration_ns / units.NS_PER_SECOND
    kept = min(arriving, stream.retention_bytes / mean_bytes)
    needed_bytes = int(kept * pages + stream.mailboxes) * PAGE_BYTES
    if needed_bytes > stream.database_size_bytes:
        yield Remark(
            (("stream", "database_size"), ("stream", "message_size"), ("stream", "messages")),
            f"{units.format_bytes(stream.database_size_bytes)} will be full before the end: a "
            f"message takes at least a page of {units.format_bytes(PAGE_BYTES)}, so those that "
            f"are kept need about {units.format_bytes(needed_bytes)}",
            "Give messages a larger message_size, or let fewer arrive.",
        )


def mean_message_bytes(load: LoadConfig) -> float:
    """The mean of the load's sizes: a log-normal around the median, cut off at both ends."""
    median, spread, normal = load.message_size_bytes, load.size_spread, NormalDist()
    low, high = log(load.smallest_bytes / median), log(load.largest_bytes / median)
    if not spread:
        return float(median)
    low, high = low / spread, high / spread
    middle = exp(spread**2 / 2) * (normal.cdf(high - spread) - normal.cdf(low - spread))
    ends = load.smallest_bytes * normal.cdf(low) + load.largest_bytes * (1 - normal.cdf(high))
    return median * middle + ends
