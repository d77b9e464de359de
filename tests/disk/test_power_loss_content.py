"""What a power loss leaves of one file's bytes: exactly the legal states, no more, no fewer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.blocks import BLOCK_BYTES
from simulator.device import INSTANT
from simulator.host import keep_everything, lose_everything
from simulator.volume import SimFile
from tests.disk.bench import Bench, Choices, every_choice
from tests.disk.reference import FileModel

Step = tuple[str, int, int]
"""("write", offset, length), ("zero", offset, length), ("truncate", size, 0), ("sync", 0, 0)."""


def play(steps: list[Step], sector: int) -> tuple[Bench, FileModel]:
    """Carry the steps out on a file /f, whose name is durable, and on the model."""
    bench, model = Bench(replace(INSTANT, sector_bytes=sector)), FileModel()
    file = bench.volume.create("/f")
    bench.wait(bench.volume.sync_directory("/"))
    for number, step in enumerate(steps, 1):
        do(bench, file, model, step, number)
        assert bench.content("/f") == model.now()
    return bench, model


def do(bench: Bench, file: SimFile, model: FileModel, step: Step, stamp: int) -> None:
    kind, at, length = step
    if kind == "write":
        data = bytes([(stamp - 1) % 255 + 1]) * length
        file.write_at(at, data)
        model.write(at, data)
    elif kind == "zero":
        file.zero_range(at, length)
        model.zero_range(at, length, BLOCK_BYTES)
    elif kind == "truncate":
        file.truncate(at)
        model.truncate(at)
    else:
        bench.wait(file.sync())
        model.sync()


def outcomes(bench: Bench) -> set[bytes]:
    """Every state that the disk can come back in."""

    def crash(choose: object) -> bytes:
        fork = bench.fork()
        fork.lose_power(choose)  # type: ignore[arg-type]
        return fork.content("/f")

    return set(every_choice(crash))


SCRIPTS: dict[str, list[Step]] = {
    "nothing unsynced": [("write", 0, 700), ("sync", 0, 0)],
    "one write into a new file": [("write", 0, 1000)],
    "an overwrite": [("write", 0, 1024), ("sync", 0, 0), ("write", 0, 1024)],
    "two writes to one sector": [("write", 0, 300), ("write", 100, 300)],
    "overlapping, over a sector border": [
        ("write", 0, 1300),
        ("sync", 0, 0),
        ("write", 200, 700),
        ("write", 500, 600),
    ],
    "three writes to one sector": [
        ("write", 0, 100),
        ("write", 50, 100),
        ("write", 100, 100),
    ],
    "a gap": [("write", 0, 10), ("write", 1500, 10)],
    "shrunk": [("write", 0, 1500), ("sync", 0, 0), ("truncate", 600, 0)],
    "shrunk in mid-sector, grown again": [
        ("write", 0, 1024),
        ("sync", 0, 0),
        ("truncate", 100, 0),
        ("truncate", 900, 0),
    ],
    "written, cut, written": [
        ("write", 0, 1100),
        ("truncate", 300, 0),
        ("write", 200, 900),
    ],
    "cut, written, cut": [
        ("write", 3072, 1024),
        ("sync", 0, 0),
        ("truncate", 3584, 0),
        ("write", 3572, 300),
        ("truncate", 3772, 0),
    ],
    "cut to nothing and reused": [
        ("write", 0, 700),
        ("sync", 0, 0),
        ("write", 0, 100),
        ("truncate", 0, 0),
        ("write", 0, 600),
    ],
    "truncated to the same size": [("write", 0, 600), ("truncate", 600, 0), ("write", 0, 600)],
    "over a block border": [("write", 7900, 700), ("sync", 0, 0), ("write", 8000, 600)],
    "zeros over a block border": [
        ("write", 7900, 700),
        ("sync", 0, 0),
        ("zero", 8000, 700),
    ],
    "lengthened by pages": [("truncate", 100, 0), ("truncate", 9000, 0), ("write", 8192, 10)],
    "an earlier range below a size": [("write", 300, 900), ("write", 0, 700)],
    "cut inside of a page": [
        ("write", 0, 8400),
        ("sync", 0, 0),
        ("truncate", 3000, 0),
    ],
    "written behind a cut and in front of it": [
        ("write", 0, 1200),
        ("sync", 0, 0),
        ("truncate", 700, 0),
        ("write", 0, 100),
        ("write", 1000, 300),
    ],
    "cut twice": [
        ("write", 0, 1500),
        ("sync", 0, 0),
        ("truncate", 1100, 0),
        ("truncate", 600, 0),
    ],
    "lengthened, then written in place": [
        ("write", 0, 1000),
        ("sync", 0, 0),
        ("truncate", 2000, 0),
        ("write", 100, 500),
    ],
    "grown, then written inside": [("truncate", 1200, 0), ("write", 600, 100)],
}


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("script", SCRIPTS)
def test_all_choices_together_reach_all_legal_states(script: str, sector: int) -> None:
    bench, model = play(SCRIPTS[script], sector)
    assert outcomes(bench) == model.legal_states(sector)


def test_all_sizes_within_a_growth_of_pages_are_reached() -> None:
    """In sectors of a page: in those of 512 B it would have 2 ** 18 subsets."""
    bench, model = play([("write", 0, 100), ("sync", 0, 0), ("write", 100, 9000)], 4096)
    assert outcomes(bench) == model.legal_states(4096)


NUMBERS = st.integers(0, 40_000)
# Near the end of a page: a cut far in front of it has too many subsets of sectors.
SMALL_STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(3000, 4300), st.integers(1, 700)),
    st.tuples(st.just("truncate"), st.integers(3000, 4500), st.just(0)),
    st.tuples(st.just("sync"), st.just(0), st.just(0)),
)


@pytest.mark.full
@given(st.lists(SMALL_STEPS, max_size=3))
def test_all_choices_reach_all_legal_states_of_any_small_history(steps: list[Step]) -> None:
    bench, model = play(steps, 512)
    assert outcomes(bench) == model.legal_states(512)


EDGES = st.sampled_from((0, 1, 511, 512, 4095, 4096, 8191, 8192, 8193, 12288, 16384))
OFFSETS = st.one_of(EDGES, st.integers(0, 20_000))
STEPS = st.one_of(
    st.tuples(st.just("write"), OFFSETS, st.one_of(EDGES, st.integers(0, 10_000))),
    st.tuples(st.just("zero"), OFFSETS, st.one_of(EDGES, st.integers(0, 10_000))),
    st.tuples(st.just("truncate"), OFFSETS, st.just(0)),
    st.tuples(st.just("sync"), st.just(0), st.just(0)),
)


@given(
    st.sampled_from((512, 4096)),
    st.lists(st.tuples(st.lists(STEPS, max_size=8), st.lists(NUMBERS, max_size=40)), max_size=3),
)
def test_every_state_after_every_power_loss_is_legal(
    sector: int, lives: list[tuple[list[Step], list[int]]]
) -> None:
    bench, model = play([], sector)
    stamp = 0
    for steps, choices in lives:
        file = bench.volume.open("/f")
        for step in steps:
            stamp += 1
            do(bench, file, model, step, stamp)
        for choose, expected in ((lose_everything, None), (keep_everything, model.now())):
            fork = bench.fork()
            fork.lose_power(choose)
            assert model.allows(fork.content("/f"), sector)
            assert expected is None or fork.content("/f") == expected
        bench.lose_power(Choices(choices))
        state = bench.content("/f")
        assert model.allows(state, sector)
        model = FileModel(state)


# -- the rules, one by one ---------------------------------------------------------


def test_synced_bytes_survive_whatever_is_chosen() -> None:
    bench, _ = play([("write", 0, 900), ("sync", 0, 0), ("write", 1024, 600)], 512)
    assert {state[:900] for state in outcomes(bench)} == {b"\1" * 900}


@pytest.mark.parametrize(("sector", "borders"), [(512, {0, 512, 1024}), (4096, {0, 1024})])
def test_a_write_tears_at_sectors_only(sector: int, borders: set[int]) -> None:
    bench, _ = play([("write", 0, 1024), ("sync", 0, 0), ("write", 0, 1024)], sector)
    torn = {tuple(i for i in range(1024) if state[i] == 3) for state in outcomes(bench)}
    assert {len(each) for each in torn} == borders


def test_a_surviving_sector_holds_the_earlier_writes_to_it() -> None:
    bench, _ = play([("write", 0, 100), ("write", 50, 100)], 512)
    full = {state for state in outcomes(bench) if len(state) == 150}
    assert full == {bytes(150), b"\1" * 100 + bytes(50), b"\1" * 50 + b"\2" * 100}


def test_what_was_written_after_a_lost_cut_may_survive() -> None:
    """And with it the zeros that the cut had put behind it into the page."""
    bench, _ = play(
        [("write", 0, 1024), ("sync", 0, 0), ("truncate", 100, 0), ("write", 0, 50)], 512
    )
    first = {b"\1" * 512, b"\1" * 100 + bytes(412), b"\4" * 50 + b"\1" * 50 + bytes(412)}
    second = {b"\1" * 512, bytes(512)}
    found = {state for state in outcomes(bench) if len(state) == 1024}
    assert found == {one + other for one in first for other in second}


def test_a_cut_at_the_end_of_a_page_leaves_no_zeros_behind() -> None:
    bench, _ = play([("write", 0, 5000), ("sync", 0, 0), ("truncate", 4096, 0)], 512)
    assert outcomes(bench) == {b"\1" * 5000, b"\1" * 4096}


def test_a_growth_survives_up_to_a_page_or_the_end_of_another_change() -> None:
    bench, _ = play([("truncate", 9000, 0), ("write", 0, 5000)], 4096)
    assert {len(state) for state in outcomes(bench)} == {0, 4096, 5000, 8192, 9000}


def test_a_growth_of_millions_of_pages_is_no_work() -> None:
    bench, _ = play([], 512)
    bench.volume.open("/f").truncate(1 << 45)
    bench.lose_power(Choices([0, 0, 1 << 30]))
    assert bench.volume.stat("/f").size_bytes == 4096 << 30


def test_what_survives_beyond_what_was_written_is_zeros() -> None:
    bench, _ = play([("write", 0, 600)], 512)
    assert bytes(600) in outcomes(bench)
