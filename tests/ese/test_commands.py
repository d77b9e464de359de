"""``replicator ese header`` and ``replicator ese verify``: what they print, write and end with."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from replicator.cli_ese import all_cores
from replicator.errors import ExitCode
from replicator.ese.checksum import header_checksum
from replicator.ese.database_check import check_database
from replicator.ese.log_v7_checksum import fill_pattern
from replicator.ese.reader import BytesReader
from replicator.ese_header_report import HEADER_SCHEMA
from replicator.ese_report import VERIFY_SCHEMA
from tests.ese.samples import DATABASES, load

ROOT = Path(__file__).resolve().parents[2]
LATER = "srum-server2022-later/SRUDB"


def test_headers_of_each_kind(replicator, lay_out, capsys) -> None:
    lay_out(a_edb="bits-16k-dirty/qmgr.db", a_chk="ntds-2012r2/edb.chk", a_jfm=f"{LATER}.jfm")
    assert replicator("ese", "header", "a.edb") == ExitCode.PASS
    out = capsys.readouterr().out
    for line in (
        r"copies +both good and equal",
        r"format +0x620,300,620 \(revision 0x12C\)",
        r"page size +16384",
        r"state +DirtyShutdown",
        r"logs required +23-23 \(0x17-0x17\)",
        r"logs consistent +from 23 \(0x17\)",
        r"last consistent +\(17,1F,78B\) \d{4}-.+Z",
        r"last detach +\(0,0,0\) -",
        r"streaming file +no",
        r"shadowed +yes",
        r"repair count +0; before the last repair 0",
        r"last full backup +none",
    ):
        assert re.search(rf"^{line}$", out, re.MULTILINE), line
    assert replicator("ese", "header", "a.chk") == ExitCode.PASS
    out = capsys.readouterr().out
    assert re.search(r"^position +\(3,2F3,0\)$", out, re.MULTILINE)
    assert re.search(r"^log path +C:\\Windows\\NTDS\\$", out, re.MULTILINE)
    assert re.search(r"^engine: circular logging +yes$", out, re.MULTILINE)
    assert re.search(r"^last incremental backup +\(0,0,0\) -$", out, re.MULTILINE)
    assert replicator("ese", "header", "a.jfm") == ExitCode.PASS
    out = capsys.readouterr().out
    assert re.search(r"^file type +flush map$", out, re.MULTILINE)
    assert re.search(r"^closed in good order +yes$", out, re.MULTILINE)


def test_the_json_of_a_header(replicator, lay_out, capsys) -> None:
    lay_out(a_edb="bits-16k-dirty/qmgr.db")
    assert replicator("ese", "header", "a.edb", "--json", "-") == ExitCode.PASS
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == HEADER_SCHEMA
    assert (document["type"], document["state"]) == ("database", "DirtyShutdown")
    assert document["fields"]["consistent_position"] == "(17,1F,78B)"
    assert document["fields"]["first_required_generation"] == 23


def test_a_header_with_one_good_copy(replicator, lay_out, capsys) -> None:
    directory = lay_out(a_edb="readers-4k/basic.edb")
    data = bytearray((directory / "a.edb").read_bytes())
    data[100] ^= 1
    (directory / "a.edb").write_bytes(data)
    assert replicator("ese", "header", "a.edb") == ExitCode.BROKEN
    assert "the first is damaged or differs (event 456)" in capsys.readouterr().out
    data[4096 + 100] ^= 1
    (directory / "a.edb").write_bytes(data)
    assert replicator("ese", "header", "a.edb") == ExitCode.BROKEN
    error = capsys.readouterr().err
    assert "-1018 JET_errReadVerifyFailure" in error
    assert "what to do: " in error


@pytest.mark.parametrize("command", ["header", "verify"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("nothing.edb", None, "there is no such file"),
        ("letter.txt", b"Dear reader", "no file of an ESE store"),
        ("empty.edb", b"", "no file of an ESE store"),
        (".", None, "it is a directory"),
        ("E00tmp.log", bytes(65536), "all zero: a log prepared or held in reserve"),
        ("E00tmp.log", fill_pattern(0, 393216), "a fill pattern: a log prepared or held in"),
        ("res1.log", fill_pattern(0, 1024), "a fill pattern: a log prepared or held in"),
    ],
)
def test_what_is_no_file_of_a_store(
    command, name, content, words, replicator, tmp_path, capsys
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert replicator("ese", command, path) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert words in error
    assert str(path) in error


def test_what_is_no_file_of_a_store_does_not_hide_the_others(
    replicator, lay_out, tmp_path, capsys
) -> None:
    lay_out(SRU_log="srum-server2022-later/SRU.log")
    (tmp_path / "SRUtmp.log").write_bytes(bytes(65536))
    (tmp_path / "letter.txt").write_bytes(b"Dear reader")
    files = ("letter.txt", "SRUtmp.log", "SRU.log")
    assert replicator("ese", "verify", *files, "--json", "v.json") == ExitCode.USAGE
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split() == ["sound", "-", "-", "-", "SRU.log"]
    assert "letter.txt: this is no file" in told.err
    assert "SRUtmp.log: the header is all zero" in told.err
    assert not (tmp_path / "v.json").exists()
    torn = bytearray((tmp_path / "SRU.log").read_bytes())
    torn[4096 : 2 * 4096] = bytes(range(256)) * 16
    (tmp_path / "SRU00005.log").write_bytes(torn)
    assert replicator("ese", "verify", "letter.txt", "SRU00005.log") == ExitCode.BROKEN
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["header", "verify", "dump"])
def test_a_pipe_is_refused_without_waiting_for_it(command, replicator, tmp_path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe.edb")
    assert replicator("ese", command, tmp_path / "pipe.edb") == ExitCode.USAGE
    assert "it is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["header", "verify"])
def test_a_document_never_replaces_a_file_of_a_store(command, replicator, lay_out, capsys) -> None:
    """Named twice by mistake, a database would become the document about itself."""
    lay_out(a_edb="bits-16k-dirty/qmgr.db")
    before = Path("a.edb").read_bytes()
    assert replicator("ese", command, "a.edb", "--json", "a.edb") == ExitCode.USAGE
    assert "is no JSON, and would be replaced" in capsys.readouterr().err
    assert Path("a.edb").read_bytes() == before
    Path("link.json").symlink_to("a.edb")
    assert replicator("ese", command, "a.edb", "--json", "link.json") == ExitCode.USAGE
    assert Path("a.edb").read_bytes() == before
    for _again in range(2):
        assert replicator("ese", command, "a.edb", "--json", "a.json") == ExitCode.PASS
        assert isinstance(json.loads(Path("a.json").read_text()), dict)


def test_a_log_is_shown_and_verified(replicator, lay_out, capsys) -> None:
    directory = lay_out(SRU_log="srum-server2022-later/SRU.log")
    assert replicator("ese", "header", "SRU.log") == ExitCode.PASS
    shown = capsys.readouterr().out
    assert re.search(r"file type +log", shown)
    for line in (
        r"version +8\.4000\.90\.200",
        r"generation +5 \(0x5\)",
        r"circular logging +yes",
        r"reserve log used +no",
        r"engine: log buffers +16",
        r"attached +C:\\.+\\SRUDB\.dat since \(4,8,268\)",
        r"  dbtime +1516 \(0x5EC\)",
        r"  consistent position +\(4,6,36\)",
    ):
        assert re.search(rf"^{line}$", shown, re.MULTILINE), line
    assert replicator("ese", "verify", "SRU.log") == ExitCode.PASS
    assert capsys.readouterr().out.splitlines()[1].split() == ["sound", "-", "-", "-", "SRU.log"]
    data = bytearray((directory / "SRU.log").read_bytes())
    data[3 * 4096 : 3 * 4096 + 64] = bytes(64)
    (directory / "SRU.log").write_bytes(data)
    assert replicator("ese", "verify", "SRU.log") == ExitCode.BROKEN
    assert "-501 JET_errLogFileCorrupt" in capsys.readouterr().out
    (directory / "SRU.log").write_bytes(bytes(667) + b"\3" + bytes(4000))
    assert replicator("ese", "header", "SRU.log") == ExitCode.BROKEN
    assert replicator("ese", "verify", "SRU.log") == ExitCode.BROKEN


def test_every_shipped_sample_is_verified(replicator, lay_out, capsys) -> None:
    lay_out(
        clean_edb="readers-8k/decompress_test.edb",
        later_edb=f"{LATER}.dat",
        later_jfm=f"{LATER}.jfm",
        tail_edb="damaged-tail/SRUDB.dat",
        a_chk="ntds-2012r2/edb.chk",
    )
    files = ["clean.edb", "later.edb", "later.jfm", "a.chk"]
    assert replicator("ese", "verify", *files) == ExitCode.PASS
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["verdict", "verified", "initialised", "pages", "file"],
        ["sound", "18", "18", "254", "clean.edb"],
        ["sound", "73", "73", "158", "later.edb"],
        ["sound", "-", "-", "-", "later.jfm"],
        ["sound", "-", "-", "-", "a.chk"],
    ]
    code = replicator("ese", "verify", "tail.edb", "clean.edb", "--contents", "--json", "o.json")
    assert code == ExitCode.BROKEN
    document = json.loads(Path("o.json").read_text())
    assert document["schema"] == VERIFY_SCHEMA
    assert document["exit_code"] == ExitCode.BROKEN
    tail, clean = document["files"]
    assert (tail["verdict"], clean["verdict"]) == ("damaged", "sound")
    assert [each["page"] for each in tail["findings"]] == list(range(143, 159))
    assert tail["pages"]["verified"] == 79
    assert tail["findings"][0]["events"] == [474]


def test_a_lost_write_is_told_with_its_number(replicator, lay_out, capsys) -> None:
    directory = lay_out(a_edb=f"{LATER}.dat", a_jfm=f"{LATER}.jfm")
    data = bytearray((directory / "a.edb").read_bytes())
    data[8 * 4096 : 9 * 4096] = bytes(4096)
    (directory / "a.edb").write_bytes(data)
    assert replicator("ese", "verify", "a.edb") == ExitCode.BROKEN
    assert "page 7, byte 32768: -1119 JET_errReadLostFlushVerifyFailure" in capsys.readouterr().out
    (directory / "a.jfm").unlink()  # without the map all that is known is that it is in use
    assert replicator("ese", "verify", "a.edb") == ExitCode.BROKEN
    out = capsys.readouterr().out
    assert "page 7, byte 32768: -1019 JET_errPageNotInitialized: the page is all zero, and" in out
    assert "-1119" not in out


def test_notes_and_mendable_bits(replicator, lay_out, capsys) -> None:
    directory = lay_out(a_edb="sum-2012r2/Current.mdb", a_jfm=f"{LATER}.jfm")
    (directory / "a.jfm").write_bytes(b"short")
    data = bytearray((directory / "a.edb").read_bytes()) + b"rest"
    data[5 * 4096 + 1000] ^= 16
    (directory / "a.edb").write_bytes(data)
    assert replicator("ese", "verify", "a.edb") == ExitCode.BROKEN
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[0] == "mendable"
    assert "the flush map is not used" in out
    assert "4 bytes stand behind the last whole page" in out
    assert "the state is DirtyShutdown" in out
    assert "bits 8004 (event 399)" in out


def test_a_flush_map_of_another_database_is_a_note(replicator, lay_out, capsys) -> None:
    lay_out(a_edb="readers-4k/basic.edb", a_jfm=f"{LATER}.jfm")
    assert replicator("ese", "verify", "a.edb") == ExitCode.PASS
    assert "the flush map is not used: it is of another database" in capsys.readouterr().out


def test_a_temporary_database_has_nothing_to_verify(replicator, lay_out, capsys) -> None:
    directory = lay_out(a_edb="readers-4k/basic.edb")
    data = bytearray((directory / "a.edb").read_bytes())
    data[208] |= 1
    data[:4] = header_checksum(data[:4096]).to_bytes(4, "little")
    data[4096:8192] = data[:4096]
    (directory / "a.edb").write_bytes(data)
    assert replicator("ese", "verify", "a.edb") == ExitCode.INCONCLUSIVE
    assert "nothing to verify" in capsys.readouterr().out


def test_damaged_checkpoints(replicator, lay_out, capsys) -> None:
    directory = lay_out(a_chk="ntds-2012r2/edb.chk")
    data = bytearray((directory / "a.chk").read_bytes())
    data[5000] ^= 1
    (directory / "a.chk").write_bytes(data)
    assert replicator("ese", "verify", "a.chk") == ExitCode.BROKEN
    assert "-533 JET_errCheckpointCorrupt" in capsys.readouterr().out


def test_the_examples_of_the_manual(replicator, lay_out, capsys) -> None:
    """Each block that begins with a command shows what that command prints."""
    lay_out(tail_edb="damaged-tail/SRUDB.dat", qmgr_edb="bits-16k-dirty/qmgr.db")
    text = (ROOT / "docs/store-files.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\n\$ replicator (.+?)\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for command, shown in blocks:
        replicator(*command.split())
        out = capsys.readouterr().out
        head, _, tail = shown.partition("...\n")
        assert out.startswith(head)
        assert out.endswith(tail)


def test_the_program_of_the_manual(lay_out, capsys) -> None:
    lay_out(qmgr_edb="bits-16k-dirty/qmgr.db")
    text = (ROOT / "docs/store-files.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [reading] = [each for each in programs if "Database(" in each]
    [making] = [each for each in programs if "TableDefinition(" in each]
    exec(reading, {})
    assert len(capsys.readouterr().out.splitlines()) == 191
    exec(making, {})
    *rows, row, chunks = capsys.readouterr().out.splitlines()
    assert [each.split()[0][:20] for each in rows] == [
        f"7f800000067f80{kind}7f80" for kind in ("01", "02", "02", "02", "03", "04")
    ]
    assert row.startswith("7f80000001 01")
    assert chunks == "[8, 8110, 8110, 3780]"


def test_the_manual_names_every_key(replicator, lay_out, capsys) -> None:
    lay_out(a_edb=f"{LATER}.dat")
    text = (ROOT / "docs/store-files.md").read_text(encoding="utf-8")
    for command in ("header", "verify"):
        replicator("ese", command, "a.edb", "--json", "-")
        document = json.loads(capsys.readouterr().out)
        keys = set(document)
        for each in document.get("files", []):
            keys |= set(each) | set(each["pages"])
        assert {key for key in keys if f"`{key}`" not in text} == set()


def test_all_cores_give_what_one_gives() -> None:
    data = load("damaged-tail/SRUDB.dat") + bytes(40 << 20)
    alone = check_database(BytesReader(data))
    with all_cores() as ahead:
        together = check_database(BytesReader(data), ahead=ahead)
    assert [str(each) for each in together.findings] == [str(each) for each in alone.findings]
    assert together.verdicts == alone.verdicts
    assert together.pages > 10_000


def test_chunks_are_not_read_far_ahead_of_their_judgement() -> None:
    read: list[int] = []

    def chunks():
        for number in range(100):
            read.append(number)
            yield number, b""

    with all_cores() as ahead:
        for done, (number, _, _) in enumerate(ahead(lambda chunk: (*chunk, None), chunks())):
            assert number == done
            assert len(read) <= done + 2 + (os.cpu_count() or 1)


def test_the_shipped_samples_cover_every_kind() -> None:
    """Without the whole collection there is still one of each page size, clean and dirty."""
    here = [each for each in DATABASES if (ROOT / "tests/ese/data" / f"{each.name}.xz").exists()]
    assert {each.page_size for each in here} == {4096, 8192, 16384}
    assert {each.clean for each in here} == {True, False}
    assert load("readers-32k/large-pages-1-to-16.bin")
