"""A small store of Exchange 2007 whose logs are shipped, on emulated disks that take no time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from replicator.ese.log_names import parse_log_name
from replicator.ese.recovery_files import joined
from replicator.logship import LogShippingCopy
from replicator.logship_options import ALL_SAFEGUARDS, LogCopyOptions, LogServerOptions
from replicator.logship_options import LogShipSafeguards as Guards
from replicator.logship_replay import CopyPlace
from replicator.logship_source import LogServer
from replicator.runtime import group, yield_now
from replicator.runtime.port import Volume
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.engine_store import EngineStore
from simulator.exchange.store import Message, payload_digest
from simulator.exchange.stores import make_store
from simulator.host import Host, World, run_offline
from simulator.link import Link, LinkModel

T = TypeVar("T")
SECOND_NS = 1_000_000_000
DISK = replace(INSTANT, sector_bytes=8192)
"""It writes a page whole: nothing in a log mends a torn one."""
STORE = "/store"
COPY = "/copy"
INSPECTION = "/inspection"
CONFIG = EngineStoreConfig(
    format="exchange 2007",
    log_size_bytes=64 << 10,
    checkpoint_depth_bytes=128 << 10,
    database_size_bytes=4 << 20,
    mailboxes=2,
    circular=False,
)


def generation_of(name: str) -> int:
    """Of a closed log; 0 for every other file."""
    parsed = parse_log_name(name)
    return 0 if parsed is None else parsed.generation or 0


def content(message_id: int, size_bytes: int = 9_000) -> bytes:
    """Bytes of a message, which no other has."""
    return (f"message {message_id} " * (size_bytes // 10))[:size_bytes].encode()


def expected(*message_ids: int) -> dict[int, bytes]:
    """What a store with these messages says of itself."""
    return {each: payload_digest(content(each)) for each in message_ids}


def files_of(disk: Disk, root: str) -> dict[str, bytes]:
    """Name to content of the files of a directory."""
    return {
        path.rpartition("/")[2]: node.read(0, node.size)
        for path, node in disk.names.walk(root)
        if hasattr(node, "read")
    }


async def put(volume: Volume, directory: str, files: dict[str, bytes]) -> None:
    """Write files, durably."""
    if not volume.exists(directory):
        volume.mkdir(directory)
    for name, data in files.items():
        path = joined(directory, name)
        if volume.exists(path):
            volume.unlink(path)
        file = volume.create(path)
        file.write_at(0, data)
        await file.sync()
        file.close()
    await volume.sync_directory(directory)
    await volume.sync_directory("/")


@dataclass
class History:
    """A store's files at two times: shut down before the first message, and later."""

    seed: dict[str, bytes] = field(default_factory=dict)
    """Its databases, shut down."""
    logs: dict[str, bytes] = field(default_factory=dict)
    """The closed logs, in order."""
    open_log: bytes = b""
    messages_until: dict[str, int] = field(default_factory=dict)
    """By closed log: the last message that was acknowledged when it was there at first."""
    given: int = 0
    step: int = 1
    """Messages of a transaction."""

    def certain_until(self, generation: int) -> int:
        """The last message that was acknowledged before a generation was closed; 0 for none.

        The log was seen closed right after message n had been acknowledged, so n - 1 was before.
        """
        seen = [n for name, n in self.messages_until.items() if generation_of(name) <= generation]
        return max(0, max(seen, default=0) - self.step)

    @property
    def generations(self) -> list[int]:
        return [generation_of(name) for name in self.logs]


def at_once(main: Callable[[Host], Coroutine[Any, Any, T]], *, seed: int = 1) -> T:
    """Run a coroutine in a world of its own, its disks instant, to its end."""
    world = World(seed, network=False)
    one = world.machine("one")
    one.add_disk("data", DISK)
    host = one.start()
    task = host.kernel.run_task(main(host), "main")
    world.clock.run_until_idle()
    try:
        return task.result()
    finally:
        world.close()


def make_history(
    messages: int = 40,
    config: EngineStoreConfig = CONFIG,
    *,
    restart_at: int = 0,
    transactions_of: int = 1,
    seed: int = 1,
) -> History:
    """Deliver messages to a store, one transaction after the other, and keep its logs.

    Arguments
    ---------
    restart_at: after so many messages the store is shut down and mounted again; 0: never.
    transactions_of: messages of one transaction; with many it goes over several logs.
    seed: names the signature of the log set.
    """
    found = History(step=transactions_of)

    async def main(host: Host) -> None:
        volume = host.volume("data")
        store = make_store(config, host, volume, STORE)
        assert isinstance(store, EngineStore)
        await store.mount()
        async with group() as tasks:
            tasks.spawn(store.run(), "store")
            await yield_now()
            await store.dismount()
        files = files_of(volume.disk, STORE)
        found.seed = {name: data for name, data in files.items() if name.endswith(".edb")}
        numbers = list(range(1, messages + 1))
        parts = [numbers[:restart_at], numbers[restart_at:]] if restart_at else [numbers]
        for part in parts:
            store = make_store(config, host, volume, STORE)
            await store.mount()
            async with group() as tasks:
                tasks.spawn(store.run(), "store")
                for at in range(0, len(part), transactions_of):
                    some = part[at : at + transactions_of]
                    await store.deliver([Message(each, each % 2, content(each)) for each in some])
                    found.given = some[-1]
                    for name in volume.list(STORE):
                        if generation_of(name):
                            found.messages_until.setdefault(name, found.given)
                await store.dismount()
        files = files_of(volume.disk, STORE)
        found.logs = {name: data for name, data in sorted(files.items()) if generation_of(name)}
        found.open_log = files["E00.log"]

    at_once(main, seed=seed)
    return found


def place_of(volume: Volume) -> CopyPlace:
    return CopyPlace(volume=volume, log_directory=COPY, inspection_directory=INSPECTION)


async def contents_of(host: Host, config: EngineStoreConfig = CONFIG) -> dict[int, bytes]:
    """Mount what lies in the copy's directory, and read it."""
    store = make_store(config, host, host.volume("data"), COPY)
    await store.mount()
    return await store.contents()


SOURCE, REPLICA = "source", "replica"
ADDRESS = "source:64327"
SET_ID = "set"
QUICK = LogCopyOptions(
    set_id=SET_ID,
    source_address=ADDRESS,
    poll_ns=SECOND_NS // 10,
    patience_ns=SECOND_NS,
    retry_ns=SECOND_NS // 5,
    logs_a_run=2,
)


class Pair:
    """A directory of logs that is served, and a copy that pulls them; disks take no time.

    Arguments
    ---------
    history: what the source has: ``serve`` puts its logs there, one after the other.
    guards: of both ends.
    options: of the copy.
    truncate: whether the source deletes logs.
    """

    def __init__(
        self,
        history: History,
        guards: Guards = ALL_SAFEGUARDS,
        options: LogCopyOptions = QUICK,
        *,
        truncate: bool = False,
    ) -> None:
        self.history, self.guards, self.options = history, guards, options
        self.truncate = truncate
        self.world = World()
        self.events: list[tuple[str, str, tuple[int | str, ...]]] = []
        self.world.observers.append(lambda *event: self.events.append(event))
        for name in (SOURCE, REPLICA):
            self.world.machine(name).add_disk("data", DISK)
        assert self.world.network is not None
        model = LinkModel(bits_per_second=100_000_000, rtt_ns=SECOND_NS // 100)
        self.link = self.world.network.add_link(
            Link(self.world.clock, SOURCE, REPLICA, model, self.world.random("jitter"))
        )
        self.source_volume = self._prepared(SOURCE, STORE, {})
        self._prepared(REPLICA, COPY, history.seed)
        self.copy: LogShippingCopy | None = None
        self.promised = 0
        """The newest generation that the copy ever said was inspected."""

    def _prepared(self, name: str, directory: str, files: dict[str, bytes]) -> Volume:
        host = self.world.machine(name).start("courier", networked=False)
        volume = host.volume("data")
        host.start(put(volume, directory, files), "courier")
        self.world.clock.run_until(self.world.clock.now() + 1)
        return volume

    @property
    def source_disk(self) -> Disk:
        return self.world.machine(SOURCE).disks["data"]

    @property
    def replica_disk(self) -> Disk:
        return self.world.machine(REPLICA).disks["data"]

    def close_logs(self, *names: str, damage: Callable[[bytes], bytes] = bytes) -> None:
        """The source closes these logs (all, if none is named), and their follower is open."""
        every = list(self.history.logs)
        files = {name: damage(self.history.logs[name]) for name in names or every}
        following = every.index(list(files)[-1]) + 1
        files["E00.log"] = (
            self.history.logs[every[following]] if following < len(every) else self.history.open_log
        )
        host = self.world.machine(SOURCE).processes["courier"]
        host.start(put(self.source_volume, STORE, files), "closes")
        self.run(0.001)

    def start_source(self) -> None:
        host = self.world.machine(SOURCE).start("server")
        options = LogServerOptions(set_id=SET_ID, address=ADDRESS, truncate=self.truncate)
        server = LogServer(host, host.volume("data"), STORE, "E00", options, self.guards)
        host.start(server.run(), "server")

    def start_copy(self) -> LogShippingCopy:
        host = self.world.machine(REPLICA).start("copy")
        place = place_of(host.volume("data"))
        self.copy = LogShippingCopy(host, place, self.options, self.guards)
        host.start(self.copy.run(), "copy")
        return self.copy

    def run(self, seconds: float = 1.0) -> None:
        """Let time go on, and note what the copy says."""
        clock = self.world.clock
        end_ns = clock.now() + int(seconds * SECOND_NS)
        while clock.now() < end_ns:
            clock.run_until(min(end_ns, clock.now() + SECOND_NS // 100))
            self.note()
        for machine in self.world.machines.values():
            failure = machine.failure
            if failure is not None:
                raise failure

    def note(self) -> None:
        if self.copy is not None and self.copy.queue is not None:
            self.promised = max(self.promised, self.copy.queue.inspected)

    def found(self, choose: Any = None) -> tuple[int, dict[int, bytes]]:
        """What a start of the copy would find, and what is in it; on a copy of its disks.

        Arguments
        ---------
        choose: what survives of a power loss that comes first; None for none.
        """

        async def look(host: Host) -> tuple[int, dict[int, bytes]]:
            copy = LogShippingCopy(host, place_of(host.volume("data")), self.options, self.guards)
            await copy.look()
            inspected = 0 if copy.queue is None else copy.queue.inspected
            await copy.activate(paced=False)
            return inspected, await contents_of(host)

        return run_offline({"data": self.replica_disk}, look, choose=choose)

    def states(self) -> list[str]:
        """The words of the copy, in order."""
        return [str(values[0]) for _name, event, values in self.events if event == "copy_state"]

    def close(self) -> None:
        self.world.close()


def is_prefix(contents: dict[int, bytes], history: History, inspected: int) -> bool:
    """Whether a store has messages 1 to n and no others, n at least what a generation held."""
    newest = max(contents, default=0)
    least = history.certain_until(inspected)
    return newest >= least and contents == expected(*range(1, newest + 1))
