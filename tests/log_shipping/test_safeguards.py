"""Each rule of log shipping, taken away: then what it is for is broken, and seen to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.ese.checkpoint import COPY_BYTES, new_checkpoint
from replicator.ese.errors import EseError
from replicator.ese.header_copies import sealed
from replicator.ese.log_header import read_log_header
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from replicator.logship import CopyUnusable
from replicator.logship_options import ALL_SAFEGUARDS
from replicator.logship_options import LogShipSafeguards as Guards
from replicator.logship_status import CopyState
from simulator.exchange.store import StoreUnmountable
from simulator.host import lose_everything
from tests.log_shipping.scenes import (
    SOURCE,
    STORE,
    History,
    Pair,
    is_prefix,
    put,
)

BOTH = pytest.mark.parametrize("on", [True, False], ids=["with it", "without it"])


def whole(pair: Pair) -> bool:
    """Whether what the copy promised is there after a power loss, and makes a store."""
    try:
        generation, contents = pair.found(lose_everything)
    except (CopyUnusable, StoreUnmountable, EseError):
        return False
    return generation >= pair.promised and is_prefix(contents, pair.history, pair.promised)


@BOTH
def test_the_open_log_must_not_be_served(short_history: History, on: bool) -> None:
    """It is taken for a closed one with what it happens to hold, and never looked at again."""
    guards = replace(ALL_SAFEGUARDS, closed_logs_only=on)
    pair = Pair(short_history, guards)
    names = list(short_history.logs)
    pair.start_source()
    pair.start_copy()
    pair.close_logs(*names[:2])
    # Of the third log a part has been written when it is asked for.
    volume = pair.world.machine(SOURCE).processes["courier"].volume("data")
    part = short_history.logs[names[2]][:16_384].ljust(65_536, b"\0")
    host = pair.world.machine(SOURCE).processes["courier"]
    host.start(put(volume, STORE, {"E00.log": part}), "writes")
    pair.run(0.5)
    pair.close_logs(*names[2:])
    pair.run(2)
    last = short_history.generations[-1]
    good = pair.promised == last and whole(pair)
    assert good is on
    pair.close()


@BOTH
def test_a_log_is_served_when_its_name_is_durable(short_history: History, on: bool) -> None:
    pair = Pair(short_history, replace(ALL_SAFEGUARDS, durable_before_served=on))
    names = list(short_history.logs)
    pair.close_logs(names[0])
    pair.start_source()
    pair.start_copy()
    pair.run(0.3)
    # A roll whose names nobody has synced yet.
    volume = pair.world.machine(SOURCE).processes["courier"].volume("data")
    volume.rename(f"{STORE}/E00.log", f"{STORE}/{names[1]}")
    pair.run(0.5)
    assert pair.promised == 2
    pair.world.machine(SOURCE).lose_power(lose_everything)
    there = pair.source_disk.names.directory(STORE).entries
    assert (names[1] in there) is on, "the copy has a log that the source would write anew"
    pair.close()


@BOTH
def test_a_source_keeps_what_its_copy_has_not_replayed(short_history: History, on: bool) -> None:
    pair = Pair(short_history, replace(ALL_SAFEGUARDS, keep_until_replayed=on), truncate=True)
    names = list(short_history.logs)
    pair.close_logs()
    header = read_log_header(BytesReader(short_history.logs[names[3]], names[3]))
    checkpoint = new_checkpoint(LogPosition(4, 8, 0), header.log_signature)
    block = sealed(checkpoint.encode(), COPY_BYTES)
    host = pair.world.machine(SOURCE).processes["courier"]
    host.start(put(host.volume("data"), STORE, {"E00.chk": block + block}), "checkpoint")
    pair.start_source()
    copy = pair.start_copy()
    pair.run(2)
    deleted = [values[0] for _name, event, values in pair.events if event == "logship_deleted"]
    assert deleted[:3] == [1, 2, 3]
    good = copy.status.state is CopyState.HEALTHY
    assert good is on, copy.status.cause
    if on:
        assert copy.queue is not None and copy.queue.replayed == short_history.generations[-1]
    pair.close()


@BOTH
def test_a_log_is_inspected_before_it_counts(short_history: History, on: bool) -> None:
    pair = Pair(short_history, replace(ALL_SAFEGUARDS, inspect_before_replay=on))
    names = list(short_history.logs)
    pair.start_source()
    pair.start_copy()
    pair.close_logs(names[0])
    pair.close_logs(names[1], damage=lambda data: data[:9000] + b"\x55" * 8 + data[9008:])
    pair.run(0.35)
    assert pair.promised == (1 if on else 2)
    assert whole(pair) is on, "a log was promised that is none"
    pair.close()


@BOTH
def test_a_log_counts_when_it_is_durable(short_history: History, on: bool) -> None:
    pair = Pair(short_history, replace(ALL_SAFEGUARDS, sync_before_inspected=on))
    pair.start_source()
    pair.start_copy()
    pair.close_logs()
    broken = looked_at = 0
    for _look in range(60):
        pair.run(0.01)
        if pair.promised > looked_at:
            looked_at = pair.promised
            broken += not whole(pair)
    assert pair.promised == short_history.generations[-1]
    assert (broken == 0) is on
    pair.close()


def test_every_rule_has_its_test() -> None:
    """The one on open transactions is in test_replay.py."""
    tried = {
        "closed_logs_only",
        "durable_before_served",
        "keep_until_replayed",
        "inspect_before_replay",
        "sync_before_inspected",
        "keep_open_transactions",
    }
    assert tried == set(Guards.__dataclass_fields__)
