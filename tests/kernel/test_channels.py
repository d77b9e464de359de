"""Queues and signals: FIFO, bounded, and nothing is lost to a cancelled reader."""

from __future__ import annotations

import pytest

from replicator.runtime import TimedOut, deadline, group, sleep_ns, yield_now
from replicator.runtime.channels import Queue, QueueClosed, Signal
from tests.kernel.worlds import World


def test_signal_wakes_all_that_wait_and_remembers_nothing(world: World) -> None:
    woken: list[int] = []

    async def main() -> None:
        signal = Signal()

        async def wait(number: int) -> None:
            await signal
            woken.append(number)

        signal.notify()  # nobody waits: forgotten
        async with group() as g:
            for number in range(3):
                g.spawn(wait(number), f"waiter {number}")
            await sleep_ns(world.units(1))
            assert woken == []
            signal.notify()

    world.run(main())
    assert sorted(woken) == [0, 1, 2]
    if world.seed is None:
        assert woken == [0, 1, 2]


def test_queue_is_first_in_first_out(world: World) -> None:
    async def main() -> list[int]:
        queue: Queue[int] = Queue(3)

        async def produce() -> None:
            for number in range(50):
                await queue.put(number)
            queue.close()

        taken: list[int] = []
        async with group() as g:
            g.spawn(produce(), "producer")
            with pytest.raises(QueueClosed):
                while True:
                    taken.append(await queue.get())
                    assert len(queue) <= 3
        return taken

    assert world.run(main()) == list(range(50))


def test_put_waits_for_room_in_items(world: World) -> None:
    log: list[str] = []

    async def main() -> None:
        queue: Queue[str] = Queue(2)

        async def produce() -> None:
            for name in "abc":
                await queue.put(name)
                log.append(f"put {name}")

        async with group() as g:
            g.spawn(produce(), "producer")
            await sleep_ns(world.units(1))
            assert log == ["put a", "put b"]
            assert not queue.try_put("d")
            assert await queue.get() == "a"
            await sleep_ns(world.units(1))
            assert log[2:] == ["put c"]

    world.run(main())


def test_put_waits_for_room_in_bytes_but_never_sticks(world: World) -> None:
    async def main() -> None:
        queue: Queue[bytes] = Queue(100, limit_bytes=10, size=len)
        assert queue.try_put(b"123456")
        assert not queue.try_put(b"12345")
        assert queue.try_put(b"1234")
        assert queue.bytes_held == 10
        assert await queue.get_batch(9) == [b"123456", b"1234"]
        assert queue.bytes_held == 0
        await queue.put(b"larger than the limit")
        assert not queue.try_put(b"")
        assert await queue.get() == b"larger than the limit"

    world.run(main())


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="limit_items"):
        Queue(0)
    with pytest.raises(ValueError, match="needs size"):
        Queue(1, limit_bytes=5)


def test_get_batch_takes_what_is_there_and_waits_for_one(world: World) -> None:
    async def main() -> list[list[int]]:
        queue: Queue[int] = Queue(10)

        async def produce() -> None:
            await sleep_ns(world.units(1))
            for number in range(5):
                queue.try_put(number)

        async with group() as g:
            g.spawn(produce(), "producer")
            return [await queue.get_batch(2), await queue.get_batch(9)]

    assert world.run(main()) == [[0, 1], [2, 3, 4]]


def test_close_wakes_readers_and_writers(world: World) -> None:
    async def main() -> list[str]:
        full: Queue[int] = Queue(1)
        empty: Queue[int] = Queue(1)
        log: list[str] = []

        async def put() -> None:
            await full.put(1)
            try:
                await full.put(2)
            except QueueClosed:
                log.append("writer")

        async def get() -> None:
            try:
                await empty.get()
            except QueueClosed:
                log.append("reader")

        async with group() as g:
            g.spawn(put(), "writer")
            g.spawn(get(), "reader")
            await sleep_ns(world.units(1))
            full.close()
            empty.close()
        assert full.closed and await full.get() == 1, "what is held still comes"
        with pytest.raises(QueueClosed):
            full.try_put(3)
        return sorted(log)

    assert world.run(main()) == ["reader", "writer"]


def test_a_cancelled_reader_loses_nothing(world: World) -> None:
    """The item comes and the cancellation comes, in either order, before the step."""

    async def main(cancel_first: bool) -> list[int]:
        queue: Queue[int] = Queue(8)
        taken: list[int] = []

        async def read() -> None:
            taken.append(await queue.get())

        async with group() as g:
            victim = g.spawn(read(), "victim")
            await sleep_ns(world.units(1))
            if cancel_first:
                victim.cancel()
            queue.try_put(1)
            victim.cancel()
        while len(queue):
            taken.append(await queue.get())
        return taken

    for cancel_first in (False, True):
        assert world.run(main(cancel_first)) == [1]


def test_many_readers_share_without_loss(world: World) -> None:
    async def main() -> list[int]:
        queue: Queue[int] = Queue(2)
        taken: list[int] = []

        async def read() -> None:
            while True:
                try:
                    taken.append(await queue.get())
                except QueueClosed:
                    return
                await yield_now()

        async with group() as g:
            for number in range(5):
                g.spawn(read(), f"reader {number}")
            for number in range(40):
                await queue.put(number)
                if number % 5 == 0:
                    await sleep_ns(world.units(0.1))
            queue.close()
        return taken

    taken = world.run(main())
    assert sorted(taken) == list(range(40))


def test_a_writer_that_gives_up_has_put_nothing(world: World) -> None:
    async def main() -> list[int]:
        queue: Queue[int] = Queue(1)
        await queue.put(1)
        with pytest.raises(TimedOut):
            async with deadline(world.units(1)):
                await queue.put(2)
        await queue.get()
        await queue.put(3)
        return await queue.get_batch(9)

    assert world.run(main()) == [3]
