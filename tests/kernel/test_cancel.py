"""Cancellation, deadlines, clean-ups, ``first`` and the order of sleeps."""

from __future__ import annotations

import pytest

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
from replicator.runtime.channels import Queue, Signal
from tests.kernel.worlds import World


async def forever() -> None:
    await Signal()


# -- cancel --------------------------------------------------------------------------


def test_a_finished_await_wins_and_the_next_that_blocks_raises(world: World) -> None:
    log: list[str] = []

    async def main() -> None:
        ready: Completion[str] = Completion()

        async def waiter() -> None:
            log.append(await ready)
            try:
                await yield_now()
            except Cancelled:
                log.append("cancelled")
                raise

        async with group() as g:
            task = g.spawn(waiter(), "waiter")
            await sleep_ns(world.units(1))
            ready.set("value")
            task.cancel()  # after the wait was over, before the waiter was stepped
        assert task.cancelled

    world.run(main())
    assert log == ["value", "cancelled"]


def test_a_task_that_blocks_no_more_ends_in_spite_of_its_cancellation(world: World) -> None:
    async def main() -> int:
        ready: Completion[int] = Completion()

        async def waiter() -> int:
            value = await ready
            queue: Queue[int] = Queue(1)
            await queue.put(value)  # room: does not block
            return await queue.get()  # an item: does not block

        async with group() as g:
            task = g.spawn(waiter(), "waiter")
            await sleep_ns(world.units(1))
            ready.set(7)
            task.cancel()
        assert not task.cancelled
        return task.result()

    assert world.run(main()) == 7


def test_cancellation_is_a_level(world: World) -> None:
    raised = 0

    async def stubborn() -> None:
        nonlocal raised
        for _ in range(3):
            try:
                await forever()
            except Cancelled:
                raised += 1

    async def main() -> None:
        async with group() as g:
            task = g.spawn(stubborn(), "stubborn")
            await sleep_ns(world.units(1))
            task.cancel()
            task.cancel()

    world.run(main())
    assert raised == 3


def test_cancel_before_the_first_step(world: World) -> None:
    log: list[str] = []

    async def child() -> None:
        log.append("runs to its first await that blocks")
        try:
            await sleep_ns(0)
        finally:
            log.append("finally")

    async def main() -> None:
        async with group() as g:
            task = g.spawn(child(), "child")
            task.cancel()
        assert task.cancelled

    world.run(main())
    assert log == ["runs to its first await that blocks", "finally"]


def test_cancelling_an_ended_task_does_nothing(world: World) -> None:
    async def child() -> int:
        return 5

    async def main() -> int:
        async with group() as g:
            task = g.spawn(child(), "child")
            value = await task
            task.cancel()
        assert not task.cancelled
        return value

    assert world.run(main()) == 5


def test_cleanup_shields_and_the_cancellation_comes_afterwards(world: World) -> None:
    log: list[str] = []

    async def child() -> None:
        async with cleanup(world.units(200)):
            await sleep_ns(world.units(2))
            log.append("shielded")
        await forever()

    async def main() -> None:
        async with group() as g:
            task = g.spawn(child(), "child")
            await sleep_ns(world.units(1))
            task.cancel()
        assert task.cancelled

    world.run(main())
    assert log == ["shielded"]


def test_cleanup_is_bounded_and_ends_quietly(world: World) -> None:
    log: list[object] = []

    async def child() -> None:
        try:
            await forever()
        finally:
            async with cleanup(world.units(1)) as bounded:
                await forever()
            log.append(bounded.expired)

    async def main() -> None:
        async with group() as g:
            task = g.spawn(child(), "child")
            await sleep_ns(world.units(1))
            task.cancel()
        assert task.cancelled

    world.run(main())
    assert log == [True]


# -- deadline ------------------------------------------------------------------------


def test_deadline_raises_at_its_own_expiry_and_not_before(world: World) -> None:
    async def main() -> int:
        before = world.clock.now()
        with pytest.raises(TimedOut):
            async with deadline(world.units(2)):
                await forever()
        return world.clock.now() - before

    assert world.run(main()) >= world.units(2)


def test_deadline_of_a_block_in_time_does_nothing_later(world: World) -> None:
    async def main() -> str:
        async with deadline(world.units(2)):
            await yield_now()
        await sleep_ns(world.units(5))
        return "untouched"

    assert world.run(main()) == "untouched"


def test_deadline_does_not_take_a_cancellation_for_its_own(world: World) -> None:
    log: list[str] = []

    async def child() -> None:
        try:
            async with deadline(world.units(1000)):
                await forever()
        except TimedOut:
            log.append("wrong")

    async def main() -> None:
        async with group() as g:
            task = g.spawn(child(), "child")
            await sleep_ns(world.units(1))
            task.cancel()
        assert task.cancelled

    world.run(main())
    assert log == []


@pytest.mark.parametrize(("outer", "inner"), [(2, 1000), (1000, 2)])
def test_nested_deadlines_raise_where_they_expired(world: World, outer: int, inner: int) -> None:
    async def main() -> str:
        try:
            async with deadline(world.units(outer)):
                try:
                    async with deadline(world.units(inner)):
                        await forever()
                except TimedOut:
                    await yield_now()
                    return "inner"
        except TimedOut:
            return "outer"
        return "none"

    assert world.run(main()) == ("outer" if outer < inner else "inner")


def test_when_both_deadlines_have_passed_the_outer_one_speaks(world: World) -> None:
    async def main() -> str:
        try:
            async with deadline(world.units(2)):
                try:
                    async with deadline(world.units(1)):
                        async with cleanup(world.units(200)):
                            await sleep_ns(world.units(4))
                        await forever()
                except TimedOut:
                    return "inner"
        except TimedOut:
            return "outer"
        return "none"

    assert world.run(main()) == "outer"


def test_deadline_around_a_group_joins_the_children(world: World) -> None:
    log: list[str] = []

    async def child(name: str) -> None:
        try:
            await forever()
        finally:
            async with cleanup(world.units(200)):
                await sleep_ns(world.units(1))
            log.append(name)

    async def main() -> None:
        try:
            async with deadline(world.units(2)), group() as g:
                g.spawn(child("a"), "a")
                g.spawn(child("b"), "b")
        except TimedOut:
            log.append("timed out")

    world.run(main())
    assert sorted(log[:2]) == ["a", "b"] and log[2:] == ["timed out"]


def test_deadline_that_passes_while_a_cleanup_runs_waits_for_it(world: World) -> None:
    log: list[str] = []

    async def main() -> None:
        try:
            async with deadline(world.units(1)):
                async with cleanup(world.units(200)):
                    await sleep_ns(world.units(3))
                    log.append("clean-up done")
                await yield_now()
                log.append("not reached")
        except TimedOut:
            log.append("timed out")

    world.run(main())
    assert log == ["clean-up done", "timed out"]


def test_deadline_inside_a_cleanup_works(world: World) -> None:
    async def main() -> str:
        async with cleanup(world.units(1000)):
            try:
                async with deadline(world.units(1)):
                    await forever()
            except TimedOut:
                return "timed out"
        return "none"

    assert world.run(main()) == "timed out"


def test_deadline_passes_on_another_error(world: World) -> None:
    async def main() -> None:
        async with deadline(world.units(100)):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        world.run(main())


# -- first ---------------------------------------------------------------------------


def test_first_cancels_and_joins_the_loser(world: World) -> None:
    log: list[str] = []

    async def loser() -> None:
        try:
            await forever()
        finally:
            async with cleanup(world.units(200)):
                await sleep_ns(world.units(2))
            log.append("loser ended")

    async def winner() -> str:
        await sleep_ns(world.units(1))
        return "won"

    async def main() -> tuple[object, ...]:
        answer = await first(loser(), winner())
        log.append("answer")
        return answer

    assert world.run(main()) == (UNFINISHED, "won")
    assert log == ["loser ended", "answer"]
    assert repr(UNFINISHED) == "UNFINISHED"


def test_first_with_both_finished_gives_both(world: World) -> None:
    async def main() -> tuple[object, ...]:
        one: Completion[int] = Completion()
        two: Completion[int] = Completion()

        async def read(source: Completion[int]) -> int:
            return await source

        async with group() as g:
            answer = g.spawn(first(read(one), read(two)), "first")
            await sleep_ns(world.units(1))
            one.set(1)
            two.set(2)
        return answer.result()

    assert world.run(main()) == (1, 2)


def test_first_loses_no_item(world: World) -> None:
    total = 60

    async def main() -> list[int]:
        queue: Queue[int] = Queue(4)
        taken: list[int] = []

        async def produce() -> None:
            for number in range(total):
                await queue.put(number)
                if number % 3 == 0:
                    await sleep_ns(world.units(0.05))
                if number % 7 == 0:
                    await yield_now()

        async with group() as g:
            g.spawn(produce(), "producer")
            while len(taken) < total:
                item, _ = await first(queue.get(), sleep_ns(world.units(0.05)))
                if item is not UNFINISHED:
                    taken.append(item)
        return taken

    assert world.run(main()) == list(range(total))


def test_first_that_is_cancelled_after_one_has_finished_hands_it_over(world: World) -> None:
    log: list[object] = []

    async def main() -> None:
        queue: Queue[int] = Queue(1)

        async def read() -> None:
            log.append(await first(queue.get(), forever()))
            await forever()

        async with group() as g:
            task = g.spawn(read(), "reader")
            await sleep_ns(world.units(1))
            queue.try_put(7)
            task.cancel()
        assert task.cancelled and len(queue) == 0

    world.run(main())
    assert log == [(7, UNFINISHED)]


def test_first_raises_the_failure_of_the_one_that_ends_first(world: World) -> None:
    wanted = KeyError("mine")

    async def failing() -> None:
        await sleep_ns(world.units(1))
        raise wanted

    async def main() -> None:
        await first(forever(), failing())

    with pytest.raises(KeyError) as caught:
        world.run(main())
    assert caught.value is wanted


def test_first_that_is_cancelled_takes_its_tasks_along(world: World) -> None:
    log: list[str] = []

    async def child() -> None:
        try:
            await forever()
        finally:
            log.append("child")

    async def main() -> None:
        with pytest.raises(TimedOut):
            async with deadline(world.units(1)):
                await first(child(), child())

    world.run(main())
    assert log == ["child", "child"]


# -- sleep ---------------------------------------------------------------------------


def test_sleeps_end_in_the_order_of_their_instants(world: World) -> None:
    log: list[int] = []

    async def sleeper(delay: int) -> None:
        await sleep_ns(world.units(delay))
        log.append(delay)

    async def main() -> None:
        async with group() as g:
            for delay in (7, 1, 5, 3, 9):
                g.spawn(sleeper(delay), f"sleeper {delay}")

    before = world.clock.now()
    world.run(main())
    assert world.clock.now() - before >= world.units(9)
    if world.seed is None:
        assert log == [1, 3, 5, 7, 9]
    assert sorted(log) == [1, 3, 5, 7, 9]


def test_a_sleep_of_nothing_lets_others_run(world: World) -> None:
    log: list[str] = []

    async def child(name: str) -> None:
        for _ in range(2):
            log.append(name)
            await sleep_ns(-5)

    async def main() -> None:
        async with group() as g:
            g.spawn(child("a"), "a")
            g.spawn(child("b"), "b")

    world.run(main())
    assert sorted(log) == ["a", "a", "b", "b"]
    if world.seed is None:
        assert log == ["a", "b", "a", "b"]
