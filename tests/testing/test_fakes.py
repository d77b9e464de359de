"""The fakes do what their docstrings say; the rest of the port is tests/conformance's."""

from __future__ import annotations

import pytest

from replicator.errors import ConnectionLost, NoSpace, NotFound, SyncFailed
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Stream, Volume
from simulator.testing import FakeWorld
from simulator.testing.fakes import FakeHost, Stuck

SECOND_NS = 1_000_000_000


async def save(volume: Volume, path: str, data: bytes, sync: bool = True) -> None:
    file = volume.open(path) if volume.exists(path) else volume.create(path)
    file.write_at(0, data)
    if sync:
        await file.sync()
        await volume.sync_directory("/")


def read(host: FakeHost, path: str) -> bytes:
    return host.run(host.volume.open(path).read_at(0, 100))


def test_they_are_what_the_port_says(fake_world: FakeWorld) -> None:
    host = fake_world.host()
    assert isinstance(host.runtime, Runtime)
    assert isinstance(host.volume, Volume)
    assert fake_world.host() is host


def test_an_hour_of_waiting_costs_nothing(fake_world: FakeWorld) -> None:
    host = fake_world.host()
    host.run(sleep_ns(3600 * SECOND_NS))
    assert fake_world.now_ns == host.runtime.now_ns() == 3600 * SECOND_NS


def test_what_takes_too_long_is_stuck(fake_world: FakeWorld) -> None:
    host = fake_world.host()
    with pytest.raises(Stuck, match="not within 1s"):
        host.run(sleep_ns(2 * SECOND_NS), "1s")

    async def for_ever() -> None:
        fake_world.world.clock.at(fake_world.now_ns + 10, host.kill)
        await sleep_ns(SECOND_NS)

    with pytest.raises(Stuck, match="its host died"):
        host.run(for_ever())


@pytest.mark.parametrize(("survive", "left"), [("none", b"first"), ("all", b"other")])
def test_a_power_loss_takes_what_was_not_synced(
    fake_world: FakeWorld, survive: str, left: bytes
) -> None:
    host = fake_world.host()
    host.run(save(host.volume, "/note", b"first"))
    host.run(save(host.volume, "/note", b"other", sync=False))
    assert host.dirty_bytes
    boot = host.runtime.boot_id
    host.lose_power(survive)  # type: ignore[arg-type]
    assert host.runtime.boot_id == boot + 1
    assert read(host, "/note") == left


def test_a_seeded_part_survives_as_the_seed_says() -> None:
    def left(seed: int) -> list[bool]:
        with FakeWorld(seed) as world:
            host = world.host()
            for number in range(12):
                host.run(save(host.volume, f"/{number}", b"x", sync=False))
            host.lose_power("seeded")
            return [host.volume.exists(f"/{number}") for number in range(12)]

    assert left(1) == left(1)
    assert len({tuple(left(seed)) for seed in range(8)}) > 1


def test_a_killed_process_leaves_the_cache_and_is_stepped_no_more(fake_world: FakeWorld) -> None:
    host, steps = fake_world.host(), []

    async def work(volume: Volume) -> None:
        for number in range(10):
            steps.append(number)
            volume.create(f"/{number}").write_at(0, b"kept")
            await sleep_ns(SECOND_NS)

    task = host.start(work(host.volume))
    fake_world.advance("2500ms")
    host.kill()
    fake_world.advance("10s")
    assert steps == [0, 1, 2]
    assert not host.alive
    assert not task.done
    boot = host.runtime.boot_id
    host.restart()
    assert host.alive
    assert host.runtime.boot_id == boot
    assert read(host, "/2") == b"kept"


def test_a_pause_and_a_jump_of_the_clock(fake_world: FakeWorld) -> None:
    host, steps = fake_world.host(), []

    async def work() -> None:
        while True:
            steps.append(host.runtime.now_ns())
            await sleep_ns(SECOND_NS)

    host.start(work())
    fake_world.advance("1500ms")
    go_on = host.pause()
    fake_world.advance("10s")
    go_on()
    fake_world.advance(0)
    assert steps == [0, SECOND_NS, 11_500_000_000]
    before = host.runtime.wall_ns() - host.runtime.now_ns()
    host.jump_clock(-5)
    assert host.runtime.wall_ns() - host.runtime.now_ns() == before - 5


def test_syncs_fail_and_disks_fill_up(fake_world: FakeWorld) -> None:
    host = fake_world.host(size_bytes=1 << 20)
    host.fail_syncs()
    with pytest.raises(SyncFailed):
        host.run(save(host.volume, "/a", b"x"))
    host.fail_syncs(False)
    host.fill()
    with pytest.raises(NoSpace):
        host.run(save(host.volume, "/b", bytes(8192)))
    host.make_room()
    host.run(save(host.volume, "/c", bytes(8192)))


def test_two_processes_of_a_host_share_its_files(fake_world: FakeWorld) -> None:
    host = fake_world.host()
    first = host.volume
    first.create("/shared")
    host.start_beside()
    assert host.volume is not first
    assert host.volume.exists("/shared")
    host.kill()
    host.restart()
    with pytest.raises(NotFound):
        host.volume.open("/never")


def test_a_stream_has_latency_and_can_be_cut_and_reset() -> None:
    with FakeWorld(rtt="60ms") as world:
        here, there = world.host("here"), world.host("there")
        ours, theirs = world.stream_pair(here, there)
        begun_ns = world.now_ns

        async def receive(stream: Stream) -> tuple[bytes, int]:
            return await stream.receive(10), world.now_ns

        got = there.start(receive(theirs))
        here.run(ours.send(b"hello"))
        world.run_until(lambda: got.done)
        data, arrived_ns = got.result()
        assert data == b"hello"
        assert 30_000_000 <= arrived_ns - begun_ns < 31_000_000

        got = there.start(receive(theirs))
        world.cut()
        world.cut()
        here.run(ours.send(b"later"))
        assert not world.run_until(lambda: got.done, "1h")
        world.heal()
        assert world.run_until(lambda: got.done, "1s")
        assert got.result()[0] == b"later"

        world.reset()
        with pytest.raises(ConnectionLost):
            there.run(receive(theirs))
