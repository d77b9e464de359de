"""Runs a short life of an instance on a :class:`MemoryVolume`, and judges what is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from replicator.errors import ReplicatorError
from replicator.ese.columns import ColumnType
from replicator.ese.database import Database as ReadDatabase
from replicator.ese.database_header import DatabaseHeader, State, read_database_header
from replicator.ese.database_state import DatabaseFormat
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.page_editor import PageEditor
from replicator.ese.reader import BytesReader
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.ese.values import LogTime, Signature
from replicator.ese.verification import Verdict, judge_page
from replicator.runtime import Kernel, group
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.growth import GrowthPolicy
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.opening import has_logs, recover_instance
from simulator.exchange.ese.store_format import STORE_FORMATS, StoreFormat
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.table import Table
from simulator.runtime import SimClock
from tests.ese.logs import log_set
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium, MemoryVolume

DIRECTORY = "/store"
PAGE_BYTES = 4096
NAMES = ("priv1.edb", "pub1.edb")
TINY_CACHE = 2
"""Pages; roots and space trees come on top, so that every statement drives something out."""
FORMAT = StoreFormat(
    database=DatabaseFormat(
        revision=0x14,
        page_size=PAGE_BYTES,
        engine_format_version=9100,
        consistent_generation=True,
    ),
    macro_info=True,
    dehydrated_images=True,
)
CONFIG = InstanceConfig(
    store_format=FORMAT,
    log_file_bytes=10 * 4096,
    checkpoint_depth_bytes=48 << 10,
    limit_pages=512,
    log_buffer_bytes=1 << 20,
    circular=True,
    policy=GrowthPolicy(
        smallest_extent_pages=2, largest_extent_pages=4, extension_pages=8, split_buffer_pages=4
    ),
)
MAIL = TableDefinition(
    "Mail",
    (ColumnDefinition("Id", ColumnType.LONG), ColumnDefinition("Body", ColumnType.LONG_BINARY)),
    (IndexDefinition("ById", ("Id",), primary=True),),
)
Rows = dict[int, bytes]


def body(number: int, size: int = 200) -> bytes:
    return (number.to_bytes(4, "little") * (size // 4 + 1))[:size]


def of_pages(name: str, log_version: int, log_file_bytes: int) -> InstanceConfig:
    """The short life's setting for another version of Exchange, with its pages."""
    return replace(
        CONFIG,
        store_format=STORE_FORMATS[name],
        log_version=log_version,
        log_file_bytes=log_file_bytes,
        checkpoint_depth_bytes=log_file_bytes * 6 // 5,
    )


@dataclass
class Ledger:
    """What each database may hold: the rows after each commit, and which of them is confirmed.

    Attributes
    ----------
    states: by database, its rows after each commit in order.
    confirmed: by database, the place of the last one that was acknowledged.
    """

    states: dict[str, list[Rows]] = field(default_factory=dict)
    confirmed: dict[str, int] = field(default_factory=dict)

    def created(self, name: str) -> None:
        self.states[name], self.confirmed[name] = [{}], 0

    def committing(self, name: str, rows: Rows) -> int:
        self.states[name].append(dict(rows))
        return len(self.states[name]) - 1

    def acknowledge(self, name: str, place: int) -> None:
        self.confirmed[name] = max(self.confirmed[name], place)


class Draws:
    """Times and signatures, each a new one."""

    def __init__(self, ticks: int = 0) -> None:
        self.ticks = ticks

    def now(self) -> LogTime:
        self.ticks += 1
        return log_time_at(10**18 + self.ticks * 1_000_000)

    def signature(self) -> Signature:
        self.ticks += 1
        return Signature(self.ticks, log_time_at(10**18))


@dataclass
class Life:
    """One run of an engine, up to its end or its crash."""

    volume: MemoryVolume
    ledger: Ledger
    config: InstanceConfig
    draws: Draws
    died: bool = False
    error: BaseException | None = None

    @property
    def steps(self) -> list[str]:
        return self.volume.steps

    async def open(self) -> Instance:
        return await Instance.open(
            self.volume,  # type: ignore[arg-type]
            DIRECTORY,
            self.config,
            now=self.draws.now,
            draw=self.draws.signature,
        )


Script = Callable[[Life], Awaitable[None]]


def new_medium() -> Medium:
    medium = Medium()
    medium.names[DIRECTORY] = medium.durable_names[DIRECTORY] = None
    return medium


def run(
    medium: Medium,
    script: Script,
    *,
    crash_at: int | None = None,
    config: InstanceConfig = CONFIG,
    ledger: Ledger | None = None,
    ticks: int = 0,
    sync_fails: bool = False,
) -> Life:
    """Run a script to its end or its crash."""
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(medium, crash_at, sync_fails=sync_fails)
    life = Life(volume, ledger or Ledger(), config, Draws(ticks))
    task = kernel.run_task(script(life), "script")
    clock.run_until_idle()
    life.died = kernel.dead
    assert life.died or task.done, "the script hangs"
    life.error = task.error if task.done and not life.died else None
    kernel.close()
    return life


class Mailbox:
    """One database with its table, and what is in it."""

    def __init__(self, life: Life, instance: Instance, one: AttachedDatabase, name: str) -> None:
        self.life, self.instance, self.one, self.name = life, instance, one, name
        self.rows: Rows = dict(life.ledger.states[name][-1]) if name in life.ledger.states else {}
        self.table: Table

    async def make(self) -> None:
        session = self.instance.session(self.one)
        session.begin()
        self.table = await session.do(self.one.database.create_table, MAIL)
        await session.commit()
        await session.end()

    async def open(self) -> None:
        self.table = await self.one.open_table(MAIL)

    async def put(self, session: StoreSession, number: int, content: bytes) -> None:
        # As many rows to a page whatever its size, so that the same things happen.
        content *= self.life.config.store_format.page_bytes // PAGE_BYTES
        if number in self.rows:
            key = self.table.key(number)
            await session.do(self.table.update, key, {"Id": number, "Body": content})
        else:
            await session.do(self.table.insert, {"Id": number, "Body": content})
        self.rows[number] = content

    async def remove(self, session: StoreSession, number: int) -> None:
        await session.do(self.table.delete, self.table.key(number))
        del self.rows[number]

    async def commit(self, session: StoreSession) -> None:
        place = self.life.ledger.committing(self.name, self.rows)
        await session.commit()
        self.life.ledger.acknowledge(self.name, place)


async def short_life(life: Life) -> None:
    """Two databases: created, filled, changed, written, one detached and attached; shut down,
    opened, changed again."""
    instance = await life.open()
    boxes = []
    async with group() as g:
        g.spawn(instance.run(), "engine")
        for name in NAMES:
            one = await instance.create_database(name, initial_pages=34)
            life.ledger.created(name)
            boxes.append(Mailbox(life, instance, one, name))
            await boxes[-1].make()
        async with group() as both:
            for box in boxes:
                both.spawn(_work(box), box.name)
        await instance.detach(boxes[1].one)
        one = await instance.attach(NAMES[1])
        boxes[1] = Mailbox(life, instance, one, NAMES[1])
        await boxes[1].open()
        await _few(boxes[1], 50)
        await instance.close()
    instance = await life.open()
    async with group() as g:
        g.spawn(instance.run(), "engine")
        for name in NAMES:
            box = Mailbox(life, instance, await instance.attach(name), name)
            await box.open()
            await _few(box, 80)
        instance.abandon()


async def _few(box: Mailbox, first: int) -> None:
    session = box.instance.session(box.one)
    for number in range(first, first + 3):
        session.begin()
        await box.put(session, number, body(number, 700))
        await box.commit(session)
    await session.end()


async def _work(box: Mailbox) -> None:
    """Inserts that split, replacements, deletions, a rollback, and one that stays open."""
    instance = box.instance
    one, other = instance.session(box.one), instance.session(box.one)
    for first in range(0, 24, 6):
        one.begin()
        for number in range(first, first + 6):
            await box.put(one, number * 7 % 24, body(number, 400))
        await box.commit(one)
    # Open for long: pages with its changes are written, undo has to know what was before.
    other.begin()
    await other.do(box.table.update, box.table.key(3), {"Id": 3, "Body": b"nobody sees this"})
    await other.do(box.table.delete, box.table.key(4))
    await other.do(box.table.insert, {"Id": 1000, "Body": b"never there"})
    await instance.write_old_pages()
    await instance.move_checkpoint()
    one.begin()
    await box.put(one, 5, body(5, 900))
    await box.remove(one, 6)
    await box.commit(one)
    one.begin()
    await one.do(box.table.update, box.table.key(7), {"Id": 7, "Body": b"taken back"})
    await one.rollback()
    for number in range(30, 36):
        one.begin()
        await box.put(one, number, body(number, 900))
        await box.commit(one)
    await instance.move_checkpoint()
    await instance.write_old_pages()
    await instance.move_checkpoint()
    await other.rollback()
    one.begin()
    await box.put(one, 8, body(88, 300))
    await box.commit(one)
    await one.clean_up()


# -- what is left ------------------------------------------------------------------------


@dataclass
class Judged:
    """What recovery made of a medium.

    Attributes
    ----------
    breach: what is wrong; empty when nothing is.
    steps: storage steps of the recovery.
    """

    breach: str
    steps: int


async def recover_only(life: Life) -> None:
    """What opening does before anything is attached."""
    if has_logs(life.volume, DIRECTORY, "E00"):  # type: ignore[arg-type]
        await recover_instance(
            life.volume,  # type: ignore[arg-type]
            DIRECTORY,
            life.config,
            now=life.draws.now,
            flush_signature=life.draws.signature,
        )


def leave_what_is_required(medium: Medium) -> None:
    """Take the checkpoint and all logs away that no database header requires.

    The header of a dirty database says which logs it needs, and that has to be enough: whoever
    copies stores goes by it.
    """
    names = medium.names
    files = {path: inode for path, inode in names.items() if inode is not None}
    first = []
    for name in NAMES:
        inode = files.get(f"{DIRECTORY}/{name}")
        try:
            header = read_database_header(BytesReader(bytes(inode.data)))[0] if inode else None
        except EseError:
            return  # it is just being created
        if header is None or header.state is not State.DIRTY_SHUTDOWN:
            return
        first.append(header.first_required_generation)
    for path in list(files):
        parsed = parse_log_name(path.removeprefix(f"{DIRECTORY}/"))
        if parsed is None:
            continue
        old = parsed.role is LogRole.CLOSED and (parsed.generation or 0) < min(first)
        if old or parsed.role is LogRole.CHECKPOINT:
            del names[path]


def judge(
    medium: Medium,
    ledger: Ledger,
    *,
    config: InstanceConfig = CONFIG,
    required_only: bool = False,
    may_lose: bool = False,
) -> Judged:
    """Recover a medium, in place, and hold the databases against the ledger.

    Arguments
    ---------
    required_only: with the logs only that the headers require.
    may_lose: commits that were acknowledged may be gone, the last ones first.
    """
    if required_only:
        leave_what_is_required(medium)
    life = run(medium, recover_only, ledger=ledger, config=config, ticks=10**6)
    if life.error is not None:
        assert isinstance(life.error, EseError | ReplicatorError), life.error
        return Judged(f"refused: {life.error}", len(life.steps))
    return Judged(content_breach(medium, ledger, may_lose=may_lose), len(life.steps))


def content_breach(medium: Medium, ledger: Ledger, *, may_lose: bool = False) -> str:
    """What is wrong with databases that were recovered."""
    for name, states in ledger.states.items():
        inode = medium.names.get(f"{DIRECTORY}/{name}")
        if inode is None:
            return f"{name} is gone"
        allowed = states if may_lose else states[ledger.confirmed[name] :]
        found = _file_breach(bytes(inode.data), allowed)
        if found:
            return f"{name}: {found}"
    volume = MemoryVolume(medium)
    if not has_logs(volume, DIRECTORY, "E00"):  # type: ignore[arg-type]
        return ""
    files = {
        path.removeprefix(f"{DIRECTORY}/"): content
        for path, content in medium.digest(f"{DIRECTORY}/E").items()
    }
    errors = log_set(files).errors
    return str(errors[0]) if errors else ""


def rows_of(data: bytes) -> Rows | None:
    """The rows by our reader; None before there is a table."""
    database = ReadDatabase(BytesReader(data))
    if all(each.name != "Mail" for each in database.catalog.tables):
        return None
    return {row["Id"]: row["Body"] for row in database.table("Mail").rows()}


@lru_cache(maxsize=4096)
def _read(data: bytes) -> tuple[str, Rows]:
    """What is wrong with a file in itself, and its rows; many crashes lead to the same file."""
    reader = BytesReader(data)
    header = read_database_header(reader)[0]
    if header.state is not State.CLEAN_SHUTDOWN:
        return f"its state is {header.state_title}", {}
    try:
        return _page_breach(data, header), rows_of(data) or {}
    except EseError as error:
        return str(error), {}


def _page_breach(data: bytes, header: DatabaseHeader) -> str:
    size = header.page_size
    for at in range(2 * size, len(data), size):
        pgno, page = at // size - 1, data[at : at + size]
        verdict = judge_page(page, pgno).verdict
        if verdict not in (Verdict.GOOD, Verdict.ZERO):
            return f"page {pgno} is {verdict.name}"
        if PageEditor.load(page, pgno).dbtime > header.dbtime:
            return f"page {pgno} is newer than the header"
    return ""


def _file_breach(data: bytes, allowed: Sequence[Rows]) -> str:
    # Headers differ with each recovery; pages do not.
    wrong, rows = _read(data)
    if wrong:
        return wrong
    if rows not in allowed:
        last = allowed[0]
        differ = sorted(key for key in rows | last if rows.get(key) != last.get(key))
        return f"rows differ: {differ[:8]}"
    return ""


def crash_states(
    script: Script = short_life,
    *,
    config: InstanceConfig = CONFIG,
    losses: Sequence[str] = tuple(POWER_LOSSES),
    stride: int = 1,
    first: int = 1,
) -> Iterator[tuple[str, Medium, Ledger]]:
    """What a crash in any storage step can leave, each on a medium of its own."""
    whole = run(new_medium(), script, config=config)
    assert whole.error is None, whole.error
    for crash_at in range(first, len(whole.steps) + 1, stride):
        medium = new_medium()
        life = run(medium, script, crash_at=crash_at, config=config)
        assert life.died
        where = f"step {crash_at} ({life.steps[-1]})"
        yield f"{where}, power stays", medium.copy(), life.ledger
        for name in losses:
            dark = medium.copy()
            dark.lose_power(POWER_LOSSES[name])
            yield f"{where}, {name}", dark, life.ledger


def without(safeguard: str, **more: object) -> InstanceConfig:
    guards = replace(CONFIG.safeguards, **{safeguard: False})
    return replace(CONFIG, safeguards=guards, **more)  # type: ignore[arg-type]
