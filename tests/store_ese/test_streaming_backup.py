"""A streaming backup of the engine while it works: what the set holds, and what spoils it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import pytest

from replicator.errors import ReplicatorError
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.errors import EseError
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.log_options import Durability
from replicator.ese.page_source import page_offset
from replicator.runtime import group
from simulator.exchange.ese.backup_options import BackupKind, BackupResult, BackupSafeguards
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.streaming_backup import StreamingBackup, back_up
from tests.ese.streaming_backup import (
    BACKUP,
    COPY,
    KEPT,
    KEPT_7,
    NAME,
    content,
    header_in,
    put,
)
from tests.ese.test_restore import at_rest, breach, recovered, restored
from tests.store import memory_volume
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    DIRECTORY,
    PAGE_BYTES,
    Ledger,
    Life,
    Mailbox,
    Rows,
    body,
    judge,
    new_medium,
    rows_of,
    run,
)

CIRCULAR = replace(KEPT, circular=True)
LAZY = replace(KEPT, durability=Durability.LAZY, waypoint_latency=2)
CONFIGS = {"version 8": KEPT, "version 7": KEPT_7, "circular": CIRCULAR, "lazy": LAZY}
FEW = ("nothing unsynced survives", "every other sector")
UNFINISHED = {-1811, -1018, -534, -535, -541, -552, -553, -554, -557, -570, -573}
"""What hard recovery says of a set that was never finished; -541 of half a log."""


@pytest.fixture(autouse=True)
def sectors_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_volume, "SECTOR", PAGE_BYTES)


@dataclass
class Run:
    """A store that was backed up while it worked, and the truth about it."""

    medium: Medium
    ledger: Ledger = field(default_factory=Ledger)
    result: BackupResult | None = None
    at_end: Rows = field(default_factory=dict)
    later: Rows = field(default_factory=dict)
    early: bytes = b""
    """The first page after the header, when it was copied."""

    @property
    def done(self) -> BackupResult:
        assert self.result is not None
        return self.result


def medium_with_backup() -> Medium:
    medium = new_medium()
    medium.names[BACKUP] = medium.durable_names[BACKUP] = None
    return medium


async def working(box: Mailbox, numbers: range, size: int) -> None:
    session = box.instance.session(box.one)
    for number in numbers:
        session.begin()
        await box.put(session, number, body(number + size, size))
        await box.commit(session)
    await session.end()


async def begun(life: Life, *, stays_open: bool = True) -> Mailbox:
    """A store with some rows, a checkpoint, and a transaction that stays open."""
    instance = await life.open()
    one = await instance.create_database(NAME, initial_pages=34)
    life.ledger.created(NAME)
    box = Mailbox(life, instance, one, NAME)
    await box.make()
    await working(box, range(48), 500)
    await instance.write_old_pages()
    await instance.move_checkpoint()
    await working(box, range(6, 18), 400)
    if not stays_open:
        return box
    session = instance.session(one)
    session.begin()
    key = box.table.key(3)
    await session.do(box.table.update, key, {"Id": 3, "Body": b"not committed"})
    return box


async def rewrite(instance: Instance) -> None:
    await instance.write_old_pages()
    await instance.move_checkpoint()


def scenario(
    made: Run,
    kind: BackupKind = BackupKind.FULL,
    guards: BackupSafeguards | None = None,
    *,
    stays_open: bool = True,
) -> Callable[[Life], Awaitable[None]]:
    """Pages copied by fours, between them rows that split pages, which are written at once."""

    async def script(life: Life) -> None:
        made.ledger = life.ledger
        box = await begun(life, stays_open=stays_open)
        instance = box.instance
        backup = await StreamingBackup.begin(
            instance,
            life.volume,  # type: ignore[arg-type]
            BACKUP,
            kind=kind,
            now=life.draws.now,
            safeguards=guards or BackupSafeguards(),
        )
        turn = 0
        while await backup.copy_pages(4):
            if turn % 3 == 0 or turn > 8:
                await working(box, range(60 + turn, 64 + turn), 600)
                await working(box, range(4, 12), 600 + turn)
                await rewrite(instance)
            turn += 1
        made.at_end = dict(box.rows)
        made.result = await backup.finish()
        await working(box, range(40, 52), 700)
        await instance.write_old_pages()
        await working(box, range(40, 60), 800)
        made.later = dict(box.rows)
        instance.abandon()

    return script


def backed_up(
    config: InstanceConfig = KEPT,
    kind: BackupKind = BackupKind.FULL,
    guards: BackupSafeguards | None = None,
) -> tuple[Run, Life]:
    made = Run(medium_with_backup())
    life = run(made.medium, scenario(made, kind, guards), config=config)
    made.medium.sync_names()
    return made, life


def store_header(medium: Medium) -> DatabaseHeader:
    return header_in(content(medium, f"{DIRECTORY}/{NAME}"))


# --- what the set holds -------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_the_set_holds_what_was_committed_before_its_end(name: str) -> None:
    made, life = backed_up(CONFIGS[name])
    assert life.error is None
    assert made.later != made.at_end
    result = at_rest(restored(made.medium))
    assert (result.first_generation, result.last_generation) == (
        made.done.first_generation,
        made.done.last_generation,
    )
    # Pages that were copied early miss changes; those copied late have some already.
    assert result.redone_pages > 0 < result.skipped_pages
    assert result.transactions == 1
    assert breach(made.medium, made.at_end) == ""


@pytest.mark.parametrize("name", ["version 8", "version 7"])
def test_it_goes_on_with_the_later_logs_of_the_store(name: str) -> None:
    made, life = backed_up(CONFIGS[name])
    assert life.error is None
    before = made.medium.digest(DIRECTORY)
    at_rest(restored(made.medium, store_logs=DIRECTORY))
    assert breach(made.medium, made.later) == ""
    assert made.medium.digest(DIRECTORY) == before


def test_soft_recovery_refuses_its_copy() -> None:
    made, _ = backed_up()
    assert -544 in [error.number for error in recovered(made.medium).errors]


def test_clients_and_the_lazy_writer_work_beside_it() -> None:
    made = Run(medium_with_backup())

    async def script(life: Life) -> None:
        box = await begun(life)
        instance = box.instance

        async def clients() -> None:
            for turn in range(6):
                await working(box, range(20 + turn * 4, 26 + turn * 4), 600)
                await working(box, range(4, 9), 300 + turn)
            instance.abandon()

        async def backup() -> None:
            confirmed = life.ledger.confirmed[NAME]
            made.result = await back_up(
                instance,
                life.volume,  # type: ignore[arg-type]
                BACKUP,
                now=life.draws.now,
            )
            made.ledger = life.ledger
            assert life.ledger.confirmed[NAME] > confirmed

        async with group() as tasks:
            tasks.spawn(instance.run(), "engine")
            tasks.spawn(clients(), "clients")
            tasks.spawn(backup(), "backup")

    config = replace(KEPT, checkpoint_depth_bytes=16 << 10, cache_pages=2)
    life = run(made.medium, script, config=config)
    assert life.error is None, life.error
    made.medium.sync_names()
    at_rest(restored(made.medium))
    rows = rows_of(content(made.medium, COPY))
    assert rows in made.ledger.states[NAME]
    assert breach(made.medium, rows or {}) == ""


# --- the store behind it ------------------------------------------------------------------


def closed_logs(medium: Medium, directory: str = DIRECTORY) -> list[int]:
    names = (parse_log_name(path.rpartition("/")[2]) for path in medium.digest(f"{directory}/E00"))
    closed = (each.generation for each in names if each and each.role is LogRole.CLOSED)
    return sorted(generation or 0 for generation in closed)


def test_a_full_backup_is_in_the_header_and_deletes_the_logs_before_it() -> None:
    made, _ = backed_up()
    mark = store_header(made.medium).last_full_backup
    result = made.done
    assert (mark.first_generation, mark.last_generation) == (
        result.first_generation,
        result.last_generation,
    )
    assert result.deleted_logs > 0
    assert 1 < closed_logs(made.medium)[0] <= result.last_generation + 1
    assert store_header(made.medium).current_full_backup.is_zero
    assert judge(made.medium, made.ledger, config=KEPT).breach == ""


def test_a_copy_leaves_the_logs_and_the_last_backup_as_they_are() -> None:
    made, _ = backed_up(kind=BackupKind.COPY)
    header = store_header(made.medium)
    assert header.last_full_backup.is_zero
    assert header.last_copy_backup.last_generation == made.done.last_generation
    assert made.done.deleted_logs == 0
    assert closed_logs(made.medium)[0] == 1
    at_rest(restored(made.medium))
    assert breach(made.medium, made.at_end) == ""


def test_a_database_that_was_never_backed_up_keeps_all_logs() -> None:
    made = Run(medium_with_backup())

    async def script(life: Life) -> None:
        box = await begun(life)
        other = await box.instance.create_database("pub1.edb", initial_pages=34)
        await box.instance.detach(other)
        await rewrite(box.instance)
        volume = life.volume
        made.result = await back_up(box.instance, volume, BACKUP, now=life.draws.now)  # type: ignore[arg-type]
        box.instance.abandon()

    assert run(made.medium, script, config=KEPT).error is None
    assert made.done.deleted_logs == 0


def test_logs_alone_go_on_from_a_full_backup() -> None:
    made = Run(medium_with_backup())
    first, second = "/incremental", "/differential"
    for directory in (first, second):
        made.medium.names[directory] = made.medium.durable_names[directory] = None

    async def script(life: Life) -> None:
        box = await begun(life, stays_open=False)

        async def backup(directory: str, kind: BackupKind) -> BackupResult:
            volume, now = life.volume, life.draws.now
            return await back_up(box.instance, volume, directory, kind=kind, now=now)  # type: ignore[arg-type]

        full = await backup(BACKUP, BackupKind.FULL)
        await working(box, range(20, 40), 500)
        await rewrite(box.instance)
        logs = await backup(second, BackupKind.DIFFERENTIAL)
        assert logs.first_generation == full.last_generation + 1
        assert logs.deleted_logs == 0
        await working(box, range(30, 50), 500)
        await rewrite(box.instance)
        again = await backup(first, BackupKind.INCREMENTAL)
        assert again.first_generation == full.last_generation + 1
        assert again.deleted_logs > 0
        made.later = dict(box.rows)
        box.instance.abandon()

    life = run(made.medium, script, config=KEPT)
    assert life.error is None, life.error
    mark = store_header(made.medium).last_incremental_backup
    assert mark.last_generation == closed_logs(made.medium, first)[-1]
    for generation in closed_logs(made.medium, first):
        name = f"E00{generation:08X}.log"
        put(made.medium, f"{BACKUP}/{name}", content(made.medium, f"{first}/{name}"))
    at_rest(restored(made.medium))
    assert breach(made.medium, made.later) == ""


# --- refusals -----------------------------------------------------------------------------


def attempt(
    config: InstanceConfig = KEPT,
    kind: BackupKind = BackupKind.FULL,
    prepare: Callable[[Life, Mailbox], Awaitable[None]] | None = None,
    during: Callable[[Life, Mailbox], Awaitable[None]] | None = None,
) -> tuple[Medium, BaseException | None]:
    """One backup, with something before it and behind its first pages; the store works after."""
    medium = medium_with_backup()
    errors: list[BaseException | None] = [None]

    async def script(life: Life) -> None:
        box = await begun(life)
        if prepare is not None:
            await prepare(life, box)
        try:
            backup = await StreamingBackup.begin(
                box.instance,
                life.volume,  # type: ignore[arg-type]
                BACKUP,
                kind=kind,
                now=life.draws.now,
            )
            await backup.copy_pages(8)
            if during is not None:
                await during(life, box)
            await backup.finish()
        except (EseError, ReplicatorError, ValueError) as error:
            errors[0] = error
        assert box.instance.held_generation is None
        if not box.one.is_detached and not box.instance.is_closed():
            await working(box, range(4, 7), 450)  # the store goes on
            box.instance.abandon()

    life = run(medium, script, config=config)
    assert life.error is None, life.error
    return medium, errors[0]


def number_of(error: BaseException | None) -> int:
    assert isinstance(error, EseError), error
    return error.number


def damaged(offset: int) -> Callable[[Life, Mailbox], Awaitable[None]]:
    async def change(life: Life, _box: Mailbox) -> None:
        inode = life.volume.medium.names[f"{DIRECTORY}/{NAME}"]
        assert inode is not None
        inode.data[offset] ^= 0xFF
        inode.data[offset + 7] ^= 0x55

    return change


def test_damage_below_is_told_and_there_is_no_set() -> None:
    offset = page_offset(20, PAGE_BYTES)
    page_in_use = damaged(offset + 60)
    medium, error = attempt(during=page_in_use)
    assert number_of(error) == -1018
    assert isinstance(error, EseError)
    assert (error.page, error.offset, error.path) == (20, offset, f"{DIRECTORY}/{NAME}")
    assert medium.digest(f"{BACKUP}/") == {}
    assert store_header(medium).last_full_backup.is_zero


def test_a_turned_bit_is_turned_back_in_the_copy() -> None:
    offset = page_offset(4, PAGE_BYTES) + 1000
    made = Run(medium_with_backup())

    async def turn(life: Life, _box: Mailbox) -> None:
        inode = life.volume.medium.names[f"{DIRECTORY}/{NAME}"]
        assert inode is not None
        inode.data[offset] ^= 0x10

    made.medium, error = attempt(prepare=turn)
    assert error is None
    assert content(made.medium, COPY)[offset] != content(made.medium, f"{DIRECTORY}/{NAME}")[offset]
    at_rest(restored(made.medium))


def test_a_damaged_log_ends_it() -> None:
    async def damage(life: Life, box: Mailbox) -> None:
        generation = box.instance.held_generation
        inode = life.volume.medium.names[f"{DIRECTORY}/E00{generation:08X}.log"]
        assert inode is not None
        inode.data[4096 + 200] ^= 0xFF
        inode.data[4096 + 201] ^= 0x0F

    async def roll(life: Life, box: Mailbox) -> None:
        await working(box, range(20, 40), 600)
        await damage(life, box)

    medium, error = attempt(during=roll)
    assert number_of(error) == -612
    assert medium.digest(f"{BACKUP}/") == {}


async def _detach(_life: Life, box: Mailbox) -> None:
    await box.instance.detach(box.one)


async def _close(_life: Life, box: Mailbox) -> None:
    await box.instance.close()


async def _leave_a_file(life: Life, _box: Mailbox) -> None:
    put(life.volume.medium, f"{BACKUP}/old.txt", b"mine")


async def _second(life: Life, box: Mailbox) -> None:
    await StreamingBackup.begin(
        box.instance,
        life.volume,  # type: ignore[arg-type]
        "/other",
        now=life.draws.now,
    )


@pytest.mark.parametrize(
    ("number", "given"),
    [
        (-801, {"during": _detach}),
        (-510, {"during": _close}),
        (-504, {"prepare": _leave_a_file}),
        (-560, {"kind": BackupKind.INCREMENTAL}),
        (-526, {"kind": BackupKind.DIFFERENTIAL, "config": CIRCULAR}),
    ],
)
def test_what_keeps_it_from_a_set_is_told_by_number(number: int, given: dict) -> None:
    medium, error = attempt(**given)
    assert number_of(error) == number
    assert all(path.endswith("old.txt") for path in medium.digest(f"{BACKUP}/"))


def test_one_at_a_time() -> None:
    async def second(life: Life, box: Mailbox) -> None:
        with pytest.raises(EseError) as refused:
            await _second(life, box)
        assert refused.value.number == -505

    medium, error = attempt(during=second)
    assert error is None
    at_rest(restored(medium))


def test_a_full_volume_takes_the_set_away_and_the_store_goes_on() -> None:
    from replicator.errors import NoSpace

    async def full(life: Life, _box: Mailbox) -> None:
        step = life.volume.step

        def refusing(what: str) -> bool:
            if what.startswith(f"write {BACKUP}"):
                raise NoSpace("the volume is full", path=BACKUP)
            return step(what)

        life.volume.step = refusing  # type: ignore[method-assign]

    medium, error = attempt(during=full)
    assert isinstance(error, NoSpace)
    assert medium.digest(f"{BACKUP}/") == {}


# --- crashes, and what each safeguard is for ----------------------------------------------


def crash_breaches(
    stride: int,
    *,
    first: int = 1,
    guards: BackupSafeguards | None = None,
    losses: Sequence[str] = tuple(POWER_LOSSES),
    last: int | None = None,
) -> Iterator[str]:
    """Die in one step after the other: the store recovers, and the set is whole or refused."""
    whole, life = backed_up(guards=guards)
    assert life.error is None
    for step in range(first, (last or len(life.steps)) + 1, stride):
        made = Run(medium_with_backup())
        died = run(made.medium, scenario(made, guards=guards), crash_at=step, config=KEPT)
        assert died.died
        for name in ("power stays", *losses):
            medium = made.medium.copy()
            if name in POWER_LOSSES:
                medium.lose_power(POWER_LOSSES[name])
            where = f"step {step} ({died.steps[-1]}), {name}"
            if found := judge(medium, made.ledger, config=KEPT).breach:
                yield f"{where}: the store: {found}"
            if found := set_breach(medium, whole.at_end):
                yield f"{where}: {found}"


def set_breach(medium: Medium, rows: Rows) -> str:
    """What is wrong with what lies in the directory of the set."""
    inode = medium.names.get(f"{DIRECTORY}/{NAME}")
    noted = inode is not None and not header_in(bytes(inode.data)).last_full_backup.is_zero
    attempted = restored(medium)
    numbers = set(attempted.numbers)
    if isinstance(attempted.error, EseError):
        numbers.add(attempted.error.number)
    if attempted.result is None:
        if noted:
            return f"the store counts on a set that is refused: {sorted(numbers)}"
        return "" if numbers and numbers <= UNFINISHED else f"refused with {sorted(numbers)}"
    try:
        return breach(medium, rows)
    except EseError as error:
        return str(error)


def without(name: str) -> BackupSafeguards:
    return replace(BackupSafeguards(), **{name: False})


@pytest.mark.parametrize(
    ("stride", "losses"),
    [(331, FEW), pytest.param(17, tuple(POWER_LOSSES), marks=pytest.mark.full)],
)
def test_after_a_crash_the_store_recovers_and_the_set_is_whole_or_refused(
    stride: int, losses: Sequence[str]
) -> None:
    assert list(crash_breaches(stride, first=stride // 2, losses=losses)) == []


def test_so_it_is_in_the_last_steps_of_the_backup() -> None:
    _, life = backed_up()
    last = max(n for n, step in enumerate(life.steps) if BACKUP in step)
    assert list(crash_breaches(9, first=last - 8, losses=FEW[:1], last=last + 10)) == []


def outcome(guards: BackupSafeguards, config: InstanceConfig = KEPT) -> str:
    """What is wrong with a backup without a safeguard, in a life without a crash."""
    made = Run(medium_with_backup())
    # No open transaction: it would keep the checkpoint, and with it the logs, where they are.
    life = run(made.medium, scenario(made, guards=guards, stays_open=False), config=config)
    if life.error is not None:
        return str(life.error)
    return set_breach(made.medium, made.at_end)


def verify_pages_breach() -> str:
    medium = medium_with_backup()

    async def script(life: Life) -> None:
        box = await begun(life)
        await damaged(page_offset(4, PAGE_BYTES) + 60)(life, box)
        await back_up(
            box.instance,
            life.volume,  # type: ignore[arg-type]
            BACKUP,
            now=life.draws.now,
            safeguards=without("verify_pages"),
        )
        box.instance.abandon()

    life = run(medium, script, config=KEPT)
    assert life.error is None
    return set_breach(medium, {})


def sync_breach() -> str:
    """The set is lost with the power, and the store has given up logs for it."""
    guards = without("sync_before_truncation")
    _, life = backed_up(guards=guards)
    copied = max(n for n, step in enumerate(life.steps) if step.startswith(f"write {BACKUP}/E00"))
    # A few steps later the store's header has the backup.
    found = crash_breaches(2, first=copied + 4, last=copied + 12, guards=guards, losses=FEW[:1])
    return next(found, "")


BREACHES: dict[str, Callable[[], str]] = {
    "mark_before_pages": lambda: outcome(without("mark_before_pages")),
    "hold_logs": lambda: outcome(without("hold_logs"), CIRCULAR),
    "verify_pages": verify_pages_breach,
    "roll_behind_pages": lambda: outcome(without("roll_behind_pages")),
    "sync_before_truncation": sync_breach,
}


def test_no_safeguard_is_left_out() -> None:
    assert {each.name for each in fields(BackupSafeguards)} == set(BREACHES)


@pytest.mark.parametrize("name", BREACHES)
def test_each_safeguard_is_needed(name: str) -> None:
    assert BREACHES[name]() != ""
