"""The streaming file of 2003: contents beside the database, through commits, deletions, crashes."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from replicator.errors import ReplicatorError
from replicator.ese.database import Database
from replicator.ese.database_header import FileType, State, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.reader import BytesReader
from replicator.ese.streaming_file import (
    CLUSTER_BYTES,
    HEADER_BYTES,
    PAGE_BYTES,
    StreamPlace,
    check_pair,
    page_at,
    page_checksum,
    read_content,
    stream_places,
    streaming_path,
)
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.backup_options import BackupKind
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.mail_schema import StoredMessage
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.streamed_contents import StreamedContents
from simulator.exchange.ese.streaming_backup import back_up
from simulator.exchange.ese.streaming_file import StreamingFile
from simulator.exchange.mail_events import INBOX
from tests.ese.streaming_backup import BACKUP, content, put
from tests.ese.test_restore import restored
from tests.store import memory_volume
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    CONFIG,
    DIRECTORY,
    Ledger,
    Life,
    body,
    crash_states,
    new_medium,
    recover_only,
    run,
)

NAME, STREAM_NAME = "priv1.edb", "priv1.stm"
PATH = f"{DIRECTORY}/{STREAM_NAME}"
STREAMING = replace(CONFIG, streaming_file=True)
FEW = ("nothing unsynced survives", "every other sector")
Parts = tuple[bytes, ...]


@pytest.fixture(autouse=True)
def sectors_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_volume, "SECTOR", PAGE_BYTES)


class Box:
    """A mailbox, and what is in it."""

    def __init__(self, life: Life, instance: Instance, one: AttachedDatabase) -> None:
        self.life, self.instance, self.one = life, instance, one
        self.session = instance.session(one)
        states = life.ledger.states.get(NAME)
        self.rows: dict[int, bytes] = dict(states[-1]) if states else {}
        self.mailboxes: Mailboxes

    @property
    def stream(self) -> StreamingFile:
        assert self.one.streaming is not None
        return self.one.streaming

    async def make(self) -> None:
        self.mailboxes = await Mailboxes.create(self.session)
        self.session.begin()
        await self.mailboxes.add_mailbox(0, "Anna")
        await self.session.commit()

    async def other(self) -> tuple[StoreSession, Mailboxes]:
        session = self.instance.session(self.one)
        return session, await Mailboxes.open(session)

    async def deliver(self, number: int, size: int = 5000, *, is_mime: bool = True) -> None:
        self.session.begin()
        await self.mailboxes.deliver(message(number, size), is_mime=is_mime)
        self.rows[number] = body(number, size)
        await self.commit()

    async def delete(self, number: int, *, lazy: bool = False) -> None:
        self.session.begin()
        assert await self.mailboxes.delete(number)
        del self.rows[number]
        await self.commit(lazy=lazy)

    async def commit(self, *, lazy: bool = False) -> None:
        place = self.life.ledger.committing(NAME, self.rows)
        await self.session.commit(lazy=lazy)
        if not lazy:
            self.life.ledger.acknowledge(NAME, place)


def message(number: int, size: int = 5000, attachments: Parts = ()) -> StoredMessage:
    return StoredMessage(number, 0, INBOX, 0, "a@b", "", body(number, size), attachments)


async def made(life: Life) -> Box:
    instance = await life.open()
    one = await instance.create_database(NAME, initial_pages=34)
    life.ledger.created(NAME)
    box = Box(life, instance, one)
    await box.make()
    return box


async def attached(life: Life, instance: Instance) -> Box:
    box = Box(life, instance, await instance.attach(NAME))
    box.mailboxes = await Mailboxes.open(box.session)
    return box


def lived(
    script: Callable[[Box], Awaitable[None]], config: InstanceConfig = STREAMING
) -> tuple[Medium, Life]:
    medium = new_medium()

    async def live(life: Life) -> None:
        await script(await made(life))

    life = run(medium, live, config=config)
    assert life.error is None, life.error
    return medium, life


# --- the file -----------------------------------------------------------------------------


def test_both_headers_name_one_another() -> None:
    async def script(box: Box) -> None:
        await box.instance.close()

    medium, _ = lived(script)
    header, reading = read_database_header(BytesReader(content(medium, PATH)))
    database, _ = read_database_header(BytesReader(content(medium, f"{DIRECTORY}/{NAME}")))
    assert (header.attribute, header.file_type) == (1, FileType.STREAMING_FILE)
    assert header.database_signature == database.streaming_signature
    assert not database.streaming_signature.is_zero
    assert header.log_signature == database.log_signature
    assert reading.equal
    assert len(content(medium, PATH)) == HEADER_BYTES


def test_contents_of_any_size_come_back_with_their_parts() -> None:
    parts = (b"", b"x" * PAGE_BYTES, b"y" * (CLUSTER_BYTES + 1), b"z")

    async def script(box: Box) -> None:
        box.session.begin()
        for number, size in enumerate((0, 1, PAGE_BYTES, 3 * CLUSTER_BYTES + 5)):
            each = message(number, size, parts if number % 2 else ())
            await box.mailboxes.deliver(each, is_mime=True)
        await box.mailboxes.deliver(message(9), is_mime=False)
        await box.session.commit()
        found = [each async for each in box.mailboxes.messages()]
        assert [len(each.body) for each in found] == [0, 1, 4096, 3 * CLUSTER_BYTES + 5, 5000]
        assert found[1].attachments == found[3].attachments == parts
        assert found[2].attachments == ()
        assert found[3].body == body(3, 3 * CLUSTER_BYTES + 5)
        await box.instance.close()

    medium, _ = lived(script)
    database = Database(BytesReader(content(medium, f"{DIRECTORY}/{NAME}")))
    places = dict(stream_places(database))
    assert sorted(places) == [0, 1, 2, 3]
    stream = BytesReader(content(medium, PATH))
    assert read_content(stream, places[3])[: 3 * CLUSTER_BYTES] == body(3, 3 * CLUSTER_BYTES)
    assert [row["ContentId"] for row in database.table("Body").rows()] == [9]


def test_a_row_that_does_not_hold_together_is_refused() -> None:
    place = StreamPlace((5000, 3), ((7, 1),), (1, 2))
    row = {"ContentId": 5, **place.as_row()}
    assert StreamPlace.from_row(row) == place
    assert list(place.pages()) == [113, 114]
    for name, wrong in (
        ("Lengths", b""),
        ("Lengths", b"\xff\xff\xff\xff"),
        ("Clusters", b"\x07\0\0\0"),
        ("Clusters", b""),
        ("Clusters", b"\x07\0\0\0\xff\xff\xff\xff"),
        ("Checksums", b"\x01\0\0\0"),
        ("Checksums", b"\x01\0\0\0\x02\0\0\0\x03"),
        ("Lengths", "five"),
        ("Lengths", None),
    ):
        with pytest.raises(EseError) as refused:
            StreamPlace.from_row({**row, name: wrong})
        assert refused.value.number == -1206


def test_a_row_without_its_number_is_refused() -> None:
    """A damaged or foreign table of that name is an error of the file, not of the program."""
    row = {"ContentId": None, **StreamPlace((5000, 3), ((7, 1),), (1, 2)).as_row()}
    for found in (row, {"ContentId": "five"}, {"Other": 1}):
        table = SimpleNamespace(by_name=found, rows=lambda row=found: iter([row]))
        database = SimpleNamespace(
            catalog=SimpleNamespace(tables=[SimpleNamespace(name="Stream")]),
            table=lambda _name, table=table: table,
        )
        with pytest.raises(EseError) as refused:
            list(stream_places(cast(Database, database)))
        assert refused.value.number == -1206


def test_the_file_lies_beside_its_database_however_that_is_written() -> None:
    assert streaming_path("/store/priv1.edb") == "/store/priv1.stm"
    assert streaming_path("/store/PRIV1.EDB") == "/store/PRIV1.STM"
    assert streaming_path("/store/Priv1.Edb") == "/store/Priv1.stm"


def test_a_checksum_knows_its_page() -> None:
    page = bytes(range(256)) * 16
    assert page_checksum(page, 1) != page_checksum(page, 2)
    assert page_checksum(page[:-1] + b"\0", 1) != page_checksum(page, 1)


# --- clusters -----------------------------------------------------------------------------


def test_clusters_are_used_again_when_their_deletion_is_durable() -> None:
    async def script(box: Box) -> None:
        for number in range(4):
            await box.deliver(number)
        size = box.stream.size_bytes
        await box.delete(1, lazy=True)
        await box.deliver(10)  # its commit makes the deletion durable, too late for itself
        assert box.stream.size_bytes > size
        grown = box.stream.size_bytes
        await box.deliver(11)
        assert box.stream.size_bytes == grown
        found = {each.message_id: each.body async for each in box.mailboxes.messages()}
        assert found == box.rows

    lived(script)


def test_what_is_rolled_back_gives_its_clusters_back_and_keeps_what_it_deleted() -> None:
    async def script(box: Box) -> None:
        for number in range(3):
            await box.deliver(number)
        box.session.begin()
        await box.mailboxes.deliver(message(20), is_mime=True)
        await box.mailboxes.delete(0)
        await box.mailboxes.delete(20)
        await box.session.rollback()
        size = box.stream.size_bytes
        await box.deliver(30)
        assert box.stream.size_bytes == size
        found = {each.message_id: each.body async for each in box.mailboxes.messages()}
        assert found == box.rows

    lived(script)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_done_each_message_has_its_content_and_no_cluster_is_lost(seed: int) -> None:
    """Two sessions deliver and delete in transactions that are committed, also lazily, or not."""
    draw = random.Random(seed)

    async def script(box: Box) -> None:
        sessions = [(box.session, box.mailboxes), await box.other()]
        committed: dict[int, bytes] = {}
        changes: list[dict[int, bytes | None]] = [{}, {}]
        is_open, number = [False, False], 0
        for _ in range(120):
            which = draw.randrange(2)
            (session, boxes), mine = sessions[which], changes[which]
            if not is_open[which]:
                session.begin()
                is_open[which] = True
            there = [each for each in {**committed, **mine} if mine.get(each, b"") is not None]
            if there and draw.random() < 0.45:
                gone = draw.choice(there)
                try:
                    if await boxes.delete(gone):  # else the other session has just done so
                        mine[gone] = None
                except EseError as error:
                    assert error.number == -1102  # the other session has to do with it
            else:
                number += 1
                size = draw.choice((10, 5000, 70_000))
                await boxes.deliver(message(number, size), is_mime=draw.random() < 0.8)
                mine[number] = body(number, size)
            end = draw.random()
            if end < 0.1:
                await session.rollback()
            elif end < 0.4:
                await session.commit(lazy=end < 0.25)
                committed |= {each: data for each, data in mine.items() if data is not None}
                for each in [each for each, data in mine.items() if data is None]:
                    committed.pop(each, None)
            if end < 0.4:
                mine.clear()
                is_open[which] = False
        for which, (session, _) in enumerate(sessions):
            if is_open[which]:
                await session.rollback()
        await box.instance.log.flush()
        # Commits are noticed by the next content, durable ones by the one after.
        for extra in (1000, 1001):
            await box.deliver(extra)
            committed[extra] = body(extra, 5000)
        box.stream.settle()
        found = {each.message_id: each.body async for each in box.mailboxes.messages()}
        assert found == committed
        clusters = -(-(box.stream.size_bytes - HEADER_BYTES) // CLUSTER_BYTES)
        contents = await box.session.do(lambda _: StreamedContents(box.session))
        used = [each async for place in contents.places() for each in place.clusters]
        assert len(used) == len(set(used))
        assert len(used) + box.stream.free_clusters == clusters
        await box.instance.close()

    lived(script)


def test_a_content_that_was_deleted_may_come_again() -> None:
    async def script(box: Box) -> None:
        await box.deliver(1)
        await box.delete(1)
        await box.deliver(1, 9000)  # the row's node is still there, flagged
        await box.delete(1)
        await box.session.clean_up()
        await box.deliver(1)
        found = [each async for each in box.mailboxes.messages()]
        assert [each.body for each in found] == [body(1, 5000)]

    lived(script)


def test_an_attach_finds_out_what_is_free() -> None:
    async def script(box: Box) -> None:
        for number in range(70):
            await box.deliver(number, 100)
        for number in range(0, 70, 2):
            await box.delete(number)
        size = box.stream.size_bytes
        await box.instance.detach(box.one)
        again = await attached(box.life, box.instance)
        for number in range(100, 130):
            await again.deliver(number, 100)
        assert again.stream.size_bytes == size
        assert again.stream.free_clusters == 5
        found = {each.message_id: each.body async for each in again.mailboxes.messages()}
        assert found == again.rows

    lived(script)


# --- refusals -----------------------------------------------------------------------------


async def _some(box: Box) -> None:
    for number in range(3):
        await box.deliver(number)
    await box.instance.close()


def reopened(medium: Medium) -> BaseException | None:
    async def script(life: Life) -> None:
        instance = await life.open()
        box = await attached(life, instance)
        assert [each async for each in box.mailboxes.messages()]

    return run(medium, script, config=STREAMING, ticks=10**6).error


def test_a_damaged_page_is_told_with_its_event() -> None:
    medium, _ = lived(_some)
    inode = medium.names[PATH]
    assert inode is not None
    inode.data[page_at(17) + 100] ^= 1  # of the second content
    error = reopened(medium)
    assert isinstance(error, EseError)
    assert (error.number, error.events, error.page) == (-1018, (478,), 17)
    assert (error.path, error.offset) == (PATH, page_at(17))


def test_a_file_that_was_cut_takes_nothing_new() -> None:
    medium, _ = lived(_some)
    inode = medium.names[PATH]
    assert inode is not None
    del inode.data[page_at(17) :]

    async def script(life: Life) -> None:
        box = await attached(life, await life.open())
        await box.deliver(60)

    error = run(medium, script, config=STREAMING, ticks=10**6).error
    assert isinstance(error, EseError)
    assert (error.number, error.events, error.path) == (-1018, (478,), PATH)


@pytest.mark.parametrize("how", ["missing", "another", "header"])
def test_a_streaming_file_that_does_not_belong_is_refused(how: str) -> None:
    medium, _ = lived(_some)
    inode = medium.names[PATH]
    assert inode is not None
    if how == "missing":
        del medium.names[PATH]
    elif how == "another":

        async def first(life: Life) -> None:
            life.draws.ticks += 5000  # other signatures
            await _some(await made(life))

        other = new_medium()
        assert run(other, first, config=STREAMING).error is None
        inode.data[:] = content(other, PATH)
    else:
        inode.data[100] ^= 1
        inode.data[PAGE_BYTES + 100] ^= 1
    error = reopened(medium)
    assert isinstance(error, EseError)
    assert error.number == (-1018 if how == "header" else -540)
    assert error.path == PATH


def test_what_an_unfinished_database_left_is_replaced() -> None:
    medium = new_medium()
    put(medium, PATH, b"begun, and never named by a database")

    async def live(life: Life) -> None:
        await _some(await made(life))

    assert run(medium, live, config=STREAMING).error is None
    assert reopened(medium) is None


def test_a_database_is_no_streaming_file() -> None:
    medium, _ = lived(_some)
    reader = BytesReader(content(medium, f"{DIRECTORY}/{NAME}"))
    with pytest.raises(EseError) as refused:
        check_pair(read_database_header(reader)[0], reader, PATH)
    assert refused.value.number == -540


def test_it_goes_with_pages_of_4_kib_only() -> None:
    with pytest.raises(ValueError, match="4 KiB"):
        replace(CONFIG, streaming_file=True, store_format=STORE_FORMATS["exchange 2007"])


# --- backup -------------------------------------------------------------------------------


def backed_up(between: Callable[[Box], Awaitable[None]] | None = None) -> tuple[Medium, Life]:
    medium = new_medium()
    medium.names[BACKUP] = medium.durable_names[BACKUP] = None

    async def live(life: Life) -> None:
        box = await made(life)
        for number in range(4):
            await box.deliver(number)
        await box.delete(2)
        if between is not None:
            await between(box)
        await back_up(box.instance, life.volume, BACKUP, now=life.draws.now)  # type: ignore[arg-type]
        assert not box.stream.is_held
        await box.deliver(50)
        await box.instance.log.roll("test")
        box.instance.abandon()

    life = run(medium, live, config=replace(STREAMING, circular=False))
    medium.sync_names()
    return medium, life


def test_a_backup_has_it_and_later_logs_are_refused() -> None:
    medium, life = backed_up()
    assert life.error is None, life.error
    refused = restored(medium.copy(), store_logs=DIRECTORY)
    assert refused.numbers == [-549]
    by_hand = medium.copy()  # the same, with the store's next log put beside those of the set
    closed = sorted(path for path in by_hand.digest(f"{BACKUP}/E"))[-1].rpartition("/")[2]
    following = f"E00{int(closed[3:-4], 16) + 1:08X}.log"
    put(by_hand, f"{BACKUP}/{following}", content(by_hand, f"{DIRECTORY}/{following}"))
    assert restored(by_hand).numbers == [-549]
    assert restored(medium).result is not None
    wrong, rows = _read(content(medium, f"{BACKUP}/{NAME}"), content(medium, f"{BACKUP}/priv1.stm"))
    assert wrong == ""
    assert rows == {number: body(number, 5000) for number in (0, 1, 3)}


def test_logs_alone_would_lack_its_content() -> None:
    medium = new_medium()
    medium.names["/logs"] = medium.durable_names["/logs"] = None

    async def live(life: Life) -> None:
        box = await made(life)
        volume, kind = life.volume, BackupKind.INCREMENTAL
        await back_up(box.instance, volume, "/logs", kind=kind, now=life.draws.now)  # type: ignore[arg-type]

    error = run(medium, live, config=replace(STREAMING, circular=False)).error
    assert isinstance(error, EseError)
    assert (error.number, error.path) == (-549, PATH)


def test_a_set_without_it_is_refused() -> None:
    medium, _ = backed_up()
    del medium.names[f"{BACKUP}/priv1.stm"]
    assert restored(medium).numbers == [-540]


def test_a_damaged_page_of_it_ends_a_backup() -> None:
    async def damage(box: Box) -> None:
        inode = box.life.volume.medium.names[PATH]
        assert inode is not None
        inode.data[page_at(1) + 5] ^= 4

    medium, life = backed_up(damage)
    assert isinstance(life.error, EseError)
    assert (life.error.number, life.error.events) == (-1018, (478,))
    assert medium.digest(f"{BACKUP}/") == {}


# --- crashes ------------------------------------------------------------------------------


async def mail_life(life: Life) -> None:
    """Contents come and go, some in transactions that stay open; detached, attached, again."""
    box = await made(life)
    instance = box.instance
    for number in range(4):
        await box.deliver(number, is_mime=number != 2)
    session, others = await box.other()
    session.begin()
    await others.delete(0)  # never committed: its content stays whatever comes
    await box.delete(1, lazy=True)
    await box.deliver(10)
    await box.deliver(11, 9000)
    await instance.write_old_pages()
    await instance.move_checkpoint()
    await box.delete(10)
    await box.deliver(12)
    await box.session.clean_up()
    await session.rollback()
    await box.delete(0)
    await box.deliver(13)
    await instance.detach(box.one)
    box = await attached(life, instance)
    await box.deliver(14)
    await box.delete(3, lazy=True)
    await box.deliver(15)
    await instance.write_old_pages()
    await instance.close()


def _read(database: bytes, stream: bytes) -> tuple[str, dict[int, bytes]]:
    """What is wrong with a clean database and its streaming file, and the messages."""
    header, _ = read_database_header(BytesReader(database))
    if header.state is not State.CLEAN_SHUTDOWN:
        return f"its state is {header.state_title}", {}
    opened = Database(BytesReader(database))
    tables = {each.name for each in opened.catalog.tables}
    if "Stream" not in tables or "Msg" not in tables:
        return "", {}
    contents = {row["ContentId"]: row["Data"] for row in opened.table("Body").rows()}
    reader = BytesReader(stream, PATH)
    used: set[int] = set()
    for content_id, place in stream_places(opened):
        if used & set(place.clusters):
            return f"content {content_id} shares a cluster", {}
        used.update(place.clusters)
        contents[content_id] = read_content(reader, place)
    return "", {row["MessageId"]: contents[row["ContentId"]] for row in opened.table("Msg").rows()}


def judged(medium: Medium, ledger: Ledger, config: InstanceConfig) -> str:
    """Recover, and hold the messages against the ledger."""
    life = run(medium, recover_only, ledger=ledger, config=config, ticks=10**6)
    if life.error is not None:
        assert isinstance(life.error, EseError | ReplicatorError), life.error
        return f"refused: {life.error}"
    if NAME not in ledger.states:
        return ""
    try:
        wrong, rows = _read(content(medium, f"{DIRECTORY}/{NAME}"), content(medium, PATH))
    except EseError as error:
        return str(error)
    if wrong:
        return wrong
    allowed = ledger.states[NAME][ledger.confirmed[NAME] :]
    return "" if rows in allowed else f"{sorted(rows)} is none of {[sorted(e) for e in allowed]}"


def breaches(
    config: InstanceConfig, stride: int, losses: Sequence[str], first: int = 1
) -> Iterator[str]:
    states = crash_states(mail_life, config=config, losses=losses, stride=stride, first=first)
    for where, medium, ledger in states:
        if found := judged(medium, ledger, config):
            yield f"{where}: {found}"


@pytest.mark.parametrize("stride", [149, pytest.param(1, marks=pytest.mark.full)])
def test_a_crash_in_any_step_leaves_every_message_with_its_content(stride: int) -> None:
    assert list(breaches(STREAMING, stride, FEW, first=max(1, stride // 2))) == []


def test_the_life_uses_clusters_again() -> None:
    medium = new_medium()
    life = run(medium, mail_life, config=STREAMING)
    assert life.error is None, life.error
    assert judged(medium, life.ledger, STREAMING) == ""
    written = [step for step in life.steps if step.startswith(f"write {PATH}")]
    places = [step.split()[2] for step in written[2:]]
    assert len(places) > len(set(places))


def test_an_attach_goes_on_behind_any_crash() -> None:
    async def go_on(life: Life) -> None:
        box = await attached(life, await life.open())
        for number in range(200, 204):
            await box.deliver(number)
        found = {each.message_id: each.body async for each in box.mailboxes.messages()}
        assert {number for number in found if number >= 200} == set(range(200, 204))
        assert all(found[number] == body(number, len(found[number])) for number in found)

    first = next(
        number
        for number, step in enumerate(run(new_medium(), mail_life, config=STREAMING).steps)
        if step.startswith(f"write {PATH} {page_at(1)}")
    )
    states = crash_states(mail_life, config=STREAMING, losses=FEW[:1], stride=211, first=first)
    for where, medium, ledger in states:
        life = run(medium, go_on, ledger=ledger, config=STREAMING, ticks=10**6)
        assert life.error is None, f"{where}: {life.error}"


FIRST_STEPS = {"stream_before_commit": 84, "keep_deleted_clusters": 103}
"""Somewhat before the first breach, to be quick."""


@pytest.mark.parametrize("name", FIRST_STEPS)
def test_each_safeguard_is_needed(name: str) -> None:
    guards = replace(CONFIG.safeguards, **{name: False})
    config = replace(STREAMING, safeguards=guards)
    # The XOR of a page of equal numbers is that of any other: so it may be another content.
    assert next(breaches(config, 3, FEW[:1], first=FIRST_STEPS[name]), "") != ""
