"""What a world may do to a kernel: kill, close, pause, resume; and processor time."""

from __future__ import annotations

import contextlib
import gc
import warnings
from itertools import pairwise

import pytest

from replicator.runtime import (
    Completion,
    Crashed,
    Kernel,
    Task,
    cleanup,
    deadline,
    group,
    sleep_ns,
    yield_now,
)
from replicator.runtime.channels import Queue
from tests.kernel.worlds import SimWorld, World


def test_nothing_of_a_killed_kernel_is_stepped_again(world: World) -> None:
    log: list[str] = []
    ended: list[Task[None]] = []
    outside: Completion[None] = Completion()

    async def sleeper() -> None:
        await sleep_ns(world.units(150))
        log.append("sleeper")

    async def waiter() -> None:
        await outside
        log.append("waiter")

    async def main() -> None:
        async with deadline(world.units(100)), group() as g:
            g.spawn(sleeper(), "sleeper")
            g.spawn(waiter(), "waiter")

    world.kernel.run_task(main(), "root", ended.append)
    world.run_for(world.units(1))
    steps = world.kernel.steps
    world.kernel.kill()
    outside.set(None)
    world.run_for(world.units(200))
    assert world.kernel.steps == steps and log == [] and ended == []
    world.kernel.close()
    assert log == []


def test_close_runs_finally_blocks_innermost_first_and_without_a_world(world: World) -> None:
    log: list[str] = []

    def touch() -> None:
        if world.kernel.dead:
            raise Crashed
        log.append("touched")

    async def child(g_queue: Queue[int]) -> None:
        try:
            async with deadline(world.units(1000)), group() as inner:
                inner.spawn(sleep_ns(world.units(1000)), "grandchild")
                await g_queue.get()
        finally:
            log.append("child")
            g_queue.try_put(1)
            touch()

    async def main() -> None:
        queue: Queue[int] = Queue(1)
        try:
            async with group() as g:
                for _ in range(2):
                    g.spawn(child(queue), "child")
                await sleep_ns(world.units(1000))
        finally:
            log.append("main")

    world.start(main())
    world.run_for(world.units(1))
    world.kernel.kill()
    world.kernel.close()
    assert log == ["child", "child", "main"]
    assert not world.kernel._tasks


def test_close_gets_through_finally_blocks_that_wait_spawn_or_fail(world: World) -> None:
    log: list[str] = []

    async def stubborn() -> None:
        try:
            try:
                await sleep_ns(world.units(1000))
            finally:
                log.append("inner")
                async with cleanup(world.units(1)):
                    await sleep_ns(1)
                log.append("not reached")
        finally:
            log.append("outer")
            await yield_now()

    async def failing() -> None:
        try:
            await sleep_ns(world.units(1000))
        finally:
            raise ValueError("on the way out")

    async def main() -> None:
        async with group() as g:
            try:
                g.spawn(stubborn(), "stubborn")
                g.spawn(failing(), "failing")
                await sleep_ns(world.units(1000))
            finally:
                g.spawn(stubborn(), "never starts")

    world.start(main())
    world.run_for(world.units(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        world.kernel.close()
        gc.collect()
    assert log == ["inner", "outer"]


def test_a_crash_inside_a_plain_call_kills_the_kernel(world: World) -> None:
    log: list[str] = []
    ended: list[Task[None]] = []

    def plain_call() -> None:
        raise Crashed

    async def crashing() -> None:
        async with deadline(world.units(2)), group():
            await sleep_ns(world.units(1))
            with contextlib.suppress(Exception):  # error handling must not catch it
                plain_call()
            log.append("not reached")

    async def bystander() -> None:
        try:
            await sleep_ns(world.units(2))
        finally:
            log.append("bystander")

    async def main() -> None:
        async with group() as g:
            g.spawn(bystander(), "bystander")
            await g.spawn(crashing(), "crashing")

    root = world.kernel.run_task(main(), "root", ended.append)
    world.run_for(world.units(4))
    assert world.kernel.dead and not root.done and ended == [] and log == []
    world.kernel.close()
    assert log == ["bystander"]


def test_a_kernel_killed_by_its_own_step_freezes_at_the_next_await(world: World) -> None:
    log: list[str] = []

    async def main() -> None:
        try:
            world.kernel.kill()
            log.append("still this step")
            await yield_now()
            log.append("not reached")
        finally:
            log.append("closed")

    world.start(main())
    world.run_for(world.units(1))
    assert log == ["still this step"]
    world.kernel.close()
    assert log == ["still this step", "closed"]


def test_paused_kernels_keep_wake_ups_until_they_are_resumed(world: World) -> None:
    log: list[str] = []
    outside: Completion[None] = Completion()

    async def waiter() -> None:
        await outside
        log.append("waiter")

    async def sleeper() -> None:
        await sleep_ns(world.units(20))
        log.append("sleeper")

    async def main() -> None:
        async with group() as g:
            g.spawn(waiter(), "waiter")
            g.spawn(sleeper(), "sleeper")

    root = world.start(main())
    world.run_for(world.units(0.3))
    world.kernel.pause()
    outside.set(None)
    world.run_for(world.units(25))
    assert log == []
    world.kernel.resume()
    world.run_until_done(root)
    assert sorted(log) == ["sleeper", "waiter"]


def test_pause_and_resume_within_one_step_loses_nothing(world: World) -> None:
    async def child() -> None:
        await yield_now()

    async def main() -> str:
        async with group() as g:
            for _ in range(3):
                g.spawn(child(), "child")
            world.kernel.pause()
            world.kernel.resume()
        return "ended"

    assert world.run(main()) == "ended"


def test_charged_time_delays_the_steps_that_follow(world: World) -> None:
    stamps: list[int] = []

    async def worker() -> None:
        stamps.append(world.clock.now())
        world.kernel.charge_ns(world.units(2))

    async def main() -> None:
        async with group() as g:
            for _ in range(3):
                g.spawn(worker(), "worker")

    world.run(main())
    assert all(b - a >= world.units(2) for a, b in pairwise(stamps))
    assert world.clock.now() - stamps[-1] >= world.units(2), "the joining root waits as well"


def test_time_charged_from_outside_counts_for_steps_already_due(world: World) -> None:
    stamps: list[int] = []

    async def main() -> None:
        stamps.append(world.clock.now())

    before = world.clock.now()
    root = world.start(main())
    world.kernel.charge_ns(world.units(2))
    world.run_until_done(root)
    assert stamps[0] - before >= world.units(2)


def test_two_kernels_on_one_clock_do_not_disturb_each_other(world: World) -> None:
    other = Kernel(world.clock)
    handed_over: Completion[str] = Completion()

    async def remote() -> None:
        await sleep_ns(world.units(1))
        handed_over.set("from the other host")

    async def main() -> str:
        return await handed_over

    other.run_task(remote(), "remote")
    assert world.run(main()) == "from the other host"


def test_an_interrupt_of_the_program_is_not_taken_for_a_failure_of_a_task() -> None:
    world = SimWorld()

    async def child() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with group() as g:
            g.spawn(child(), "child")

    world.start(main())
    with pytest.raises(KeyboardInterrupt):
        world.sim_clock.run_until_idle()
    assert world.kernel.dead
