"""Page operations that no real log at hand holds, and the parts that all of them share."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.before_image import (
    COMPRESSED,
    DEHYDRATED,
    make_before_image,
    read_before_image,
)
from replicator.ese.difference import apply_difference, make_difference
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import (
    Delta64,
    EmptyTree,
    FlagInsert,
    Insert,
    Merge2,
    NewPage,
    PageMove,
    PageRecord,
    Record,
    Replace,
    Scrub,
    Undo,
    UndoInfo,
)
from replicator.ese.log_record_types import Kind
from replicator.ese.merge_operations import apply_merge
from replicator.ese.node import DELETED, VERSIONED
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_operations import apply, change_node
from replicator.ese.undo_operations import apply_undo
from replicator.ese.versions import Change, version_of
from tests.ese.redoing import PAGE_BYTES, MemoryPages, content
from tests.ese.small_ese_engine import built

LEAF = int(PageFlag.LEAF | PageFlag.NEW_RECORD_FORMAT)
BRANCH = int(PageFlag.PARENT_OF_LEAF | PageFlag.NEW_RECORD_FORMAT)
OBJID = 7


def leaf(pgno: int, *keys: bytes, size: int = PAGE_BYTES, flags: int = LEAF) -> PageEditor:
    page = PageEditor(pgno, size)
    page.start(OBJID, 10, flags)
    for line, key in enumerate(keys):
        page.insert(line, key, b"data of " + key)
    return page


def pages_with(*pages: PageEditor) -> MemoryPages:
    found = MemoryPages()
    found.pages = {page.pgno: page for page in pages}
    return found


def common(pgno: int = 5, dbtime: int = 11, line: int = 0, flags: int = 1) -> dict[str, Any]:
    return {"pgno": pgno, "dbtime": dbtime, "line": line, "flags": flags, "objid": OBJID}


# -- differences --------------------------------------------------------------------------


@given(old=st.binary(max_size=600), new=st.binary(max_size=600), wide=st.booleans())
def test_a_difference_makes_the_new_of_the_old(old: bytes, new: bytes, wide: bool) -> None:
    difference = make_difference(old, new, wide=wide)
    assert apply_difference(difference, old, wide=wide) == new
    assert (difference == b"") is (old == new)


@given(
    old=st.binary(min_size=300, max_size=900),
    places=st.lists(st.tuples(st.integers(0, 899), st.binary(max_size=400)), max_size=4),
    wide=st.booleans(),
)
def test_of_two_that_are_much_alike_it_is_short(
    old: bytes, places: list[tuple[int, bytes]], wide: bool
) -> None:
    new = bytearray(old)
    for at, part in places:
        new[at : at + len(part)] = part
    difference = make_difference(old, bytes(new), wide=wide)
    assert apply_difference(difference, old, wide=wide) == new
    if len(new) == len(old):
        assert len(difference) <= sum(len(part) + 6 for _, part in places) * 3


KNOWN = (
    # Worked out by hand from the layout; narrow: 0x2000 same length, 0x4000 insert.
    ("0240025859", False, b"abXYcd"),
    ("0120025859", False, b"aXYd"),
    ("010001025a", False, b"aZd"),
    ("0100a002005859", True, b"aXYd"),
)


@pytest.mark.parametrize(("difference", "wide", "new"), KNOWN)
def test_both_formats_by_hand(difference: str, wide: bool, new: bytes) -> None:
    assert apply_difference(bytes.fromhex(difference), b"abcd", wide=wide) == new


@pytest.mark.parametrize("difference", ["02", "0240", "02400258", "05400158", "0320025859"])
def test_a_difference_that_does_not_fit_is_refused(difference: str) -> None:
    with pytest.raises(EseError, match="cannot be applied") as caught:
        apply_difference(bytes.fromhex(difference), b"abcd", wide=False)
    assert caught.value.number == -500


def test_a_value_beyond_the_format_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot address"):
        make_difference(bytes(9000), b"", wide=False)
    assert apply_difference(make_difference(bytes(9000), b"x", wide=True), bytes(9000), wide=True)


# -- before-images ------------------------------------------------------------------------


def literal_xpress(data: bytes) -> bytes:
    """A stream of nothing but literals: 32 flags of zero, then 32 bytes, and so on."""
    parts = (bytes(4) + data[at : at + 32] for at in range(0, len(data), 32))
    return b"\x18" + len(data).to_bytes(2, "little") + b"".join(parts)


@pytest.mark.parametrize("size", [4096, 8192, 16384, 32768])
@pytest.mark.parametrize("flags", [0, DEHYDRATED, COMPRESSED, DEHYDRATED | COMPRESSED])
def test_before_images_of_all_forms(size: int, flags: int) -> None:
    page = leaf(5, b"one", b"two", b"three", size=size)
    page.delete(1)
    image = make_before_image(page, 99, dehydrated=bool(flags & DEHYDRATED))
    assert (len(image) < size) is bool(flags & DEHYDRATED)
    if flags & COMPRESSED:
        image = literal_xpress(image)
    back = read_before_image(image, flags, 5, size)
    assert back.dbtime == 99
    back.dbtime = page.dbtime
    assert content(back) == content(page)


def test_an_image_that_is_no_page_is_refused() -> None:
    for image, flags in ((bytes(100), 0), (b"\xff" * 4096, 0), (b"\x18\x00\x10", COMPRESSED)):
        with pytest.raises(EseError) as caught:
            read_before_image(image, flags, 5, PAGE_BYTES)
        assert caught.value.number == -1206


# -- single pages -------------------------------------------------------------------------


def test_what_a_versioned_replacement_gives_up_stays_reserved() -> None:
    page = leaf(5, b"key")
    page.replace_data(0, b"0123456789")

    def replaced(data: bytes, largest: int | None) -> int:
        old = page.node(0).data
        record = built(
            Replace,
            data,
            number=Kind.REPLACE,
            length_and_format=len(data),
            old_data_bytes=len(old),
            new_data_bytes=len(data),
            **common(),
        )
        change_node(record, page, largest)
        assert page.node(0).data == data
        assert page.node(0).flags & VERSIONED
        return page.uncommitted_free_bytes

    assert replaced(b"0123", None) == 6
    assert replaced(b"01234567", 10) == 2
    assert replaced(b"0123456789ab", 10) == 0
    assert replaced(b"", 12) == 12


def replace_d(old: bytes, new: bytes) -> Replace:
    difference = make_difference(old, new, wide=False)
    return built(
        Replace,
        difference,
        number=Kind.REPLACE_D,
        length_and_format=len(difference),
        old_data_bytes=len(old),
        new_data_bytes=len(new),
        **common(),
    )


def test_replacement_by_difference() -> None:
    pages = pages_with(leaf(5, b"key"))
    old = pages.page(5).node(0).data
    apply(replace_d(old, b"other data"), pages)
    assert pages.page(5).node(0).data == b"other data"
    assert pages.page(5).dbtime == 11
    with pytest.raises(EseError, match="line 0 holds 10 bytes, not 11") as caught:
        apply(replace_d(old, b"x"), pages)
    assert caught.value.number == -500


def test_deltas_add_and_go_round() -> None:
    pages = pages_with(leaf(5, b"key"))
    pages.page(5).replace_data(0, b"??" + (2**64 - 1).to_bytes(8, "little"))
    record = built(
        Delta64, b"key", number=Kind.DELTA64, key_bytes=3, delta_field=5, data_offset=2, **common()
    )
    apply(record, pages)
    assert pages.page(5).node(0).data == b"??" + (4).to_bytes(8, "little")
    with pytest.raises(EseError, match="none at offset 60"):
        far = built(Delta64, b"", number=Kind.DELTA64, data_offset=60, **common())
        apply(far, pages)


def test_flags_and_what_ends_a_scrub() -> None:
    pages = pages_with(leaf(5, b"one", b"two"))
    page = pages.page(5)
    page.set_flags(0, DELETED)
    page.flags |= int(PageFlag.SCRUBBED)
    apply(built(FlagInsert, b"one", number=Kind.FLAG_INSERT, key_bytes=3, **common()), pages)
    assert page.node(0).flags == VERSIONED
    assert not page.flags & PageFlag.SCRUBBED


def test_scrubbing_overwrites_what_is_named_and_what_is_free() -> None:
    pages = pages_with(leaf(5, b"one", b"two"))
    page = pages.page(5)
    page.set_flags(1, DELETED | VERSIONED)
    before = page.node(0)
    apply(
        built(
            Scrub,
            bytes((0, 2)),
            number=Kind.SCRUB,
            operation_count=2,
            list_bytes=2,
            **common(),
        ),
        pages,
    )
    assert page.node(0) == before
    assert page.node(1).data == b"l" * len(b"data of two")
    assert not page.node(1).flags & VERSIONED
    assert page.flags & PageFlag.SCRUBBED
    assert b"two" in page.plain_bytes()  # the key stays
    apply(built(Scrub, number=Kind.SCRUB, scrub_flags=1, **{**common(), "dbtime": 12}), pages)
    assert page.line_count == 0
    assert b"one" not in page.plain_bytes()


def test_emptying_a_tree() -> None:
    root = leaf(4, flags=int(PageFlag.ROOT) | BRANCH)
    root.insert(0, b"", (5).to_bytes(4, "little"))
    pages = pages_with(root, leaf(5, b"one", b"two"))
    row = (10).to_bytes(8, "little") + (5).to_bytes(4, "little") + bytes(4)
    apply(built(EmptyTree, row, number=Kind.EMPTY_TREE, list_bytes=16, **common(4)), pages)
    assert pages.page(5).line_count == root.line_count == 0
    assert pages.page(5).flags & PageFlag.EMPTY
    assert root.flags & PageFlag.LEAF
    assert not root.flags & PageFlag.PARENT_OF_LEAF
    assert root.dbtime == pages.page(5).dbtime == 11


@pytest.mark.parametrize("source_wanted", [True, False], ids=["from the page", "from the record"])
def test_a_page_that_moves(source_wanted: bool) -> None:
    source, left, right = leaf(5, b"one", b"two"), leaf(3, b"a"), leaf(6, b"z")
    source.prev_pgno, source.next_pgno = 3, 6
    left.next_pgno = right.prev_pgno = 5
    parent = leaf(4, flags=BRANCH)
    parent.insert(0, b"", (5).to_bytes(4, "little"))
    pages = pages_with(source, left, right, parent)
    image, lines = source.plain_bytes(), list(source.nodes())
    record = built(
        PageMove,
        image[:2000] + image[-1000:],
        number=Kind.PAGE_MOVE,
        destination_pgno=9,
        left_pgno=3,
        right_pgno=6,
        parent_pgno=4,
        head_bytes=2000,
        trailer_bytes=1000,
        **common(),
    )
    if source_wanted:
        apply(record, pages)
    else:
        source.become_empty()
        source.dbtime = 11
        apply(record, pages, lambda pgno: pgno != 5)
    moved = pages.page(9)
    assert (moved.pgno, moved.dbtime) == (9, 11)
    assert list(moved.nodes()) == lines
    assert (left.next_pgno, right.prev_pgno, parent.child(0)) == (9, 9, 9)
    assert source.line_count == 0


def test_a_moved_root_and_old_splits_are_not_known() -> None:
    pages = pages_with(leaf(5, b"one"))
    for record in (
        built(PageMove, number=Kind.PAGE_MOVE, move_flags=1, **common()),
        Record(number=Kind.ROOT_PAGE_MOVE),
        Record(number=Kind.SPLIT),
    ):
        with pytest.raises(EseError) as caught:
            apply(record, pages)
        assert caught.value.number == -500


def test_records_that_change_no_page_do_nothing_and_others_check_the_tree() -> None:
    pages = pages_with(leaf(5, b"one"))
    before = content(pages.page(5))
    apply(built(UndoInfo, number=Kind.UNDO_INFO, **common()), pages)
    apply(Record(number=Kind.NOP2), pages)
    apply(PageRecord(number=Kind.INSERT, pgno=5), pages)
    assert content(pages.page(5)) == before
    foreign = {**common(), "objid": 8}
    with pytest.raises(EseError, match="the page is of tree 7, not 8"):
        apply(built(Insert, b"k", number=Kind.INSERT, suffix_bytes=1, **foreign), pages)
    with pytest.raises(EseError, match="changes no node by itself"):
        apply(built(Undo, number=Kind.UNDO, **common()), pages)


def test_only_wanted_pages_are_changed() -> None:
    pages = pages_with(leaf(5, b"one"))
    apply(NewPage(number=Kind.NEW_PAGE, pgno=5, objid=3, dbtime=20), pages, lambda pgno: False)
    assert pages.page(5).dbtime == 10
    apply(NewPage(number=Kind.NEW_PAGE, pgno=5, objid=3, dbtime=20), pages)
    assert (pages.page(5).dbtime, pages.page(5).objid) == (20, 3)
    assert pages.page(5).flags & PageFlag.PREINITIALISED


# -- undo ---------------------------------------------------------------------------------


def test_each_kind_of_undo_takes_back_its_change() -> None:
    page = leaf(5, b"key")
    page.replace_data(0, b"old data")
    before = page.node(0)

    def undo(change: Change, **more: Any) -> None:
        record = built(Undo, b"key", number=Kind.UNDO, key_bytes=3, operation=change, **common())
        version = version_of(record, change, b"key", b"")
        for name, value in more.items():
            setattr(version, name, value)
        apply_undo(record, page, version)

    page.set_flags(0, DELETED)
    undo(Change.FLAG_DELETE)
    assert page.node(0) == before
    page.replace_data(0, b"new")
    page.uncommitted_free_bytes = 5
    undo(Change.REPLACE, before=b"old data")
    assert page.node(0) == before
    assert page.uncommitted_free_bytes == 0
    page.replace_data(0, b"pld data")
    undo(Change.DELTA, delta=1, offset=0)
    assert page.node(0) == before
    undo(Change.INSERT)
    assert page.node(0).is_deleted
    lost = built(Undo, b"key", number=Kind.UNDO, operation=Change.REPLACE, **common())
    with pytest.raises(EseError, match="is not there") as caught:
        apply_undo(lost, page, None)
    assert caught.value.number == -500


# -- merges -------------------------------------------------------------------------------

KEYS = [f"key {number:02}".encode() for number in range(12)]


def merge_levels(
    kind: int, pages: MemoryPages, *, line: int, flags: int, merge_line: int, separator: bytes = b""
) -> list[Merge2]:
    """Parent 4 over leaves 5, 6, 7; page 6 is merged."""
    whole = {"number": Kind.MERGE2, "dbtime": 50, "objid": OBJID, "merge_kind": kind}
    image = make_before_image(pages.page(6), 50)
    parent = built(Merge2, pgno=4, line=line, level_flags=flags, dbtime_before=10, **whole)
    return [
        parent,
        built(
            Merge2,
            separator + image,
            pgno=6,
            left_pgno=5,
            right_pgno=7,
            merge_line=merge_line,
            level_flags=0 if kind in (3, 6) else 4,
            key_bytes=len(separator),
            image_bytes=len(image),
            **whole,
        ),
    ]


def merge_tree(middle: list[bytes], prefix: bytes = b"") -> MemoryPages:
    parent = leaf(4, flags=BRANCH | int(PageFlag.ROOT))
    leaves = [leaf(5, *KEYS[:2]), leaf(6), leaf(7, *KEYS[10:])]
    for line, key in enumerate(middle):
        leaves[1].insert(line, key, b"data of " + key, flags=VERSIONED)
    for line, (page, separator) in enumerate(zip(leaves, (KEYS[2], KEYS[10], b""), strict=True)):
        parent.insert(line, separator, page.pgno.to_bytes(4, "little"))
    for page, prev_pgno, next_pgno in zip(leaves, (0, 5, 6), (6, 7, 0), strict=True):
        page.prev_pgno, page.next_pgno = prev_pgno, next_pgno
    if prefix:
        leaves[0].set_external_header(prefix)
        leaves[2].set_external_header(prefix)
    return pages_with(parent, *leaves)


def shown(pages: MemoryPages) -> list[tuple[list[bytes], bytes]]:
    """The keys of each leaf by the parent, with the separator; siblings agree with it."""
    parent = pages.page(4)
    children = [parent.child(line) for line in range(parent.line_count)]
    for one, two in pairwise(children):
        assert (pages.page(one).next_pgno, pages.page(two).prev_pgno) == (two, one)
    return [
        ([node.key for node in pages.page(child).nodes() if not node.is_deleted], parent.key(line))
        for line, child in enumerate(children)
    ]


MIDDLE = KEYS[2:8]
MERGES = (
    # kind, parent's line, its flags, merge_line, separator, what is left
    ("full right", 2, 1, 2, 0, b"", [(KEYS[:2], KEYS[2]), (MIDDLE + KEYS[10:], b"")]),
    (
        "partial right",
        3,
        1,
        1,
        3,
        MIDDLE[3],
        [(KEYS[:2], KEYS[2]), (MIDDLE[:3], MIDDLE[3]), (MIDDLE[3:] + KEYS[10:], b"")],
    ),
    ("full left", 5, 1, 3, 5, b"", [(KEYS[:2] + MIDDLE, KEYS[10]), (KEYS[10:], b"")]),
    (
        "partial left",
        6,
        1,
        1,
        1,
        MIDDLE[2],
        [(KEYS[:2] + MIDDLE[:2], MIDDLE[2]), (MIDDLE[2:], KEYS[10]), (KEYS[10:], b"")],
    ),
)


@pytest.mark.parametrize("prefix", [b"", b"key "], ids=["no prefix", "with a prefix"])
@pytest.mark.parametrize("wanted", ["all", "not the merged page"])
@pytest.mark.parametrize(
    ("kind", "line", "flags", "merge_line", "separator", "left"),
    [each[1:] for each in MERGES],
    ids=[each[0] for each in MERGES],
)
def test_merges_of_every_kind(
    kind: int,
    line: int,
    flags: int,
    merge_line: int,
    separator: bytes,
    left: list[tuple[list[bytes], bytes]],
    wanted: str,
    prefix: bytes,
) -> None:
    pages = merge_tree(MIDDLE, prefix)
    levels = merge_levels(
        kind, pages, line=line, flags=flags, merge_line=merge_line, separator=separator
    )
    whole = merge_tree(MIDDLE, prefix)
    apply_merge(levels, whole)
    if wanted != "all":
        # The merged page is newer already, so the neighbour takes the lines from the image.
        pages.pages[6] = whole.page(6).copy()
        apply_merge(levels, pages, lambda pgno: pgno != 6)
    else:
        apply_merge(levels, pages)
    assert shown(pages) == left
    for pgno in (4, 5, 6, 7):
        assert pages.page(pgno).dbtime == 50
        assert content(pages.page(pgno)) == content(whole.page(pgno))
    moved = [node for pgno in (5, 7) for node in pages.page(pgno).nodes() if node.key in MIDDLE]
    assert moved
    assert all(node.flags & VERSIONED for node in moved)
    assert all(bool(node.prefix_bytes) is bool(prefix) for node in moved)


def test_an_empty_page_leaves_and_deleted_lines_do_not_move() -> None:
    pages = merge_tree([])
    apply_merge(merge_levels(1, pages, line=1, flags=2, merge_line=0), pages)
    assert shown(pages) == [(KEYS[:2], KEYS[2]), (KEYS[10:], b"")]
    pages = merge_tree(MIDDLE)
    pages.page(6).set_flags(2, DELETED)
    apply_merge(merge_levels(2, pages, line=1, flags=2, merge_line=0), pages)
    assert shown(pages)[1][0] == [key for key in MIDDLE if key != MIDDLE[2]] + KEYS[10:]
    assert pages.page(7).line_count == 7


def test_the_last_page_of_a_parent_leaves_its_place_to_the_one_before() -> None:
    pages = merge_tree(MIDDLE)
    levels = merge_levels(1, pages, line=2, flags=2, merge_line=0)
    apply_merge(levels, pages)
    parent = pages.page(4)
    assert [parent.key(line) for line in range(parent.line_count)] == [KEYS[2], b""]


def test_merges_that_fit_nothing_are_refused() -> None:
    pages = merge_tree(MIDDLE)
    with pytest.raises(EseError, match="kind 9 is not known"):
        apply_merge(merge_levels(9, pages, line=1, flags=2, merge_line=0), pages)
    levels = merge_levels(2, pages, line=1, flags=2, merge_line=0)
    bare = [levels[0], built(Merge2, pgno=6, right_pgno=7, merge_kind=2, dbtime=50)]
    with pytest.raises(EseError, match="no before-image"):
        apply_merge(bare, pages, lambda pgno: pgno != 6)
