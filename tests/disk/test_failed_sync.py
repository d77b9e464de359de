"""After a failed sync: what reads show, what later syncs are worth, what a power loss leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import SyncFailed
from simulator.device import INSTANT
from simulator.host import keep_everything, lose_everything
from simulator.volume import SimFile
from tests.disk.bench import Bench, Choices, every_choice, recount
from tests.disk.reference import FileModel

PAGE = 4096


def failed(*writes: tuple[int, bytes], synced: bytes = b"") -> tuple[Bench, SimFile]:
    """A file /f with synced bytes, whose sync of some writes has failed; a new handle of it."""
    bench = Bench(replace(INSTANT, sector_bytes=4096))
    file = bench.volume.create("/f")
    file.write_at(0, synced)
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    for offset, data in writes:
        file.write_at(offset, data)
    fail(bench, file)
    return bench, bench.volume.open("/f")


def fail(bench: Bench, file: SimFile) -> None:
    bench.disk.sync_fails = lambda _path: True
    with pytest.raises(SyncFailed):
        bench.wait(file.sync())
    bench.disk.sync_fails = None


def outcomes(bench: Bench) -> set[bytes]:
    def crash(choose: object) -> bytes:
        fork = bench.fork()
        fork.lose_power(choose)  # type: ignore[arg-type]
        return fork.content("/f")

    return set(every_choice(crash))


def test_reads_show_the_bytes_and_a_new_handle_syncs_without_writing_them() -> None:
    bench, file = failed((0, b"new"), synced=b"old")
    assert bench.disk.dirty_bytes == 0
    assert bench.wait(file.read_at(0, 9)) == b"new"
    bench.wait(file.sync())
    assert outcomes(bench) == {b"old", b"new"}
    bench.lose_power(lose_everything)
    assert bench.content("/f") == b"old"


def test_names_whose_sync_failed_are_seen_and_not_durable() -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    bench.wait(file.sync())
    bench.disk.sync_fails = lambda path: path == "/"
    with pytest.raises(SyncFailed):
        bench.wait(bench.volume.sync_directory("/"))
    bench.disk.sync_fails = None
    with pytest.raises(SyncFailed):
        bench.wait(bench.volume.sync_directory("/"))
    assert bench.volume.list("/") == ["f"]
    lost = bench.fork()
    lost.lose_power(lose_everything)
    assert not lost.tree()


def test_another_process_syncs_the_names_that_this_one_could_not() -> None:
    bench = Bench()
    file = bench.volume.create("/f")
    bench.wait(file.sync())
    bench.disk.sync_fails = lambda _path: True
    with pytest.raises(SyncFailed):
        bench.wait(bench.volume.sync_directory("/"))
    bench.disk.sync_fails = None
    bench.restart()
    bench.wait(bench.volume.sync_directory("/"))
    bench.lose_power(lose_everything)
    assert list(bench.tree()) == ["/f"]


def test_all_handles_that_were_open_hear_of_it() -> None:
    bench = Bench()
    one = bench.volume.create("/f")
    other = bench.volume.open("/f")
    one.write_at(0, b"x")
    fail(bench, other)
    for handle in (one, other):
        with pytest.raises(SyncFailed):
            handle.write_at(0, b"y")
        with pytest.raises(SyncFailed):
            bench.wait(handle.sync())


@pytest.mark.parametrize("again", [False, True])
def test_a_size_that_is_set_again_is_synced(again: bool) -> None:
    """As recovery does that redoes a growth of which it does not know what became."""
    bench = Bench(replace(INSTANT, sector_bytes=4096))
    file = bench.volume.create("/f")
    file.write_at(0, b"o" * PAGE)
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    file.truncate(3 * PAGE)
    fail(bench, file)
    file = bench.volume.open("/f")
    if again:
        file.truncate(3 * PAGE)
    file.write_at(0, b"y" * PAGE)
    bench.wait(file.sync())
    sizes = {len(content) for content in outcomes(bench)}
    assert sizes == ({3 * PAGE} if again else {PAGE, 2 * PAGE, 3 * PAGE})


def test_a_page_that_is_written_again_is_synced_as_a_whole() -> None:
    bench, file = failed((0, b"x" * (2 * PAGE)), synced=b"o" * (2 * PAGE))
    file.write_at(10, b"y")
    bench.wait(file.sync())
    first = b"x" * 10 + b"y" + b"x" * (PAGE - 11)
    assert outcomes(bench) == {first + b"x" * PAGE, first + b"o" * PAGE}


def test_an_unsynced_write_brings_its_sector_along_if_it_survives() -> None:
    bench, file = failed((0, b"xx"), synced=b"oo")
    file.write_at(0, b"y")
    assert outcomes(bench) == {b"oo", b"xx", b"yx"}


def test_a_growth_may_be_lost_or_hold_zeros() -> None:
    bench, _file = failed((0, b"x" * 100))
    assert outcomes(bench) == {b"", bytes(100), b"x" * 100}


def test_a_sync_of_what_is_behind_settles_the_size_of_the_failed_growth() -> None:
    bench, file = failed((0, b"x" * PAGE))
    file.write_at(PAGE, b"y")
    bench.wait(file.sync())
    assert outcomes(bench) == {bytes(PAGE) + b"y", b"x" * PAGE + b"y"}


def test_a_failed_cut_may_be_lost_with_the_bytes_behind_it() -> None:
    bench = Bench(replace(INSTANT, sector_bytes=4096))
    file = bench.volume.create("/f")
    file.write_at(0, b"o" * (2 * PAGE))
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/"))
    file.truncate(10)
    fail(bench, file)
    assert b"o" * (2 * PAGE) in outcomes(bench)
    assert b"o" * 10 in outcomes(bench)
    # Cut once more, and synced: what was behind must not come back with a later growth.
    file = bench.volume.open("/f")
    file.truncate(5)
    bench.wait(file.sync())
    file.truncate(PAGE)
    bench.wait(file.sync())
    assert outcomes(bench) == {b"o" * 5 + bytes(PAGE - 5)}


def test_after_a_power_loss_nothing_of_it_is_left() -> None:
    bench, _file = failed((0, b"new"), synced=b"old")
    bench.lose_power(lose_everything)
    assert bench.disk._inodes[2].lost is None
    bench.lose_power(keep_everything)
    assert bench.content("/f") == b"old"


STEP = st.tuples(
    st.sampled_from(("write", "write", "truncate", "sync", "fail")),
    st.one_of(st.integers(0, 9000), st.sampled_from((0, 512, 4096, 8192))),
    st.integers(1, 5000),
)


@given(st.lists(STEP, max_size=8), st.lists(st.integers(0, 99), max_size=30))
def test_a_failed_sync_is_never_worse_than_one_that_was_never_asked_for(
    steps: list[tuple[str, int, int]], choices: list[int]
) -> None:
    """And its bytes are seen until the power goes, whatever is done meanwhile.

    The model takes a failed sync for none at all.  What it says of sizes and sectors holds as
    long as no sync succeeds after one that failed; what is counted holds always.
    """
    bench, model = Bench(), FileModel()
    bench.volume.create("/f").close()
    bench.wait(bench.volume.sync_directory("/"))
    failures, exact = 0, True
    for stamp, (call, at, length) in enumerate(steps, 1):
        file = bench.volume.open("/f")
        if call == "write":
            file.write_at(at, bytes([stamp]) * length)
            model.write(at, bytes([stamp]) * length)
        elif call == "truncate":
            file.truncate(at)
            model.truncate(at)
        elif call == "sync":
            bench.wait(file.sync())
            model.sync()
            exact = exact and not failures
        else:
            failures += 1
            fail(bench, file)
        file.close()
        assert bench.content("/f") == model.now()
        assert recount(bench.disk) == (bench.disk.used_blocks, bench.disk.dirty_bytes)
    kept = bench.fork()
    kept.lose_power(keep_everything)
    assert kept.content("/f") == model.now()
    before = bench.content("/f")
    bench.fork().lose_power(Choices(choices))
    assert bench.content("/f") == before
    bench.lose_power(Choices(choices))
    if exact:
        assert model.allows(bench.content("/f"), 512)
