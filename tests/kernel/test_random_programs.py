"""Random programs of tasks keep the kernel's promises, on SimPy's heap under any tie-break.

A program is a tree of small statements.  Every item that is put carries a number of its
own, so that at the end each item is accounted for: taken once, still queued, or never
put because its writer was cancelled.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from replicator.runtime import (
    UNFINISHED,
    Cancelled,
    Group,
    Task,
    TimedOut,
    cleanup,
    deadline,
    first,
    group,
    sleep_ns,
    yield_now,
)
from replicator.runtime.channels import Queue, QueueClosed
from tests.kernel.worlds import SimWorld


class Planned(Exception):
    """A failure that the program asks for."""


Statement = tuple[object, ...]

_delays = st.integers(0, 6)
_queues = st.integers(0, 1)
_leaf = st.one_of(
    st.tuples(st.just("sleep"), _delays),
    st.tuples(st.just("yield")),
    st.tuples(st.just("put"), _queues),
    st.tuples(st.just("get"), _queues),
    st.tuples(st.just("batch"), _queues),
    st.tuples(st.just("race"), _queues, _delays),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("close"), _queues),
    st.tuples(st.just("fail")),
)


def _nest(inner: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
    block = st.lists(inner, max_size=4)
    return st.one_of(
        st.tuples(st.just("deadline"), _delays, block),
        st.tuples(st.just("cleanup"), _delays, block),
        st.tuples(st.just("group"), st.lists(block, min_size=1, max_size=3), block),
    )


programs = st.lists(st.recursive(_leaf, _nest, max_leaves=14), min_size=1, max_size=8)


@dataclass
class Account:
    """What became of each item, and of each block."""

    queues: list[Queue[int]] = field(default_factory=lambda: [Queue(2), Queue(1)])
    put: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    last_taken: dict[tuple[int, str], int] = field(default_factory=dict)
    tasks: list[Task[None]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    numbers: int = 0


async def run_block(account: Account, block: list[Statement]) -> None:
    for statement in block:
        await run_statement(account, statement)


async def run_statement(account: Account, statement: Statement) -> None:
    kind, *values = statement
    if kind == "sleep":
        await sleep_ns(values[0])  # type: ignore[arg-type]
    elif kind == "yield":
        await yield_now()
    elif kind == "fail":
        raise Planned
    elif kind == "cancel":
        if account.tasks:
            account.tasks[values[0] % len(account.tasks)].cancel()  # type: ignore[operator]
    elif kind in ("deadline", "cleanup"):
        await run_timed(account, kind == "deadline", *values)  # type: ignore[arg-type]
    elif kind == "group":
        await run_group(account, *values)  # type: ignore[arg-type]
    else:
        await run_queue(account, str(kind), *values)  # type: ignore[arg-type]


async def run_queue(account: Account, kind: str, number: int, delay: int = 0) -> None:
    queue = account.queues[number]
    try:
        if kind == "close":
            queue.close()
        elif kind == "put":
            account.numbers += 1
            item = account.numbers
            await queue.put(item)
            account.put.append(item)
        elif kind == "get":
            account.taken.append(await queue.get())
        elif kind == "batch":
            account.taken.extend(await queue.get_batch(3))
        elif kind == "race":
            item_or_not, _ = await first(queue.get(), sleep_ns(delay))
            if item_or_not is not UNFINISHED:
                account.taken.append(item_or_not)
    except QueueClosed:
        pass


async def run_timed(account: Account, strict: bool, delay: int, block: list[Statement]) -> None:
    scope = deadline(delay) if strict else cleanup(delay)
    try:
        async with scope:
            await run_block(account, block)
    except TimedOut:
        if not scope.expired:
            account.wrong.append("TimedOut from a scope that has not expired")


async def run_group(
    account: Account, children: list[list[Statement]], body: list[Statement]
) -> None:
    spawned: list[Task[None]] = []

    def spawn(g: Group, block: list[Statement]) -> None:
        task = g.spawn(run_block(account, block), f"task {len(account.tasks)}")
        account.tasks.append(task)
        spawned.append(task)

    try:
        async with group() as g:
            for block in children:
                spawn(g, block)
            await run_block(account, body)
    except Planned:
        pass
    finally:
        if not all(task.done for task in spawned):
            account.wrong.append("a child outlives its group")


@given(program=programs, seed=st.one_of(st.none(), st.integers(0, 1000)))
def test_random_programs_keep_the_promises(program: list[Statement], seed: int | None) -> None:
    world = SimWorld(seed)
    account = Account()

    async def main() -> None:
        # The bound ends programs whose reader waits for an item that never comes.
        try:
            async with deadline(10_000):
                await run_block(account, program)
        except (TimedOut, Planned):
            pass

    world.run(main())  # ends, and no task is left parked or ready
    assert account.wrong == []
    assert not world.kernel._ready and not world.kernel._scheduled
    assert all(task.done and not task.scopes for task in account.tasks)
    left = [queue._items for queue in account.queues]
    assert all(not queue._changed._tasks for queue in account.queues)
    seen = Counter([*account.taken, *(item for items in left for item in items)])
    assert all(count == 1 for count in seen.values()), "an item came twice"
    assert set(account.put) <= set(seen), "an item was lost"


@given(program=programs, kill_after=st.integers(0, 40))
def test_random_programs_can_be_killed_anywhere(program: list[Statement], kill_after: int) -> None:
    world = SimWorld()
    account = Account()

    async def main() -> None:
        with contextlib.suppress(Planned, Cancelled):
            await run_block(account, program)

    world.start(main())
    while world.kernel.steps < kill_after and world.sim_clock._heap:
        world.sim_clock.env.step()
    world.kernel.kill()
    steps, taken = world.kernel.steps, len(account.taken)
    world.sim_clock.run_until_idle()
    world.kernel.close()
    assert world.kernel.steps == steps and len(account.taken) == taken
    assert not world.kernel._tasks
