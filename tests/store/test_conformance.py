"""What the interface of a store promises, held against every store: also when it dies in any step.

On the emulated disk.  A store in a format of Exchange needs pages that are written whole
(:func:`simulator.exchange.stores.whole_bytes`), so its disk has sectors of that size.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from replicator.errors import NoSpace
from replicator.ese.database import Database as ReadDatabase
from replicator.ese.errors import EseError
from replicator.ese.log_names import LogNames
from replicator.ese.log_stream import LogStream
from replicator.ese.reader import BytesReader
from replicator.ese.streaming_file import PAGE_BYTES as STREAM_PAGE_BYTES
from replicator.ese.streaming_file import page_at
from replicator.runtime import Kernel, Task, group, sleep_ns
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.engine_store import BODY_MOST_BYTES, EngineStore
from simulator.exchange.ese.instance_options import ALL_SAFEGUARDS, EngineSafeguards
from simulator.exchange.ese.mail_naming import is_mime
from simulator.exchange.ledger import Ledger, LedgerVerdict
from simulator.exchange.load import LoadConfig, MailLoad
from simulator.exchange.small_store import SmallStoreConfig
from simulator.exchange.store import (
    Message,
    MountReport,
    Store,
    StoreClosed,
    StoreFull,
    StoreUnmountable,
    payload_digest,
)
from simulator.exchange.stores import StoreConfig, make_store, whole_bytes
from simulator.host import Host, World, run_offline
from simulator.inode import Choose, Inode
from simulator.mutants import mutated
from simulator.volume import SimVolume
from tests.store.harness import payload

DIRECTORY = "/store"
MAILBOXES = 4
SMALL = SmallStoreConfig(
    log_size_bytes=32 << 10,
    checkpoint_depth_bytes=48 << 10,
    database_capacity_bytes=2 << 20,
    mailboxes=MAILBOXES,
)


def of_exchange(version: str, size_mib: int, **more: object) -> EngineStoreConfig:
    return EngineStoreConfig(
        format=f"exchange {version}",  # type: ignore[arg-type]
        log_size_bytes=128 << 10 if version == "2010" else 64 << 10,
        checkpoint_depth_bytes=128 << 10,
        database_size_bytes=size_mib << 20,
        mailboxes=MAILBOXES,
        **more,  # type: ignore[arg-type]
    )


STORES: dict[str, StoreConfig] = {
    "small": SMALL,
    "2003": of_exchange("2003", 2),
    "2007": of_exchange("2007", 3),
    "2010": of_exchange("2010", 8),
    "two databases": of_exchange("2007", 3, databases=2),
    "all logs kept": of_exchange("2007", 3, circular=False),
}
EXCHANGE = {name: each for name, each in STORES.items() if isinstance(each, EngineStoreConfig)}


@pytest.fixture(params=list(STORES))
def config(request: pytest.FixtureRequest) -> StoreConfig:
    return STORES[request.param]


@dataclass
class Bench:
    """A disk that outlives the stores on it, and what they were asked and acknowledged."""

    config: StoreConfig
    safeguards: EngineSafeguards = ALL_SAFEGUARDS
    ledger: Ledger = field(default_factory=Ledger)
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    at_step: Callable[[int], None] | None = None
    """Called between two storage steps, with the number of the last one."""

    def __post_init__(self) -> None:
        self.world = World(seed=1, network=False)
        sector_bytes = max(512, whole_bytes(self.config))
        self.machine = self.world.machine("source")
        model = replace(INSTANT, sector_bytes=sector_bytes)
        self.disk: Disk = self.machine.add_disk("data", model)
        self.world.trace.watch = self._step

    def _step(self, event: str, _values: Sequence[object]) -> None:
        if self.at_step is not None and event.startswith("source/data"):
            self.at_step(self.disk.steps)

    @property
    def databases(self) -> int:
        return self.config.databases if isinstance(self.config, EngineStoreConfig) else 1

    def inode(self, path: str) -> Inode:
        found = dict(self.disk.names.walk(DIRECTORY))[path]
        assert isinstance(found, Inode)
        return found

    def store(self, host: Host) -> Store:
        store = make_store(self.config, host, host.volume("data"), DIRECTORY)
        if isinstance(store, EngineStore):
            store._safeguards = self.safeguards
        return store

    def live(self, script: Callable[[Store], Awaitable[None]]) -> None:
        """Run a script on a new process, which ends with it; raises what it raises."""
        host = self.machine.start(networked=False)

        async def main() -> None:
            await script(self.store(host))

        task = host.kernel.run_task(main(), "script")
        self.world.clock.run_until_idle()
        assert task.done, "the script hangs"
        self.machine.crash_process("main")
        task.result()

    def at_work(self, body: Callable[[Store], Awaitable[None]]) -> None:
        """Mount, run, do, dismount."""

        async def script(store: Store) -> None:
            await store.mount()
            async with group() as tasks:
                tasks.spawn(store.run(), "store")
                await sleep_ns(0)
                await body(store)
                await store.dismount()

        self.live(script)

    def message(self, size_bytes: int, mailbox: int | None = None) -> Message:
        number = next(self.ids)
        mailbox = number % MAILBOXES if mailbox is None else mailbox
        return Message(number, mailbox, payload(number, size_bytes))

    async def deliver(self, store: Store, message: Message, remove: Sequence[int] = ()) -> None:
        number = self.ledger.begin((message,), remove, 0)
        await store.deliver((message,), remove)
        self.ledger.acknowledge(number, 0)

    def mounted(self, choose: Choose | None = None) -> tuple[dict[int, bytes], MountReport]:
        """What a mount finds on a copy of the disk; raises StoreUnmountable.

        Arguments
        ---------
        choose: what survives of a power loss that comes first; None for none.
        """

        async def look(host: Host) -> tuple[dict[int, bytes], MountReport]:
            store = self.store(host)
            report = await store.mount()
            return await store.contents(), report

        return run_offline({"data": self.disk}, look, choose=choose)

    def refusal(self) -> StoreUnmountable:
        with pytest.raises(StoreUnmountable) as refused:
            self.mounted()
        return refused.value


SIZES = (700, 9_000, 40, 3_000, 25_000, 0, 6_000, 2_500, 500, 8_152, 40_000, 12_000)


def short_life(bench: Bench) -> None:
    """Two at a time, with deletions, rolls and checkpoints; dismounted, mounted again, killed."""
    kept: dict[int, list[int]] = {}

    async def one(store: Store, size_bytes: int) -> None:
        message = bench.message(size_bytes)
        live = kept.setdefault(message.mailbox % bench.databases, [])
        remove = [live.pop(0)] if len(live) > 3 else []
        live.append(message.message_id)
        await bench.deliver(store, message, remove)

    async def first(store: Store) -> None:
        for at in range(0, len(SIZES), 2):
            async with group() as pair:
                for size_bytes in SIZES[at : at + 2]:
                    pair.spawn(one(store, size_bytes), "deliver")
            await sleep_ns(1_000_000)

    bench.at_work(first)

    async def second(store: Store) -> None:
        await store.mount()
        async with group() as tasks:
            tasks.spawn(store.run(), "store")
            for size_bytes in (600, 18_500, 300):
                await one(store, size_bytes)
                await sleep_ns(1_000_000)
            tasks.cancel()

    bench.live(second)


# -- while nothing crashes -------------------------------------------------------------


def test_what_was_delivered_is_there_after_a_clean_mount(config: StoreConfig) -> None:
    bench = Bench(config)
    large = 2 * BODY_MOST_BYTES + 7

    async def body(store: Store) -> None:
        for size_bytes in (0, 1, 900, BODY_MOST_BYTES, BODY_MOST_BYTES + 1, large):
            await bench.deliver(store, bench.message(size_bytes))
        expected = {n: payload_digest(payload(n, s)) for n, s in bench.ledger.live()}
        assert await store.contents() == expected

    bench.at_work(body)
    contents, report = bench.mounted()
    assert not report.created and not report.recovered
    assert bench.ledger.judge(contents).ok and len(contents) == 6


def test_an_empty_store_is_made_and_is_there(config: StoreConfig) -> None:
    bench = Bench(config)
    contents, report = bench.mounted()
    assert report.created and not contents

    async def nothing(_store: Store) -> None:
        pass

    bench.at_work(nothing)
    contents, report = bench.mounted()
    assert not report.created and not report.recovered and not contents


def test_an_unmounted_store_delivers_nothing_and_a_mounted_one_mounts_once(
    config: StoreConfig,
) -> None:
    bench = Bench(config)

    async def script(store: Store) -> None:
        with pytest.raises(StoreClosed, match="not mounted"):
            await store.deliver([bench.message(1)])
        await store.mount()
        with pytest.raises(StoreClosed, match="mounted already"):
            await store.mount()

    bench.live(script)


def test_a_cancelled_deliverer_leaves_the_others_in_order(config: StoreConfig) -> None:
    bench = Bench(config)

    async def body(store: Store) -> None:
        async with group() as deliveries:
            tasks: list[Task[None]] = []
            for _ in range(8):
                message = bench.message(3000, mailbox=0)
                bench.ledger.begin((message,), (), 0)
                tasks.append(deliveries.spawn(store.deliver([message]), "deliver"))
            await sleep_ns(0)
            tasks[0].cancel()
        for number in range(2, 9):
            bench.ledger.acknowledge(number, 0)
        await bench.deliver(store, bench.message(10, mailbox=0))

    bench.at_work(body)
    verdict = bench.ledger.judge(bench.mounted()[0])
    assert verdict.ok and verdict.transactions == 9


def test_what_does_not_fit_or_makes_no_sense_is_refused_and_changes_nothing(
    config: StoreConfig,
) -> None:
    bench = Bench(config)
    too_large_bytes = SMALL.database_capacity_bytes
    if isinstance(config, EngineStoreConfig):
        too_large_bytes = config.database_size_bytes

    async def body(store: Store) -> None:
        await bench.deliver(store, bench.message(100, mailbox=0))
        before = await store.contents()
        with pytest.raises(StoreFull):
            await store.deliver([bench.message(too_large_bytes, mailbox=0)])
        with pytest.raises(ValueError, match=r"in use|KeyDuplicate"):
            await store.deliver([Message(1, 0, b"again")])
        with pytest.raises(ValueError, match="no such mailbox"):
            await store.deliver([bench.message(1, mailbox=MAILBOXES)])
        with pytest.raises(ValueError, match=r"oldest|not in the database"):
            await store.deliver([bench.message(1, mailbox=0)], [777])
        assert await store.contents() == before
        await bench.deliver(store, bench.message(200, mailbox=0), [1])

    bench.at_work(body)
    assert bench.ledger.judge(bench.mounted()[0]).ok


def test_a_full_volume_stops_the_store_with_the_storages_own_error(config: StoreConfig) -> None:
    bench = Bench(config)

    async def script(store: Store) -> None:
        await store.mount()
        async with group() as tasks:
            tasks.spawn(store.run(), "store")
            await bench.deliver(store, bench.message(100, mailbox=0))
            bench.disk.fill(0)
            for _ in range(1000):
                await bench.deliver(store, bench.message(9_000, mailbox=0))

    with pytest.raises(NoSpace):
        bench.live(script)
    verdict = bench.ledger.judge(bench.mounted()[0])
    assert verdict.ok, verdict


async def run_until_full(store: Store, told: list[str]) -> None:
    """The store at work, until it ends by the volume's own error; that is noted."""
    with pytest.raises(NoSpace):
        await store.run()
    told.append("run")


@pytest.mark.parametrize(("version", "clients"), [("2003", 2), ("2007", 1)])
def test_nobody_waits_for_a_store_that_has_stopped(version: str, clients: int) -> None:
    """Also not the one whose transaction was underway: in 2003 there is no room for its content."""
    bench = Bench(of_exchange(version, 3, mime_share=1.0))
    told: list[str] = []

    async def deliver(store: Store) -> None:
        try:
            while True:
                await bench.deliver(store, bench.message(60_000, mailbox=0))
        except (NoSpace, StoreClosed) as error:
            told.append(type(error).__name__)

    async def script(store: Store) -> None:
        await store.mount()
        async with group() as tasks:
            tasks.spawn(run_until_full(store, told), "store")
            await bench.deliver(store, bench.message(100, mailbox=0))
            bench.disk.fill(0)
            async with group() as both:
                for _ in range(clients):
                    both.spawn(deliver(store), "delivery")
        told.append("end")

    bench.live(script)
    assert told.pop() == "end"
    assert told.count("run") == 1
    assert len(told) == 1 + clients
    verdict = bench.ledger.judge(bench.mounted()[0])
    assert verdict.ok, verdict


def test_a_flush_that_fails_for_the_one_who_waits_ends_the_store(monkeypatch) -> None:
    bench = Bench(of_exchange("2007", 3))
    told: list[str] = []

    async def refused(_log: LogStream, _up_to: object = None) -> None:
        failure = NoSpace("the volume is full", path=DIRECTORY)
        raise EseError(-510, "the log is stopped", path=DIRECTORY) from failure

    async def script(store: Store) -> None:
        await store.mount()
        async with group() as tasks:
            tasks.spawn(run_until_full(store, told), "store")
            await bench.deliver(store, bench.message(100, mailbox=0))
            monkeypatch.setattr(LogStream, "flush", refused)
            with pytest.raises(NoSpace):
                await bench.deliver(store, bench.message(100, mailbox=0))

    bench.live(script)
    monkeypatch.undo()
    assert told == ["run"]
    assert bench.ledger.judge(bench.mounted()[0]).ok


# -- crashes ---------------------------------------------------------------------------

LOSSES: dict[str, Choose | None] = {
    "power stays": None,
    "nothing unsynced survives": lambda _outcomes: 0,
    "all of it does": lambda outcomes: outcomes - 1,
}


def seeded(seed: int) -> Choose:
    return random.Random(seed).randrange


def breach(bench: Bench, choose: Choose | None) -> str:
    """Why what is on the disk is not what it must be; empty if it is."""
    try:
        contents = bench.mounted(choose)[0]
    except StoreUnmountable as refused:
        return str(refused)
    return bench.ledger.judge(contents).reason


@pytest.mark.parametrize("stride", [83, pytest.param(1, marks=pytest.mark.full)])
def test_a_crash_in_any_step_leaves_a_prefix_with_all_that_was_acknowledged(
    config: StoreConfig, stride: int
) -> None:
    found: list[str] = []
    judged = 0

    def judge(step: int) -> None:
        nonlocal judged
        if step % stride:
            return
        for name, choose in (LOSSES | {"some of it does": seeded(step)}).items():
            judged += 1
            wrong = breach(bench, choose)
            if wrong:
                found.append(f"step {step}, {name}: {wrong}")

    bench = Bench(config, at_step=judge)
    short_life(bench)
    assert judged >= 4
    assert found == []


class MadeEnough(Exception):
    """The files are there; what follows is another test's."""


def test_a_power_loss_while_the_files_are_made(config: StoreConfig) -> None:
    """A name may survive that nobody made durable: of a database that no log speaks of, too."""
    found: list[str] = []

    def judge(step: int) -> None:
        if step > 34:
            raise MadeEnough
        for names in ("some", "others") if step > 20 else ():
            wrong = breach(bench, random.Random(f"{step} {names}").randrange)
            if wrong:
                found.append(f"step {step}, {names}: {wrong}")

    bench = Bench(config, at_step=judge)
    with pytest.raises(MadeEnough):
        short_life(bench)
    assert found == []


@pytest.mark.parametrize("version", EXCHANGE)
def test_the_short_life_of_an_exchange_store_reaches_what_it_is_meant_to(version: str) -> None:
    bench = Bench(EXCHANGE[version])
    events: list[str] = []
    bench.world.trace.watch = lambda event, _values: events.append(event)
    short_life(bench)
    assert events.count("source/data rename") >= 2, "logs rolled"
    if not EXCHANGE[version].circular:
        closed = LogNames("E00", 5 if "2003" in EXCHANGE[version].format else 8).closed(1)
        assert closed in names_of(bench)
    report = bench.mounted()[1]
    assert report.recovered and report.replayed_logs and report.rewritten_pages


def test_what_flushes_at_a_commit_is_needed_for_what_was_acknowledged() -> None:
    """Without it the same steps lose what was acknowledged: the enumeration is not blind."""
    found: list[str] = []

    def judge(step: int) -> None:
        if not step % 5:
            found.append(breach(bench, LOSSES["nothing unsynced survives"]))

    bench = Bench(STORES["2007"], EngineSafeguards(flush_at_commit=False), at_step=judge)
    short_life(bench)
    assert any("must be" in each for each in found)


# -- what is refused -------------------------------------------------------------------


def names_of(bench: Bench) -> list[str]:
    nodes = dict(bench.disk.names.walk(DIRECTORY))
    return [name.removeprefix(f"{DIRECTORY}/") for name in nodes if name != DIRECTORY]


def volume_of(bench: Bench) -> SimVolume:
    return SimVolume(bench.disk, Kernel(bench.world.clock))


def killed(config: StoreConfig) -> Bench:
    bench = Bench(config)
    short_life(bench)
    return bench


@pytest.mark.parametrize("version", EXCHANGE)
def test_a_store_without_its_current_log_is_refused_by_number(version: str) -> None:
    bench = killed(EXCHANGE[version])
    volume_of(bench).unlink(f"{DIRECTORY}/E00.log")
    refused = bench.refusal()
    assert refused.number in (-528, -543, -550, -1216), refused
    assert str(refused.number) in str(refused)


@pytest.mark.parametrize("version", EXCHANGE)
def test_a_page_that_does_not_verify_is_refused_by_number_and_place(version: str) -> None:
    config = EXCHANGE[version]
    bench = Bench(config)

    async def body(store: Store) -> None:
        await bench.deliver(store, bench.message(100))

    bench.at_work(body)
    path, size = f"{DIRECTORY}/priv1.edb", whole_bytes(config)
    inode = bench.inode(path)
    # The catalog's page: every mount reads it.
    at = 5 * size + size // 2
    inode.write(at, random.Random(1).randbytes(512))  # more than the checksum could mend
    refused = bench.refusal()
    assert refused.number == -1018
    assert "priv1.edb, page 4" in str(refused)


def test_a_page_is_taken_as_it_is_without_its_checksum() -> None:
    """Else damage that leaves the page's lines readable would be somebody's message."""
    bench = Bench(STORES["2007"])

    async def body(store: Store) -> None:
        await bench.deliver(store, bench.message(3_000, mailbox=0))

    bench.at_work(body)
    inode = bench.inode(f"{DIRECTORY}/priv1.edb")
    found = inode.read(0, inode.size).find(payload(1, 3_000)[:64])
    assert found > 0
    inode.write(found, bytes(64))  # more than the checksum could mend
    assert bench.refusal().number == -1018
    with mutated("engine_page_checksums"):
        assert not bench.ledger.judge(bench.mounted()[0]).ok


def test_a_clean_store_without_one_of_its_databases_is_refused_not_begun_anew() -> None:
    bench = Bench(STORES["two databases"])

    async def body(store: Store) -> None:
        await bench.deliver(store, bench.message(100))

    bench.at_work(body)
    volume_of(bench).unlink(f"{DIRECTORY}/priv1.edb")
    assert bench.refusal().number in (-1811, -1216)


def test_a_transaction_is_about_one_database() -> None:
    bench = Bench(STORES["two databases"])

    async def body(store: Store) -> None:
        with pytest.raises(ValueError, match="several databases"):
            await store.deliver([bench.message(1, mailbox=0), bench.message(1, mailbox=1)])
        with pytest.raises(ValueError, match="which database"):
            await store.deliver([], [1])
        for mailbox in range(MAILBOXES):
            await bench.deliver(store, bench.message(100, mailbox=mailbox))

    bench.at_work(body)
    assert {"priv1.edb", "priv2.edb", "E00.chk", "E00.log"} <= set(names_of(bench))
    assert bench.ledger.judge(bench.mounted()[0]).ok


def test_messages_stand_in_the_tables_of_their_own_database() -> None:
    bench = Bench(STORES["two databases"])

    async def body(store: Store) -> None:
        for mailbox in (0, 1, 1):
            await bench.deliver(store, bench.message(20_000, mailbox=mailbox))

    bench.at_work(body)
    found = []
    for name in ("priv1.edb", "priv2.edb"):
        inode = bench.inode(f"{DIRECTORY}/{name}")
        database = ReadDatabase(BytesReader(inode.read(0, inode.size)))
        found.append([row["MessageId"] for row in database.table("Msg").rows()])
        bodies = [row["Data"] for row in database.table("Body").rows()]
        assert all(len(body) == BODY_MOST_BYTES for body in bodies)
    assert found == [[1], [2, 3]]


# -- the streaming file of 2003 -----------------------------------------------------------

STREAM_PATH = f"{DIRECTORY}/priv1.stm"


def with_all_mail_of_the_internet() -> Bench:
    """A clean store, all of whose contents lie in the streaming file."""
    bench = Bench(of_exchange("2003", 2, mime_share=1.0))

    async def body(store: Store) -> None:
        await bench.deliver(store, bench.message(5_000))

    bench.at_work(body)
    return bench


def test_what_came_from_the_internet_lies_in_the_streaming_file() -> None:
    bench = Bench(STORES["2003"])

    async def body(store: Store) -> None:
        for _ in range(6):
            await bench.deliver(store, bench.message(20_000))

    bench.at_work(body)
    inode = bench.inode(f"{DIRECTORY}/priv1.edb")
    database = ReadDatabase(BytesReader(inode.read(0, inode.size)))
    streamed = [row["ContentId"] for row in database.table("Stream").rows()]
    assert streamed == [number for number in range(1, 7) if is_mime(number, 0.5)]
    assert 0 < len(streamed) < 6
    kept = [row["ContentId"] for row in database.table("Body").rows()]
    assert sorted(kept + streamed) == list(range(1, 7))
    first = bench.inode(STREAM_PATH).read(page_at(1), 20_000)
    assert first == payload(streamed[0], 20_000)
    assert bench.ledger.judge(bench.mounted()[0]).ok


@pytest.mark.parametrize("version", EXCHANGE)
def test_only_2003_has_one(version: str) -> None:
    bench = killed(EXCHANGE[version])
    assert ("priv1.stm" in names_of(bench)) is (version == "2003")


def test_a_store_without_its_streaming_file_is_refused_by_number() -> None:
    bench = with_all_mail_of_the_internet()
    volume_of(bench).unlink(STREAM_PATH)
    refused = bench.refusal()
    assert refused.number == -540
    assert "priv1.stm" in str(refused)


def test_a_page_of_the_streaming_file_that_does_not_verify_is_refused_by_number() -> None:
    bench = with_all_mail_of_the_internet()
    inode = bench.inode(STREAM_PATH)
    inode.write(page_at(2) + STREAM_PAGE_BYTES // 8, b"\xff\x00\xee")
    refused = bench.refusal()
    assert refused.number == -1018
    assert "priv1.stm" in str(refused)


def test_a_content_that_is_not_durable_before_its_row_is_missed() -> None:
    """Without the rule the same steps leave rows without their content."""
    found: list[str] = []

    def judge(step: int) -> None:
        if not step % 3 and "-1018" not in "".join(found):
            found.append(breach(bench, LOSSES["nothing unsynced survives"]))

    config = of_exchange("2003", 2, mime_share=1.0)
    bench = Bench(config, EngineSafeguards(stream_before_commit=False), at_step=judge)

    async def body(store: Store) -> None:
        for _ in range(3):
            await bench.deliver(store, bench.message(9_000))

    bench.at_work(body)
    assert any("-1018" in each for each in found), found


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"format": "exchange 5.5"}, "no format"),
        ({"databases": 7}, "1 to 6 databases"),
        ({"mailboxes": 1, "databases": 2}, "each with a mailbox"),
        ({"log_size_bytes": 65_537}, "whole sectors"),
        ({"log_size_bytes": 32 << 10}, "or more"),
        ({"database_size_bytes": 1 << 20}, "or more"),
        ({"durability": "never"}, "no durability"),
        ({"mime_share": 1.5}, "is a share"),
    ],
)
def test_figures_that_no_store_has_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EngineStoreConfig(**wrong)  # type: ignore[arg-type]


# -- the load --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "2007", "two databases"])
def test_a_store_under_load_survives_crash_after_crash(name: str) -> None:
    config = STORES[name]
    bench, draw = Bench(config), random.Random(7)
    figures = LoadConfig(
        messages_per_second=40,
        mailboxes=MAILBOXES,
        message_size_bytes=6_000,
        largest_bytes=60_000,
        retention_bytes=bench.databases * (400 << 10),
        databases=bench.databases,
    )
    load = MailLoad(figures, bench.ledger, random.Random(107).random)
    host, prefixes = bench.machine.start(networked=False), [0]

    async def life(host: Host) -> None:
        store = bench.store(host)
        await store.mount()
        verdict: LedgerVerdict = bench.ledger.judge(await store.contents())
        assert verdict.ok, verdict
        prefixes.append(verdict.transactions)
        bench.ledger.continue_from(verdict.transactions)
        async with group() as tasks:
            tasks.spawn(store.run(), "store")
            await load.run(store, host.now_ns)

    bench.disk.on_crash = bench.machine.crash_process
    for _round in range(8):
        bench.disk.crash_at_step = bench.disk.steps + draw.choice((3, 60, 900)) + draw.randrange(20)
        task = host.kernel.run_task(life(host), "life")
        while not host.dead and not task.done:
            bench.world.clock.run_until(bench.world.clock.now() + 10_000_000)
        assert host.dead, task.error
        if draw.random() < 0.7:
            bench.machine.lose_power(draw.randrange)
        host = bench.machine.start(networked=False)
    assert prefixes == sorted(prefixes)
    assert prefixes[-1] > 40
