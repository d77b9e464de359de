"""The host's runtime: threads for computing, identity, signals, the end of a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from replicator.errors import BadInput
from replicator.host.identity import boot_id, next_incarnation
from replicator.host.world import INLINE_COMPUTE_NS, HostRuntime, run_on_host
from replicator.runtime import TimedOut, deadline, first, group, sleep_ns, yield_now
from replicator.runtime.port import Runtime
from tests.real_loop import PATIENCE_S

MILLISECOND_NS = 1_000_000


def test_the_runtime_implements_the_port() -> None:
    events: list[object] = []

    async def main(runtime: HostRuntime) -> str:
        assert isinstance(runtime, Runtime)
        assert runtime.incarnation == 7
        assert runtime.boot_id == boot_id() and 0 < boot_id() < 1 << 63
        before = runtime.now_ns()
        await sleep_ns(MILLISECOND_NS)
        assert runtime.now_ns() - before >= MILLISECOND_NS
        assert abs(runtime.wall_ns() - time.time_ns()) < 10**12
        one, again, other = (runtime.random(name) for name in ("a", "a", "b"))
        assert [one() for _ in range(3)] == [again() for _ in range(3)] != [other(), 0, 0]
        assert 0 <= one() < 1
        runtime.charge_ns(10**18)
        runtime.emit("happened", 1, "two")
        return "done"

    def emit(event: str, values: tuple[int | str, ...]) -> None:
        events.append((event, values))

    assert run_on_host(main, incarnation=7, emit=emit) == "done"
    assert events == [("happened", (1, "two"))]


def test_what_main_raises_is_raised_and_everything_is_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def main(runtime: HostRuntime) -> None:
        volume = runtime.volume("data", str(tmp_path))
        file = volume.create("/f")
        file.write_at(0, b"x")
        await file.sync()
        volume.lock("/lock")
        listener = await runtime.listen("127.0.0.1:0")
        await runtime.connect(listener.address)
        await runtime.compute(lambda: None, INLINE_COMPUTE_NS)
        raise ValueError("on purpose")

    threads = threading.active_count()
    with pytest.raises(ValueError, match="on purpose"):
        run_on_host(main)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == before


def test_compute_leaves_the_thread_only_when_it_pays() -> None:
    async def main(runtime: HostRuntime) -> list[bool]:
        here = threading.get_ident()
        costs = (0, INLINE_COMPUTE_NS - 1, INLINE_COMPUTE_NS, 10**9)
        return [await runtime.compute(threading.get_ident, cost) == here for cost in costs]

    assert run_on_host(main) == [True, True, False, False]


def test_what_never_waits_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    """Resident reads and small computations for ever: deadlines still end them."""

    async def main(runtime: HostRuntime) -> None:
        file = runtime.volume("data", str(tmp_path)).create("/f")
        file.write_at(0, bytes(8192))

        async def read() -> None:
            while True:
                await file.read_at(0, 8192)

        async def compute() -> None:
            while True:
                await runtime.compute(lambda: None, 10_000)

        for busy in (read, compute):
            with pytest.raises(TimedOut):
                async with deadline(5 * MILLISECOND_NS):
                    await busy()

    run_on_host(main)


def test_compute_raises_what_the_function_raises() -> None:
    failure = ValueError("in the thread")

    def fail() -> None:
        raise failure

    async def main(runtime: HostRuntime) -> None:
        for cost_ns in (0, 10**9):
            with pytest.raises(ValueError, match="in the thread") as caught:
                await runtime.compute(fail, cost_ns)
            assert caught.value is failure

    run_on_host(main)


def test_others_go_on_while_it_computes_and_a_cancelled_result_is_dropped() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> str:
        assert go_on.wait(PATIENCE_S)
        ended.set()
        return "result"

    async def main(runtime: HostRuntime) -> None:
        with pytest.raises(TimedOut):
            async with deadline(5 * MILLISECOND_NS):
                await runtime.compute(work, 10**9)
        async with group() as g:
            task = g.spawn(runtime.compute(work, 10**9), "compute")
            for _ in range(100):
                await yield_now()
            task.cancel()
        assert task.cancelled and not ended.is_set()
        go_on.set()

    threads = threading.active_count()
    run_on_host(main)
    assert ended.is_set() and threading.active_count() == threads, "joined at the end"


def test_many_computations_run_side_by_side_and_answer_each_its_own() -> None:
    async def main(runtime: HostRuntime) -> list[int]:
        async with group() as g:
            tasks = [g.spawn(runtime.compute(lambda n=n: n * n, 10**9), f"{n}") for n in range(200)]
        return [task.result() for task in tasks]

    assert run_on_host(main) == [n * n for n in range(200)]


def test_bytes_of_a_closed_connection_are_sent_before_the_end() -> None:
    size = 8_000_000
    got = bytearray()
    listening = threading.Event()
    address: list[str] = []

    async def serve(runtime: HostRuntime) -> None:
        listener = await runtime.listen("127.0.0.1:0")
        address.append(listener.address)
        listening.set()
        stream = await listener.accept()
        await sleep_ns(20 * MILLISECOND_NS)
        while part := await stream.receive(100_000):
            got.extend(part)

    async def call(runtime: HostRuntime) -> None:
        stream = await runtime.connect(address[0])
        await stream.send(bytes(size))
        stream.close()

    server = threading.Thread(target=run_on_host, args=(serve,), daemon=True)
    server.start()
    assert listening.wait(PATIENCE_S)
    run_on_host(call)
    server.join(PATIENCE_S)
    assert len(got) == size


def test_a_defect_in_a_callback_ends_the_run() -> None:
    def defect() -> None:
        raise LookupError("a defect")

    async def main(runtime: HostRuntime) -> None:
        runtime._loop.call_soon(defect)
        await sleep_ns(10**12)

    with pytest.raises(LookupError, match="a defect"):
        run_on_host(main)


# -- signals ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number: signal.Signals) -> None:
    async def main(runtime: HostRuntime) -> str:
        os.kill(os.getpid(), number)
        answer = await first(runtime.stop.wait(), sleep_ns(10**12))
        assert runtime.stop.requested
        await sleep_ns(MILLISECOND_NS)  # in its own time
        return str(answer[0])

    before = signal.getsignal(number)
    assert run_on_host(main) == number.name
    assert signal.getsignal(number) is before


def test_the_second_signal_is_an_order() -> None:
    log: list[str] = []

    async def main(runtime: HostRuntime) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await runtime.stop.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await sleep_ns(10**12)
        finally:
            log.append("thrown away")

    with pytest.raises(KeyboardInterrupt):
        run_on_host(main)
    assert log == ["thrown away"]


HANGS = """
import os, signal, sys, time
from unittest import mock
from replicator.host.world import run_on_host
from replicator.runtime import group

async def main(runtime):
    file = runtime.volume("data", sys.argv[1]).create("/f")
    async with group() as g:
        g.spawn(file.sync(), "sync")
        print("hangs", flush=True)
        cause = await runtime.stop.wait()
        print(cause, flush=True)

with mock.patch.object(os, "fdatasync", lambda fd: time.sleep(3600)):
    try:
        run_on_host(main, emit=lambda event, values: print(event, *values, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_a_disk_that_hangs_does_not_keep_the_process_at_the_second_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANGS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "hangs\n"
            child.send_signal(signal.SIGTERM)
            assert child.stdout.readline() == "SIGTERM\n"
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "left_behind volume-data\n"
            assert child.wait(PATIENCE_S) == 130
        finally:
            child.kill()


# -- identity --------------------------------------------------------------------------


def test_each_start_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "starts")
    assert [next_incarnation(path) for _ in range(3)] == [1, 2, 3]
    assert os.listdir(tmp_path) == ["starts"]


@pytest.mark.parametrize("damage", ["", "x", "-1", "1 2", "\u0661", "9" * 19])
def test_a_damaged_count_is_not_taken_for_a_number(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "starts"
    path.write_text(damage, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        next_incarnation(str(path))
    assert caught.value.path == str(path)
    assert path.read_text(encoding="utf-8") == damage
