"""Targets that read pages, records, values, and whole databases."""

from __future__ import annotations

import json
from collections.abc import Callable

from replicator.ese.btree import Entry
from replicator.ese.checksum import with_checksums
from replicator.ese.column_compression import decompress
from replicator.ese.database import Database, Row
from replicator.ese.difference import apply_difference, make_difference
from replicator.ese.errors import EseError
from replicator.ese.log_record import LogRecord
from replicator.ese.page import Node, Page
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.space import available_extents, owned_extents
from replicator.ese.values import LogPosition
from replicator.ese.verification import LARGEST_SMALL_PAGE, Verdict, judge_page, quick_verdicts
from replicator.ese_log_report import record_document, record_line
from tests.ese.test_hostile_files import read_everything
from tests.fuzz import bases
from tests.fuzz.edits import MOST_EDITS, Plan, edit
from tests.fuzz.outcomes import refusals
from tests.fuzz.sealing import seal_header, seal_pages

MOST_ROWS = 40


# -- pages, records, values ----------------------------------------------------------------


def fuzz_page(data: bytes) -> None:
    """A page of any size is judged, read, loaded and changed.

    What the editor leaves, the reader takes: nodes are the same on both ways.
    """
    plan = Plan(data)
    pgno, base = plan.among(bases.pages())
    size = len(base)
    page = bytearray(base)
    regions = ((8, 40), (size - 64, size), (40, 240), (0, 80))
    for _ in range(plan.number() % MOST_EDITS):
        edit(page, plan, regions)
    if plan.number() % 2:
        _correct_free_bytes(page)
    judge_page(bytes(page), pgno)
    whole = with_checksums(bytes(page), pgno)
    verdict = judge_page(whole, pgno).verdict
    assert verdict in (Verdict.GOOD, Verdict.ZERO, Verdict.WRONG_NUMBER), verdict
    assert bool(quick_verdicts(whole, size, pgno)[0]) == (verdict is Verdict.GOOD)
    with refusals():
        read = Page(whole, pgno)
        loaded = _loaded_as_well(whole, pgno)
        nodes = [(node.key, node.data) for node in read.nodes()]
        assert [(node.key, node.data) for node in loaded.nodes()] == nodes
        again = Page(loaded.plain_bytes(), pgno)
        assert [(node.key, node.data) for node in again.nodes()] == nodes
    with refusals():
        _change(PageEditor.load(whole, pgno), plan)


def _loaded_as_well(whole: bytes, pgno: int) -> PageEditor:
    """What the reader takes, the editor takes: both look at the tags, each by itself."""
    try:
        return PageEditor.load(whole, pgno)
    except EseError as refusal:
        raise AssertionError(f"the editor refuses what the reader takes: {refusal}") from refusal


def _correct_free_bytes(page: bytearray) -> None:
    """Say how many bytes are free as the tags have it, or no reader goes on."""
    large = len(page) > LARGEST_SMALL_PAGE
    header, mask = (80, 0x7FFF) if large else (40, 0x1FFF)
    tags = int.from_bytes(page[34:36], "little") & 0xFFF
    if 4 * tags > len(page) - header:
        return
    ends = [len(page) - 4 * number for number in range(1, tags + 1)]
    sizes = [int.from_bytes(page[at : at + 2], "little") & mask for at in ends]
    free = len(page) - header - 4 * tags - sum(sizes)
    if 0 <= free < 1 << 16:
        page[28:30] = free.to_bytes(2, "little")


def _change(page: PageEditor, plan: Plan) -> None:
    while plan:
        operation, line = plan.number() % 8, plan.number()
        key, data = plan.piece(plan.number() % 40), bytes(plan.value() & 0x1FFF)
        with refusals():
            match operation:
                case 0:
                    page.insert(line, key, data, min(len(key), len(page.prefix)))
                case 1:
                    page.delete(line)
                case 2:
                    page.replace_data(line, data)
                case 3:
                    page.set_external_header(key)
                case 4:
                    page.set_flags(line, line % 4)
                case 5:
                    page.lines_below(key, page.line_count)
                case 6 if page.line_count:
                    page.child(line % page.line_count)
                case _:
                    page.become_empty()
        Page(page.plain_bytes(), page.pgno)


_TABLES: dict[str, tuple[Database, list[object]]] = {}


def fuzz_record(data: bytes) -> None:
    """A row's bytes under a table's definition: every column of every type."""
    plan = Plan(data)
    base = plan.among(bases.databases())
    if base.name not in _TABLES:
        database = Database(BytesReader(base.data, base.name), allow_dirty=True)
        _TABLES[base.name] = database, list(database.tables())
    table = plan.among(_TABLES[base.name][1])
    first = plan.number()
    with refusals():
        root = table.database.source.page(table.definition.root_pgno)
        content = bytearray(plan.piece(plan.number(2) % 600))
        if first % 2:  # on top of a real row
            real = next((node.data for node in root.nodes() if root.is_leaf), b"")
            content = bytearray(real) + content
            for _ in range(first // 2 % MOST_EDITS):
                edit(content, plan, ((0, 8),))
        row = Row(table, Entry(root, Node(0, 0, b"key", bytes(content))))
        for column in table.columns:
            with refusals():
                row[column.name]
            with refusals():
                row.stored(column.name)


def fuzz_compression(data: bytes) -> None:
    """What is unpacked is never longer than allowed."""
    plan = Plan(data)
    limit = plan.number(3)
    with refusals():
        assert len(decompress(plan.rest(), limit)) <= limit


def fuzz_difference(data: bytes) -> None:
    """Differences from anywhere; and our own give back what they were made of."""
    plan = Plan(data)
    wide = bool(plan.number() % 2)
    old = plan.piece(plan.number(2) % 600)
    new = plan.piece(plan.number(2) % 600)
    with refusals():
        apply_difference(new, old, wide=wide)
    with refusals():
        assert apply_difference(make_difference(old, new, wide=wide), old, wide=wide) == new


def fuzz_log_record(data: bytes) -> None:
    """A record of each type, as it is shown."""
    plan = Plan(data)
    if plan.number() % 2:
        content = bytearray(plan.among(bases.records()))
        for _ in range(plan.number() % MOST_EDITS):
            edit(content, plan, ((0, 64),))
    else:
        content = bytearray(plan.rest())
    with refusals():
        if content:
            record = LogRecord(LogPosition(1, 2, 3), bytes(content))
            assert record_line(record)
            json.dumps(record_document(record)).encode()
            again = record.content.encode()
            assert len(again) == len(content)


# -- whole databases ------------------------------------------------------------------------


def changed_database(plan: Plan) -> tuple[str, bytearray]:
    """A database after a plan's edits, the checksums of what it touched put right or not."""
    base = plan.among(bases.databases())
    data, size = bytearray(base.data), base.page_size
    header = 80 if size > LARGEST_SMALL_PAGE else 40
    touched: set[int] = set()
    cut: int | None = None
    for _ in range(1 + plan.number() % MOST_EDITS):
        kind = plan.number() % 8
        if kind == 0:
            block = data[:size]
            edit(block, plan, ((4, 748), (208, 256)))
            data[:size] = block
            seal_header(data, size, 2)
            continue
        if kind == 1 and cut is None:
            cut = plan.number(3) % (len(data) + 1)
            continue
        pgno = plan.among(base.used)
        at = page_offset(pgno, size)
        page = data[at : at + size]
        if kind == 2:
            other = page_offset(plan.among(base.used), size)
            page = data[other : other + size]
        elif kind == 3:
            page = bytearray(_with_node(bytes(page), pgno, plan))
        else:
            edit(page, plan, ((0, header), (size - 80, size), (header, header + 200), (8, 40)))
            if kind == 4:
                _correct_free_bytes(page)
        data[at : at + size] = page
        if kind != 5:
            touched.add(pgno)
    seal_pages(data, size, touched, page_offset(1, size))
    return base.name, data if cut is None else data[:cut]


def _with_node(page: bytes, pgno: int, plan: Plan) -> bytes:
    """The page with other data in one of its nodes, all else in order."""
    with refusals():
        loaded = PageEditor.load(page, pgno)
        line = plan.number() % max(1, loaded.line_count)
        node = bytearray(loaded.node(line).data)
        edit(node, plan, ((0, 8), (len(node) - 16, len(node))) if len(node) > 16 else ())
        loaded.replace_data(line, bytes(node) + plan.piece(plan.number() % 8))
        return loaded.plain_bytes()
    return page


def fuzz_database(data: bytes) -> None:
    """A database is read: catalog, a table's rows with their long values, its space.

    Now and then everything is, and every page verified.
    """
    plan = Plan(data)
    which = plan.number()
    name, content = changed_database(plan)
    reader = BytesReader(content, name)
    if which == 0:
        read_everything(reader)
        return
    with refusals():
        database = Database(reader, allow_dirty=True)
        tables = database.tables()
        if not tables:
            return
        table = tables[-1 - which % min(4, len(tables))]
        for _row, row in zip(range(MOST_ROWS), table.rows(), strict=False):
            for column in table.columns:
                with refusals():
                    row[column.name]
        for ask in (owned_extents, available_extents):
            with refusals():
                ask(database.source, table.definition.root_pgno)


PAGE_TARGETS: dict[str, Callable[[bytes], None]] = {
    "page": fuzz_page,
    "record": fuzz_record,
    "compression": fuzz_compression,
    "difference": fuzz_difference,
    "log_record": fuzz_log_record,
    "database": fuzz_database,
}
