"""What a power loss leaves of the names: exactly the legal states, in both metadata modes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import StorageError
from replicator.runtime.port import EntryKind
from simulator.device import INSTANT
from simulator.host import lose_everything
from tests.disk.bench import Bench, Choices, every_choice
from tests.disk.reference import NamesModel

Step = tuple[str, str, str]
MODES = ("ordered", "any")
CALLS = (
    "create",
    "mkdir",
    "symlink",
    "unlink",
    "rmdir",
    "rename",
    "link",
    "attributes",
    "sync",
)
PATHS = ("/a", "/b", "/d", "/d/a", "/d/b", "/e", "/e/a", "/d/e")


def do(bench: Bench, model: NamesModel, step: Step, stamp: int) -> None:
    """One step on both; a step that the volume refuses must change nothing."""
    call, path, other = step
    volume = bench.volume
    before = bench.tree()
    try:
        if call == "create":
            volume.create(path).close()
        elif call in ("mkdir", "unlink", "rmdir"):
            getattr(volume, call)(path)
        elif call == "symlink":
            volume.symlink(f"to {stamp}", path)
        elif call in ("rename", "link"):
            getattr(volume, call)(path, other)
        elif call == "attributes":
            volume.set_attributes(path, stamp)
        else:
            directory = path if volume.exists(path) else "/"
            bench.wait(volume.sync_directory(directory))
            model.sync(directory)
    except StorageError:
        assert bench.tree() == before
        return
    if call in ("create", "mkdir", "symlink"):
        stat = volume.stat(path)
        kind = EntryKind(stat.kind).name
        model.add(path, stat.inode, f"{kind} {stat.target or ''}")
    elif call in ("unlink", "rmdir"):
        model.remove(path)
    elif call == "link":
        number, kind, _ = model.state()[path]
        model.add(other, number, kind)
    elif call == "rename":
        model.rename(path, other)
    elif call == "attributes":
        model.set_attributes(path, stamp)
    assert bench.tree() == model.state()


def play(steps: list[Step], metadata: str) -> tuple[Bench, NamesModel]:
    bench = Bench(replace(INSTANT, metadata=metadata))
    model = NamesModel(metadata == "ordered")
    for stamp, step in enumerate(steps, 1):
        do(bench, model, step, stamp)
    return bench, model


def frozen(tree: dict[str, tuple[int, str, int]]) -> frozenset[object]:
    return frozenset(tree.items())


def outcomes(bench: Bench) -> set[frozenset[object]]:
    def crash(choose: object) -> frozenset[object]:
        fork = bench.fork()
        fork.lose_power(choose)  # type: ignore[arg-type]
        return frozen(fork.tree())

    return set(every_choice(crash))


def steps(text: str) -> list[Step]:
    """One step a line: call, path, other path."""
    made: list[Step] = []
    for line in text.strip().splitlines():
        call, path, other, *_ = [*line.split(), "", ""]
        made.append((call, path, other))
    return made


SCRIPTS = {
    "create": "create /a\ncreate /b",
    "replace by rename": "create /a\nsync /\ncreate /b\nrename /b /a",
    "roll": "create /a\nsync /\nrename /a /b\ncreate /a",
    "unlink and create again": "create /a\nsync /\nunlink /a\ncreate /a",
    "directory with content": "mkdir /d\ncreate /d/a\nrename /d/a /a",
    "directory emptied and removed": "mkdir /d\ncreate /d/a\nsync /\nunlink /d/a\nrmdir /d",
    "synced inside, not above": "mkdir /d\ncreate /d/a\nsync /d\ncreate /d/b",
    "between two directories": "mkdir /d\nmkdir /e\nsync /\ncreate /d/a\ncreate /e/b\n"
    "rename /d/a /e/a\ncreate /d/b\nsync /e\nunlink /d/b",
    "hard links": "create /a\nlink /a /b\nmkdir /d\nlink /a /d/a\nunlink /a",
    "attributes": "create /a\nattributes /a\nmkdir /d\nattributes /d\nattributes /a\nrename /a /b",
    "attributes by two names": "mkdir /d\nmkdir /e\ncreate /d/a\nlink /d/a /e/a\nsync /\nsync /d\n"
    "sync /e\nattributes /d/a\nunlink /d/a\nattributes /e/a\nsync /e",
    "moved directory": "mkdir /d\ncreate /d/a\nmkdir /e\nsync /\nrename /d /e/d\ncreate /e/d/b",
    "symbolic links": "symlink /a\nrename /a /b\nunlink /b\nsymlink /a",
    "rename that does nothing": "create /a\nlink /a /b\nrename /a /b\ncreate /d",
}


@pytest.mark.parametrize("metadata", MODES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_all_choices_together_reach_all_legal_states(script: str, metadata: str) -> None:
    bench, model = play(steps(SCRIPTS[script]), metadata)
    expected = {frozen(model.state(chosen)) for chosen in model.legal_choices()}
    assert outcomes(bench) == expected


STEP = st.tuples(st.sampled_from(CALLS), st.sampled_from(PATHS), st.sampled_from(PATHS))
LIVES = st.lists(
    st.tuples(st.lists(STEP, max_size=9), st.lists(st.integers(0, 99), max_size=9)), max_size=3
)


@given(st.sampled_from(MODES), LIVES)
def test_every_state_after_every_power_loss_is_legal(
    metadata: str, lives: list[tuple[list[Step], list[int]]]
) -> None:
    bench, model = play(steps("mkdir /d\nmkdir /e\nsync /"), metadata)
    stamp = 10
    for life, choices in lives:
        for step in life:
            stamp += 1
            do(bench, model, step, stamp)
        worst = bench.fork()
        worst.lose_power(lose_everything)
        assert frozen(worst.tree()) in {
            frozen(model.state(chosen)) for chosen in model.legal_choices()
        }
        bench.lose_power(Choices(choices))
        assert model.become(bench.tree()), bench.tree()


@pytest.mark.full
@given(st.sampled_from(MODES), st.lists(STEP, max_size=7))
def test_all_choices_reach_all_legal_states_of_any_history(
    metadata: str, history: list[Step]
) -> None:
    bench, model = play([*steps("mkdir /d\ncreate /a\nsync /"), *history], metadata)
    expected = {frozen(model.state(chosen)) for chosen in model.legal_choices()}
    assert outcomes(bench) == expected


# -- the rules, one by one ---------------------------------------------------------


@pytest.mark.parametrize("metadata", MODES)
def test_a_rename_that_replaces_is_never_seen_half(metadata: str) -> None:
    bench, model = play(steps("create /a\ncreate /b\nsync /\nrename /b /a"), metadata)
    first, second = (model.number_of("/a"), 2)
    names = {frozenset((p, n) for p, (n, _, _) in dict(s).items()) for s in outcomes(bench)}
    old = frozenset({("/a", second), ("/b", first)})
    assert names == {old, frozenset({("/a", first)})}


def test_ordered_metadata_survives_in_order_over_all_directories() -> None:
    script = steps("mkdir /d\nmkdir /e\nsync /\ncreate /d/a\ncreate /e/a\ncreate /d/b")
    sizes = {m: len(outcomes(play(script, m)[0])) for m in MODES}
    assert sizes == {"ordered": 4, "any": 8}


@pytest.mark.parametrize(("metadata", "also"), [("ordered", True), ("any", False)])
def test_what_a_directory_sync_takes_along(metadata: str, also: bool) -> None:
    bench, _ = play(
        steps("mkdir /d\nmkdir /e\nsync /\ncreate /d/a\ncreate /e/a\nsync /e"), metadata
    )
    bench.lose_power(lose_everything)
    assert bench.volume.exists("/e/a")
    assert bench.volume.exists("/d/a") == also
