"""Tasks that only wake each other keep an instant from ending: the emulated clock says so."""

from __future__ import annotations

import pytest

from replicator.runtime import group
from replicator.runtime.channels import Signal
from simulator.runtime import INSTANT_LIMIT, SimClock, TimeStandsStill
from tests.kernel.worlds import SimWorld


async def wake_each_other(times: int) -> None:
    signal, woken = Signal(), [0]

    async def ask_and_wait() -> None:
        while woken[0] < times:
            woken[0] += 1
            signal.notify()
            await signal

    async with group() as g:
        g.spawn(ask_and_wait(), "one")
        g.spawn(ask_and_wait(), "the other")
        g.spawn(ask_and_wait(), "a third")


def test_an_instant_without_end_is_an_error() -> None:
    with pytest.raises(TimeStandsStill, match=r"more than 200,000 events at 0\.0"):
        SimWorld(None).run(wake_each_other(1 << 60))


def test_events_of_different_instants_are_not_added_up() -> None:
    clock, seen = SimClock(), [0]

    def again() -> None:
        seen[0] += 1
        if seen[0] < INSTANT_LIMIT + 2:
            clock.at(clock.now() + 1, again)

    clock.soon(again)
    clock.run_until(INSTANT_LIMIT + 2)
    assert seen == [INSTANT_LIMIT + 2]
