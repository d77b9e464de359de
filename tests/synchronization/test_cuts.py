"""A short synchronization, cut before, inside and behind each of its frames, and in crashes.

The world is that of ``tests/crash``: programs go on writing, and the oracles judge what the
replica would recover to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from replicator.connection import Connection
from replicator.errors import ConnectionLost
from replicator.protocol import FrameType, State, frame_header
from replicator.runtime.port import Buffer
from simulator.systems.byte_level import REPLICA
from tests.crash.harness import BLOCK, Plan, Step, create, gap, mkdir, run, truncate, unlink, write

SYNCHRONIZING = {State.SYNCHRONIZING, State.COMMITTING}


def pages_that_differ() -> list[Step]:
    """After a gap: single pages, a hole, a file cut short, one that is new and one that is gone."""
    steps: list[Step] = [create("/db"), create("/log"), create("/old")]
    steps += [write("/db", n * 100_000, n + 1, 100_000) for n in range(7)]
    steps += [write("/log", 0, 20, 30_000), write("/old", 0, 21, 5_000), gap]
    steps += [
        write("/db", 3 * BLOCK, 30),
        write("/db", 40 * BLOCK, 31, 3 * BLOCK),
        truncate("/log", 9_000),
        unlink("/old"),
        mkdir("/sub"),
        create("/sub/new"),
        write("/sub/new", 300_000, 32, 20_000),
        truncate("/db", 600_000),
        truncate("/db", 690_000),
        write("/db", 50, 33, 100),
    ]
    return steps


@contextmanager
def cut_at(number: int, how: str) -> Iterator[list[FrameType]]:
    """Break the connection at the n-th frame that either end sends while it synchronizes."""
    original, seen = Connection.send, []

    async def send(self: Connection, frame_type: FrameType, *payload: Buffer) -> int:
        if self.session.state in SYNCHRONIZING and frame_type not in (
            FrameType.HEARTBEAT,
            FrameType.ACKNOWLEDGE,
        ):
            seen.append(frame_type)
            if len(seen) == number:
                data = frame_header(frame_type, *payload) + b"".join(payload)
                if how == "inside":
                    await self.stream.send(data[: len(data) * 2 // 3])
                elif how == "behind":
                    await original(self, frame_type, *payload)
                self.stream.close()
                raise ConnectionLost("cut by the test")
        return await original(self, frame_type, *payload)

    Connection.send = send  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Connection.send = original  # type: ignore[method-assign]


@pytest.mark.parametrize("how", ["before", "inside", "behind"])
def test_cut_at_every_frame(how: str) -> None:
    steps = pages_that_differ()
    with cut_at(0, how) as frames:
        assert run(Plan(steps)).good
    kinds = {"EXTENT_DIGESTS", "EXTENTS_WANTED", "PAGE_DIGESTS", "PAGES_WANTED", "PAGE_DATA"}
    assert kinds | {"BATCH", "SYNC_END"} <= {frame.name for frame in frames}
    for number in range(1, len(frames) + 1):
        with cut_at(number, how) as seen:
            outcome = run(Plan(steps))
        assert outcome.good, (number, how, outcome)
        assert len(seen) >= number


def crash_at_each_step(stride: int, **fields: object) -> set[str]:
    steps = pages_that_differ()
    total = run(Plan(steps)).storage_steps[REPLICA]
    hit: set[str] = set()
    for step in range(1, total + 1, stride):
        outcome = run(Plan(steps, host=REPLICA, crash_at=step, **fields))  # type: ignore[arg-type]
        assert outcome.crashed, step
        assert outcome.good, (step, fields, outcome)
        hit |= outcome.activities
    return hit


@pytest.mark.parametrize("survival", ["none", "all", "some"])
def test_power_loss_of_the_replica_at_each_step(survival: str) -> None:
    assert "resynchronize" in crash_at_each_step(2, survival=survival, keeps=0.6)


def test_process_crash_of_the_replica_at_each_step() -> None:
    assert "resynchronize" in crash_at_each_step(2, power=False, keeps=0.5)


@pytest.mark.full
@pytest.mark.parametrize("survival", [f"seed {n}" for n in range(8)])
def test_many_survivals(survival: str) -> None:
    crash_at_each_step(1, survival=survival, keeps=0.6)
    crash_at_each_step(1, survival=survival, metadata="any", second_crash_after=12)
