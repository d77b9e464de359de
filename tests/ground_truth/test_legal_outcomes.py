"""The membership check against the emulated disk itself and against brute force."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from simulator.device import INSTANT
from simulator.host import seeded_choice
from simulator.inode import Inode
from simulator.runtime import SimClock
from tests.disk.reference import FileModel
from tests.ground_truth.calls import DIRECTORY, Outcome, drawn
from tests.ground_truth.legal_outcomes import LegalContents, LegalOutcomes
from tests.ground_truth.simulated_twin import Twin


@pytest.mark.parametrize("metadata", ["ordered", "any"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_emulated_disk_leaves_is_legal(seed: int, metadata: str) -> None:
    calls = drawn(seed, 60)
    twin = Twin(calls, replace(INSTANT, metadata=metadata))
    for until in range(5, len(calls), 11):
        twin.go_on(until)
        for draw in range(15):
            fork = twin.disk.fork(SimClock(), twin.disk.model)
            fork.power_loss(seeded_choice(f"{seed} {until} {draw}"))
            outcome: Outcome = {
                path: node.read(0, node.size) if isinstance(node, Inode) else DIRECTORY
                for path, node in fork.names.walk("/")
            }
            assert LegalOutcomes(twin.disk).why_not(outcome) is None
    twin.close()


@pytest.mark.parametrize("seed", range(40))
def test_contents_are_judged_as_brute_force_does(seed: int) -> None:
    """Sectors of 2 bytes and pages of 4; legal and spoiled contents alike."""
    choice = random.Random(f"contents {seed}")
    model = FileModel(bytes(choice.randrange(1, 250) for _ in range(choice.randrange(8))))
    for number in range(choice.randrange(1, 5)):
        if choice.random() < 0.3:
            model.truncate(choice.randrange(10))
        else:
            model.write(choice.randrange(8), bytes([250 + number]) * choice.randrange(1, 5))
    legal = LegalContents(model.medium, model.operations, 2, 4)
    states = sorted(model.legal_states(2, 4))
    for state in states if len(states) < 200 else choice.sample(states, 200):
        assert legal.why_not(state) is None
        spoiled = bytearray(state + bytes(choice.randrange(2)))
        if spoiled:
            spoiled[choice.randrange(len(spoiled))] = choice.choice((0, 250, 251, 7))
        assert (legal.why_not(bytes(spoiled)) is None) == model.allows(bytes(spoiled), 2, 4)


def test_names_that_no_prefix_gives_are_not_legal() -> None:
    calls = drawn(0, 10)
    twin = Twin(calls)
    twin.go_on(len(calls))
    reason = LegalOutcomes(twin.disk).why_not({"/a": DIRECTORY, "/b": DIRECTORY, "/c": b""})
    assert reason is not None and "no prefix" in reason
    twin.close()
