"""Mailboxes as rows: held against a dictionary, whatever is done, committed or taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.errors import EseError
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.mail_ledger import ledger_entry
from simulator.exchange.ese.mail_schema import MESSAGES, StoredMessage, row_values
from simulator.exchange.ese.mailboxes import STANDARD_FOLDERS, Mailboxes
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.ese.store_session import StoreSession
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import CONFIG, DIRECTORY, Life, new_medium, run
from tests.store_ese.mail_readers import READERS

MAILBOXES = 3
FOLDERS = sorted(STANDARD_FOLDERS)
PATH = f"{DIRECTORY}/priv1.edb"
LARGE = replace(CONFIG, limit_pages=1 << 14, log_buffer_bytes=8 << 20, log_file_bytes=64 * 4096)


@dataclass
class Model:
    """What must be there.

    Attributes
    ----------
    messages: by id.
    contents: by id, the number of its content, where one was given.
    marks: by id, whether it is read and flagged.
    """

    messages: dict[int, StoredMessage] = field(default_factory=dict)
    contents: dict[int, int] = field(default_factory=dict)
    marks: dict[int, tuple[bool, bool]] = field(default_factory=dict)

    def copy(self) -> Model:
        return Model(dict(self.messages), dict(self.contents), dict(self.marks))


def content_of(number: int) -> tuple[bytes, tuple[bytes, ...]]:
    """Body and attachments, every few of them empty, in the record or of several chunks."""
    size = (0, 30, 900, 3000, 9000)[number % 5]
    attachments = tuple(bytes((at,)) * (size * at) for at in range(number % 3))
    # From 0x40 on: other readers take smaller bytes at the head of a chunk for compression.
    return ((number + 0x40).to_bytes(2, "little") * size)[:size], attachments


def message(number: int, mailbox: int, folder: int, content: int) -> StoredMessage:
    body, attachments = content_of(content)
    subject = ("", "Grüße", "long " * 300)[number % 3]
    return StoredMessage(number, mailbox, folder, 10**18 - number, "ü@x" * (number % 2), subject,
                         body, attachments)  # fmt: skip


IDS = st.integers(0, 11)
OPERATIONS = st.one_of(
    st.tuples(
        st.just("deliver"),
        IDS,
        st.integers(0, MAILBOXES - 1),
        st.sampled_from(FOLDERS),
        st.integers(0, 7),
        st.booleans(),
    ),
    st.tuples(st.just("delete"), IDS),
    st.tuples(st.just("move"), IDS, st.sampled_from([*FOLDERS, 99])),
    st.tuples(st.just("read"), IDS),
    st.tuples(st.just("flag"), IDS),
)
TRANSACTIONS = st.lists(
    st.tuples(st.lists(OPERATIONS, max_size=8), st.sampled_from(["commit", "rollback", "clean"])),
    max_size=8,
)


async def opened(life: Life) -> tuple[Instance, AttachedDatabase, StoreSession]:
    instance = await life.open()
    one = await instance.create_database("priv1.edb")
    return instance, one, instance.session(one)


async def with_mailboxes(session: StoreSession, *, single_instance: bool) -> Mailboxes:
    boxes = await Mailboxes.create(session, single_instance=single_instance)
    session.begin()
    for number in range(MAILBOXES):
        await boxes.add_mailbox(number, f"Nº {number}")
    await session.commit()
    return boxes


def play(script: Callable[[Life], Awaitable[None]], config: Any = LARGE) -> Medium:
    medium = new_medium()
    life = run(medium, script, config=config)
    if life.error is not None:
        raise life.error
    return medium


async def refused(call: Awaitable[object]) -> int:
    """The number of the error that a call is refused with."""
    with pytest.raises(EseError) as error:
        await call
    return error.value.number


async def operate(boxes: Mailboxes, model: Model, operation: tuple[Any, ...]) -> None:
    """Do something to both; what is refused changes neither."""
    match operation:
        case "deliver", number, mailbox, folder, content, shared:
            one = message(number, mailbox, folder, content)
            name = 1000 + content if shared else None
            if number in model.messages:
                assert await refused(boxes.deliver(one, shared_as=name)) == -1605
                return
            await boxes.deliver(one, shared_as=name)
            model.messages[number] = one
            model.contents[number] = number if name is None else name
            model.marks[number] = (False, False)
        case "delete", number:
            assert await boxes.delete(number) == (model.messages.pop(number, None) is not None)
        case "move", number, folder:
            if folder not in FOLDERS and number in model.messages:
                assert await refused(boxes.move(number, folder)) == -1601
                return
            assert await boxes.move(number, folder) == (number in model.messages)
            if number in model.messages:
                model.messages[number] = replace(model.messages[number], folder=folder)
        case "read" | "flag" as what, number:
            mark = boxes.mark_read if what == "read" else boxes.mark_flagged
            assert await mark(number) == (number in model.messages)
            read, flagged = model.marks.get(number, (False, False))
            model.marks[number] = (True, flagged) if what == "read" else (read, True)


async def compare(boxes: Mailboxes, model: Model) -> None:
    assert [each async for each in boxes.messages()] == [
        each for _, each in sorted(model.messages.items())
    ]
    for number in range(12):
        assert await boxes.get(number) == model.messages.get(number)
        row = await boxes.properties(number)
        assert (row is None) == (number not in model.messages)
        if row is not None:
            assert (row["IsRead"], row["IsFlagged"]) == model.marks[number]
    contents = Counter(
        model.contents[number] if boxes.single_instance else number for number in model.messages
    )
    tables = boxes._session.database.tables
    if boxes.single_instance:
        assert {row["ContentId"]: row["Copies"] for row in rows(tables["Content"])} == contents
    assert [row["ContentId"] for row in rows(tables["Body"])] == sorted(contents)
    kept = {row["ContentId"] for row in rows(tables["Attachment"])}
    assert kept <= set(contents)
    check_index(tables["Msg"])


def rows(table: Any) -> list[dict[str, Any]]:
    return [row_values(table, table.get(node.key)) for node in table.rows.from_key()]


def check_index(table: Any) -> None:
    """The entries by folder and date are those of the rows, and in that order."""
    entries = [node.data for node in table.indices["ByFolderAndDate"].from_key()]
    ordered = sorted(
        rows(table),
        key=lambda row: (row["Mailbox"], row["Folder"], -row["Received"], row["MessageId"]),
    )
    assert entries == [table.key(row["MessageId"]) for row in ordered]


@given(TRANSACTIONS, st.booleans())
@settings(max_examples=15, deadline=None)
def test_whatever_is_done_the_rows_are_those_of_a_dictionary(transactions, single_instance) -> None:
    model = Model()

    async def script(life: Life) -> None:
        nonlocal model
        instance, _, session = await opened(life)
        boxes = await with_mailboxes(session, single_instance=single_instance)
        for operations, end in transactions:
            session.begin()
            after = model.copy()
            for operation in operations:
                await operate(boxes, after, operation)
            if end == "rollback":
                await session.rollback()
            else:
                await session.commit()
                model = after
            if end == "clean":
                await session.clean_up()
            await compare(boxes, model)
        await instance.close()
        # And in a life that follows.
        again = await life.open()
        reopened = await Mailboxes.open(again.session(await again.attach("priv1.edb")))
        assert reopened.single_instance == single_instance
        await compare(reopened, model)
        await again.close()

    play(script)


@pytest.mark.parametrize("name", ["exchange 2003", "exchange 2007", "exchange 2010"])
def test_other_readers_see_the_rows(name: str, tmp_path: Path) -> None:
    expected = {}

    async def script(life: Life) -> None:
        instance, _, session = await opened(life)
        boxes = await with_mailboxes(session, single_instance=name != "exchange 2010")
        for begin in range(0, 300, 30):
            session.begin()
            for number in range(begin, begin + 30):
                one = message(number * 7 % 300, number % MAILBOXES, number % 3, number % 40)
                await boxes.deliver(one, shared_as=1000 + number % 40)
                expected[one.message_id] = ledger_entry(one, "priv1.edb")
            await session.commit()
        session.begin()
        for number in range(0, 300, 4):
            assert await boxes.delete(number)
            del expected[number]
        for number in range(1, 300, 4):
            await boxes.mark_read(number)
            await boxes.move(number, 2)
            expected[number] = replace(expected[number], is_read=True, folder=2)
        await session.commit()
        await instance.close()

    medium = play(script, replace(LARGE, store_format=STORE_FORMATS[name], log_version=7))
    inode = medium.names[PATH]
    assert inode is not None
    path = tmp_path / "priv1.edb"
    path.write_bytes(bytes(inode.data))
    for reader in READERS:
        assert reader(path) == expected


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    async def script(life: Life) -> None:
        instance, _, session = await opened(life)
        with pytest.raises(EseError, match="-1601"):
            await Mailboxes.open(session)
        boxes = await with_mailboxes(session, single_instance=True)
        assert await refused(Mailboxes.create(session)) == -1303
        assert await refused(boxes.add_mailbox(0, "again")) == -1605
        assert await refused(boxes.add_folder(0, 0, "again")) == -1605
        assert await refused(boxes.add_folder(MAILBOXES, 5, "of nobody")) == -1601
        first = message(1, 0, 0, 4)
        session.begin()
        await boxes.deliver(first, shared_as=7)
        assert await refused(boxes.deliver(replace(first, message_id=2, mailbox=9))) == -1601
        assert await refused(boxes.deliver(replace(first, message_id=2, folder=9))) == -1601
        with pytest.raises(ValueError, match="other bytes"):
            await boxes.deliver(replace(first, message_id=2, body=b"other"), shared_as=7)
        with pytest.raises(UnicodeEncodeError):
            await boxes.deliver(replace(first, message_id=3, subject="\ud800"))
        await session.commit()
        assert [each async for each in boxes.messages()] == [first]
        assert [each async for each in boxes.mailboxes()] == [(n, f"Nº {n}") for n in range(3)]
        assert [each async for each in boxes.folders()] == [
            (number, folder, STANDARD_FOLDERS[folder]) for number in range(3) for folder in FOLDERS
        ]
        await instance.close()

    play(script)


def test_a_refused_creation_can_be_made_again() -> None:
    async def script(life: Life) -> None:
        instance, one, session = await opened(life)
        await session.do(one.database.create_table, replace(MESSAGES, indices=()))
        assert await refused(Mailboxes.create(session)) == -1303
        assert set(one.database.tables) == {"Msg"}
        await instance.close()

    play(script)


def test_two_sessions_meet_in_one_content() -> None:
    """A copy that another session has not committed can neither be shared nor removed."""

    async def script(life: Life) -> None:
        instance, one, session = await opened(life)
        boxes = await with_mailboxes(session, single_instance=True)
        other_session = instance.session(one)
        other = await Mailboxes.open(other_session)
        first, second = message(1, 0, 0, 4), message(2, 1, 0, 4)
        session.begin()
        other_session.begin()
        await boxes.deliver(first, shared_as=7)
        assert await refused(other.deliver(second, shared_as=7)) == -1102
        assert await refused(other.delete(1)) == -1102
        assert await refused(other.mark_read(1)) == -1102
        await other.deliver(message(3, 2, 1, 3))
        await session.rollback()
        await other_session.rollback()
        other_session.begin()
        await other.deliver(second, shared_as=7)
        await other_session.commit()
        assert [each async for each in boxes.messages()] == [second]
        session.begin()
        assert await boxes.delete(2)
        await session.commit()
        model = Model()
        await compare(boxes, model)
        await instance.close()

    play(script)


def test_many_rows_are_read_in_parts() -> None:
    count = 200

    async def script(life: Life) -> None:
        instance, _, session = await opened(life)
        boxes = await with_mailboxes(session, single_instance=True)
        session.begin()
        for number in range(count):
            await boxes.deliver(message(number * 7 % count, number % MAILBOXES, 0, 1))
        await session.commit()
        assert [each.message_id async for each in boxes.messages()] == list(range(count))
        seen = []
        async for each in boxes.messages():
            seen.append(each.message_id)
            if each.message_id == 70:
                session.begin()
                for number in range(100, 150):
                    await boxes.delete(number)
                await session.commit()
        assert {*range(100), *range(150, count)} <= set(seen)
        assert seen == sorted(seen)
        await instance.close()

    play(script)
