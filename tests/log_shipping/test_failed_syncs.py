"""A sync of the copy's database fails, and its process dies of it; the machine goes on.

The next process replays from the checkpoint on and finds changes on their pages already: in the
page cache, which counts them as written.  It writes these pages again in its first run, and lets
the checkpoint pass only then.  In later runs it knows what it has written itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from replicator import logship_replay
from replicator.errors import SyncFailed
from replicator.ese.errors import EseError
from replicator.ese.recovery_result import RecoverySettings
from replicator.logship import CopyUnusable
from simulator.exchange.store import StoreUnmountable
from simulator.host import lose_everything
from tests.log_shipping.scenes import COPY, REPLICA, History, Pair, is_prefix


def breaches(history: History) -> Iterator[str]:
    """One sync of the database after the other fails; then all is replayed, and the power lost."""
    number = 0
    while True:
        number += 1
        pair = Pair(history)
        try:
            seen = _with_failed_sync(pair, number)
            if not seen:
                assert number > 4, "hardly any sync was met"
                return
            try:
                generation, contents = pair.found(lose_everything)
            except (CopyUnusable, EseError, StoreUnmountable) as error:
                yield f"sync {number}: {error}"
                continue
            assert generation == history.generations[-1]
            if not is_prefix(contents, history, generation):
                yield f"sync {number}: there are messages {sorted(contents)}"
        finally:
            pair.close()


def _with_failed_sync(pair: Pair, number: int) -> bool:
    """Copies and replays everything, by a second process from that sync on; False if there is no
    such sync."""
    seen = 0

    def fails(path: str) -> bool:
        nonlocal seen
        seen += path.startswith(COPY) and path.endswith(".edb")
        return seen == number

    pair.replica_disk.sync_fails = fails
    pair.close_logs()
    pair.start_source()
    pair.start_copy()
    with suppress(SyncFailed):
        pair.run(1)
    pair.replica_disk.sync_fails = None
    if seen < number:
        return False
    pair.world.machine(REPLICA).crash_process("copy")
    pair.start_copy()
    pair.run(1)
    return True


def test_what_the_cache_alone_had_is_written_again(short_history: History) -> None:
    assert list(breaches(short_history)) == []


def test_a_process_that_takes_it_for_its_own_loses_it(
    short_history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believing(**settings: object) -> RecoverySettings:
        return RecoverySettings(**(settings | {"vouched": True}))  # type: ignore[arg-type]

    monkeypatch.setattr(logship_replay, "RecoverySettings", believing)
    assert next(breaches(short_history), "")
