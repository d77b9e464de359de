"""Log sets: names, real chains, and one change for every number of a broken one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.checkpoint import Checkpoint
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import HEADER_BYTES, SEGMENT_BYTES
from replicator.ese.log_names import LogName, LogRole, log_bases, parse_log_name
from replicator.ese.log_set import LogSet, open_log_directory
from replicator.ese.log_v7_encoding import LogV7Format
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime, Signature
from tests.ese.logs import (
    CLOSED,
    CURRENT,
    LATER,
    flipped,
    log_set,
    numbers,
    sealed_header,
    sealed_segment,
    segment_of,
    with_header,
    with_segment,
)
from tests.ese.logs_v7 import put
from tests.ese.samples import SHARED, load

OTHER = Signature(1, LogTime(bytes(range(8))))


def pair(**current: object) -> dict[str, bytes]:
    """Generations 4 and 5 with their checkpoint; the header of 5 with some changes."""
    return {
        "SRU00004.log": load(CLOSED),
        "SRU.log": with_header(load(CURRENT), **current),
        "SRU.chk": load(f"{LATER}/SRU.chk"),
    }


def only(found: LogSet) -> EseError:
    (error,) = found.errors
    return error


@pytest.mark.parametrize(
    ("name", "role", "base", "generation"),
    [
        ("E00.log", LogRole.CURRENT, "E00", None),
        ("e000001A.LOG", LogRole.CLOSED, "E00", 0x1A),
        ("E000000001A.log", LogRole.CLOSED, "E00", 0x1A),
        ("E00100000AB.log", LogRole.CLOSED, "E00", 0x100000AB),
        ("E00tmp.log", LogRole.TEMPORARY, "E00", None),
        ("E00res00002.jrs", LogRole.RESERVE, "E00", None),
        ("res1.log", LogRole.RESERVE, None, None),
        ("edb.chk", LogRole.CHECKPOINT, "EDB", None),
        ("SRU0004E.jtx", LogRole.CLOSED, "SRU", 0x4E),
    ],
)
def test_names(name: str, role: LogRole, base: str | None, generation: int | None) -> None:
    assert parse_log_name(name) == LogName(name, role, base, generation)


@pytest.mark.parametrize(
    "name", ["E000001.log", "E000000001.log", "E00.edb", "res3.log", "E00res1.log", "log", ""]
)
def test_names_of_other_files(name: str) -> None:
    assert parse_log_name(name) is None


@given(name=st.text(max_size=20))
def test_any_name_is_read_or_left_aside(name: str) -> None:
    found = parse_log_name(name)
    assert found is None or (found.generation is None) == (found.role is not LogRole.CLOSED)


def test_bases() -> None:
    names = ["E00.log", "E0100001.log", "R00.chk", "res1.log", "x"]
    assert log_bases(names) == ("E00", "E01")


REAL = {
    "srum-server2022-first": (range(1, 3), LogRole.CURRENT, 1),
    "srum-server2022-later": (range(3, 6), LogRole.CURRENT, 0),
    "srum-win10-dirty": (range(78, 83), LogRole.CURRENT, 0),
    "srum-win10-clean": (range(25, 33), LogRole.CURRENT, 0),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which CI has")
@pytest.mark.parametrize("name", list(REAL))
def test_every_pair_of_a_real_chain_matches(name: str) -> None:
    generations, role, reserves = REAL[name]
    found = open_log_directory(SHARED / name)
    assert found.errors == found.notes == ()
    assert found.generations == tuple(generations)
    assert found.missing == ()
    assert found.logs[-1].name.role is role
    assert len(found.reserves) == reserves
    assert found.checkpoint is not None
    for before, log in zip(found.logs, found.logs[1:], strict=False):
        assert before.header is not None
        assert log.header is not None
        assert before.scan is not None
        assert log.header.previous_created == before.header.created
        assert log.header.log_signature == before.header.log_signature
        assert log.header.has_accumulated_checksum
        expected = log.header.previous_accumulated_checksum
        assert before.scan.accumulated_checksum == expected


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which CI has")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("srum-server2022-first/SRU00001.log", "srum-server2022-later/SRUtmp.log"),
        ("srum-server2022-later/SRUtmp.log", "srum-server2022-later/SRU00003.log"),
        ("srum-win10-clean/SRUtmp.log", "srum-win10-clean/SRU00019.log"),
    ],
)
def test_recycled_logs_fit_into_the_chain(before: str, after: str) -> None:
    one, two = load(before), load(after)
    first, second = (int.from_bytes(log[4:8], "little") for log in (one, two))
    found = log_set({f"SRU{first:05X}.log": one, f"SRU{second:05X}.log": two, "SRUtmp.log": b""})
    assert found.errors == ()
    assert second == first + 1


def test_the_shipped_pair() -> None:
    found = log_set({**pair(), "SRUres00001.jrs": bytes(65536), "SRUDB.dat": b""})
    assert found.errors == found.notes == ()
    assert (found.base, found.generations) == ("SRU", (4, 5))
    assert found.reserves == ("SRUres00001.jrs",)
    assert found.attached == ()
    assert found.current is not None
    assert found.current.header is not None
    assert found.current.header.raw == b""
    assert found.current.attachments[0].attach_position == LogPosition(4, 8, 0x268)


def test_damage_in_a_closed_log() -> None:
    files = pair()
    files["SRU00004.log"] = flipped(load(CLOSED), 8 * 5000, 8 * 5001)
    found = log_set(files)
    assert numbers(found) == [-501]
    assert found.errors[0].path == "SRU00004.log"
    assert found.errors[0].events == (465, 440)
    assert found.generations == (4, 5)


def test_a_damaged_header() -> None:
    files = pair()
    files["SRU00004.log"] = flipped(load(CLOSED), 800)
    assert (only(log_set(files)).number, only(log_set(files)).events) == (-501, (412,))


def test_another_file_type_and_an_unknown_version() -> None:
    assert only(log_set(pair(file_type_number=4))).number == -501
    error = only(log_set(pair(version_major=9)))
    assert (error.number, error.events) == (-514, (411,))


def test_a_file_under_another_generations_name() -> None:
    files = pair()
    files["SRU00003.log"] = files.pop("SRU00004.log")
    found = log_set(files)
    assert numbers(found) == [-513, -528]
    assert found.errors[0].path == "SRU00003.log"


def test_a_generation_twice() -> None:
    files = pair()
    files["SRU00000004.log"] = files["SRU00004.log"]
    assert numbers(log_set(files)) == [-513]
    assert numbers(log_set(pair(generation=4))) == [-513]


def test_a_gap() -> None:
    # Its header speaks of generation 7, which nothing here can be compared with.
    before = LogTime(bytes((1, 2, 3, 4, 5, 100, 1, 0)))
    changes = {"previous_created": before, "previous_accumulated_checksum": 1}
    found = log_set(pair(generation=8, **changes))
    error = only(found)
    assert (error.number, error.events) == (-528, (450, 518, 519))
    assert "generation 0x5 to 0x7 is missing" in error.detail
    assert found.missing == (range(5, 8),)


def test_a_gap_from_the_first_number_to_the_last_costs_nothing() -> None:
    files = {"SRU00000001.log": load(CLOSED), "SRUFFFFFFFF.log": load(CLOSED)}
    assert log_set(files).missing == (range(2, 0xFFFFFFFF),)


def test_the_time_of_the_log_before() -> None:
    error = only(log_set(pair(previous_created=LogTime(bytes(8)))))
    assert (error.number, error.events, error.path) == (-515, (458,), "SRU.log")


def test_another_log_set() -> None:
    found = log_set(pair(log_signature=OTHER))
    assert (only(found).number, only(found).events) == (-530, (457,))


def test_the_checksum_of_the_log_before() -> None:
    error = only(log_set(pair(previous_accumulated_checksum=1)))
    assert (error.number, error.events) == (-590, (543,))
    assert numbers(log_set(pair(previous_accumulated_checksum=1, version_update_minor=12))) == []


def test_a_whole_log_of_another_history_is_told_by_the_checksum() -> None:
    files = pair()
    shorter = with_segment(load(CLOSED), 14, b"")
    files["SRU00004.log"] = shorter
    assert only(log_set(files)).number == -590


def test_a_shadow_older_than_its_segment_is_told_by_the_checksum() -> None:
    log = load(CLOSED)
    starts = [
        each.position.byte
        for each in LogFile(BytesReader(log), closed=True).records()
        if each.position.sector == 14
    ]
    whole = segment_of(log, 14)
    older = sealed_segment(whole[40 : starts[len(starts) // 2]], 4, 14)
    log = with_segment(with_segment(log, 15, older), 14, whole[:512])
    found = log_set({**pair(), "SRU00004.log": log})
    assert [note.events for note in found.notes] == [(466,)]
    assert numbers(found) == [-590]


def test_a_file_cut_or_grown() -> None:
    files = pair()
    files["SRU.log"] = files["SRU.log"][:-SEGMENT_BYTES]
    assert only(log_set(files)).number == -541


def test_logs_of_two_sizes() -> None:
    files = pair(file_sectors=17)
    files["SRU.log"] += bytes(SEGMENT_BYTES)
    error = only(log_set(files))
    assert (error.number, error.path) == (-541, "SRU.log")


def version_7(generation: int, sector_bytes: int) -> bytes:
    """A log without records."""
    form = LogV7Format(file_bytes=65536, sector_bytes=sector_bytes)
    created = LogTime(bytes((0, 0, 0, 1, 1, generation + 1, 0, 0)))
    before = LogTime(bytes((0, 0, 0, 1, 1, generation, 0, 0)))
    encoder = form.encoder(replace(form.header(generation, created), previous_created=before))
    encoder.finish()
    content = bytearray(form.prepared(0, form.file_bytes))
    put(content, encoder.header_writes() + encoder.flush())
    return bytes(content)


def test_a_chain_of_version_7() -> None:
    files = {"E0000001.log": version_7(1, 512), "E00.log": version_7(2, 512)}
    assert numbers(log_set(files)) == []
    files["E00.log"] = version_7(2, 1024)
    assert only(log_set(files)).number == -546


def test_version_8_has_but_one_sector_size() -> None:
    assert only(log_set(pair(sector_bytes=512, header_sectors=8))).number == -501


def test_another_page_size() -> None:
    assert only(log_set(pair(page_size_field=8192))).number == -1213


def test_no_current_log() -> None:
    files = pair()
    del files["SRU.log"]
    error = only(log_set(files))
    assert (error.number, error.events, error.path) == (-528, (455,), "SRU.log")


def test_a_crash_between_the_two_renames() -> None:
    files = pair()
    files["SRUtmp.log"] = files.pop("SRU.log")
    found = log_set(files)
    assert found.errors == ()
    assert [note.number for note in found.notes] == [-528]
    assert found.temporary is not None
    assert found.temporary.generation == 5
    assert found.current is None


def test_only_a_log_in_preparation() -> None:
    assert numbers(log_set({"SRUtmp.log": load(CURRENT)})) == [-528]


def test_a_torn_tail_is_a_note() -> None:
    files = pair()
    log = with_segment(load(CURRENT), 7, b"")
    files["SRU.log"] = flipped(log, 8 * 6 * SEGMENT_BYTES + 900, 8 * 6 * SEGMENT_BYTES + 990)
    found = log_set(files)
    assert found.errors == ()
    assert [(note.number, note.events, note.path) for note in found.notes] == [
        (-501, (462,), "SRU.log")
    ]


def test_segments_are_not_read_when_that_is_not_asked_for() -> None:
    files = pair()
    files["SRU00004.log"] = files["SRU00004.log"][:HEADER_BYTES] + bytes(15 * SEGMENT_BYTES)
    assert numbers(log_set(files)) == [-590]
    found = log_set(files, contents=False)
    assert found.errors == ()
    assert found.attached is None


def test_records_that_make_no_sense_in_the_last_log() -> None:
    body = load(CURRENT)[:HEADER_BYTES]
    log = (body + sealed_segment(b"\xff", 5, 1)).ljust(65536, b"\0")
    files = {**pair(), "SRU.log": log}
    assert numbers(log_set(files)) == [-501]


def test_several_sets_in_one_place() -> None:
    files = {**pair(), "E00.log": with_header(load(CURRENT), generation=1)}
    with pytest.raises(EseError) as caught:
        log_set(files)
    assert caught.value.number == -1811
    assert "E00, SRU" in caught.value.detail
    assert log_set(files, "sru").errors == ()
    assert log_set(files, "E00").generations == (1,)
    with pytest.raises(EseError):
        log_set(files, "E01")


def test_nothing_there(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(EseError) as caught:
            open_log_directory(directory)
        assert caught.value.number == -1811
        assert caught.value.path is not None


def test_a_directory(tmp_path: Path) -> None:
    for name, data in pair().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "SRUDB.dat").write_bytes(b"")
    (tmp_path / "sub.log").mkdir()
    found = open_log_directory(tmp_path)
    assert found.errors == found.notes == ()
    assert found.logs[0].path == str(tmp_path / "SRU00004.log")


def test_the_checkpoint() -> None:
    files = pair()
    assert log_set(files).checkpoint is not None
    damaged = bytes(8192)
    found = log_set({**files, "SRU.chk": damaged})
    assert found.errors == ()
    assert [(note.number, note.path) for note in found.notes] == [(-533, "SRU.chk")]
    del files["SRU.chk"]
    assert [note.number for note in log_set(files).notes] == [-542]
    copy = replace(Checkpoint.decode(load(f"{LATER}/SRU.chk")[:4096]), file_type_number=3)
    wrong = sealed_header(copy.encode())
    assert [note.number for note in log_set({**files, "SRU.chk": wrong * 2}).notes] == [-533]


@given(
    which=st.sampled_from(["SRU00004.log", "SRU.log", "SRU.chk"]),
    bits=st.lists(st.integers(0, 8 * 8192 - 1), min_size=1, max_size=3),
    keep=st.none() | st.integers(0, 8192),
)
def test_no_damage_makes_it_fail(which: str, bits: list[int], keep: int | None) -> None:
    files = pair()
    changed = flipped(files[which], *bits)
    files[which] = changed if keep is None else changed[:keep]
    found = log_set(files)
    assert found.generations in ((4, 5), (4,))
    told = found.errors or found.notes or which == "SRU.chk"
    # Two bits in one column of dwords are more than the checksum of a header sees.
    assert told or (keep is None and len(bits) > 1)
