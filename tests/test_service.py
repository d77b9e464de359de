"""The services over the emulated world: drained, not drained, promoted, fenced, reported."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from replicator.captured_volume import CapturedVolume
from replicator.errors import NoSpace, SourceFenced, StorageError, SyncFailed
from replicator.fence import fence_of, heed_fence, lift_fence, refuse_fenced
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from replicator.runtime import Completion, TimedOut, deadline, sleep_ns
from replicator.runtime.volume_over import VolumeOver
from replicator.service import (
    Ending,
    serve_replica,
    serve_source,
)
from replicator.slots import StateSlots
from replicator.source import Source, SourceOptions
from replicator.source_place import SourcePlace, SpoolOptions
from replicator.status import Reporter, SpoolTrend, replica_status, source_status
from replicator.status_page import StatusPage
from replicator.takeover_wish import wish_of
from simulator.device import DiskModel
from simulator.host import Host, World, lose_everything
from simulator.link import Link, LinkModel

MS, SECOND = 1_000_000, 1_000_000_000
DISK = DiskModel(
    size_bytes=256 << 20, bytes_per_second=100_000_000, positioning_ns=MS, sync_overhead_ns=MS
)


@dataclass
class Worlds:
    """Two machines and a link of 8 Mbit/s; what the services ended with."""

    world: World = field(default_factory=lambda: World(seed=1))
    endings: dict[str, Ending] = field(default_factory=dict)
    stops: dict[str, Completion[str]] = field(default_factory=dict)
    documents: dict[str, Callable[[], Any]] = field(default_factory=dict)
    store: ReplicaStore | None = None

    def __post_init__(self) -> None:
        for name in ("source", "replica"):
            self.world.machine(name).add_disk("data", DISK)
        assert self.world.network is not None
        model = LinkModel(bits_per_second=8_000_000, rtt_ns=20 * MS)
        self.link = self.world.network.add_link(Link(self.world.clock, "source", "replica", model))

    def reporter(self, host: Host, name: str, look: Callable[[], Any]) -> Reporter:
        page = StatusPage(host.volume("data"), f"/status.{name}")
        self.documents[name] = page.get
        return Reporter(host, lambda: page, name, "set", 0, 200 * MS, look)

    def place(self, host: Host) -> SourcePlace:
        volume = host.volume("data")
        options = SpoolOptions(16 << 20, 1 << 20)
        return SourcePlace(host, volume, "/data", volume, "/spool", "set", "source", options)

    def start_source(self, drain_ns: int) -> None:
        host = self.world.machine("source").start("sender")
        stop = self.stops["source"] = Completion()

        async def main() -> None:
            place = self.place(host)
            await place.prepare()
            board = place.board()
            options = SourceOptions("set", "source", "replica:7000", heartbeat_ns=200 * MS)
            source = Source(host, place.reader(board), place.files(), options)
            trend = SpoolTrend()
            reporter = self.reporter(host, "source", lambda: source_status(source, False, trend))

            async def wait() -> str:
                return await stop

            self.endings["source"] = await serve_source(
                host, place, source, reporter, wait, drain_ns, lambda _keeps: None
            )

        host.start(main(), "sender")

    def start_replica(self, drain_ns: int, address: str = "replica:7000") -> None:
        host = self.world.machine("replica").start("replica")
        stop = self.stops["replica"] = Completion()

        async def main() -> None:
            volume = host.volume("data")
            store = self.store = ReplicaStore(
                host, volume, "/replica", volume, "/replica", ReplicaOptions("set", "replica")
            )
            replica = Replica(host, store, address, 200 * MS)
            reporter = self.reporter(host, "replica", lambda: replica_status(store, replica))

            async def wait() -> str:
                return await stop

            self.endings["replica"] = await serve_replica(
                host, store, replica, reporter, wait, drain_ns, lambda: None
            )

        host.start(main(), "replica")

    def start_program(self, writes: int, pause_ns: int) -> None:
        host = self.world.machine("source").start("program", networked=False)

        async def main() -> None:
            place = self.place(host)
            await place.prepare()
            board = place.board()
            lock = await place.take_capture_lock(board, 10 * SECOND)
            keeper = place.keeper(board)
            await keeper.open()
            volume = CapturedVolume(keeper.capture)
            file, numbers = volume.create("/data/file"), random.Random(1)
            for number in range(writes):
                file.write_at(number * 8192, numbers.randbytes(8192))
                await sleep_ns(pause_ns)
            lock.release()

        host.start(main(), "program")

    def run(self, until_ns: int) -> None:
        self.world.clock.run_until(until_ns)

    def status(self, name: str) -> dict[str, Any]:
        document = self.documents[name]()
        assert document is not None
        return dict(document["status"])


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    made = Worlds()
    yield made
    made.world.close()


def wish(worlds: Worlds) -> None:
    """An operator beside the replica's process wishes that it takes over."""
    assert worlds.store is not None
    host = worlds.world.machine("replica").processes["replica"]
    noting = wish_of(host, worlds.store).note(42, host.wall_ns(), host.now_ns())
    host.kernel.run_task(noting, "operator")


@pytest.mark.parametrize("drain_ns", [60 * SECOND, 200 * MS])
def test_the_source_drains_or_says_that_it_did_not(worlds: Worlds, drain_ns: int) -> None:
    worlds.start_replica(SECOND)
    worlds.start_source(drain_ns)
    worlds.run(3 * SECOND)
    worlds.start_program(300, 0)
    worlds.run(3 * SECOND + 600 * MS)
    assert worlds.status("source")["lag_operations"] > 0
    worlds.stops["source"].set("SIGTERM")
    worlds.run(60 * SECOND)
    expected = Ending.DRAINED if drain_ns > SECOND else Ending.NOT_DRAINED
    assert worlds.endings["source"] == expected
    assert (worlds.status("source")["lag_operations"] == 0) == (expected == Ending.DRAINED)
    assert worlds.documents["source"]()["ended"] == expected.value
    worlds.stops["replica"].set("SIGTERM")
    worlds.run(120 * SECOND)
    assert worlds.endings["replica"] == Ending.DRAINED
    status = worlds.status("replica")
    assert status["applied"] == status["durable"] == status["checkpointed"]


def test_a_promotion_fences_the_source(worlds: Worlds) -> None:
    worlds.start_replica(SECOND)
    worlds.start_source(SECOND)
    worlds.start_program(50, MS)
    worlds.run(5 * SECOND)
    assert worlds.status("replica")["state"] == "streaming"
    assert worlds.store is not None
    wish(worlds)
    worlds.run(30 * SECOND)
    assert worlds.status("replica")["state"] == "promoted"
    assert worlds.endings["source"] == Ending.FENCED
    assert worlds.status("source")["state"] == "fenced"
    # It outlives the machine's power, and closes the source to whoever comes next.
    machine = worlds.world.machine("source")
    machine.lose_power(lose_everything)
    seen: list[object] = []
    program = machine.start("program", networked=False)

    async def opens() -> None:
        place = worlds.place(program)
        with pytest.raises(SourceFenced, match="taken over"):
            await refuse_fenced(place.spool_volume, place.fence)
        begun_ns = program.now_ns()
        with pytest.raises(SourceFenced):
            await heed_fence(place.spool_volume, place.fence)
        assert program.now_ns() - begun_ns < 100 * MS, "it looks before it waits"
        seen.append(await fence_of(place.spool_volume, place.fence))

    program.start(opens(), "program")
    worlds.endings.clear()
    worlds.link.partition()  # it need not ask the replica
    worlds.start_source(SECOND)
    worlds.run(40 * SECOND)
    assert len(seen) == 1 and seen[0]
    assert worlds.endings["source"] == Ending.FENCED
    assert worlds.documents["source"]()["ended"] == Ending.FENCED.value
    assert worlds.status("source")["cause"] == seen[0]

    async def opens_again() -> None:
        place = worlds.place(program)
        await lift_fence(place.spool_volume, place.fence)
        await refuse_fenced(place.spool_volume, place.fence)
        seen.append("open")

    program.start(opens_again(), "operator")
    worlds.run(41 * SECOND)
    assert seen[1:] == ["open"]


def test_a_fence_that_cannot_be_kept_is_tried_until_it_is(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_slots: StateSlots, _state: dict[str, Any]) -> None:
        raise NoSpace("the volume is full", path="/spool")

    worlds.start_replica(SECOND)
    worlds.start_source(SECOND)
    worlds.start_program(5, MS)
    worlds.run(5 * SECOND)
    said: list[str] = []
    worlds.world.observers.append(lambda _machine, name, _values: said.append(name))
    assert worlds.store is not None
    worlds.store.promoted = True
    worlds.link.reset()
    with monkeypatch.context() as patched:
        patched.setattr("replicator.fence.StateSlots.write", full)
        worlds.run(30 * SECOND)
    # Whoever opens the set would not know yet: the sender stays, and says why, once.
    assert "source" not in worlds.endings
    assert said.count("fence_not_kept") == 1
    assert worlds.status("source")["state"] == "fenced"
    worlds.run(33 * SECOND)
    assert worlds.endings["source"] == Ending.FENCED
    assert said.count("fence_kept") == 1


def test_an_error_that_ends_a_service_is_its_last_word(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(_self: object) -> None:
        await sleep_ns(SECOND)
        raise SyncFailed("the sync failed: input/output error", path="/data/x")

    monkeypatch.setattr(Source, "run", breaks)
    monkeypatch.setattr(ReplicaStore, "run", breaks)
    worlds.start_replica(SECOND)
    worlds.start_source(SECOND)
    worlds.run(5 * SECOND)
    assert not worlds.endings
    for name in ("source", "replica"):
        ended = worlds.documents[name]()["ended"]
        assert ended == "with an error: /data/x: the sync failed: input/output error"


@pytest.mark.parametrize("safeguard", [True, False])
def test_an_address_that_is_not_there_is_found_before_anything_is_recovered(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch, safeguard: bool
) -> None:
    if not safeguard:

        async def later(_replica: Replica) -> None:
            return None

        monkeypatch.setattr(Replica, "check_address", later)
    said: list[str] = []
    worlds.world.observers.append(lambda _machine, name, _values: said.append(name))
    worlds.start_replica(SECOND, "elsewhere:7000")
    worlds.run(SECOND)
    ended = worlds.documents["replica"]()["ended"]
    assert ended == "with an error: elsewhere:7000 is not an address of replica"
    assert ("recovered" in said) is not safeguard
    volume = worlds.world.machine("replica").start("looks", networked=False).volume("data")
    assert volume.exists("/replica/image") is not safeguard


def test_a_spool_that_cannot_be_read_closes_nobody(worlds: Worlds) -> None:
    class Sick(VolumeOver):
        def exists(self, path: str) -> bool:
            raise StorageError("the device reported an input/output error", path=path)

    host = worlds.world.machine("source").start("program", networked=False)
    seen: list[str] = []

    async def main() -> None:
        with pytest.raises(TimedOut):
            async with deadline(5 * SECOND):
                await heed_fence(Sick(host.volume("data")), "/spool/fence")
        seen.append("goes on")

    host.start(main(), "program")
    worlds.run(6 * SECOND)
    assert seen == ["goes on"]


def test_a_promotion_without_an_image_is_refused(worlds: Worlds) -> None:
    worlds.start_replica(SECOND)
    worlds.run(2 * SECOND)
    assert worlds.store is not None
    wish(worlds)
    worlds.run(5 * SECOND)
    assert not worlds.store.promoted
    assert not worlds.store.volume.exists(f"{worlds.store.root}/promote.request")
    worlds.start_source(SECOND)
    worlds.start_program(50, MS)
    worlds.run(15 * SECOND)
    assert worlds.status("replica")["state"] == "streaming"
