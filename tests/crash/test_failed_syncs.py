"""A sync fails, the process dies of it and starts again, the machine runs on.

What the sync of a file was about counts as written from then on (:mod:`simulator.failed_sync`):
the new process reads it, its own sync of the file succeeds, and a power loss much later takes
it.  Names whose directory could not be synced are seen by the new process and are not durable
either, until it syncs the directory itself.  Whoever promises on the strength of a sync that
failed breaks the promise.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.disk import Disk
from simulator.link import Link
from simulator.namespace import Directory
from simulator.systems.byte_level import REPLICA, SOURCE, ByteLevelSystem
from tests.crash.harness import Plan, Step, links_that_part, log_rolls, odd_names, run
from tests.strides import strided


def is_directory(disk: Disk, path: str) -> bool:
    return path == "/" or isinstance(dict(disk.names.walk("/")).get(path), Directory)


def broken_by_failed_syncs(
    host: str,
    steps: Callable[[], list[Step]],
    power_after: int = 0,
    metadata: str = "ordered",
    syncs_to_fail: int = 1_000_000,
    stride: int = 1,
) -> tuple[list[str], int]:
    """Let each sync in the script's run fail, one in each run.

    Arguments
    ---------
    power_after: so many storage steps after the restart the power fails; 0 for never.
    metadata: how names survive that.
    syncs_to_fail: not more than the first ones.
    stride: of so many syncs one.

    Returns what broke, and how many of the syncs were of directories.
    """
    broken: list[str] = []
    directories = 0
    for number in range(1, syncs_to_fail + 1, stride):
        failed: list[tuple[str, bool]] = []

        def meddle(
            system: ByteLevelSystem,
            _link: Link,
            number: int = number,
            hit: list[tuple[str, bool]] = failed,
        ) -> None:
            machine = system.replica_machine if host == REPLICA else system.source_machine
            disk = machine.disks["data"]
            syncs = 0

            def fails(path: str) -> bool:
                nonlocal syncs
                syncs += 1
                if syncs == number:
                    hit.append((path, is_directory(disk, path)))
                    disk.crash_at_step = 0  # the process dies of it; the harness starts it again
                return syncs == number

            disk.sync_fails = fails

        # The crash that the harness arms is never reached: the failed sync brings its own.
        outcome = run(
            Plan(
                steps(),
                host=host,
                crash_at=10**9,
                power=False,
                second_crash_after=power_after,
                second_takes_power=True,
                metadata=metadata,
                meddle=meddle,
            )
        )
        if not failed:
            break
        [(failed_path, of_directory)] = failed
        directories += of_directory
        if not outcome.good:
            broken.append(f"sync {number}, of {failed_path}: {outcome.broken}")
    return broken, directories


@pytest.mark.parametrize("host", [REPLICA, SOURCE])
@pytest.mark.parametrize("steps", [log_rolls, odd_names, links_that_part])
def test_any_sync_may_fail(host: str, steps: Callable[[], list[Step]]) -> None:
    broken, directories = broken_by_failed_syncs(host, steps)
    assert not broken
    assert directories, "no directory was synced: this says nothing about their syncs"


@strided(3)
@pytest.mark.parametrize(
    ("host", "steps"),
    [
        (REPLICA, log_rolls),
        (REPLICA, odd_names),
        (REPLICA, links_that_part),
        (SOURCE, log_rolls),
        (SOURCE, odd_names),
        (SOURCE, links_that_part),
    ],
)
def test_power_may_fail_after_any_failed_sync(
    host: str, steps: Callable[[], list[Step]], stride: int
) -> None:
    """During recovery, and when the process is at work again."""
    for power_after in (3, 12, 23, 60):
        broken, _directories = broken_by_failed_syncs(host, steps, power_after, stride=stride)
        assert not broken, (power_after, broken)


def test_the_replica_makes_its_own_directories_durable_before_it_promises() -> None:
    """The sync of the name of its root fails, and its next process finds the name there."""
    broken, directories = broken_by_failed_syncs(REPLICA, log_rolls, 90, "any", 1)
    assert directories == 1
    assert not broken
