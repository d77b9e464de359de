"""Pages that the processes of one machine share: stores, bells, and the death of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from replicator.host.volume import HostVolume
from replicator.runtime import deadline, group, sleep_ns
from replicator.runtime.port import SharedPage, Volume
from simulator.device import DiskModel
from simulator.host import World, lose_everything
from tests.real_loop import RealLoop

MILLISECOND_NS = 1_000_000
PATIENCE_NS = 20_000 * MILLISECOND_NS
PAGE = "/page"


class PageWorld:
    """Two processes of one machine with one volume."""

    first: Volume
    second: Volume

    def __init__(self, run: Callable[..., object], first: Volume, second: Volume) -> None:
        self.run, self.first, self.second = run, first, second

    def pages(self) -> tuple[SharedPage, SharedPage]:
        return self.first.shared_page(PAGE, 4096), self.second.shared_page(PAGE, 4096)


@pytest.fixture(params=["simulated", "real"])
def world(request: pytest.FixtureRequest, tmp_path) -> Iterator[PageWorld]:
    if request.param == "simulated":
        emulated = World(network=False)
        machine = emulated.machine("machine")
        machine.add_disk("data", DiskModel())
        hosts = [machine.start(name) for name in ("first", "second")]

        def run(coro):
            task = hosts[0].kernel.run_task(coro, "test")
            emulated.clock.run_until_idle()
            return task.result()

        yield PageWorld(run, hosts[0].volume("data"), hosts[1].volume("data"))
        emulated.close()
    else:
        loop = RealLoop()
        volumes = [HostVolume(name, str(tmp_path), loop.loop) for name in ("first", "second")]
        yield PageWorld(loop.run, *volumes)
        for volume in volumes:
            volume.close()
        loop.close()


def test_a_new_page_is_zeros_and_a_store_is_seen_by_the_other(world: PageWorld) -> None:
    one, other = world.pages()
    assert bytes(other.memory) == bytes(4096)
    one.memory[100:105] = b"store"
    assert bytes(other.memory[100:105]) == b"store"
    assert len(one.memory) == 4096


def test_a_page_outlives_its_processes(world: PageWorld) -> None:
    one, other = world.pages()
    one.memory[0] = 7
    one.close()
    other.close()
    assert world.second.shared_page(PAGE, 4096).memory[0] == 7


def test_a_bell_wakes_all_that_wait_for_it_and_nobody_else(world: PageWorld) -> None:
    one, other = world.pages()
    woken: list[str] = []

    async def wait(page: SharedPage, bell: int, name: str) -> None:
        await page.bell(bell)
        woken.append(name)

    async def program() -> None:
        async with deadline(PATIENCE_NS), group() as g:
            g.spawn(wait(one, 1, "one"), "one")
            g.spawn(wait(other, 1, "other"), "other")
            idle = g.spawn(wait(other, 2, "nobody"), "idle")
            other.bell(2)
            await sleep_ns(MILLISECOND_NS)
            one.ring(1)
            while len(woken) < 2:
                await sleep_ns(MILLISECOND_NS)
            idle.cancel()

    world.run(program())
    assert sorted(woken) == ["one", "other"]


def test_a_ring_that_nobody_hears_is_harmless_and_closed_pages_hear_nothing(
    world: PageWorld,
) -> None:
    one, other = world.pages()
    one.ring(3)
    bell = other.bell(3)
    other.close()
    one.ring(3)
    assert bell is not None
    one.close()
    one.close()


def test_a_waiter_between_look_and_wait_misses_nothing(world: PageWorld) -> None:
    """The loop that every user of a page writes: ask, look, wait."""
    one, other = world.pages()
    rounds = 200

    async def consume() -> int:
        seen = 0
        while seen < rounds:
            bell = other.bell(0)
            if other.memory[0] == seen % 251:
                await bell
                continue
            seen += 1
        return seen

    async def produce() -> None:
        for number in range(rounds):
            one.memory[0] = (number + 1) % 251
            one.ring(0)
            await sleep_ns(MILLISECOND_NS // 10)

    async def program() -> None:
        async with deadline(PATIENCE_NS), group() as g:
            g.spawn(produce(), "produce")
            await consume()

    world.run(program())


def test_a_power_loss_clears_an_emulated_page() -> None:
    emulated = World(network=False)
    machine = emulated.machine("machine")
    machine.add_disk("data", DiskModel())
    page = machine.start("one").volume("data").shared_page(PAGE, 4096)
    page.memory[5] = 1
    machine.crash_process()
    assert machine.start("two").volume("data").shared_page(PAGE, 4096).memory[5] == 1
    machine.lose_power(lose_everything)
    assert machine.start("three").volume("data").shared_page(PAGE, 4096).memory[5] == 0
