"""Space, dirty bytes and forks: kept incrementally, equal to a recount at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.errors import NoSpace, StorageError
from simulator.device import INSTANT
from simulator.digest import image_digest
from simulator.volume import SimFile
from tests.disk.bench import Bench, Choices, recount

BLOCKS = 40
SMALL = replace(INSTANT, size_bytes=BLOCKS * 8192, dirty_limit_bytes=200_000)
Step = tuple[str, int, int, int]
MORE = settings(max_examples=4 * settings().max_examples)

PATHS = ("/a", "/b", "/c", "/d/a")
STEP = st.tuples(
    st.sampled_from(
        (
            "create",
            "write",
            "write",
            "write",
            "zero",
            "truncate",
            "allocate",
            "unlink",
            "rename",
            "link",
            "sync",
            "syncdir",
            "mkdir",
            "attributes",
            "pass time",
            "close",
        )
    ),
    st.integers(0, 3),
    st.one_of(st.integers(0, 99_999), st.sampled_from((0, 8191, 8192, 16384, 81920))),
    st.one_of(st.integers(0, 60_000), st.sampled_from((0, 1, 8191, 8192, 8193, 65536))),
)


def do(bench: Bench, handles: list[SimFile], step: Step) -> None:
    """One step; files stay open, so that some lose their names while they are written."""
    call, which, at, length = step
    volume, path = bench.volume, PATHS[which]
    file = handles[at % len(handles)] if handles else None
    if call == "create":
        handles.append(volume.create(path))
    elif call == "unlink":
        volume.unlink(path)
    elif call in ("rename", "link"):
        getattr(volume, call)(path, PATHS[length % 4])
    elif call == "mkdir":
        volume.mkdir("/d")
    elif call == "attributes":
        volume.set_attributes(path, length)
    elif call == "syncdir":
        bench.wait(volume.sync_directory("/d" if which == 3 else "/"))
    elif call == "pass time":
        bench.clock.run_until(bench.clock.now() + at * 1_000_000)
    elif file is None:
        return
    elif call == "write":
        file.write_at(at, bytes([which + 1]) * length)
    elif call == "zero":
        file.zero_range(at, length)
    elif call == "truncate":
        file.truncate(at)
    elif call == "allocate":
        file.allocate(at, length)
    elif call == "close":
        handles.remove(file)
        file.close()
    else:
        bench.wait(file.sync())


def play(bench: Bench, handles: list[SimFile], steps: list[Step], exact: bool = True) -> None:
    """All steps, recounting after each; a call that fails for want of space is no drift."""
    for step in steps:
        free = bench.volume.free_bytes()
        try:
            do(bench, handles, step)
        except NoSpace as error:
            assert free < 70_000 + 8192 or step[0] in ("allocate", "zero"), (step, free)
            assert error.path is not None and error.offset is not None
        except StorageError:
            pass
        check(bench, handles)


def check(bench: Bench, handles: Sequence[SimFile] = ()) -> None:
    used, dirty = recount(bench.disk, handles)
    assert bench.disk.used_blocks == used
    assert 0 <= used <= BLOCKS
    assert bench.disk.dirty_bytes >= dirty
    extra = bench.disk.dirty_bytes - dirty  # of files that lost their names for good
    assert extra == sum(
        inode.dirty_bytes
        for number, inode in bench.disk._dirty.items()
        if number not in bench.disk._inodes
    )


LIVES = st.lists(
    st.tuples(st.lists(STEP, max_size=12), st.lists(st.integers(0, 99), max_size=12)), max_size=3
)


@MORE
@given(st.sampled_from(("ordered", "any")), LIVES)
def test_space_and_dirty_bytes_never_drift(
    metadata: str, lives: list[tuple[list[Step], list[int]]]
) -> None:
    bench = Bench(replace(SMALL, metadata=metadata))
    for steps, choices in lives:
        play(bench, opened(bench), steps)
        bench.lose_power(Choices(choices))
        check(bench)
        assert bench.disk.dirty_bytes == 0
        for path, (_number, kind, _attributes) in bench.tree().items():
            if kind.startswith("FILE"):
                file = bench.volume.open(path)
                file.truncate(0)
                file.close()
        assert bench.disk.used_blocks == 0


def opened(bench: Bench) -> list[SimFile]:
    """Two open files to start with: the old ones, or new ones."""
    volume = bench.volume
    return [volume.open(p) if is_file(bench, p) else volume.create(p) for p in PATHS[:2]]


def portrait(bench: Bench) -> dict[str, object]:
    """Everything that can be seen of a disk."""
    shown: dict[str, object] = dict(bench.tree())
    for path, (_number, kind, _attributes) in bench.tree().items():
        if kind.startswith("FILE"):
            shown[path + " content"] = bench.content(path)
    shown["space"] = (bench.disk.used_blocks, bench.disk.dirty_bytes, bench.disk.steps)
    shown["unsynced"] = [
        (number, len(inode.changes), inode.dirty_runs)
        for number, inode in sorted(bench.disk._inodes.items())
    ]
    return shown


@MORE
@given(
    st.lists(STEP, max_size=12),
    st.lists(STEP, max_size=8),
    st.lists(st.integers(0, 99), max_size=12),
    st.lists(STEP, max_size=4),
)
def test_nothing_done_to_a_fork_touches_its_base(
    steps: list[Step], forked: list[Step], choices: list[int], later: list[Step]
) -> None:
    base = Bench(SMALL)
    handles = opened(base)
    play(base, handles, steps[:6])
    image_digest(base.disk, "/")
    play(base, handles, steps[6:])
    before = portrait(base)
    fork = base.fork()
    assert {**portrait(fork), "space": 0} == {**before, "space": 0}
    play(fork, [fork.volume.open(p) for p in ("/a", "/b") if is_file(fork, p)], forked)
    image_digest(fork.disk, "/")
    twice = fork.fork()
    twice.lose_power(Choices(choices))
    check(twice)
    play(twice, [twice.volume.open(p) for p in ("/a", "/b") if is_file(twice, p)], forked)
    assert image_digest(twice.disk, "/") == from_scratch(twice)
    assert image_digest(fork.disk, "/") == from_scratch(fork)
    assert portrait(base) == before
    assert image_digest(base.disk, "/") == from_scratch(base)
    play(base, handles, later)
    assert image_digest(base.disk, "/") == from_scratch(base)


def is_file(bench: Bench, path: str) -> bool:
    return bench.tree().get(path, (0, "", 0))[1].startswith("FILE")


def from_scratch(bench: Bench) -> int:
    """The digest of the same names and bytes, written anew to an empty disk."""
    copy = Bench()
    for path, (_number, kind, attributes) in sorted(bench.tree().items()):
        if kind.startswith("FILE"):
            copy.volume.create(path).write_at(0, bench.content(path))
        else:
            copy.volume.mkdir(path)
        copy.volume.set_attributes(path, attributes)
    return image_digest(copy.disk, "/")


def test_the_reference_counts_what_it_says() -> None:
    bench = Bench(SMALL)
    file = bench.volume.create("/f")
    file.write_at(8000, b"x" * 400)
    file.allocate(0, 5 * 8192)
    assert recount(bench.disk) == (5, 400) == (bench.disk.used_blocks, bench.disk.dirty_bytes)


def test_an_append_behind_a_hole_gives_its_block_back() -> None:
    """A file grows by its size alone, then by a byte; the power loss takes both."""
    bench = Bench(SMALL)
    file = bench.volume.create("/a")
    bench.wait(bench.volume.sync_directory("/"))
    file.truncate(1)
    file.write_at(1, b"x" * 20_000)
    file.write_at(20_001, b"y")
    assert bench.disk.used_blocks == 3
    bench.lose_power(Choices([]))
    assert bench.tree()["/a"][1].startswith("FILE")
    assert bench.disk.used_blocks == 0
    check(bench)
