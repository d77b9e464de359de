"""Log records: the length of each type, and what the important ones say."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile, LogRecord
from replicator.ese.log_page_records import (
    NO_DBTIME,
    Delta,
    Delta64,
    EmptiedPage,
    EmptyTree,
    FlagInsertAndReplaceData,
    Insert,
    Merge2,
    NewPage,
    NodeRecord,
    PageMove,
    PageRecord,
    Record,
    Replace,
    Scrub,
    SetExternalHeader,
    Split2,
    Undo,
    UndoInfo,
)
from replicator.ese.log_record_types import LENGTHS, RECORD_TYPES, Kind, is_skippable, title_of
from replicator.ese.log_records import (
    CONTENTS,
    AttachDB,
    Begin,
    Begin0,
    Commit0,
    CreateDB,
    DetachDB,
    ExtendDB,
    Init2,
    Macro,
    MacroInfo,
    MacroInfo2,
    ReAttach,
    ScanCheck2,
    SetDbVersion,
    Skippable,
    Term2,
    Text,
    Unparsed,
    decode_record,
)
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.logs import CLOSED
from tests.ese.samples import load

KNOWN = [each for each in RECORD_TYPES.values() if each.length is not None]


def records(number: int) -> Iterator[LogRecord]:
    log = LogFile(BytesReader(load(CLOSED)), closed=True)
    return (each for each in log.records() if each.number == number)


def first(number: int) -> Record:
    return next(records(number)).content


def test_every_type_has_a_name_and_all_but_the_obsolete_a_length() -> None:
    assert [title_of(number) for number in (0, 24, 62, 79, 92, 97, 101)] == [
        "NOP",
        "CreateMultipleExtentFDP",
        "Split2",
        "CreateDBFinish",
        "SetDbVersion",
        "SignalAttachDb",
        "ExtentFreed2",
    ]
    assert title_of(47) == "type 47"
    without = {number for number, each in RECORD_TYPES.items() if each.length is None}
    assert without == {40, 41, 43, 44}
    assert len({each.name for each in RECORD_TYPES.values()}) == len(RECORD_TYPES)


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.name)
def test_the_length_of_a_record_without_variable_part_is_its_fixed_part(kind: object) -> None:
    each = RECORD_TYPES[kind.number]  # type: ignore[attr-defined]
    assert each.length is not None
    data = bytes((each.number,)).ljust(each.fixed_bytes, b"\0")
    assert each.length(data, 0) == each.fixed_bytes
    content = CONTENTS.get(each.number, Unparsed)
    if is_skippable(each.number):
        assert each.fixed_bytes == 5 <= content.SIZE
    elif content is not Unparsed:
        assert each.fixed_bytes == content.SIZE


def record(kind: type[Record], number: int, tail: bytes = b"", **fields: object) -> Record:
    """A record built from its layout and read again."""
    written = kind(number=number, **fields).encode() + tail  # type: ignore[arg-type]
    found = decode_record(written)
    assert type(found) is kind
    assert found.encode() == written
    with pytest.raises(EseError):
        decode_record(written + b"\0")
    with pytest.raises(EseError):
        decode_record(written[:-1])
    return found


def test_node_changes_with_their_variable_parts() -> None:
    insert = record(Insert, 29, b"pprefixdata", prefix_bytes=1, suffix_bytes=6, data_bytes=4)
    assert isinstance(insert, Insert)
    assert (insert.key, insert.data) == (b"pprefix", b"data")
    flagged = record(FlagInsertAndReplaceData, 31, b"keynew", key_bytes=3, data_bytes=3)
    assert isinstance(flagged, FlagInsertAndReplaceData)
    assert (flagged.key, flagged.data) == (b"key", b"new")
    replace = record(Replace, 34, b"abc", length_and_format=0x8003, new_data_bytes=9)
    assert isinstance(replace, Replace)
    assert (replace.data, replace.wide_difference, replace.data_bytes) == (b"abc", True, 3)
    delta = record(Delta, 37, b"kd", key_bytes=1, data_bytes=1, delta=-5, data_offset=8)
    assert isinstance(delta, Delta)
    assert (delta.bookmark, delta.delta) == ((b"k", b"d"), -5)
    wide = record(Delta64, 93, b"k", key_bytes=1, delta_field=2**64 - 7)
    assert isinstance(wide, Delta64)
    assert (wide.bookmark, wide.delta) == ((b"k", b""), -7)
    header = record(SetExternalHeader, 38, b"tag", data_bytes=3)
    assert isinstance(header, SetExternalHeader)
    assert header.data == b"tag"
    undo = record(Undo, 39, b"kkd", key_bytes=2, data_bytes=1, operation=1, undo_level=1)
    assert isinstance(undo, Undo)
    assert undo.bookmark == (b"kk", b"d")
    info = record(
        UndoInfo, 36, b"kdbefore", key_bytes=1, bookmark_data_bytes=1, data_bytes=6,
        max_size_field=0xFFFF, delta_field=0xFFFE,
    )  # fmt: skip
    assert isinstance(info, UndoInfo)
    assert (info.bookmark, info.before_image) == ((b"k", b"d"), b"before")
    assert (info.max_size, info.delta) == (-1, -2)


def test_changes_of_several_pages_with_their_variable_parts() -> None:
    split = record(
        Split2, 62, b"KEYoldnewwIMAGE", key_bytes=3, old_prefix_bytes=3, new_prefix_bytes=4,
        image_bytes=5, old_uncommitted_free_field=0xFFFF, old_prefix_line=-1,
    )  # fmt: skip
    assert isinstance(split, Split2)
    assert (split.separator_key, split.old_prefix, split.new_prefix) == (b"KEY", b"old", b"neww")
    assert (split.before_image, split.old_uncommitted_free) == (b"IMAGE", -1)
    merge = record(Merge2, 63, b"KEYIMAGE", key_bytes=3, image_bytes=5, merge_kind=2)
    assert isinstance(merge, Merge2)
    assert (merge.separator_key, merge.before_image) == (b"KEY", b"IMAGE")
    move = record(PageMove, 65, b"headtail!", head_bytes=4, trailer_bytes=5, parent_line=-1)
    assert isinstance(move, PageMove)
    assert (move.head, move.trailer, move.parent_line) == (b"head", b"tail!", -1)
    scrub = record(Scrub, 64, b"\0\1\2", list_bytes=3)
    assert isinstance(scrub, Scrub)
    assert scrub.operations == b"\0\1\2"
    rows = struct.pack("<QII", 5, 6, 7) + struct.pack("<QII", 8, 9, 10)
    emptied = record(EmptyTree, 48, rows, list_bytes=32)
    assert isinstance(emptied, EmptyTree)
    assert emptied.pages == (EmptiedPage(5, 6, 7), EmptiedPage(8, 9, 10))


def test_databases_sessions_and_skippable_records() -> None:
    path = "D:\\db\\é.edb\0".encode("utf-16-le")
    created = record(
        CreateDB, 14, b"\x20\6\0\0" + path, dbid=1, path_bytes=len(path), name_flags=12
    )
    assert isinstance(created, CreateDB)
    assert created.path == "D:\\db\\é.edb"
    detached = record(DetachDB, 16, path, dbid=1, path_bytes=len(path), name_flags=0x10)
    assert isinstance(detached, DetachDB)
    assert detached.path == "D:\\db\\é.edb"
    attached = record(AttachDB, 15, b"a.edb\0", path_bytes=6, dbid=2)
    assert isinstance(attached, AttachDB)
    assert (attached.path, attached.dbid) == ("a.edb", 2)
    begin = record(Begin0, 8, transaction=7, levels=0x31)
    assert isinstance(begin, Begin)
    assert (begin.level_before, begin.levels_begun) == (1, 3)
    again = record(ReAttach, 72, body_bytes=45, dbid=1, attach_position=LogPosition(3, 2, 1))
    assert isinstance(again, ReAttach)
    assert again.attach_position == LogPosition(3, 2, 1)
    pages = record(MacroInfo, 67, struct.pack("<II", 4, 9), body_bytes=8)
    assert isinstance(pages, MacroInfo)
    assert pages.pages == (4, 9)
    more = record(MacroInfo2, 73, struct.pack("<II", 4, 9), body_bytes=13, page_count=2)
    assert isinstance(more, MacroInfo2)
    assert more.pages == (4, 9)
    scan = record(ScanCheck2, 98, pgno=3, current_dbtime=2**40)
    assert isinstance(scan, ScanCheck2)
    assert scan.current_dbtime == 2**40
    short = decode_record(bytes((68, 0, 0, 0, 0)))
    assert type(short) is Skippable
    assert short.body == b""


def test_what_real_records_say() -> None:
    attach = first(Kind.ATTACH_DB)
    assert isinstance(attach, AttachDB)
    assert attach.path == r"C:\Windows\system32\SRU\SRUDB.dat"
    assert attach.consistent_position == LogPosition(4, 3, 2851)
    extend = first(Kind.EXTEND_DB)
    assert isinstance(extend, ExtendDB)
    assert extend.last_pgno == 142
    init = first(Kind.INIT2)
    assert isinstance(init, Init2)
    assert init.parameters.system_path == "C:\\Windows\\system32\\SRU\\"
    assert str(init.time).startswith("2023-10-18 03:")
    term = first(Kind.TERM2)
    assert isinstance(term, Term2)
    assert term.undo_position == LogPosition(2, 3, 0)
    version = first(Kind.SET_DB_VERSION)
    assert isinstance(version, SetDbVersion)
    assert (version.version, version.revision, version.minor_revision) == (0x620, 0xB4, 400)
    text = first(Kind.TRACE)
    assert isinstance(text, Text)
    assert text.text.isprintable()
    macro = first(Kind.MACRO_COMMIT)
    assert isinstance(macro, Macro)
    touched = first(Kind.MACRO_INFO)
    assert isinstance(touched, MacroInfo)
    assert set(touched.pages) >= {19, 20}
    page = first(Kind.NEW_PAGE)
    assert isinstance(page, NewPage)
    assert (page.pgno, page.objid, page.dbtime) == (20, 2, 1204)


def test_real_splits() -> None:
    level, leaf = (each.content for each in list(records(Kind.SPLIT2))[:2])
    assert isinstance(level, Split2)
    assert isinstance(leaf, Split2)
    assert (level.pgno, level.new_pgno, level.right_dbtime_before) == (4, 0, NO_DBTIME)
    assert (leaf.pgno, leaf.new_pgno, leaf.parent_pgno) == (19, 20, 4)
    assert (leaf.split_kind, leaf.split_line, leaf.lines) == (2, 42, 43)
    assert level.dbtime == leaf.dbtime == 1206
    assert len(leaf.separator_key) == leaf.key_bytes
    images = [each.content for each in records(Kind.SPLIT2) if len(each.data) > 1000]
    for each in images:
        assert isinstance(each, Split2)
        assert each.image_flags == 2
        assert each.before_image[0] >> 3 == 3
        assert int.from_bytes(each.before_image[1:3], "little") == 4096
    assert len(images) == 2


def test_real_transactions_and_dbtimes_chain() -> None:
    commits = [each.content for each in records(Kind.COMMIT0)]
    assert all(isinstance(each, Commit0) and each.level == 0 for each in commits)
    last: dict[int, int] = {}
    chained = 0
    log = LogFile(BytesReader(load(CLOSED)), closed=True)
    for each in log.records():
        content = each.content
        if isinstance(content, PageRecord) and content.dbtime_before != NO_DBTIME:
            before = last.get(content.pgno)
            if before is not None and before < content.dbtime:
                assert content.dbtime_before == before
                chained += 1
        if isinstance(content, PageRecord | NewPage):
            last[content.pgno] = content.dbtime
            also = ("new_pgno", "right_pgno", "owned_pgno", "available_pgno")
            last.update({getattr(content, name, 0): content.dbtime for name in also})
        if isinstance(content, Split2):
            last[content.parent_pgno] = content.dbtime
    assert chained > 100


def test_real_records_are_written_again_as_they_were() -> None:
    log = LogFile(BytesReader(load(CLOSED)), closed=True)
    for each in log.records():
        assert each.content.encode() == each.data
        if isinstance(each.content, NodeRecord):
            assert dataclasses.replace(each.content, pgno=7).encode()[4:8] == b"\7\0\0\0"


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_record_of_their_length_or_refused(data: bytes) -> None:
    try:
        content = decode_record(data)
    except EseError as error:
        assert error.number == -501
    else:
        rule = LENGTHS[data[0]]
        assert rule is not None
        assert rule(data.ljust(110, b"\0"), 0) == len(data)
        assert content.encode() == data
