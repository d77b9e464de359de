"""Any row of changes of a tree: what is in it, how its pages hold together, and that redo of the
log gives the same pages byte for byte, from nothing and from any mixture of page ages, with what
open transactions have done taken back wherever the log ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replicator.ese.errors import EseError
from replicator.ese.log_record_types import Kind
from replicator.ese.long_value_encoding import chunk_bytes
from replicator.ese.page import Page
from replicator.ese.page_editor import PageEditor
from replicator.ese.values import Signature
from simulator.exchange.ese.ascending import insert_ascending
from simulator.exchange.ese.database import Database
from simulator.exchange.ese.growth import GrowthPolicy
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_format import STORE_FORMATS, StoreFormat
from simulator.exchange.ese.tree import Tree
from tests.store_ese.memory import (
    AsyncLog,
    MemoryLog,
    MemoryPages,
    Written,
    check_same,
    entries,
    redone,
    source_of,
    undone,
)
from tests.store_ese.space_check import check_space

FORMATS = (
    *STORE_FORMATS.values(),
    replace(STORE_FORMATS["exchange 2016"], new_page_records=True),  # as Windows of 2022 logs
)
SMALL_STEPS = GrowthPolicy(
    smallest_extent_pages=3, largest_extent_pages=6, extension_pages=11, split_buffer_pages=3
)
"""Space is asked for often, so that space trees are worked on as well."""

Model = dict[tuple[bytes, bytes], bytes]
"""Key, and data where keys are not unique, to data."""


@dataclass
class Writer:
    """A session, and what it sees."""

    session: Session
    views: list[Model] = field(default_factory=list)
    """What is changed, at each open level: key to data, None for deleted."""
    begun: int = 0


MACRO_ENDS = (Kind.MACRO_COMMIT, Kind.MACRO_INFO)
OWING = (Kind.REPLACE, Kind.REPLACE_D, Kind.FLAG_DELETE, Kind.FLAG_INSERT_AND_REPLACE_DATA)
"""Changes whose undo needs what only the page knows."""

KEYS = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.binary(max_size=3).map(lambda end: b"a common beginning " * 3 + end),
    st.binary(max_size=2).map(lambda end: bytes(range(1, 200)) + end),
)
LONG_KEYS = st.sampled_from([*(b"\xff" + bytes((number,)) for number in range(5)), b"long", b"a"])
"""Of long values: most stand behind all other keys, some between them."""
RUNS = st.tuples(
    st.integers(0, 5000),  # where it begins
    st.sampled_from([1, -1, 7]),  # step
    st.integers(2, 99),  # how many
    st.sampled_from([0, 3, 120, 700]),  # filling of keys
    st.sampled_from([3, 5, 9, 30, 200]),  # part of a page that each takes
)


DEEP_RUN = 10
"""Rows whose separators are so long that a few hundred make a tree of three levels and more."""


class TreeMachine(RuleBasedStateMachine):
    """Two sessions change one tree."""

    def __init__(self) -> None:
        super().__init__()
        self.writers = [Writer(Session(5)), Writer(Session(6))]
        self.committed: Model = {}
        self.commits = 0
        self.last_commit: dict[tuple[bytes, bytes], int] = {}
        self.states: list[tuple[int, Model]] = []

    @initialize(
        store_format=st.sampled_from(FORMATS),
        unique=st.booleans(),
        rows=st.sampled_from([0, 30, 500]),
    )
    def create(self, store_format: StoreFormat, unique: bool, rows: int) -> None:
        self.format, self.unique = store_format, unique
        self.pages = MemoryPages(store_format.page_bytes)
        self.pages.history = {}
        self.log = MemoryLog()
        self.database = Database(self.pages, self.log, store_format, SMALL_STEPS)
        session = self.writers[0].session
        self.database.create(session, "store.edb", Signature(), initial_pages=40)
        self.transactions = self.database.transactions
        self.transactions.begin(session)
        space = self.database.system.create_child(session, 6, 2, 0, unique=unique)
        self.transactions.commit(session)
        self.tree = Tree(
            self.database.context,
            self.database.versions,
            space,
            6,
            space.root_pgno,
            unique=unique,
        )
        self.created = len(self.log.records)
        self.states.append((self.created, {}))

        self.pages.may_be_written = self.owes_nothing
        if rows:
            for start in range(0, rows * 4, 4 * DEEP_RUN):
                self.insert_run(0, (start, 4, DEEP_RUN, 700, 3))
            self.commit(0)

    def owes_nothing(self, page: PageEditor) -> bool:
        """Whether the log has all that undo needs of a page that has just been changed."""
        kinds = [record[0] for record in self.log.records[-3:] if record[0] not in MACRO_ENDS]
        return kinds[-1] not in OWING and not self.database.versions.owes(page)

    # -- the model ----------------------------------------------------------------------

    def node(self, key: bytes, data: bytes) -> tuple[bytes, bytes]:
        return (key, b"") if self.unique else (key, data)

    def visible(self, writer: Writer, node: tuple[bytes, bytes]) -> bytes | None:
        for view in reversed(writer.views):
            if node in view:
                return view[node]
        return self.committed.get(node)

    def conflicts(self, writer: Writer, node: tuple[bytes, bytes]) -> bool:
        others = (each for each in self.writers if each is not writer)
        if any(node in view for each in others for view in each.views):
            return True
        return self.last_commit.get(node, 0) > writer.begun

    def expected(self, writer: Writer, node: tuple[bytes, bytes], there: bool) -> int | None:
        if self.conflicts(writer, node):
            return -1102
        if (self.visible(writer, node) is not None) != there:
            return -1601 if there else -1605
        return None

    def as_key(self, key: bytes) -> bytes:
        """In trees that are not unique no key begins another one, as normalized keys do not."""
        return key if self.unique else key.replace(b"\0", b"\1") + b"\0"

    def attempt(self, number: int | None, action, *arguments: object) -> bool:
        if number is None:
            action(*arguments)
            return True
        with pytest.raises(EseError) as refused:
            action(*arguments)
        assert refused.value.number == number
        return False

    def insert(self, writer: Writer, key: bytes, data: bytes) -> None:
        key = self.as_key(key)
        node = self.node(key, data)
        number = self.expected(writer, node, there=False)
        if self.attempt(number, self.tree.insert, writer.session, key, data):
            writer.views[-1][node] = data

    # -- steps --------------------------------------------------------------------------

    def writer(self, which: int) -> Writer:
        """A session with a transaction open."""
        writer = self.writers[which]
        if not writer.views:
            self.begin(which)
        return writer

    @rule(which=st.integers(0, 1))
    def begin(self, which: int) -> None:
        writer = self.writers[which]
        if len(writer.views) < 3:
            self.transactions.begin(writer.session)
            if not writer.views:
                writer.begun = self.commits
            writer.views.append({})

    @rule(which=st.integers(0, 1))
    def commit(self, which: int) -> None:
        writer = self.writers[which]
        if not writer.views:
            return
        self.transactions.commit(writer.session)
        view = writer.views.pop()
        if writer.views:
            writer.views[-1].update(view)
            return
        self.commits += 1
        for node, data in view.items():
            self.last_commit[node] = self.commits
            if data is None:
                self.committed.pop(node, None)
            else:
                self.committed[node] = data
        self.states.append((len(self.log.records), dict(self.committed)))

    @rule(which=st.integers(0, 1))
    def rollback(self, which: int) -> None:
        writer = self.writers[which]
        if not writer.views:
            return
        self.transactions.rollback(writer.session)
        writer.views.pop()

    @rule(which=st.integers(0, 1), key=KEYS, size=st.integers(0, 100))
    def insert_one(self, which: int, key: bytes, size: int) -> None:
        self.insert(self.writer(which), key, bytes((size,)) * size)

    @rule(which=st.integers(0, 1), run=RUNS)
    def insert_run(self, which: int, run: tuple[int, int, int, int, int]) -> None:
        start, step, count, filling, part = run
        writer = self.writer(which)
        size = self.format.data_bytes // part
        for at in range(start, start + step * count, step):
            number = (at % 10000).to_bytes(4, "big")
            key = b"r" * filling + number
            if filling > 500:  # few neighbours begin alike, so separators stay long: deep trees
                number = (at % 10000 // 6).to_bytes(4, "big")
                key = number + b"r" * filling + bytes((at % 6,))
            self.insert(writer, key, (number * size)[: max(0, size - len(key) - 100)])

    @rule(which=st.integers(0, 1), at=st.integers(0), count=st.integers(1, 150))
    def delete_run(self, which: int, at: int, count: int) -> None:
        writer = self.writer(which)
        nodes = sorted(self.committed.keys() | {n for view in writer.views for n in view})
        for node in nodes[at % len(nodes) :][:count] if nodes else ():
            number = self.expected(writer, node, there=True)
            if self.attempt(number, self.tree.flag_delete, writer.session, *node):
                writer.views[-1][node] = None  # type: ignore[assignment]

    def long_nodes(self, beginning: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """As a long value has them: a root, pieces of which few fit a page, and a short one."""
        size = chunk_bytes(self.format.page_bytes)
        nodes = [(beginning, b"8 bytes.")]
        for at in range(count):
            nodes.append((beginning + (at * size).to_bytes(4, "big"), bytes((at + 1,)) * size))
        return [*nodes, (beginning + (count * size).to_bytes(4, "big"), b"the rest")]

    @precondition(lambda self: self.unique)
    @rule(which=st.integers(0, 1), beginning=LONG_KEYS, count=st.integers(1, 9))
    def insert_long(self, which: int, beginning: bytes, count: int) -> None:
        writer, nodes = self.writer(which), self.long_nodes(beginning, count)
        numbers = [self.expected(writer, (key, b""), there=False) for key, _ in nodes]

        def insert() -> None:
            with self.transactions.statement(writer.session):
                insert_ascending(self.tree, writer.session, nodes)

        if self.attempt(next(filter(None, numbers), None), insert):
            writer.views[-1].update({(key, b""): data for key, data in nodes})

    @precondition(lambda self: self.unique)
    @rule(which=st.integers(0, 1), beginning=LONG_KEYS)
    def delete_long(self, which: int, beginning: bytes) -> None:
        writer = self.writer(which)
        nodes = {n for n in self.committed if n[0].startswith(beginning)}
        for view in (view for each in self.writers for view in each.views):
            nodes |= {n for n in view if n[0].startswith(beginning)}
        if any(self.conflicts(writer, node) for node in nodes):
            return
        self.tree.flag_delete_all(writer.session, beginning)
        gone = {node: None for node in nodes if self.visible(writer, node) is not None}
        writer.views[-1].update(gone)  # type: ignore[arg-type]

    @precondition(lambda self: self.unique)
    @rule(
        which=st.integers(0, 1),
        at=st.integers(0),
        part=st.sampled_from([2, 4, 50, 1000]),
        count=st.integers(1, 6),
        fill=st.integers(0, 255),
    )
    def replace(self, which: int, at: int, part: int, count: int, fill: int) -> None:
        writer = self.writer(which)
        nodes = sorted(self.committed.keys() | {n for view in writer.views for n in view})
        data = bytes((fill,)) * (self.format.data_bytes // part - 20)
        for node in nodes[at % len(nodes) :][:count] if nodes else ():
            if len(node[0]) + len(data) > self.format.data_bytes - 100:
                continue
            number = self.expected(writer, node, there=True)
            if self.attempt(number, self.tree.replace, writer.session, node[0], data):
                writer.views[-1][node] = data

    @rule(keep=st.sampled_from([2, 9, 100]), skip=st.integers(0, 8))
    def thin_out(self, keep: int, skip: int) -> None:
        """Delete most of the nodes, so that pages merge; what others have open stays."""
        writer = self.writer(0)
        for at, node in enumerate(sorted(self.committed)):
            if at % keep != skip % keep:
                number = self.expected(writer, node, there=True)
                if self.attempt(number, self.tree.flag_delete, writer.session, *node):
                    writer.views[-1][node] = None  # type: ignore[assignment]
        while writer.views:
            self.commit(0)
        self.clean_up(10000)

    @rule(limit=st.sampled_from([1, 10, 1000]))
    def clean_up(self, limit: int) -> None:
        self.transactions.clean_up(Session(9), limit)

    @rule(which=st.integers(0))
    def write_page(self, which: int) -> None:
        pgnos = sorted(pgno for pgno, page in self.pages.all.items() if page.objid == 6)
        pgno = pgnos[which % len(pgnos)]
        page, versions = self.pages.page(pgno), self.database.versions
        while versions.owes(page):
            versions.log_before_images(page)
            self.pages.needs[pgno] = len(self.log.records)
        self.pages.written(pgno)

    # -- what holds ---------------------------------------------------------------------

    def merged(self) -> Model:
        """What is in the tree: committed, and what each session has done."""
        found: Model = dict(self.committed)
        for writer in self.writers:
            for view in writer.views:
                found.update(view)
        return {node: data for node, data in found.items() if data is not None}

    @invariant()
    def tree_holds_what_it_should(self) -> None:
        if not hasattr(self, "tree"):
            return
        for page in self.pages.all.values():
            if not page.is_zero:
                Page(page.plain_bytes(), page.pgno)
                assert page.uncommitted_free_bytes <= page.free_bytes
        found = entries(source_of(self.pages, checksummed=False), self.tree.top_pgno)
        assert found == [(key, data) for (key, _), data in sorted(self.merged().items())]

    @rule(data=st.data())
    def redo_from_any_mixture(self, data: st.DataObject) -> None:
        start = self.start(self.mixture(data))
        check_same(redone(self.log.records, self.format.page_bytes, start), self.pages)

    @rule(data=st.data(), cut=st.integers(0))
    def recover_from_any_mixture_at_any_cut(self, data: st.DataObject, cut: int) -> None:
        """A crash after which the file has these pages, and the log ends here; then another one."""
        mixture = self.mixture(data)
        least = max([self.created, *(one.needs for one in mixture.values())])
        cut = least + cut % (len(self.log.records) + 1 - least)
        records, size, log = self.log.records[:cut], self.format.page_bytes, AsyncLog()
        pages = undone(records, size, self.start(mixture), log)
        state = [model for at, model in self.states if at <= cut][-1]
        found = entries(source_of(pages, checksummed=False), self.tree.top_pgno)
        assert found == [(key, data) for (key, _), data in sorted(state.items())]
        check_same(redone(records + log.records, size, self.start(mixture)), pages)

    def mixture(self, data: st.DataObject) -> dict[int, Written]:
        """For each page something that it may have been written as, or nothing."""
        assert self.pages.history is not None
        found: dict[int, Written] = {}
        for pgno, versions in sorted(self.pages.history.items()):
            age = data.draw(st.integers(0, len(versions)), label=f"age of page {pgno}")
            if age:
                found[pgno] = versions[age - 1]
        return found

    def start(self, mixture: dict[int, Written]) -> MemoryPages:
        pages = MemoryPages(self.format.page_bytes)
        for pgno, one in mixture.items():
            pages.all[pgno] = PageEditor.load(one.content, pgno)
        return pages

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        try:
            self.all_of_it_holds()
        finally:  # a ring of few objects that are large: it would be collected late
            for each in (self.pages.history, self.pages.all, self.log.records, self.states):
                each.clear()  # type: ignore[union-attr]

    def all_of_it_holds(self) -> None:
        again = redone(self.log.records, self.format.page_bytes)
        check_same(again, self.pages)
        last = max(pgno for pgno in self.pages.all)
        source = source_of(self.pages, checksummed=False, at_least=1000)
        roots = {1: 0, 4: 1, 24: 1, 7: 4, 10: 4, self.tree.top_pgno: 1}
        assert last <= self.pages.extended_to(self.log.records)
        check_space(source, roots, self.pages.extended_to(self.log.records))


class TestTrees(TreeMachine.TestCase):
    settings = settings(
        max_examples=12,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.full
class TestManyTrees(TreeMachine.TestCase):
    settings = settings(
        max_examples=300,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
