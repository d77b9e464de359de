"""Comparing the two images: differences are found, what is being written is none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.comparison import ComparisonReport, FileDifference
from replicator.digests import EXTENT_BYTES, PAGE_BYTES
from replicator.image_comparer import ImageComparer
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.synchronization.worlds import MS, Bench, Writer

DATA = random.Random(1).randbytes(6 * EXTENT_BYTES + 1000)


def write(path: str, offset: int, number: int):
    def step(volume) -> None:
        file = volume.open("/data" + path)
        file.write_at(offset, random.Random(number).randbytes(PAGE_BYTES))
        file.close()

    return step


def compare(bench: Bench) -> ComparisonReport:
    comparison = bench.system.source.request_comparison()
    assert bench.system.source.request_comparison() is comparison
    bench.run(lambda: comparison.done)
    report = comparison.report
    assert report is not None
    assert ComparisonReport.from_json(report.to_json()) == report
    bench.run(lambda: bench.system.replica.comparison is not None)
    assert bench.system.replica.comparison == report.summary()
    return report


def spoil(bench: Bench, path: str, offset: int, data: bytes) -> None:
    """Change the replica's file behind the replicator's back."""
    node = bench.world.machine(REPLICA).disks["data"].names.node("/replica/image" + path)
    node.write(offset, data)


def test_equal_images_are_identical():
    bench = Bench({"/db": DATA, "/empty": b""}, {})
    bench.converge()
    report = compare(bench)
    assert report.identical
    assert [(f.path, f.compared_bytes) for f in report.files] == [
        ("/db", len(DATA)),
        ("/empty", 0),
    ]
    assert report.traffic.data_bytes == 0
    bench.close()


def test_differences_are_found_and_nothing_is_changed():
    bench = Bench({"/db": DATA, "/log": DATA[:100], "/only": b"x"}, {})
    bench.converge()
    spoil(bench, "/db", 5 * PAGE_BYTES + 17, b"?")
    spoil(bench, "/db", 6 * EXTENT_BYTES + 5, b"?")
    spoil(bench, "/log", 100, b"more")
    names = bench.world.machine(REPLICA).disks["data"].names
    names.remove("/replica/image/only", directory_wanted=False)
    spoiled = bench.file(REPLICA, "/db")
    resynchronizations = bench.system.resynchronizations
    report = compare(bench)
    assert not report.identical
    found = {each.path: each for each in report.files}
    assert found["/db"].different_bytes == PAGE_BYTES + 1000
    assert found["/db"].first_different_offset == 5 * PAGE_BYTES
    assert found["/log"].sizes_differ
    assert (found["/log"].source_bytes, found["/log"].replica_bytes) == (100, 104)
    assert report.changed_bytes == 0
    assert bench.file(REPLICA, "/db") == spoiled
    assert bench.system.resynchronizations == resynchronizations
    bench.close()


@pytest.mark.parametrize("sync_ms", [1, 40])
@pytest.mark.parametrize("spoiled", [False, True])
def test_what_is_written_meanwhile_is_no_difference(sync_ms, spoiled):
    """With slow syncs, the replica applies long after the source has read."""
    pages = random.Random(3)
    steps = [
        write("/db", pages.randrange(0, 5 * EXTENT_BYTES // PAGE_BYTES) * PAGE_BYTES, number)
        for number in range(2000)
    ]
    steps[500:500] = [
        lambda volume: volume.create("/data/new").close(),
        lambda volume: volume.rename("/data/a", "/data/b"),
        lambda volume: volume.unlink("/data/log"),
    ]
    files = {"/db": DATA, "/a": DATA[:9000], "/log": DATA[:100]}
    bench = Bench(files, files, Writer(steps), sync_ns=sync_ms * MS)
    bench.run(lambda: bool(bench.system.source and bench.system.source.committed))
    if spoiled:
        bench.run(lambda: bench.system.replica.store.applied > 300)
        spoil(bench, "/db", 6 * EXTENT_BYTES + 7, b"?")
    changed_bytes = 0
    for _ in range(20):
        bench.system.replica.comparison = None
        report = compare(bench)
        changed_bytes += report.changed_bytes
        assert report.identical != spoiled, report
        assert report.different_bytes == (1000 if spoiled else 0)
        assert report.from_operation <= report.to_operation
    assert changed_bytes or sync_ms == 1, "the comparison never met a write"
    bench.converge()
    bench.close()


def test_a_broken_connection_begins_it_anew():
    bench = Bench({"/db": DATA}, {}, rtt_ns=20 * MS)
    bench.converge()
    comparison = bench.system.source.request_comparison()
    bench.run(lambda: comparison.attempts == 1)
    bench.world.clock.run_until(bench.world.clock.now() + 15 * MS)
    assert not comparison.done
    bench.link.reset()
    bench.run(lambda: comparison.done)
    assert comparison.attempts == 2
    assert comparison.report is not None
    assert comparison.report.identical
    bench.close()


def unverified(bench: Bench) -> None:
    """The replica does not know whether its disk holds what it said; a new session tells so."""
    bench.system.replica.store.image.unverified = "for a test"
    bench.link.reset()


def outcomes(bench: Bench) -> list[str]:
    """How the comparison of an image that is not verified ends: "verified", or a new "epoch"."""
    unverified(bench)
    before = len(bench.events)

    def found() -> list[str]:
        return [event[1] for event in bench.events[before:] if event[1] in ("verified", "epoch")]

    bench.run(lambda: bool(found()))
    return found()


def names_in_motion(times: int):
    """A file that changes its name with each step."""
    for number in range(times):
        old, new = ("/data/a", "/data/b")[:: 1 if number % 2 == 0 else -1]
        yield lambda volume, old=old, new=new: volume.rename(old, new)


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_file_whose_name_is_in_motion_is_compared_before_the_image_is_verified(spoiled):
    """Each pass meets a change of its name, as long as they go on."""
    files = {"/a": DATA[:9000], "/log": DATA[:100]}
    bench = Bench(files, files, Writer(names_in_motion(250), 10 * MS), rtt_ns=20 * MS)
    bench.run(lambda: bool(bench.system.source and bench.system.source.committed))
    if spoiled:
        bench.run(lambda: bench.system.replica.store.applied > 10)
        names = bench.world.machine(REPLICA).disks["data"].names
        inodes = [names.find(f"/replica/image/{name}") for name in "ab"]
        [node] = [each for each in inodes if each is not None]
        node.write(8000, b"?")
    assert outcomes(bench) == ["epoch" if spoiled else "verified"]
    assert bench.system.replica.store.applied > 200, "several passes met it"
    bench.converge()
    bench.close()


PAGE = 5
HALF = PAGE_BYTES // 2
MOVING, RESTING = PAGE * PAGE_BYTES, PAGE * PAGE_BYTES + HALF
"""Offsets of the half that is written all the time, and of the one that never is."""


def half_page_in_motion(times: int):
    """The first half of a page is written with each step, the other half never."""
    for number in range(times):
        data = random.Random(number).randbytes(HALF)

        def step(volume, data=data) -> None:
            file = volume.open("/data/db")
            file.write_at(MOVING, data)
            file.close()

        yield step


def half_page_bench(spoiled: bool, writes: int = 250) -> Bench:
    """Streaming, in the midst of it; with a byte of the resting half changed at the replica."""
    files = {"/db": DATA[: 2 * EXTENT_BYTES]}
    bench = Bench(files, files, Writer(half_page_in_motion(writes), 10 * MS), rtt_ns=20 * MS)
    bench.run(lambda: bool(bench.system.source and bench.system.source.committed))
    if spoiled:
        bench.run(lambda: bench.system.replica.store.applied > 10)
        spoil(bench, "/db", RESTING + 17, bytes([DATA[RESTING + 17] ^ 1]))
    return bench


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_page_that_is_written_in_part_all_the_time_is_compared_before_it_is_verified(spoiled):
    """What differs may be the write's in each pass, but not in the one after the last write.

    A sound page is verified by the first pass in which both ends read it after the same write.
    """
    bench = half_page_bench(spoiled)
    assert outcomes(bench) == ["epoch" if spoiled else "verified"]
    if spoiled:
        assert bench.system.replica.store.applied > 200, "several passes met it"
    bench.converge()
    assert bench.file(REPLICA, "/db") == bench.file(SOURCE, "/db")
    bench.close()


def test_what_differs_in_each_pass_is_brought_by_a_synchronization(monkeypatch):
    """Not when the writes end at last: they may never."""
    monkeypatch.setattr("replicator.image_comparer.MOST_PASSES", 3)
    bench = half_page_bench(spoiled=True, writes=600)
    assert outcomes(bench) == ["epoch"]
    assert bench.system.replica.store.applied < 400, "long before the writes end"
    bench.converge()
    assert bench.file(REPLICA, "/db") == bench.file(SOURCE, "/db")
    bench.close()


def test_without_further_passes_a_half_spoiled_page_is_verified(monkeypatch):
    """The rule switched off: what one pass could claim nothing about is taken for compared."""
    one_pass = ImageComparer._pass

    async def leaves_nothing(comparer, wanted):
        assert await one_pass(comparer, wanted), "it met the page in motion"
        return {}

    monkeypatch.setattr(ImageComparer, "_pass", leaves_nothing)
    bench = half_page_bench(spoiled=True)
    assert outcomes(bench) == ["verified"]
    bench.converge()
    ours, theirs = bench.file(SOURCE, "/db"), bench.file(REPLICA, "/db")
    differing = [offset for offset, byte in enumerate(ours) if byte != theirs[offset]]
    assert differing == [RESTING + 17], "verified, and yet spoiled"
    bench.close()


REPORTS = st.builds(
    ComparisonReport,
    st.integers(0, 9),
    st.integers(0, 9),
    files=st.lists(
        st.builds(FileDifference, st.text(), st.integers(0), st.integers(0), st.integers(0)),
        max_size=2,
    ),
    only_at_source=st.lists(st.text(), max_size=2),
)


@given(REPORTS)
def test_reports_come_back(report):
    assert ComparisonReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "comparison/1"}'])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        ComparisonReport.from_json(text)
