"""Power losses of a real replica: its own process, a real file system, the real kernel.

How a state is made and judged is told in :mod:`tests.ground_truth.replica_losses`.  Each rule
that the result rests on is switched off once, and the same search finds what breaks.
"""

from __future__ import annotations

import shutil

import pytest

from tests.ground_truth.replica_losses import SHARES, Verdict, examine

pytestmark = pytest.mark.usefixtures("real_disks")

KINDS = ["ext4", "xfs", "btrfs"]
MUTANTS = [
    "sync_before_acknowledge",
    "barrier_at_names",
    "journal_before_apply",
    "atomic_resynchronization",
]
ATTRIBUTES = [
    f"attributes of {what}{where}"
    for what in ("a file", "a directory")
    for where in ("", " in a gap")
]


def examined(kind: str, count: int, **arguments: object) -> Verdict:
    """Examine, where that file system can be made."""
    if shutil.which(f"mkfs.{kind}", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip(f"no mkfs.{kind} (Debian: {kind}progs or {kind}-progs)")
    verdict = examine(kind=kind, count=count, **arguments)
    print(vars(verdict) | {"findings": len(verdict.findings)})
    return verdict


def test_a_replica_on_ext4_over_any_power_loss() -> None:
    verdict = examined("ext4", 120, recoveries=4)
    assert not verdict.findings, verdict.told()
    # That it was worth the while: states of every occasion, before and after each commit.
    assert verdict.states - verdict.second_states == 120
    assert verdict.second_states >= 24
    assert set(SHARES) <= set(verdict.occasions)
    assert {"1", "2", "3"} <= set(verdict.epochs)
    assert verdict.redone > 20
    assert verdict.exact > 20
    assert verdict.torn > 5


@pytest.mark.full
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_replica_on_other_file_systems(kind: str) -> None:
    verdict = examined(kind, 50, seed=2, recoveries=1)
    assert not verdict.findings, verdict.told()
    assert verdict.states > 50


OTHER_MUTANTS = [each for each in MUTANTS if each != "sync_before_acknowledge"]


@pytest.mark.parametrize(
    "safeguard",
    [
        "sync_before_acknowledge",
        *(pytest.param(each, marks=pytest.mark.full) for each in OTHER_MUTANTS),
    ],
)
def test_switched_off_it_is_missed(safeguard: str) -> None:
    verdict = examined("ext4", 400, script="plain store", safeguards={safeguard: False})
    assert verdict.findings, f"{safeguard} can be switched off and nobody notices"
    print(f"{safeguard}: found after {verdict.found_after} states\n{verdict.told()}")


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "script"),
    [
        ("ext4", "attributes of a file"),
        pytest.param("xfs", "attributes of a directory"),
        pytest.param("btrfs", "attributes of a file"),
    ],
)
def test_attributes(kind: str, script: str) -> None:
    verdict = examined(kind, 50, script=script)
    assert not verdict.findings, verdict.told()


@pytest.mark.full
@pytest.mark.parametrize("script", ATTRIBUTES)
@pytest.mark.parametrize("kind", KINDS)
def test_many_changes_of_attributes(kind: str, script: str) -> None:
    verdict = examined(kind, 100, script=script)
    assert not verdict.findings, verdict.told()


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(100, 104))
def test_many_power_losses(kind: str, seed: int) -> None:
    verdict = examined(kind, 600, seed=seed, recoveries=12)
    assert not verdict.findings, verdict.told()
