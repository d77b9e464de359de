"""What must not hide damage from ``replicator ese verify``: bad sectors, lost headers, old maps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from replicator.errors import ExitCode
from replicator.ese.checksum import header_checksum, with_checksums
from replicator.ese.database_check import CHUNK_BYTES, DatabaseCheck, check_database
from replicator.ese.database_header import State, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FlushMap
from replicator.ese.log_v7_checksum import fill_pattern
from replicator.ese.reader import DISK_IO, BytesReader
from replicator.ese.streaming_file import streaming_path
from replicator.ese_report import verify_file
from tests.ese.samples import load

Command = Callable[..., int]
Put = Callable[..., Path]
LATER = "srum-server2022-later/SRUDB"
BASIC = "readers-4k/basic.edb"
TAIL = "damaged-tail/SRUDB.dat"
SECTOR = 512


class BadDisk(BytesReader):
    """A disk that has no more of some sectors, or of what lies behind a place from some time on.

    Arguments
    ---------
    bad: byte offsets of sectors that cannot be read.
    """

    def __init__(self, data: bytes, bad: Collection[int]) -> None:
        super().__init__(data, "bad.edb")
        self._bad = [range(at, at + SECTOR) for at in bad]

    def read_at(self, offset: int, size: int) -> memoryview:
        if any(offset < each.stop and each.start < offset + size for each in self._bad):
            raise EseError(DISK_IO, "Input/output error", path=self.path, offset=offset)
        return super().read_at(offset, size)


def numbers(check: DatabaseCheck) -> list[tuple[int, int | None]]:
    return [(each.number, each.page) for each in check.findings]


# -- what the disk does not give ---------------------------------------------------------------


def test_a_bad_sector_hides_no_other_page() -> None:
    """The 16 damaged pages lie behind it; what lies before and behind is judged as ever."""
    data = load(TAIL)
    whole = check_database(BytesReader(data))
    check = check_database(BadDisk(data, [100 * 4096 + 1024, 158 * 4096]))
    found = numbers(check)
    assert found == [(DISK_IO, 99), *((-1018, page) for page in range(143, 157)), *found[-2:]]
    assert found[-2:] == [(DISK_IO, 157), (-1018, 158)]
    assert check.unreadable == 2
    assert check.pages == whole.pages
    assert check.findings[0].offset == 100 * 4096
    assert check.findings[0].detail == "Input/output error"
    assert check.findings[0].path == "bad.edb"
    assert (check.initialised, whole.initialised) == (94, 95)  # page 157 was, page 99 was not


def test_a_bad_sector_in_the_last_page_hides_no_other() -> None:
    """That page is looked at first, for it may be the trailer of a backup."""
    data = load(BASIC)
    last = len(data) // 4096 - 1
    check = check_database(BadDisk(data, [last * 4096]))
    assert numbers(check) == [(DISK_IO, last - 1)]
    assert not check.has_trailer


@pytest.mark.parametrize("contents", [False, True])
def test_bad_sectors_of_a_clean_file_are_no_lost_writes(contents: bool) -> None:
    flush_map = FlushMap(BytesReader(load(f"{LATER}.jfm")))
    disk = BadDisk(load(f"{LATER}.dat"), [8 * 4096])
    check = check_database(disk, flush_map, contents=contents)
    assert numbers(check) == [(DISK_IO, 7)]
    assert check.lost_flushes == 0


@pytest.mark.parametrize(("bad", "events"), [(5 * 4096, ()), (4096, (472,)), (1024, (456,))])
def test_a_bad_sector_hides_no_header(bad: int, events: tuple[int, ...]) -> None:
    """One behind both copies, in the second, in the first."""
    disk = BadDisk(load(BASIC), [bad])
    header, reading = read_database_header(disk)
    assert header.state is State.CLEAN_SHUTDOWN
    assert reading.events == events


def test_a_disk_that_gives_nothing_is_told_as_such() -> None:
    disk = BadDisk(load(BASIC), range(0, 1 << 17, SECTOR))
    with pytest.raises(EseError) as caught:
        read_database_header(disk)
    assert caught.value.number == DISK_IO


def test_a_file_that_becomes_shorter_keeps_what_was_found(tmp_path: Path) -> None:
    data = bytearray(load(TAIL)) + bytes(2 * CHUNK_BYTES)
    path = tmp_path / "growing.edb"
    path.write_bytes(data)
    left = (CHUNK_BYTES // 4096 + 10) * 4096

    def cut(_done: int, _total: int) -> None:
        with path.open("r+b") as file:
            file.truncate(left)

    verdict = verify_file(path, contents=False, progress=cut)
    assert [each.number for each in verdict.findings[:16]] == [-1018] * 16
    gone = verdict.findings[16]
    assert (gone.number, gone.page) == (DISK_IO, CHUNK_BYTES // 4096 + 9)
    assert "became shorter while it was read" in gone.detail


def test_the_json_counts_what_could_not_be_read(
    replicator: Command,
    lay_out: Put,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lay_out(a_edb=BASIC)
    disk = BadDisk(load(BASIC), [9 * 4096])
    monkeypatch.setattr(
        "replicator.ese.reader.FileReader.read_at",
        lambda _self, offset, size: bytes(disk.read_at(offset, size)),
    )
    assert replicator("ese", "verify", "a.edb", "--json", "-") == ExitCode.BROKEN
    found = capsys.readouterr()
    assert '"unreadable": 1' in found.out
    assert "a.edb, page 8, byte 36864: -1022 JET_errDiskIO: Input/output error" in found.err


# -- headers that are gone ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [BASIC, "readers-8k/decompress_test.edb", "bits-16k-dirty/qmgr.db"]
)
@pytest.mark.parametrize("lost", [b"\0", b"\xa5"])
def test_a_database_whose_header_is_gone_is_damaged(
    name: str, lost: bytes, replicator: Command, lay_out: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = lay_out(priv1_edb=name)
    header, _ = read_database_header(BytesReader(load(name)))
    with (directory / "priv1.edb").open("r+b") as file:
        file.write(lost * (2 * header.page_size))
    for command in ("header", "verify"):
        assert replicator("ese", command, "priv1.edb") == ExitCode.BROKEN
        told = "".join(capsys.readouterr())
        assert "-1018 JET_errReadVerifyFailure: no copy of the header" in told
        assert "Leave it out" not in told


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("E0000000003.log", "-501"),
        ("E000000A.log", "-501"),
        ("E00.log", "-501"),
        ("E00.chk", "-533"),
        ("priv1.jfm", "-1018"),
    ],
)
@pytest.mark.parametrize("lost", [bytes(65536), fill_pattern(0, 65536), b""])
def test_what_has_a_header_from_the_first_moment_on_is_damaged_without_it(
    name: str,
    number: str,
    lost: bytes,
    replicator: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_bytes(lost)
    assert replicator("ese", "verify", tmp_path / name) == ExitCode.BROKEN
    assert f": {number if lost or 'jfm' not in name else -1022} JET_err" in capsys.readouterr().out


# -- a flush map that is damaged, or older than the pages --------------------------------------


def test_damage_to_a_flush_map_is_told_once_and_is_none_of_the_database(
    replicator: Command, lay_out: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the engine does: the map is thrown away (event 640)."""
    directory = lay_out(a_edb=f"{LATER}.dat", a_jfm=f"{LATER}.jfm")
    with (directory / "a.edb").open("r+b") as file:
        file.truncate(3 * CHUNK_BYTES)
    with (directory / "a.jfm").open("r+b") as file:
        file.seek(8192 + 100)
        file.write(b"not a map")
    assert replicator("ese", "verify", "a.edb") == ExitCode.PASS
    out = capsys.readouterr().out
    assert out.count("the flush map is not used where it is damaged (event 640): a.jfm") == 1
    assert replicator("ese", "verify", "a.jfm") == ExitCode.BROKEN


@pytest.mark.parametrize(
    ("state", "newer", "lost"),
    [
        (State.DIRTY_SHUTDOWN, True, False),
        (State.DIRTY_SHUTDOWN, False, True),
        (State.CLEAN_SHUTDOWN, True, True),
    ],
)
def test_a_page_written_after_the_flush_map_is_no_lost_write(
    state: State, newer: bool, lost: bool, lay_out: Put
) -> None:
    """The map follows the pages in its own time; at a clean end it is written too."""
    directory = lay_out(a_edb=f"{LATER}.dat", a_jfm=f"{LATER}.jfm")
    data = bytearray((directory / "a.edb").read_bytes())
    header = bytearray(data[:4096])
    header[52] = state
    header[16:24] = (1 << 40).to_bytes(8, "little")
    header[:4] = header_checksum(header).to_bytes(4, "little")
    page = bytearray(data[8 * 4096 : 9 * 4096])
    page[37] ^= 0x80  # another flush type
    if newer:
        page[8:16] = (1 << 33).to_bytes(8, "little")
    data[: 2 * 4096] = header + header
    data[8 * 4096 : 9 * 4096] = with_checksums(bytes(page), 7)
    (directory / "a.edb").write_bytes(data)
    verdict = verify_file(directory / "a.edb", contents=False, progress=lambda _done, _all: None)
    assert [(each.number, each.page) for each in verdict.findings] == [(-1119, 7)] * lost
    told = [note for note in verdict.notes if "newer than the flush map" in note]
    assert len(told) == (not lost)


# -- small words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.DIRTY_SHUTDOWN, "recover before use"),
        (State.INCREMENTAL_RESEED_IN_PROGRESS, "end the reseed first"),
        (State.JUST_CREATED, "never finished, restore it"),
    ],
)
def test_what_to_do_follows_the_state(state: State, words: str, lay_out: Put) -> None:
    directory = lay_out(a_edb=BASIC)
    data = bytearray((directory / "a.edb").read_bytes())
    data[52] = state
    data[:4] = header_checksum(data[:4096]).to_bytes(4, "little")
    data[4096:8192] = data[:4096]
    (directory / "a.edb").write_bytes(data)
    verdict = verify_file(directory / "a.edb", contents=False, progress=lambda _done, _all: None)
    (note,) = verdict.notes
    assert note.startswith(f"the state is {state.title}: ")
    assert note.endswith(words)


def test_suffixes_follow_the_case_of_the_file(
    replicator: Command, lay_out: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    assert streaming_path("/store/PRIV1.EDB") == "/store/PRIV1.STM"
    assert streaming_path("/store/priv1.edb") == "/store/priv1.stm"
    directory = lay_out(A_EDB=f"{LATER}.dat", A_JFM=f"{LATER}.jfm")
    with (directory / "A.EDB").open("r+b") as file:
        file.seek(8 * 4096)
        file.write(bytes(4096))
    assert replicator("ese", "verify", "A.EDB") == ExitCode.BROKEN
    assert "page 7, byte 32768: -1119" in capsys.readouterr().out


def test_a_name_with_a_line_end_makes_no_second_line(
    replicator: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a\nsound 1 1 1 b.edb"
    path.write_bytes(load(BASIC))
    assert replicator("ese", "verify", path) == ExitCode.PASS
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2
    assert table[1].endswith("a\\nsound 1 1 1 b.edb")
