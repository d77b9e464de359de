"""One program, two clocks, the same transcript; and SimPy's own events in between."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import simpy

from replicator.runtime import (
    UNFINISHED,
    Cancelled,
    Completion,
    TimedOut,
    cleanup,
    deadline,
    first,
    group,
    sleep_ns,
    yield_now,
)
from replicator.runtime.channels import Queue, QueueClosed, Signal
from simulator.runtime import SimClock
from tests.kernel.worlds import MILLISECOND_NS, LoopWorld, SimWorld

Units = Callable[[float], int]


def program(units: Units, log: list[str]) -> Coroutine[Any, Any, None]:
    """A writer, a sender with reconnects, heartbeats and a reader: a small replicator."""

    async def produce(queue: Queue[int], flushed: Signal) -> None:
        for number in range(12):
            await queue.put(number)
            log.append(f"put {number}")
            if number % 4 == 3:
                await flushed
                log.append(f"flushed after {number}")
        queue.close()

    async def send(queue: Queue[int], wire: Queue[list[int]], flushed: Signal) -> None:
        attempt = 0
        while True:
            try:
                async with deadline(units(3)):
                    log.append(f"connect {attempt}")
                    await sleep_ns(units(5 if attempt == 0 else 1))
            except TimedOut:
                attempt += 1
                log.append("connect timed out")
                continue
            break
        try:
            while True:
                batch = await queue.get_batch(3)
                await wire.put(batch)
                log.append(f"sent {batch}")
                flushed.notify()
                await yield_now()
        except QueueClosed:
            wire.close()

    async def apply(wire: Queue[list[int]], applied: Completion[int]) -> None:
        count = 0
        while True:
            batch, _ = await first(wire.get(), sleep_ns(units(40)))
            if batch is UNFINISHED:
                log.append("nothing came")
                continue
            count += len(batch)
            log.append(f"applied {batch}")
            if count == 12:
                applied.set(count)
                return

    async def heartbeat() -> None:
        beat = 0
        try:
            while True:
                await sleep_ns(units(20))
                beat += 1
                log.append(f"beat {beat}")
        except Cancelled:
            async with cleanup(units(100)):
                await sleep_ns(units(2))
                log.append("heart stopped")
            raise

    async def main() -> None:
        queue: Queue[int] = Queue(4)
        wire: Queue[list[int]] = Queue(1)
        flushed = Signal()
        applied: Completion[int] = Completion()
        async with group() as g:
            heart = g.spawn(heartbeat(), "heartbeat")
            async with group() as inner:
                inner.spawn(produce(queue, flushed), "producer")
                inner.spawn(send(queue, wire, flushed), "sender")
                inner.spawn(apply(wire, applied), "applier")
                log.append(f"all applied {await applied}")
            await sleep_ns(units(27))
            heart.cancel()
        try:
            async with group() as g:
                g.spawn(heartbeat(), "second heartbeat")
                await sleep_ns(units(3))
                raise KeyError("over")
        except KeyError as error:
            log.append(repr(error))

    return main()


def transcript(world: SimWorld | LoopWorld) -> list[str]:
    log: list[str] = []
    world.run(program(world.units, log))
    return log


def test_identical_transcript_on_both_clocks() -> None:
    expected = transcript(SimWorld())
    assert len(expected) > 30 and transcript(SimWorld()) == expected
    # A machine that stalls longer than the distance of two timers may see them fire
    # together; then the program is given more room.
    for unit_ns in (MILLISECOND_NS, 4 * MILLISECOND_NS, 16 * MILLISECOND_NS):
        world = LoopWorld(unit_ns=unit_ns)
        actual = transcript(world)
        world.close()
        if actual == expected:
            return
    assert actual == expected


def test_calls_and_simpy_events_of_one_instant_keep_their_order() -> None:
    """In the clock's own loop and in SimPy's, which knows nothing of our calls."""

    def script(run: Callable[[SimClock], None]) -> list[str]:
        env = simpy.Environment(initial_time=0)
        clock = SimClock(env)
        log: list[str] = []

        def process() -> Any:
            yield env.timeout(5)
            log.append("process")
            clock.soon(lambda: log.append("soon"))
            yield env.timeout(0)
            log.append("process again")

        clock.at(5, lambda: log.append("call before"))
        env.process(process())
        clock.soon(lambda: clock.at(5, lambda: log.append("call after")))
        clock.at(3, lambda: clock.at(1, lambda: log.append(f"late call at {clock.now()}")))
        run(clock)
        return log

    wanted = ["late call at 3", "call before", "process", "call after", "soon", "process again"]
    results = [
        script(lambda clock: clock.run_until_idle()),
        script(lambda clock: clock.run_until(5)),
        script(lambda clock: clock.env.run()),
    ]
    assert sorted(results[0]) == sorted(wanted)
    assert results[0] == results[1] == results[2]


def test_run_until_includes_its_instant_and_moves_the_clock() -> None:
    clock = SimClock()
    log: list[int] = []
    for time_ns in (10, 11):
        clock.at(time_ns, lambda time_ns=time_ns: log.append(time_ns))  # type: ignore[misc]
    clock.run_until(10)
    assert log == [10] and clock.now() == 10
    clock.run_until(50)
    assert log == [10, 11] and clock.now() == 50
