"""One fixture for each ability of a world; see :mod:`tests.conformance.storage_worlds`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.storage_worlds import (
    FAILING,
    FILLABLE,
    POWERED,
    SIMULATED,
    WORLDS,
    StorageWorld,
)


def _name(kind: type[StorageWorld]) -> str:
    return kind.__name__


def _made(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    made: StorageWorld = request.param()
    yield made
    made.close()


@pytest.fixture(params=WORLDS, ids=_name)
def world(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    yield from _made(request)


@pytest.fixture(params=POWERED, ids=_name)
def powered_world(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    yield from _made(request)


@pytest.fixture(params=FAILING, ids=_name)
def failing_world(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    yield from _made(request)


@pytest.fixture(params=SIMULATED, ids=_name)
def simulated_world(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    yield from _made(request)


@pytest.fixture(params=FILLABLE, ids=_name)
def make_world(request: pytest.FixtureRequest) -> Iterator[Callable[..., StorageWorld]]:
    made: list[StorageWorld] = []

    def make(**limits: int) -> StorageWorld:
        made.append(request.param(**limits))
        return made[-1]

    yield make
    for each in made:
        each.close()
