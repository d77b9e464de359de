"""asyncio on simulated time: what is offered behaves as on asyncio's own loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.candidates import guards
from simulator.candidates.event_loop import EXECUTOR_CALL_NS, SimulatedLoop
from simulator.candidates.files import Files
from simulator.device import DiskModel
from simulator.host import Host, World, keep_everything, lose_everything
from simulator.link import Link, LinkModel

MS = 1_000_000
Main = Callable[..., Coroutine[Any, Any, Any]]


class TwoEnds:
    """Two machines, a link, and a loop on each."""

    def __init__(self) -> None:
        self.world = World(seed=1)
        for name in ("source", "replica"):
            self.world.machine(name).add_disk("data", DiskModel())
        model = LinkModel(bits_per_second=8_000_000, rtt_ns=10 * MS)
        self.link = Link(self.world.clock, "source", "replica", model)
        assert self.world.network is not None
        self.world.network.add_link(self.link)

    def start(self, name: str, main: Main) -> Host:
        host = self.world.machine(name).start()
        host.start(SimulatedLoop(host).run(main()), name)
        return host

    def run(self, until_ms: int = 10_000) -> None:
        self.world.clock.run_until(until_ms * MS)


def on_one(main: Main) -> Any:
    """What a program gives that runs alone."""
    ends, found = TwoEnds(), []

    async def kept() -> None:
        found.append(await main())

    host = ends.start("source", kept)
    ends.run()
    if host.failure is not None:
        raise host.failure
    ends.world.close()
    return found[0]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_sleep_passes_simulated_time() -> None:
    async def main() -> float:
        await asyncio.sleep(1.5)
        return now()

    assert on_one(main) == 1.5


def test_time_outs_queues_groups_and_locks_work_as_they_do() -> None:
    async def main() -> list[Any]:
        told: list[Any] = []
        queue: asyncio.Queue[int] = asyncio.Queue(2)

        async def produce() -> None:
            for number in range(5):
                await queue.put(number)
                await asyncio.sleep(0.1)

        async def consume() -> None:
            while len(told) < 5:
                told.append(await queue.get())

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(9), 0.5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.Event().wait()
        told += await asyncio.gather(*(asyncio.sleep(0.1, each) for each in "ab"))
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(asyncio.sleep(each)) for each in (0.1, 5)], timeout=1
        )
        told += [len(done), len(pending), round(now(), 3)]
        for task in pending:
            task.cancel()
        return told

    assert on_one(main) == [0, 1, 2, 3, 4, "a", "b", 1, 1, 2.35]


def test_a_generator_that_is_left_comes_to_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> list[str]:
        told: list[str] = []

        async def numbers() -> AsyncGenerator[int, None]:
            try:
                for number in range(9):
                    yield number
            finally:
                await asyncio.sleep(0.01)
                told.append(f"closed at {now():.2f}")

        async for number in numbers():
            if number == 2:
                break
        await asyncio.sleep(0.1)
        return told

    assert on_one(main) == ["closed at 0.01"]
    assert capfd.readouterr().err == ""


def test_one_may_sleep_for_ever() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(math.inf), 0.5)
        return now()

    assert on_one(main) == 0.5


def test_else_they_are_those_of_the_machine_that_the_bench_runs_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guards, "clock_of", lambda _host: nullcontext())
    told: list[float] = []

    async def main() -> None:
        told.append(time.monotonic())

    ends, before = TwoEnds(), time.monotonic()
    ends.start("source", main)
    with guards.watched(ends.world.clock.now):
        ends.run(1_000)
    assert before <= told[0] <= time.monotonic()
    ends.world.close()


def test_the_clocks_of_time_are_the_machines_inside_a_step_and_nowhere_else() -> None:
    told: list[tuple[float, float]] = []

    async def main() -> None:
        for _turn in range(2):
            told.append((time.monotonic(), time.time()))
            await asyncio.sleep(2)

    ends = TwoEnds()
    host = ends.start("source", main)
    outside = time.monotonic()
    with guards.watched(ends.world.clock.now):
        ends.run(1_000)
        assert time.monotonic() >= outside
        host.machine.jump_clock(3_600_000 * MS)
        ends.run(4_000)
    (began, wall), (later, jumped) = told
    assert (began, later) == (0.0, 2.0)
    assert jumped - wall == 3602.0
    assert time.monotonic() >= outside  # the real one again
    ends.world.close()


def test_an_executor_is_inline_and_costs_time() -> None:
    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(None, lambda: 42)
        assert await asyncio.to_thread(str, answer) == "42"
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 / 0)
        return answer, now()

    answer, seconds = on_one(main)
    assert answer == 42 and seconds == pytest.approx(3 * EXECUTOR_CALL_NS / 1e9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=12))
def test_a_program_runs_as_on_asyncios_own_loop(steps: list[tuple[int, int]]) -> None:
    """The order of what tasks do, for tasks that sleep, wait for each other and are cancelled."""

    async def main() -> list[Any]:
        told: list[Any] = []
        event = asyncio.Event()

        async def task(number: int, delay: int, what: int) -> None:
            try:
                await asyncio.sleep(delay * 0.02)
                told.append(("slept", number))
                if what == 1:
                    event.set()
                elif what == 2:
                    await event.wait()
                    told.append(("woken", number))
                elif what == 3:
                    raise ValueError(number)
            except asyncio.CancelledError:
                told.append(("cancelled", number))
                raise

        tasks = [
            asyncio.create_task(task(number, delay * 13 + number, what))
            for number, (delay, what) in enumerate(steps)
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=3.001 if what_waits(steps) else None)
        for each in tasks:
            each.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return [*told, *map(repr, ended)]

    def what_waits(steps: list[tuple[int, int]]) -> bool:
        return any(what == 2 for _delay, what in steps)

    assert on_one(main) == asyncio.run(leaping(main))


async def leaping(main: Main) -> Any:
    """On asyncio's own loop, whose time leaps to the next timer instead of passing."""
    loop: Any = asyncio.get_running_loop()
    seconds = 0.0

    def select(timeout: float | None = None) -> list[Any]:
        nonlocal seconds
        seconds += timeout or 0.0
        return []

    loop.time, loop._selector.select = lambda: seconds, select
    return await main()


def test_streams_carry_bytes_at_the_links_rate() -> None:
    ends, told = TwoEnds(), []

    async def serve() -> None:
        async def connected(reader: Any, writer: Any) -> None:
            data = await reader.readexactly(1_000_000)
            writer.write(str(len(data)).encode() + b"\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(connected, "replica", 7000)
        async with server:
            await server.serve_forever()

    async def call() -> None:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("replica", 7000)
        writer.write(b"x" * 1_000_000)
        await writer.drain()
        told.append(await reader.readline())
        told.append(await reader.read())
        told.append(now())
        writer.close()

    ends.start("replica", serve)
    ends.start("source", call)
    ends.run()
    assert told[:2] == [b"1000000\n", b""]
    assert 1.1 < told[2] < 1.3, "a megabyte at a megabyte a second"
    ends.world.close()


def test_what_goes_wrong_with_connections_is_an_oserror() -> None:
    ends, told = TwoEnds(), []

    async def serve() -> None:
        async def connected(reader: Any, writer: Any) -> None:
            await reader.readexactly(1)
            writer.transport.abort()

        await asyncio.start_server(connected, None, 7000)
        await asyncio.sleep(1e6)

    async def call() -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("replica", 7001)
        reader, writer = await asyncio.open_connection("replica", 7000)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        told.append("reset")

    ends.start("replica", serve)
    ends.start("source", call)
    ends.run()
    assert told == ["reset"]
    ends.world.close()


@pytest.mark.parametrize("how", ["crash", "power", "pause"])
def test_a_loop_whose_host_is_gone_runs_no_more(how: str) -> None:
    ends, told = TwoEnds(), []

    async def main() -> None:
        async def tick() -> None:
            try:
                while True:
                    await asyncio.sleep(0.1)
                    told.append(now())
            finally:
                told.append("finally")

        await asyncio.gather(tick(), tick())

    ends.start("source", main)
    ends.run(250)
    machine = ends.world.machine("source")
    if how == "crash":
        machine.crash_process()
    elif how == "power":
        machine.lose_power(lose_everything)
    else:
        resume = machine.pause()
    ends.run(1_000)
    assert told == [0.1, 0.1, 0.2, 0.2]
    if how == "pause":
        resume()
        ends.run(1_050)
        assert told[4:] == [1.0, 1.0]
    ends.world.close()


def test_the_same_program_takes_the_same_course() -> None:
    """Groups cancel by the set of their tasks, which asyncio orders by address."""

    async def main() -> list[int]:
        told: list[int] = []

        async def task(number: int) -> None:
            try:
                await asyncio.sleep(9)
            finally:
                told.append(number)

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(40):
                    group.create_task(task(number))
                await asyncio.sleep(0.1)
                raise ValueError
        return told

    assert on_one(main) == on_one(main) == list(range(40))


# -- files -------------------------------------------------------------------------------


def test_files_are_as_a_program_expects_them() -> None:
    host = TwoEnds().world.machine("source").start()
    files = Files(host)
    files.makedirs("/a/b")
    with files.open("/a/b/f", "wb") as file:
        assert file.write(b"hello world") == 11
        file.seek(-5, 2)
        file.write(b"there")
        file.truncate(8)
    with files.open("/a/b/f", "ab") as file:
        file.write(b"!")
    with files.open("/a/b/f") as file:
        assert (file.read(5), file.tell(), file.read(), file.read()) == (b"hello", 5, b" th!", b"")
        with pytest.raises(OSError, match="not open for writing"):
            file.write(b"x")
    files.replace("/a/b/f", "/a/g")
    assert files.listdir("/a") == ["b", "g"] and files.stat("/a/g").size_bytes == 9
    assert (files.isdir("/a/b"), files.isfile("/a/g"), files.exists("/a/f")) == (True, True, False)
    for call, wrong in (
        (lambda: files.open("/no"), FileNotFoundError),
        (lambda: files.open("/a/g", "xb"), FileExistsError),
        (lambda: files.rmdir("/a"), OSError),
        (lambda: files.open("/a/g", "r"), ValueError),
    ):
        with pytest.raises(wrong):
            call()


@pytest.mark.parametrize("synced", [True, False])
def test_what_was_synced_survives(synced: bool) -> None:
    world = TwoEnds().world
    machine = world.machine("source")
    files = Files(machine.start())
    with files.open("/f", "wb") as file:
        file.write(b"x" * 10_000)
        if synced:
            file.fsync()
            files.fsync("/")
    machine.lose_power(lose_everything)
    files = Files(machine.start())
    assert files.exists("/f") is synced
    if synced:
        assert files.open("/f").read() == b"x" * 10_000


def test_a_sync_holds_the_process_for_as_long_as_the_device_needs() -> None:
    async def main() -> float:
        files = Files(asyncio.get_running_loop().host)  # type: ignore[attr-defined]
        with files.open("/f", "wb") as file:
            file.write(b"x" * 10_000_000)
            file.fsync()
        await asyncio.sleep(0)
        return now()

    model = DiskModel()
    assert on_one(main) >= 10_000_000 / model.bytes_per_second > 0


def test_a_sync_that_fails_is_an_oserror() -> None:
    world = TwoEnds().world
    machine = world.machine("source")
    machine.disks["data"].sync_fails = lambda path: True
    file = Files(machine.start()).open("/f", "wb")
    file.write(b"x")
    with pytest.raises(OSError, match="sync failed"):
        file.fsync()
    with pytest.raises(OSError, match="sync failed"):
        file.write(b"y")
    machine.lose_power(keep_everything)
