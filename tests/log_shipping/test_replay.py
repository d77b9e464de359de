"""Replay, generation after generation, and what becomes of it when somebody takes over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.ese.database_header import State
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import log_time_at
from replicator.ese.values import Signature
from replicator.logship_activate import activate
from replicator.logship_options import ALL_SAFEGUARDS
from replicator.logship_options import LogShipSafeguards as Guards
from replicator.logship_replay import Replayer
from simulator.exchange.store import StoreUnmountable
from simulator.host import Host
from tests.log_shipping.scenes import (
    CONFIG,
    COPY,
    History,
    at_once,
    contents_of,
    generation_of,
    is_prefix,
    make_history,
    place_of,
    put,
)


def replayer_on(host: Host, guards: Guards = ALL_SAFEGUARDS) -> Replayer:
    count = 0

    def signature() -> Signature:
        nonlocal count
        count += 1
        return Signature(count, log_time_at(host.wall_ns()))

    return Replayer(
        place_of(host.volume("data")),
        now=lambda: log_time_at(host.wall_ns()),
        flush_signature=signature,
        limit_pages=256,
        safeguards=guards,
    )


async def activated(host: Host) -> dict[int, bytes]:
    place = place_of(host.volume("data"))
    await activate(
        place,
        now=lambda: log_time_at(host.wall_ns()),
        flush_signature=lambda: Signature(1, log_time_at(host.wall_ns())),
        limit_pages=256,
    )
    assert all(each.header.state is State.CLEAN_SHUTDOWN for each in await place.databases())
    return await contents_of(host)


def replayed(
    history: History,
    upto: int,
    *,
    again_after: int = 0,
    logs_a_run: int = 1,
    delete: bool = False,
    guards: Guards = ALL_SAFEGUARDS,
) -> dict[int, bytes]:
    """Replay up to a generation, activate, and read.

    Arguments
    ---------
    again_after: after so many runs a new process goes on; 0: never.
    """

    async def main(host: Host) -> dict[int, bytes]:
        volume = host.volume("data")
        await put(volume, COPY, history.seed)
        replayer, runs = replayer_on(host, guards), 0
        waiting: list[int] = []
        for name, data in history.logs.items():
            if generation_of(name) > upto:
                break
            await put(volume, COPY, {name: data})
            waiting.append(generation_of(name))
            if len(waiting) == logs_a_run:
                await replayer.run(waiting[-1], 1 << 30 if delete else 0)
                waiting.clear()
                runs += 1
                if again_after and runs % again_after == 0:
                    replayer = replayer_on(host, guards)
        return await activated(host)

    return at_once(main)


@pytest.mark.parametrize("logs_a_run", [1, 3])
def test_a_copy_has_what_the_generations_hold_that_it_replayed(
    history: History, logs_a_run: int
) -> None:
    for upto in (0, 1, 4, history.generations[-1]):
        found = replayed(history, upto, logs_a_run=logs_a_run)
        assert is_prefix(found, history, upto), (upto, sorted(found))
    assert len(found) >= 35


def test_a_new_process_goes_on_and_logs_below_the_checkpoint_are_not_needed(
    history: History,
) -> None:
    for again_after in (1, 2):
        found = replayed(history, 8, again_after=again_after, delete=True)
        assert is_prefix(found, history, 8)


def test_a_transaction_over_several_logs_is_whole_or_not_there(
    long_transactions: History,
) -> None:
    history, counts = long_transactions, set()
    for upto in history.generations[1::2]:
        found = replayed(history, upto, again_after=1, delete=True)
        assert len(found) % 12 == 0 and is_prefix(found, history, upto), (upto, sorted(found))
        counts.add(len(found))
    assert len(counts) >= 2, "no transaction was open at the end of any log"


def test_forgetting_open_transactions_is_found(long_transactions: History) -> None:
    """Redo that begins behind the beginning of a transaction can neither go on nor undo it."""
    guards, broken = Guards(keep_open_transactions=False), []
    for upto in long_transactions.generations[2:4]:
        try:
            found = replayed(long_transactions, upto, again_after=1, delete=True, guards=guards)
        except (EseError, StoreUnmountable) as error:
            broken.append(str(error))
            continue
        if len(found) % 12 or not is_prefix(found, long_transactions, upto):
            broken.append(f"{len(found)} messages")
    assert broken


def test_a_missing_log_is_named(history: History) -> None:
    async def main(host: Host) -> None:
        volume = host.volume("data")
        names = list(history.logs)
        await put(volume, COPY, history.seed | {names[0]: history.logs[names[0]]})
        await put(volume, COPY, {names[2]: history.logs[names[2]]})
        with pytest.raises(EseError, match="generation 0x2 is missing") as caught:
            await replayer_on(host).run(3)
        assert caught.value.number == -528

    at_once(main)


def test_a_database_that_the_copy_lacks_is_told() -> None:
    """Its changes would be passed over, and nobody would know."""
    both = make_history(8, replace(CONFIG, databases=2))
    assert set(both.seed) == {"priv1.edb", "priv2.edb"}

    async def main(host: Host) -> None:
        volume = host.volume("data")
        await put(volume, COPY, {"priv1.edb": both.seed["priv1.edb"]} | both.logs)
        last = both.generations[-1]
        with pytest.raises(EseError) as caught:
            await replayer_on(host).run(last)
        assert caught.value.number == -1216 and "priv2.edb" in str(caught.value)
        volume.unlink(f"{COPY}/priv1.edb")
        with pytest.raises(EseError, match="no database any more"):
            await replayer_on(host).run(last)

    at_once(main)
