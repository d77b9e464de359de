"""A sync fails, the process dies of it and starts again, the machine runs on.

What the sync was about counts as written from then on (:mod:`simulator.failed_sync`): the new
process reads it, its own sync of the file succeeds, and a power loss much later takes it.
Whoever promises on the strength of that sync breaks the promise.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.errors import SyncFailed
from simulator.inode import Inode
from simulator.link import Link
from simulator.systems.byte_level import REPLICA, SOURCE, ByteLevelSystem
from tests.crash.harness import Plan, Step, links_that_part, log_rolls, odd_names, run


def broken_by_failed_syncs(host: str, steps: Callable[[], list[Step]]) -> list[str]:
    """Let each sync of a file in the script's run fail, one in each run; says what broke."""
    broken: list[str] = []
    number = 0
    while True:
        number += 1
        failed_paths: list[str] = []

        def meddle(
            system: ByteLevelSystem,
            _link: Link,
            number: int = number,
            hit: list[str] = failed_paths,
        ) -> None:
            machine = system.replica_machine if host == REPLICA else system.source_machine
            disk = machine.disks["data"]
            syncs, forget = 0, disk.sync_failed

            def fails(path: str) -> bool:
                nonlocal syncs
                syncs += 1
                if syncs == number:
                    hit.append(path)
                return syncs == number

            def forget_and_die(inode: Inode, up_to: int, error: SyncFailed) -> None:
                forget(inode, up_to, error)
                disk.crash_at_step = 0
                disk.step("failed")  # raises Crashed; the harness starts the process again

            disk.sync_fails = fails
            disk.sync_failed = forget_and_die  # type: ignore[method-assign]

        # The crash that the harness arms is never reached: the failed sync brings its own.
        outcome = run(Plan(steps(), host=host, crash_at=10**9, power=False, meddle=meddle))
        if not failed_paths:
            return broken
        if not outcome.good:
            broken.append(f"sync {number}, of {failed_paths[0]}: {outcome.broken}")


@pytest.mark.parametrize("steps", [log_rolls, odd_names, links_that_part])
def test_any_sync_of_the_replica_may_fail(steps: Callable[[], list[Step]]) -> None:
    assert not broken_by_failed_syncs(REPLICA, steps)


@pytest.mark.parametrize("steps", [log_rolls, odd_names, links_that_part])
def test_any_sync_of_the_source_may_fail(steps: Callable[[], list[Step]]) -> None:
    assert not broken_by_failed_syncs(SOURCE, steps)
