"""The trailer behind the last page of a streaming backup's copy, and what the header says of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from replicator.errors import ExitCode
from replicator.ese.backup_trailer import BackupTrailer, read_backup_trailer
from replicator.ese.database_header import DatabaseHeader, read_database_header
from replicator.ese.reader import BytesReader
from replicator.ese.values import BackupInfo, LogPosition, LogTime, Signature
from tests.ese.logs import sealed_header
from tests.ese.samples import load

BASIC = "readers-4k/basic.edb"
MARK = BackupInfo(LogPosition(7, 8, 9), LogTime(bytes((1, 2, 3, 4, 5, 104, 0, 0))), 7, 0)


def backup_copy(*, marked: bool = True, trailer: bool = True, **changes: object) -> bytes:
    """A database as a streaming backup leaves its copy; ``changes`` are in the trailer."""
    data = load(BASIC)
    header = DatabaseHeader.decode(data[:4096])
    if marked:
        header = replace(header, current_full_backup=MARK)
    block = sealed_header(header.encode())
    page = BackupTrailer(
        backup=MARK,
        database_signature=header.database_signature,
        log_signature=header.log_signature,
        first_required_generation=7,
        last_required_generation=9,
        last_committed_generation=10,
    )
    page = replace(page, **changes)  # type: ignore[arg-type]
    end = sealed_header(page.encode().ljust(4096, b"\0")) if trailer else b""
    return block + block + data[8192:] + end


def test_a_trailer_is_read() -> None:
    reader = BytesReader(backup_copy())
    header, _ = read_database_header(reader)
    found = read_backup_trailer(reader, header)
    assert found is not None
    assert (found.first_required_generation, found.last_required_generation) == (7, 9)
    assert found.belongs_to(header)
    for data in (load(BASIC), backup_copy(trailer=False), backup_copy()[:8192]):
        assert read_backup_trailer(BytesReader(data), header) is None


@pytest.mark.parametrize(
    "change",
    [
        {"database_signature": Signature(5)},
        {"log_signature": Signature(5)},
        {"backup": replace(MARK, position=LogPosition(7, 8, 10))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_trailer_of_another_backup(
    change: dict[str, object],
    tmp_path: Path,
    replicator: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "copy.edb"
    path.write_bytes(backup_copy(**change))
    assert replicator("ese", "header", path) == ExitCode.BROKEN
    assert re.search(r"^backup trailer +of another backup \(-552\)$", capsys.readouterr().out, re.M)
    path.write_bytes(backup_copy(marked=False, **change))  # nothing to hold it against
    assert replicator("ese", "header", path) == ExitCode.PASS


def test_how_a_copy_is_shown(
    tmp_path: Path, replicator: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "copy.edb"
    path.write_bytes(backup_copy())
    assert replicator("ese", "header", path) == ExitCode.PASS
    out = capsys.readouterr().out
    for line in (
        r"current full backup +\(7,8,9\) 2004-05-04 .+ logs from 7 \(0x7\), this file is its copy",
        r"backup trailer +there",
        r"  logs required +7-9 \(0x7-0x9\)",
        r"  logs committed +up to 10 \(0xA\)",
    ):
        assert re.search(rf"^{line}$", out, re.MULTILINE), line
    path.write_bytes(backup_copy(trailer=False))
    assert replicator("ese", "header", path) == ExitCode.PASS
    assert re.search(r"^backup trailer +missing$", capsys.readouterr().out, re.MULTILINE)
