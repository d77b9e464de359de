"""What sessions log of their transactions, what they may not do, and how tables keep together."""

from __future__ import annotations

from typing import Any

import pytest

from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import Insert, NodeRecord, Undo, UndoInfo
from replicator.ese.log_record_types import Kind, title_of
from replicator.ese.log_records import Begin, Commit, Rollback, decode_record
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.ese.values import LogPosition, Signature
from simulator.exchange.ese.change import ChangeContext
from simulator.exchange.ese.database import Database
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.ese.table import Table
from tests.store_ese.memory import MemoryLog, MemoryPages, check_same, redone
from tests.store_ese.test_splits_and_merges import Store

MAIL = TableDefinition(
    "Mail",
    (
        ColumnDefinition("Id", ColumnType.LONG, flags=ColumnFlag.AUTO_INCREMENT),
        ColumnDefinition("Message", ColumnType.TEXT),
        ColumnDefinition("Body", ColumnType.LONG_TEXT),
    ),
    (
        IndexDefinition("ById", ("Id",), primary=True),
        IndexDefinition("ByMessage", ("Message",), unique=True),
    ),
)


@pytest.fixture
def store() -> Store:
    return Store()


def titles(store: Store) -> list[str]:
    return [title_of(record[0]) for record in store.log.records[store.start :]]


def since(store: Store) -> list[Any]:
    return [decode_record(record) for record in store.log.records[store.start :]]


def test_a_transaction_is_logged_with_its_first_change(store: Store) -> None:
    transactions, session = store.transactions, store.session
    transactions.begin(session)
    assert transactions.commit(session) is None
    assert titles(store) == []
    transactions.begin(session)
    transactions.begin(session)
    store.tree.insert(session, b"k", b"data")
    assert transactions.commit(session) is None
    transactions.begin(session)
    store.tree.insert(session, b"l", b"data")
    assert transactions.commit(session) is None
    position = transactions.commit(session)
    begin0, one, commit, begin, two, again, commit0 = since(store)
    assert position == LogPosition(1, len(store.log.records), 0)
    assert isinstance(begin0, Begin)
    assert (begin0.number, begin0.level_before, begin0.levels_begun) == (Kind.BEGIN0, 0, 2)
    assert isinstance(one, Insert)
    assert (one.level, one.transaction, one.flags) == (2, begin0.transaction, 5)
    assert isinstance(commit, Commit)
    assert (commit.number, commit.level) == (again.number, again.level) == (Kind.COMMIT, 1)
    assert (begin.number, begin.level_before, begin.levels_begun) == (Kind.BEGIN, 1, 1)
    assert two.version_id == one.version_id + 1
    assert two.dbtime_before == one.dbtime == two.dbtime - 1
    assert (commit0.number, commit0.level) == (Kind.COMMIT0, 0)
    assert commit0.transaction == begin0.transaction


def test_a_change_outside_transactions_is_a_programming_error(store: Store) -> None:
    with pytest.raises(RuntimeError, match="outside transactions"):
        store.tree.insert(store.session, b"k", b"data")


def test_rollback_takes_back_the_last_change_first(store: Store) -> None:
    transactions, session = store.transactions, store.session
    store.do(store.tree.insert, [(b"k", b"old"), (b"gone", b"there")])
    store.start = len(store.log.records)
    transactions.begin(session)
    store.tree.replace(session, b"k", b"new and longer")
    store.tree.replace(session, b"k", b"")
    store.tree.flag_delete(session, b"gone")
    store.tree.insert(session, b"x", b"y")
    made = [record.version_id for record in since(store) if isinstance(record, NodeRecord)]
    transactions.rollback(session)
    undone = [record for record in since(store) if isinstance(record, Undo)]
    assert [record.version_id for record in undone] == made[::-1]
    assert [record.operation for record in undone] == [1, 3, 2, 2]
    assert [record.bookmark[0] for record in undone] == [b"x", b"gone", b"k", b"k"]
    last = since(store)[-1]
    assert isinstance(last, Rollback)
    assert last.levels == 1
    assert [(n.key, n.data) for n in store.tree.from_key()] == [(b"gone", b"there"), (b"k", b"old")]
    store.check()


def test_what_shrank_stays_reserved_until_the_transaction_ends(store: Store) -> None:
    """Others may not take the room; so taking back never needs a split."""
    transactions, session, other = store.transactions, store.session, Session(6)
    store.do(store.tree.insert, [(b"a", bytes(1900)), (b"b", bytes(1900))])
    pages = set(store.pages.all)
    transactions.begin(session)
    store.tree.replace(session, b"a", bytes(10))
    page = store.pages.page(store.tree.top_pgno)
    assert page.uncommitted_free_bytes == 1890
    store.tree.replace(session, b"a", bytes(100))
    assert page.uncommitted_free_bytes == 1800
    transactions.begin(other)
    store.tree.insert(other, b"c", bytes(1500))
    assert set(store.pages.all) > pages  # it got a page of its own
    transactions.rollback(session)
    node = store.tree.get(b"a")
    assert node is not None
    assert node.data == bytes(1900)
    transactions.commit(other)
    transactions.begin(session)
    store.tree.replace(session, b"a", bytes(10))
    transactions.commit(session)
    at_end = set(store.pages.all)
    store.do(store.tree.insert, [(b"aa", bytes(1500))])
    assert set(store.pages.all) == at_end  # the room is free now
    store.check()


def test_two_transactions_may_not_change_one_node(store: Store) -> None:
    transactions, session, other = store.transactions, store.session, Session(6)
    store.do(store.tree.insert, [(b"k", b"old"), (b"l", b"old")])
    transactions.begin(session)
    transactions.begin(other)
    store.tree.replace(session, b"k", b"mine")

    def refused() -> int:
        with pytest.raises(EseError) as error:
            store.tree.flag_delete(other, b"k")
        return error.value.number

    assert refused() == -1102  # while it is open
    store.tree.replace(other, b"l", b"another one is no matter")
    transactions.commit(session)
    assert refused() == -1102  # also when it has committed since
    transactions.commit(other)
    transactions.begin(other)
    store.tree.flag_delete(other, b"k")
    transactions.commit(other)
    assert [node.key for node in store.tree.from_key()] == [b"l"]


def test_before_images_are_logged_once_and_only_of_open_transactions(store: Store) -> None:
    transactions, session = store.transactions, store.session
    store.do(store.tree.insert, [(b"k", b"old"), (b"l", b"kept")])
    store.do(store.tree.replace, [(b"k", b"older")])
    store.start = len(store.log.records)
    page, versions = store.pages.page(store.tree.top_pgno), store.database.versions
    versions.log_before_images(page)
    assert titles(store) == []
    transactions.begin(session)
    store.tree.replace(session, b"k", b"newest")
    store.tree.flag_delete(session, b"l")
    store.tree.insert(session, b"m", b"its record says all")
    assert versions.owes(page)
    versions.log_before_images(page)
    versions.log_before_images(page)
    assert not versions.owes(page)
    infos = [record for record in since(store) if isinstance(record, UndoInfo)]
    assert [(info.operation, info.bookmark) for info in infos] == [
        (2, (b"k", b"")),
        (3, (b"l", b"")),
    ]
    assert infos[0].before_image == b"older"
    assert infos[0].pgno == page.pgno
    transactions.rollback(session)
    # Redo of the Undo records with the page as it was written in between.
    cut = store.log.records.index(infos[0].raw) + 2
    start = redone(store.log.records[:cut], store.format.page_bytes)
    check_same(redone(store.log.records, store.format.page_bytes, start), store.pages)


def test_a_node_that_was_flagged_is_revived(store: Store) -> None:
    transactions, session = store.transactions, store.session
    store.do(store.tree.insert, [(b"k", b"old")])
    store.do(store.tree.flag_delete, [(b"k",)])
    store.do(store.tree.insert, [(b"k", b"old")])
    store.do(store.tree.flag_delete, [(b"k",)])
    store.do(store.tree.insert, [(b"k", b"new")])
    kinds = [record[0] for record in store.log.records[store.start :] if 29 <= record[0] <= 34]
    assert kinds == [29, 32, 30, 32, 31]
    assert transactions.clean_up(session) == 0
    store.do(store.tree.flag_delete, [(b"k",)])
    transactions.begin(session)
    store.tree.insert(session, b"k", b"not for long")
    transactions.rollback(session)
    assert list(store.tree.from_key()) == []
    assert [node.data for node in store.tree.from_key(deleted=True)] == [b"new"]
    assert transactions.clean_up(session) == 1
    assert list(store.tree.from_key(deleted=True)) == []
    store.check()


def test_nothing_is_cleaned_up_that_an_open_transaction_may_want_back(store: Store) -> None:
    transactions, session, other = store.transactions, store.session, Session(6)
    store.do(store.tree.insert, [(b"k", b"old")])
    transactions.begin(session)
    store.tree.flag_delete(session, b"k")
    assert transactions.clean_up(other) == 0
    transactions.rollback(session)
    assert transactions.clean_up(other) == 0
    assert [node.key for node in store.tree.from_key()] == [b"k"]


# -- tables ------------------------------------------------------------------------------


@pytest.fixture
def database() -> Database:
    found = Database(MemoryPages(8192), MemoryLog(), STORE_FORMATS["exchange 2007"])
    found.create(Session(5), "priv1.edb", Signature())
    return found


def test_a_row_that_is_refused_leaves_nothing_behind(database: Database) -> None:
    session, transactions = Session(5), database.transactions
    mail: Table = database.create_table(session, MAIL)
    transactions.begin(session)
    first = mail.insert(session, {"Message": "one"})
    with pytest.raises(EseError) as refused:
        mail.insert(session, {"Message": "one", "Body": "x" * 5000})
    assert refused.value.number == -1605
    second = mail.insert(session, {"Message": "two", "Body": "y" * 5000})
    transactions.commit(session)
    assert [node.key for node in mail.rows.from_key()] == [first, second]
    assert mail.long_values is not None
    assert len({node.key[:4] for node in mail.long_values.from_key()}) == 1


def test_a_column_counts_by_itself_and_goes_on_when_the_table_is_opened(
    database: Database,
) -> None:
    session, transactions = Session(5), database.transactions
    mail = database.create_table(session, MAIL)
    transactions.begin(session)
    keys = [mail.insert(session, {"Message": str(turn)}) for turn in range(3)]
    keys.append(mail.insert(session, {"Id": 10, "Message": "named"}))
    transactions.commit(session)
    assert keys == [mail.key(number) for number in (1, 2, 3, 10)]
    again = database.open_table(MAIL)
    assert again.insert(session, {"Message": "next"}) == mail.key(11)


def test_a_table_can_be_made_once(database: Database) -> None:
    session = Session(5)
    database.create_table(session, MAIL)
    with pytest.raises(EseError) as refused:
        database.create_table(session, MAIL)
    assert refused.value.number == -1303
    assert session.level == 0
    unknown = TableDefinition("Other", (ColumnDefinition("Id", ColumnType.LONG),))
    with pytest.raises(EseError) as missing:
        database.open_table(unknown)
    assert missing.value.number == -1601


def test_a_new_database_is_logged_in_the_engines_order(database: Database) -> None:
    """E, V: the first log of a real database (ese-format.md 5.7)."""
    context: ChangeContext = database.context
    log = context.log
    assert isinstance(log, MemoryLog)
    records = [decode_record(record) for record in log.records]
    kinds = [record.number for record in records]
    assert kinds[:5] == [
        Kind.CREATE_DB,
        Kind.EXTEND_DB,
        Kind.BEGIN0,
        Kind.CREATE_MULTIPLE_EXTENT_FDP,
        Kind.COMMIT0,
    ]
    trees = [each for each in records if each.number == Kind.CREATE_MULTIPLE_EXTENT_FDP]
    assert [(tree.pgno, tree.objid, tree.owned_pgno) for tree in trees] == [  # type: ignore[attr-defined]
        (1, 1, 2),
        (4, 2, 5),
        (24, 3, 25),
        (7, 4, 8),
        (10, 5, 11),
    ]
    assert kinds[-2:] == [Kind.SET_DB_VERSION, Kind.CREATE_DB_FINISH]
    assert kinds[-3] == Kind.COMMIT0
