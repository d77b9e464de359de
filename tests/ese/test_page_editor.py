"""The page editor: whatever is done to a page, the reader finds just that, in sound bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.errors import EseError
from replicator.ese.node import DELETED, VERSIONED, node_bytes, shared_prefix_bytes
from replicator.ese.page import Page, PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.verification import Verdict, judge_page
from tests.ese.samples import databases, load, sample

SIZES = (2048, 4096, 8192, 16384, 32768)
LEAF = int(PageFlag.LEAF | PageFlag.NEW_CHECKSUM)
SMALL_TAG_JUNK, LARGE_TAG_JUNK = 0xE0, 0x80
"""The top bits of a tag's size mean nothing (on large pages those of its offset
neither), and the engine leaves old ones there."""


@dataclass
class Model:
    """What a page should hold."""

    prefix: bytes = b""
    lines: list[tuple[bytes, bytes, int]] = field(default_factory=list)


KEYS = st.binary(max_size=12) | st.binary(max_size=6).map(lambda end: b"common prefix" + end)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 40), KEYS, st.binary(max_size=300)),
        st.tuples(st.just("insert"), st.integers(0, 40), KEYS, st.binary(max_size=5)),
        st.tuples(st.just("delete"), st.integers(0, 40)),
        st.tuples(st.just("replace"), st.integers(0, 40), st.binary(max_size=400)),
        st.tuples(st.just("flag"), st.integers(0, 40), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("reload")),
    ),
    max_size=60,
)


def check(editor: PageEditor, model: Model) -> None:
    data = editor.sealed_bytes()
    assert judge_page(data, editor.pgno).verdict is Verdict.GOOD
    page = Page(data, editor.pgno)  # refuses tags and free space that do not hold together
    assert page.dbtime == editor.dbtime
    assert page.prefix == model.prefix
    found = [(node.key, node.data, node.flags & 3) for node in page.nodes()]
    assert found == model.lines
    assert [(n.key, n.data, n.flags & 3) for n in editor.nodes()] == model.lines
    assert [editor.key(line) for line in range(editor.line_count)] == [k for k, _, _ in model.lines]


@pytest.mark.parametrize("page_bytes", SIZES)
@settings(max_examples=25, deadline=None)
@given(steps=STEPS, prefix=st.sampled_from([b"", b"co", b"common prefix and more"]))
def test_any_row_of_changes(page_bytes: int, steps: list[tuple], prefix: bytes) -> None:
    editor, model = PageEditor(7, page_bytes), Model(prefix)
    editor.start(objid=3, dbtime=9, flags=LEAF, external_header=prefix)
    for step in steps:
        lines = model.lines
        if step[0] == "insert":
            _, at, key, data = step
            at = min(at, len(lines))
            share = shared_prefix_bytes(prefix, key)
            if not editor.has_room_for(len(node_bytes(key, data, share))):
                with pytest.raises(EseError, match="to insert"):
                    editor.insert(at, key, data, share)
            else:
                editor.insert(at, key, data, share, VERSIONED)
                lines.insert(at, (key, data, VERSIONED))
        elif step[0] == "reload":
            again = PageEditor.load(editor.plain_bytes(), 7)
            assert again.plain_bytes() == editor.plain_bytes() == editor.copy().plain_bytes()
            editor = again
        elif lines:
            at = step[1] % len(lines)
            key, data, flags = lines[at]
            if step[0] == "delete":
                editor.delete(at)
                del lines[at]
            elif step[0] == "replace" and len(step[2]) - len(data) <= editor.free_bytes:
                editor.replace_data(at, step[2])
                lines[at] = key, step[2], flags
            elif step[0] == "flag":
                editor.set_flags(at, step[2], step[3])
                lines[at] = key, data, (flags | step[2]) & ~step[3]
        check(editor, model)


@pytest.mark.parametrize("name", databases())
def test_every_real_page_is_what_it_was_after_loading(name: str) -> None:
    """Byte for byte, but for the checksum fields and what means nothing."""
    data, size = load(name), sample(name).page_size
    seen = 0
    for pgno in range(1, sample(name).pages + 1):
        real = data[(pgno + 1) * size : (pgno + 2) * size]
        if not any(real) or judge_page(real, pgno).verdict is not Verdict.GOOD:
            continue
        seen += 1
        editor = PageEditor.load(real, pgno)
        mine, theirs = bytearray(editor.plain_bytes()), bytearray(real)
        mine[:8] = theirs[:8]
        junk = SMALL_TAG_JUNK
        if size > 8192:
            mine[40:64], mine[68:80] = theirs[40:64], theirs[68:80]
            junk = LARGE_TAG_JUNK
        for tag in range(1, editor.line_count + 2):
            theirs[size - 4 * tag + 1] &= ~junk & 0xFF
            theirs[size - 4 * tag + 3] &= ~junk & 0xFF if size > 8192 else 0xFF
        assert mine == theirs, pgno
        assert editor.sealed_bytes()[:4] != bytes(4)
    assert seen == sample(name).verified


def test_a_node_that_grows_takes_the_place_behind_or_a_new_one() -> None:
    editor = PageEditor(7, 4096)
    editor.start(1, 1, LEAF)
    for line in range(3):
        editor.insert(line, b"key%d" % line, b"x" * 1000)
    editor.replace_data(2, b"y" * 1005)  # the last one grows where it is
    assert editor._offsets[3] == 2 * 1006
    editor.replace_data(0, b"z" * 1020)  # no room behind the last: all move together first
    assert editor._offsets[1:] == [2017, 0, 1006]
    check(editor, Model(b"", [(n.key, n.data, 0) for n in editor.nodes()]))


def test_no_room_is_refused_and_nothing_is_changed() -> None:
    editor = PageEditor(7, 4096)
    editor.start(1, 1, LEAF)
    editor.insert(0, b"key", b"x" * 4000)
    before = editor.plain_bytes()
    with pytest.raises(EseError, match="100 bytes more, 43 are free") as refused:
        editor.replace_data(0, b"x" * 4100)
    assert refused.value.number == -1206
    for change in (
        lambda: editor.insert(0, b"k", b"x" * 60),
        lambda: editor.insert(2, b"k", b""),
        lambda: editor.insert(-1, b"k", b""),
        lambda: editor.delete(1),
        lambda: editor.replace_data(-1, b""),
        lambda: editor.set_flags(1, DELETED),
    ):
        with pytest.raises(EseError):
            change()
    assert editor.plain_bytes() == before


def test_a_page_that_becomes_empty_keeps_its_first_tag() -> None:
    editor = PageEditor(7, 8192)
    editor.start(5, 1, LEAF, b"prefix")
    editor.insert(0, b"prefixed", b"x", 6)
    editor.become_empty()
    assert (editor.line_count, editor.free_from, editor.free_bytes) == (0, 0, 8192 - 40 - 4)
    assert editor.flags & PageFlag.EMPTY
    check(editor, Model())


def test_a_page_never_used_is_all_zero() -> None:
    editor = PageEditor.load(bytes(4096), 9)
    assert editor.is_zero
    assert editor.dbtime == 0
    editor.begin(4, 8)
    assert not editor.is_zero
    assert editor.free_bytes == 4056
    with pytest.raises(EseError, match="without tags"):
        editor.set_external_header(b"x")


BRANCH_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), KEYS),
        st.tuples(st.just("insert at the end"), st.binary(min_size=1, max_size=3)),
        st.tuples(st.just("delete"), st.integers(0, 40)),
        st.tuples(st.just("replace"), st.integers(0, 40)),
        st.tuples(st.just("store with another prefix"), st.integers(0, 40)),
        st.tuples(st.just("begin anew")),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=BRANCH_STEPS, probes=st.lists(KEYS, min_size=1, max_size=5))
def test_the_way_down_is_found_on_a_branch_page_however_it_was_changed(
    steps: list[tuple[str, bytes] | tuple[str, int] | tuple[str]], probes: list[bytes]
) -> None:
    prefix = b"common prefix"
    editor = PageEditor(5, 8192)
    editor.start(1, 1, 0, prefix)
    for what, *more in steps:
        count = editor.line_count
        line = more[0] % count if more and count and isinstance(more[0], int) else 0
        key = more[0] if more and isinstance(more[0], bytes) else b""
        if what == "insert":
            line = editor.lines_below(key, count, or_equal=True)
            editor.insert(line, key, b"page", shared_prefix_bytes(prefix, key))
        elif what == "insert at the end":
            last = editor.key(count - 1) if count else b""
            editor.insert(count, last + key, b"page", shared_prefix_bytes(prefix, last + key))
        elif what == "begin anew":
            editor.start(1, 1, 0, prefix)
        elif count and what == "delete":
            editor.delete(line)
        elif count and what == "replace":
            editor.replace_data(line, b"PAGE")
        elif count:
            key = editor.key(line)
            editor.set_key_prefix(line, key, min(len(key), 4) if key[:4] == prefix[:4] else 0)
        above = [editor.key(at) for at in range(editor.line_count)][:-1]
        for probe in probes:
            assert editor.child_line(probe) == sum(key <= probe for key in above)
