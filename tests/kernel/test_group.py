"""Groups: the only way to spawn, and nothing outlives the block."""

from __future__ import annotations

import contextlib

import pytest

from replicator.runtime import (
    Cancelled,
    Completion,
    Group,
    TaskCancelled,
    cleanup,
    group,
    sleep_ns,
    yield_now,
)
from replicator.runtime.channels import Queue, Signal
from tests.kernel.worlds import World


class Wanted(Exception):
    """The failure that a test provokes; holds state, so a copy would be noticed."""


async def forever() -> None:
    await Signal()


async def fail_after(delay_ns: int, error: Exception) -> None:
    await sleep_ns(delay_ns)
    raise error


def test_results_are_there_after_the_block(world: World) -> None:
    async def child(value: int) -> int:
        await sleep_ns(world.units(value))
        return value * 10

    async def main() -> list[int]:
        async with group() as g:
            tasks = [g.spawn(child(i), f"child {i}") for i in (2, 1, 0)]
        assert all(task.done for task in tasks)
        return [task.result() for task in tasks]

    assert world.run(main()) == [20, 10, 0]


def test_first_failure_in_time_is_raised_as_the_same_object(world: World) -> None:
    early, late = Wanted("early"), Wanted("late")

    async def main() -> None:
        async with group() as g:
            g.spawn(fail_after(world.units(4), late), "born first")
            g.spawn(fail_after(world.units(1), early), "fails first")
            await forever()

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is early


def test_siblings_are_cancelled_in_birth_order_and_joined(world: World) -> None:
    wanted, cancelled, joined = Wanted(), [], []
    order: list[int] = []

    async def sibling(number: int) -> None:
        try:
            await forever()
        except Cancelled:
            cancelled.append(number)
            raise
        finally:
            async with cleanup(world.units(50)):
                await sleep_ns(world.units(1))
            joined.append(number)

    async def main() -> None:
        try:
            async with group() as g:
                for i in range(8):
                    g.spawn(sibling(i), f"sibling {i}")
                await sleep_ns(world.units(1))
                raise wanted
        finally:
            order.extend(joined)

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted
    assert sorted(order) == list(range(8)), "all were joined before the block ended"
    assert sorted(cancelled) == list(range(8))
    if world.seed is None:
        assert cancelled == list(range(8))


def test_child_fails_while_the_body_waits(world: World) -> None:
    wanted = Wanted()
    seen: list[object] = []

    async def slow_goodbye() -> None:
        try:
            await forever()
        finally:
            async with cleanup(world.units(50)):
                await sleep_ns(world.units(2))
            seen.append("sibling")

    async def main() -> None:
        async with group() as g:
            g.spawn(slow_goodbye(), "sibling")
            g.spawn(fail_after(world.units(1), wanted), "failing")
            try:
                await forever()
            except Cancelled as cancelled:
                seen.append(cancelled.scope is g)
                raise

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted
    assert seen == [True, "sibling"]


def test_child_fails_while_the_body_awaits_that_child(world: World) -> None:
    wanted = Wanted()
    seen: list[BaseException] = []

    async def main() -> None:
        async with group() as g:
            child = g.spawn(fail_after(world.units(1), wanted), "failing")
            g.spawn(forever(), "sibling")
            try:
                await child
            except Wanted as error:
                seen.append(error)
                raise

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted and seen == [wanted]


def test_child_fails_while_joining(world: World) -> None:
    wanted = Wanted()

    async def main() -> None:
        async with group() as g:
            g.spawn(forever(), "sibling")
            g.spawn(fail_after(world.units(1), wanted), "failing")

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted


def test_failing_body_wins_over_failures_of_cancelled_children(world: World) -> None:
    wanted = Wanted("body")

    async def child() -> None:
        try:
            await forever()
        finally:
            raise Wanted("on the way out")

    async def main() -> None:
        async with group() as g:
            g.spawn(child(), "child")
            await sleep_ns(world.units(1))
            raise wanted

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted


def test_failure_of_a_child_is_raised_even_if_the_body_swallows_its_cancellation(
    world: World,
) -> None:
    wanted = Wanted()

    async def main() -> None:
        async with group() as g:
            g.spawn(fail_after(0, wanted), "failing")
            with contextlib.suppress(Cancelled):
                await forever()

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted


def test_nested_groups_pass_the_failure_outwards(world: World) -> None:
    wanted = Wanted()
    log: list[str] = []

    async def leaf(name: str) -> None:
        try:
            await forever()
        finally:
            log.append(name)

    async def inner() -> None:
        async with group() as g:
            g.spawn(leaf("leaf"), "leaf")
            g.spawn(fail_after(world.units(1), wanted), "failing")
        log.append("not reached")

    async def main() -> None:
        async with group() as g:
            g.spawn(leaf("uncle"), "uncle")
            g.spawn(inner(), "inner")

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted
    assert log == ["leaf", "uncle"]


def test_failure_outside_ends_a_group_nested_in_the_body(world: World) -> None:
    wanted = Wanted()
    log: list[str] = []

    async def leaf() -> None:
        try:
            await forever()
        finally:
            async with cleanup(world.units(50)):
                await sleep_ns(world.units(1))
            log.append("leaf")

    async def main() -> None:
        async with group() as outer:
            outer.spawn(fail_after(world.units(1), wanted), "failing")
            async with group() as inner:
                inner.spawn(leaf(), "leaf")
            log.append("not reached")

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted
    assert log == ["leaf"]


def test_a_cancelled_child_is_not_a_failure(world: World) -> None:
    async def main() -> str:
        async with group() as g:
            child = g.spawn(forever(), "child")
            await yield_now()
            child.cancel()
        assert child.done and child.cancelled
        return "went on"

    assert world.run(main()) == "went on"


def test_awaiting_a_cancelled_task_is_an_ordinary_error(world: World) -> None:
    async def main() -> str:
        async with group() as g:
            child = g.spawn(forever(), "child")
            child.cancel()
            try:
                await child
            except TaskCancelled as error:
                await sleep_ns(world.units(1))  # the waiter itself is not cancelled
                return str(error)
        return "no error"

    assert world.run(main()) == "task child was cancelled"


def test_group_cancel_leaves_the_body_alone(world: World) -> None:
    async def main() -> str:
        async with group() as g:
            tasks = [g.spawn(forever(), "child") for _ in range(3)]
            await sleep_ns(world.units(1))
            g.cancel()
            await sleep_ns(world.units(1))
            assert all(task.cancelled for task in tasks)
        return "body ended"

    assert world.run(main()) == "body ended"


def test_spawn_needs_an_open_block(world: World) -> None:
    async def main() -> Group:
        never = group()
        with pytest.raises(RuntimeError, match="not open"):
            never.spawn(forever(), "too early")
        async with group() as g:
            pass
        with pytest.raises(RuntimeError, match="not open"):
            g.spawn(forever(), "too late")
        return g

    world.run(main())


def test_children_may_spawn_siblings_while_the_group_joins(world: World) -> None:
    log: list[int] = []

    async def child(g: Group, number: int) -> None:
        await sleep_ns(world.units(1))
        log.append(number)
        if number:
            g.spawn(child(g, number - 1), f"child {number - 1}")

    async def main() -> None:
        async with group() as g:
            g.spawn(child(g, 3), "child 3")

    world.run(main())
    assert log == [3, 2, 1, 0]


def test_spawn_into_a_failed_group_is_cancelled_at_its_first_wait(world: World) -> None:
    log: list[str] = []

    async def late() -> None:
        log.append("started")
        await forever()

    async def main() -> None:
        async with group() as g:
            g.spawn(fail_after(0, Wanted()), "failing")
            try:
                await forever()
            finally:
                g.spawn(late(), "late")

    with pytest.raises(Wanted):
        world.run(main())
    assert log == ["started"]


def test_cancellation_from_outside_joins_the_children(world: World) -> None:
    log: list[str] = []

    async def child() -> None:
        try:
            await forever()
        finally:
            async with cleanup(world.units(50)):
                await sleep_ns(world.units(2))
            log.append("child")

    async def inner() -> None:
        try:
            async with group() as g:
                g.spawn(child(), "child")
        finally:
            log.append("group")

    async def main() -> None:
        async with group() as g:
            task = g.spawn(inner(), "inner")
            await sleep_ns(world.units(1))
            task.cancel()
        assert task.cancelled

    world.run(main())
    assert log == ["child", "group"]


def test_completion_hands_its_value_to_all_who_wait(world: World) -> None:
    async def main() -> list[str]:
        ready: Completion[str] = Completion()

        async def wait() -> str:
            return await ready

        async with group() as g:
            tasks = [g.spawn(wait(), f"waiter {i}") for i in range(3)]
            victim = g.spawn(wait(), "victim")
            await sleep_ns(world.units(1))
            victim.cancel()
            ready.set("value")
            ready.set("second delivery")
            assert ready.done
        assert await ready == "value", "a late reader finds it as well"
        return [task.result() for task in tasks]

    assert world.run(main()) == ["value"] * 3


def test_completion_hands_on_the_same_error_object(world: World) -> None:
    wanted = Wanted()

    async def main() -> None:
        ready: Completion[str] = Completion()
        async with group() as g:
            queue: Queue[int] = Queue(1)

            async def deliver() -> None:
                await queue.get()
                ready.fail(wanted)

            g.spawn(deliver(), "adapter")
            await queue.put(1)
            await ready

    with pytest.raises(Wanted) as caught:
        world.run(main())
    assert caught.value is wanted
