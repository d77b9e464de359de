"""The fixture ``world``: both clocks, plain and with seeded extra yields."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.worlds import LoopWorld, SimWorld, World

SEEDS = (None, 1, 2, 3)


@pytest.fixture(
    params=[(kind, seed) for kind in (SimWorld, LoopWorld) for seed in SEEDS],
    ids=lambda param: f"{param[0].__name__}-{'plain' if param[1] is None else param[1]}",
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    kind, seed = request.param
    made: World = kind(seed)
    yield made
    made.close()
