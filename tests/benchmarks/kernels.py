"""The kernel: time of one wake-up, on both clocks and beside asyncio's own tasks."""

from __future__ import annotations

import asyncio
import time

from replicator.host.clock import AsyncioClock
from replicator.runtime import Clock, Kernel, group, sleep_ns
from replicator.runtime.channels import Queue, Signal
from simulator.runtime import SimClock
from tests.benchmarks.rig import no_collector
from tests.benchmarks.table import Table

REPETITIONS = 3


async def _signals(rounds: int) -> None:
    """Two tasks wake each other in turn."""
    ball, turn = [0], Signal()

    async def player(parity: int) -> None:
        for _ in range(rounds // 2):
            while ball[0] % 2 != parity:
                await turn
            ball[0] += 1
            turn.notify()

    async with group() as g:
        g.spawn(player(0), "one")
        g.spawn(player(1), "other")


async def _queue(rounds: int) -> None:
    """A queue of one item between two tasks: a wake for each put and get."""
    queue: Queue[int] = Queue(limit_items=1)

    async def produce() -> None:
        for number in range(rounds // 2):
            await queue.put(number)

    async with group() as g:
        g.spawn(produce(), "producer")
        for _ in range(rounds // 2):
            await queue.get()


async def _sleeps(rounds: int) -> None:
    for _ in range(rounds):
        await sleep_ns(0)


PROGRAMS = {"signal": _signals, "queue": _queue, "sleep": _sleeps}


async def _asyncio_signals(rounds: int) -> None:
    ball, loop = [0], asyncio.get_running_loop()
    futures: list[asyncio.Future[None]] = []

    async def player(parity: int) -> None:
        for _ in range(rounds // 2):
            while ball[0] % 2 != parity:
                future = loop.create_future()
                futures.append(future)
                await future
            ball[0] += 1
            while futures:
                futures.pop().set_result(None)

    await asyncio.gather(player(0), player(1))


async def _asyncio_queue(rounds: int) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(rounds // 2):
            await queue.put(number)

    producer = asyncio.create_task(produce())
    for _ in range(rounds // 2):
        await queue.get()
    await producer


async def _asyncio_sleeps(rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


ASYNCIO = {"signal": _asyncio_signals, "queue": _asyncio_queue, "sleep": _asyncio_sleeps}


def _on_simpy(name: str, rounds: int) -> tuple[float, int]:
    clock = SimClock()
    kernel = Kernel(clock)
    kernel.run_task(PROGRAMS[name](rounds), name)
    started = time.process_time()
    clock.run_until_idle()
    return time.process_time() - started, kernel.steps


def _on_loop(name: str, rounds: int) -> tuple[float, int]:
    async def main() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        clock: Clock = AsyncioClock(loop)
        kernel = Kernel(clock)
        ended = loop.create_future()
        started = time.process_time()
        kernel.run_task(PROGRAMS[name](rounds), name, ended.set_result)
        await ended
        return time.process_time() - started, kernel.steps

    return asyncio.run(main())


def _bare_asyncio(name: str, rounds: int) -> float:
    async def main() -> float:
        started = time.process_time()
        await ASYNCIO[name](rounds)
        return time.process_time() - started

    return asyncio.run(main())


def _bare_clock(rounds: int) -> float:
    """Events over SimPy's heap with nothing behind them."""
    clock = SimClock()
    left = [rounds]

    def tick() -> None:
        left[0] -= 1
        if left[0]:
            clock.at(clock.now() + 1, tick)

    clock.soon(tick)
    started = time.process_time()
    clock.run_until_idle()
    return time.process_time() - started


def table(quick: bool) -> Table:
    """The table."""
    rounds = 20_000 if quick else 100_000
    result = Table(
        "Kernel: microseconds for one wake-up",
        ["program", "on SimPy's heap", "on asyncio's loop", "asyncio's own tasks", "wakes a round"],
    )
    with no_collector():
        for name in PROGRAMS:
            sim_s, steps = min(_on_simpy(name, rounds) for _ in range(REPETITIONS))
            loop_s, loop_steps = min(_on_loop(name, rounds) for _ in range(REPETITIONS))
            bare_s = min(_bare_asyncio(name, rounds) for _ in range(REPETITIONS))
            result.add(
                name,
                sim_s / steps * 1e6,
                loop_s / loop_steps * 1e6,
                bare_s / rounds * 1e6,
                steps / rounds,
            )
        event_s = min(_bare_clock(rounds) for _ in range(REPETITIONS)) / rounds
    result.notes = [
        f"A bare event over SimPy's heap: {event_s * 1e6:.2f} us. asyncio's column is per round: "
        "its wake-ups cannot be counted. It counts time in float seconds and promises less.",
    ]
    return result
