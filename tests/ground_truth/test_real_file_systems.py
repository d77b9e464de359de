"""Workloads on real file systems, cut at any point: what they promise, and what the emulated
disk makes of it.

Each outcome is put to two judges.  ``promises``: what every file system must keep.  The
emulated disk: every outcome must be among those that it can leave.  Anything else is a finding.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence

import pytest

from simulator.live.power_loss import PowerLoss, Tear, states
from simulator.live.replay import Unmountable, mounted
from tests.ground_truth.calls import Call, drawn, log_roll, payload
from tests.ground_truth.ground import Finding, judge, record, search

pytestmark = pytest.mark.usefixtures("real_disks")

WITHOUT_CUTS = (
    "write write write append append append rename unlink link sync sync sync sync_directory commit"
)


def told(findings: Sequence[Finding]) -> str:
    """The findings in words; empty when there are none."""
    return "\n\n".join(f"{each.judge}: {each.what}\n{each.call}\n{each.story}" for each in findings)


def test_a_store_on_ext4_over_any_power_loss() -> None:
    count, findings = search(log_roll(), 120)
    assert count == 120
    assert not told(findings)


def test_drawn_calls_on_ext4_over_any_power_loss() -> None:
    for seed in (1, 3):
        count, findings = search(drawn(seed, 90), 120)
        assert count == 120
        assert not told(findings)


def _skip_without(kind: str) -> None:
    if shutil.which(f"mkfs.{kind}", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip(f"no mkfs.{kind} (Debian: {kind}progs or {kind}-progs)")


PAGE = 4096
MINIMAL = {
    "an append fills its last page": (
        "PART_OF_A_GROWTH",
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
        "PART_OF_A_GROWTH",
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
        "BEHIND_A_LOST_CUT",
        [
            Call("truncate", "/f", 20 * PAGE),
            Call("write", "/f", 2 * PAGE, PAGE),
            Call("push", "/f", 0, 16 * PAGE),
            Call("sync", "/f"),
        ],
    ),
    "a page is written over after the file was cut behind it": (
        "BEHIND_A_LOST_CUT",
        [
            Call("truncate", "/f", 8 * PAGE),
            Call("write", "/f", 2 * PAGE, PAGE),
            Call("push", "/f", 0, 16 * PAGE),
            Call("sync", "/f"),
        ],
    ),
    "a file is cut inside of a page": (
        "ZEROS_OF_A_LOST_CUT",
        [
            Call("truncate", "/f", 8 * PAGE + 512),
            Call("push", "/f", 0, 16 * PAGE),
            Call("sync", "/f"),
        ],
    ),
}


@pytest.mark.parametrize("name", MINIMAL)
def test_what_the_emulated_disk_once_did_not_leave(name: str) -> None:
    """ext4 shows it, by the marks that tell it from what was expected, and the disk allows it."""
    kind, calls = MINIMAL[name]
    before = [
        Call("create", "/f"),
        Call("write", "/f", 0, 16 * PAGE),
        Call("sync", "/f"),
        Call("create", "/other"),
        Call("sync_directory", "/"),
    ]
    seen: set[str] = set()
    with record(before + calls) as log:
        chosen = states(log, 120, first_cut=log.marked("begin 5"))
        for _state, outcome, findings in judge(before + calls, log, chosen):
            assert not told(findings)
            seen |= kinds_of(outcome["/f"], before + calls)
    assert kind in seen


@pytest.mark.parametrize("synced", ["/a", "/b"])
def test_a_file_moved_to_another_directory_of_btrfs_may_have_both_names(synced: str) -> None:
    """The new directory is durable without the old one, as the emulated ``any`` has it."""
    _skip_without("btrfs")
    calls = [
        Call("mkdir", "/a"),
        Call("mkdir", "/b"),
        Call("create", "/a/f"),
        Call("commit", "/"),
        Call("rename", "/a/f", other="/b/f"),
        Call("sync_directory", synced),
        Call("create", "/b/other"),
        Call("sync", "/b/other"),
    ]
    both_names = 0
    with record(calls, kind="btrfs") as log:
        chosen = states(log, 60, first_cut=log.marked("end 5"))
        for _state, outcome, findings in judge(calls, log, chosen, "any"):
            assert not told(findings)
            both_names += {"/a/f", "/b/f"} <= outcome.keys()
    assert bool(both_names) == (synced == "/b")


def kinds_of(content: bytes | None, calls: Sequence[Call]) -> set[str]:
    """Which of the surprises of :data:`MINIMAL` the content of /f is."""
    assert content is not None
    old = 16 * PAGE
    sizes, size = {0, old}, 0
    for call in calls:
        if call.path != "/f":
            continue
        if call.op in ("write", "append"):
            size = max(size, (size if call.op == "append" else call.offset) + call.length)
        elif call.op == "truncate":
            size = call.offset
        sizes.add(size)
    found: set[str] = set()
    if len(content) not in sizes:
        found.add("PART_OF_A_GROWTH")
    if len(content) == old and any(call.op == "truncate" for call in calls):
        if content[2 * PAGE : 3 * PAGE] != payload(1, 0, 2 * PAGE, PAGE):
            found.add("BEHIND_A_LOST_CUT")
        if not any(content[8 * PAGE + 512 : 9 * PAGE]) and any(content[9 * PAGE :]):
            found.add("ZEROS_OF_A_LOST_CUT")
    return found


def test_a_journal_without_ordered_data_shows_foreign_bytes() -> None:
    """The harness sees what it should: ext4 with data=writeback may show what others wrote.

    It may: when the kernel writes back is its own affair, so it is tried up to twenty times.
    """
    seen: Counter[str] = Counter()
    for attempt in range(20):
        calls = drawn(5 + attempt, 90)
        with record(calls, mount_options="data=writeback") as log:
            for _state, _outcome, findings in judge(calls, log, states(log, 300)):
                seen.update(each.what for each in findings if each.judge == "promises")
        if any("bytes of" in what for what in seen):
            return
    pytest.fail("no stale block came into sight")


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
    assert not told(findings)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(200, 220))
def test_without_cuts_and_pushes_on_ext4(seed: int) -> None:
    _count, findings = search(drawn(seed, 120, WITHOUT_CUTS), 300)
    assert not told(findings)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(300, 320))
def test_many_drawn_calls_on_xfs(seed: int) -> None:
    _skip_without("xfs")
    _count, findings = search(drawn(seed, 90), 100, kind="xfs")
    assert not told(findings)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(400, 420))
def test_many_drawn_calls_on_btrfs(seed: int) -> None:
    """Its fsync makes single names durable, out of their order: ``metadata="any"``."""
    _skip_without("btrfs")
    _count, findings = search(drawn(seed, 90), 100, kind="btrfs")
    assert not told(findings)
