"""The small parts: records from fields, search in a page, the example of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.log_page_records import Insert, Merge2, NodeRecord, Replace, Split2, Undo
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Begin0, CreateDB, ExtendDB, decode_record
from replicator.ese.node import shared_prefix_bytes
from replicator.ese.page_editor import PageEditor
from simulator.exchange.ese.record_building import build

ROOT = Path(__file__).resolve().parents[2]


def test_a_record_that_is_built_is_the_one_that_is_read() -> None:
    fields = {"number": Kind.INSERT, "pgno": 7, "suffix_bytes": 2, "prefix_bytes": 1}
    record = build(Insert, {**fields, "data_bytes": 4, "dbtime": 1 << 40}, b"keydata")
    again = decode_record(record.raw)
    assert again == record
    assert again.raw == record.raw
    assert (record.key, record.data) == (b"key", b"data")
    split = build(Split2, {"number": Kind.SPLIT2, "old_prefix_line": -1, "new_prefix_line": 3})
    assert decode_record(split.raw) == split
    assert split.old_prefix_line == -1
    for kind, number in (
        (NodeRecord, Kind.FLAG_DELETE),
        (Merge2, Kind.MERGE2),
        (Undo, Kind.UNDO),
        (Replace, Kind.REPLACE),
        (Begin0, Kind.BEGIN0),
    ):
        assert decode_record(build(kind, {"number": number}).raw) == build(kind, {"number": number})
    grown = build(ExtendDB, {"number": Kind.EXTEND_DB, "body_bytes": 5, "last_pgno": 99})
    assert decode_record(grown.raw) == grown


def test_a_layout_that_is_not_all_numbers_cannot_be_built() -> None:
    with pytest.raises(TypeError, match="database_signature does not follow"):
        build(CreateDB, {"number": Kind.CREATE_DB})


KEYS = st.binary(max_size=4) | st.binary(max_size=3).map(lambda end: b"alike" + end)


@given(keys=st.lists(KEYS, max_size=20), key=KEYS, page_bytes=st.sampled_from([4096, 32768]))
def test_search_in_a_page_counts_the_lines_below(
    keys: list[bytes], key: bytes, page_bytes: int
) -> None:
    page = PageEditor(7, page_bytes)
    page.start(1, 1, 2, b"alike and more")
    for line, each in enumerate(sorted(keys)):
        page.insert(line, each, b"data", shared_prefix_bytes(page.prefix, each), line % 4)
    count = len(keys)
    assert page.lines_below(key, count) == sum(each < key for each in keys)
    assert page.lines_below(key, count, or_equal=True) == sum(each <= key for each in keys)
    assert page.lines_below(key, count // 2) == min(count // 2, sum(each < key for each in keys))


@given(one=st.binary(max_size=12), end=st.binary(max_size=5), same=st.integers(0, 12))
def test_shared_prefix_is_counted_byte_by_byte(one: bytes, end: bytes, same: int) -> None:
    other = one[:same] + end
    alike = 0
    while alike < min(len(one), len(other)) and one[alike] == other[alike]:
        alike += 1
    assert shared_prefix_bytes(one, other) == (alike if alike > 2 else 0)


def test_a_page_that_was_read_again_leaves_the_same_bytes_behind() -> None:
    """The last tag stays in free space when lines go, as in the engine, read in between or not."""
    one = PageEditor(7, 4096)
    one.start(1, 1, 2)
    for line in range(5):
        one.insert(line, b"key%d" % line, b"x" * line)
    other = PageEditor.load(one.plain_bytes(), 7)
    for page in (one, other):
        page.delete(1)
        page.delete(0)
    assert one.plain_bytes() == other.plain_bytes()
