"""Workloads on real file systems, cut at any point: what they promise, and what the emulated
disk makes of it.

Each outcome is put to two judges.  ``promises``: what every file system must keep.  The
emulated disk: every outcome must be among those that it can leave, but for the differences
named in :class:`~tests.ground_truth.legal_outcomes.Relaxation`, each of which was looked at
and is told in ``docs/ground-truth.md``.  Anything else is a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from simulator.live.power_loss import PowerLoss, Tear, states
from simulator.live.replay import Unmountable, mounted
from tests.ground_truth.calls import Call, drawn, log_roll
from tests.ground_truth.ground import Finding, judge, record, search
from tests.ground_truth.legal_outcomes import Relaxation

pytestmark = pytest.mark.usefixtures("real_disks")

KNOWN = {relaxation.name for relaxation in Relaxation}
WITHOUT_CUTS = (
    "write write write append append append rename unlink link sync sync sync sync_directory commit"
)


def unexplained(findings: Sequence[Finding], known: set[str] = KNOWN) -> str:
    """The findings beyond the known ones, told; empty when there are none."""
    return "\n\n".join(
        f"{each.judge}: {each.what}\n{each.call}\n{each.story}"
        for each in findings
        if each.judge not in known
    )


def test_a_store_on_ext4_over_any_power_loss() -> None:
    """The life of a store: not even one of the known differences shows."""
    count, findings = search(log_roll(), 120)
    assert count == 120
    assert not unexplained(findings, known=set())


def test_drawn_calls_on_ext4_over_any_power_loss() -> None:
    for seed in (1, 3):
        count, findings = search(drawn(seed, 90), 120)
        assert count == 120
        assert not unexplained(findings)


PAGE = 4096
MINIMAL = {
    "an append fills its last page": (
        Relaxation.PART_OF_A_GROWTH,
        [
            Call("append", "/f", length=528),
            Call("sync", "/f"),
            Call("append", "/other", length=PAGE),
            Call("append", "/f", length=17056),
            Call("sync", "/other"),  # commits the size that /f has on its way
            Call("sync", "/f"),
        ],
    ),
    "part of an append is written back": (
        Relaxation.PART_OF_A_GROWTH,
        [
            Call("append", "/other", length=PAGE),
            # Long enough for several of the kernel's large folios.
            Call("append", "/f", length=64 * PAGE),
            Call("push", "/f", 0, 18 * PAGE),
            Call("sync", "/other"),
            Call("sync", "/f"),
        ],
    ),
    "a page is written over after the file was lengthened": (
        Relaxation.BEHIND_A_LOST_CUT,
        [
            Call("truncate", "/f", 20 * PAGE),
            Call("write", "/f", 2 * PAGE, PAGE),
            Call("push", "/f", 0, 16 * PAGE),
            Call("sync", "/f"),
        ],
    ),
    "a page is written over after the file was cut behind it": (
        Relaxation.BEHIND_A_LOST_CUT,
        [
            Call("truncate", "/f", 8 * PAGE),
            Call("write", "/f", 2 * PAGE, PAGE),
            Call("push", "/f", 0, 16 * PAGE),
            Call("sync", "/f"),
        ],
    ),
    "a file is cut inside of a page": (
        Relaxation.ZEROS_OF_A_LOST_CUT,
        [
            Call("truncate", "/f", 8 * PAGE + 512),
            Call("push", "/f", 0, 16 * PAGE),
            Call("sync", "/f"),
        ],
    ),
}


@pytest.mark.parametrize("name", MINIMAL)
def test_each_known_difference_is_there(name: str) -> None:
    """When one is gone, from the kernel or by a better emulated disk, its words must go too."""
    relaxation, calls = MINIMAL[name]
    before = [
        Call("create", "/f"),
        Call("write", "/f", 0, 16 * PAGE),
        Call("sync", "/f"),
        Call("create", "/other"),
        Call("sync_directory", "/"),
    ]
    _count, findings = search(before + calls, 120)
    assert {each.judge for each in findings} == {relaxation.name}, unexplained(findings)


def test_a_journal_without_ordered_data_shows_foreign_bytes() -> None:
    """The harness sees what it should: ext4 with data=writeback may show what others wrote."""
    calls = drawn(5, 90)
    seen: Counter[str] = Counter()
    with record(calls, mount_options="data=writeback") as log:
        for _state, _outcome, findings in judge(calls, log, states(log, 300)):
            seen.update(each.what for each in findings if each.judge == "promises")
    assert any("bytes of" in what for what in seen), "no stale block came into sight"


def test_a_lost_flush_breaks_promises() -> None:
    """The harness sees what it should: a disk that forgets its flushes loses what was synced."""
    calls = log_roll()
    with record(calls) as log:
        # All that was ever pending at a flush is lost: as if that flush had been a lie.
        log._durable_from = dict.fromkeys(log._durable_from, log.end + 1)
        before = [w.number for w in log.pending(log.marked("begin 0"))]
        lost = PowerLoss(log.marked(f"end {len(calls) - 1}"), tuple(before))
        [(_state, _outcome, findings)] = judge(calls, log, [lost])
    assert any(each.judge == "promises" for each in findings)


def test_a_torn_superblock_of_ext4_is_refused() -> None:
    """Why states never tear it unless asked to: half a superblock has a wrong checksum."""
    calls = [Call("create", "/f"), *[Call("append", "/f", length=65536), Call("sync", "/f")] * 2]
    with record(calls) as log:
        # The clean unmount writes the superblock.
        writes = [w for w in log.writes if w.offset_bytes == 0 and w.length_bytes >= 2048]
        write = writes[-1]
        cut = log.durable_from(write) - 1
        pending = tuple(each.number for each in log.pending(cut))
        with mounted(log, PowerLoss(cut, pending)):
            pass
        with (
            pytest.raises(Unmountable, match="torn, kept sectors 2-2"),
            mounted(log, PowerLoss(cut, pending, (Tear(write.number, ((2, 3),)),))),
        ):
            pass


def test_a_file_left_open_by_a_check_is_told() -> None:
    with record([Call("create", "/f"), Call("sync", "/f"), Call("sync_directory", "/")]) as log:
        state = states(log, 5)[-1]
        with pytest.raises(Exception, match="unmount"), mounted(log, state) as directory:
            left_open = (directory / "new").open("wb")
        left_open.close()


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_drawn_calls_on_ext4(seed: int) -> None:
    _count, findings = search(drawn(seed, 120), 400)
    assert not unexplained(findings)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(200, 220))
def test_without_cuts_and_pushes_on_ext4(seed: int) -> None:
    _count, findings = search(drawn(seed, 120, WITHOUT_CUTS), 300)
    assert not unexplained(findings, {Relaxation.PART_OF_A_GROWTH.name})


@pytest.mark.full
@pytest.mark.parametrize("seed", range(300, 320))
def test_many_drawn_calls_on_xfs(seed: int) -> None:
    if not Path("/usr/sbin/mkfs.xfs").exists() and not Path("/sbin/mkfs.xfs").exists():
        pytest.skip("no mkfs.xfs (Debian: xfsprogs)")
    _count, findings = search(drawn(seed, 90), 100, kind="xfs")
    assert not unexplained(findings)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(400, 420))
def test_many_drawn_calls_on_btrfs(seed: int) -> None:
    """Promises only: its fsync makes single names durable, out of their order, and the
    emulated disk's answer to that (``metadata="any"``) is not put to this test yet."""
    if not Path("/usr/sbin/mkfs.btrfs").exists() and not Path("/sbin/mkfs.btrfs").exists():
        pytest.skip("no mkfs.btrfs (Debian: btrfs-progs)")
    _count, findings = search(drawn(seed, 90), 100, kind="btrfs")
    assert not unexplained(findings, KNOWN | {"simulated disk"})
