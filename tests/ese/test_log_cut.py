"""Segments that are whole with records in them that are not: what was before is kept, if asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from replicator.ese.database_header import State
from replicator.ese.errors import EseError
from replicator.ese.log_cut import cut_writes, first_broken
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import SEGMENT_BYTES
from replicator.ese.log_record_types import Kind
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.logs import log_set, sealed_segment, segment_of, with_segment
from tests.ese.small_ese_store import DIRECTORY, crashed_store, run_recovery
from tests.ese.test_recover_command import rows as rows_of_file
from tests.ese.test_recovery import breach, header_of, prepared, recovered, rows
from tests.ese.test_recovery_refusals import CLOSED, CURRENT, content, put, with_database_header
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium
from tests.strides import strided

LAST = 2
"""The generation that no database requires."""


def records_of(data: bytes, *, closed: bool = False) -> list[tuple[LogPosition, bytes]]:
    log = LogFile(BytesReader(data), closed=closed)
    return [(record.position, record.data) for record in log.records()]


def pieces() -> tuple[bytes, LogPosition]:
    """The last log with a record in three pieces, of which the second is one of another record.

    Each segment verifies, as after a power loss that took one of several unsynced writes.
    """
    data = content(prepared().medium, CURRENT)
    log = LogFile(BytesReader(data), closed=False)
    last = log.scan.tally["data"]
    begin = (
        bytes((Kind.FRAGMENT_BEGIN,)) + (9000).to_bytes(4, "little") + (4049).to_bytes(2, "little")
    )
    data = with_segment(data, last + 1, sealed_segment(begin + b"x" * 4049, LAST, last + 1))
    other = bytes((Kind.BEGIN0, 1, 0, 0)) + (9).to_bytes(4, "little")
    data = with_segment(data, last + 2, sealed_segment(other, LAST, last + 2))
    return data, LogPosition(LAST, last + 1, 40)


def nonsense() -> tuple[bytes, LogPosition]:
    """The last log with a record of no known type in the middle of a segment."""
    data = content(prepared().medium, CURRENT)
    positions = [position for position, _ in records_of(data)]
    broken = next(each for each in positions if each.byte > 900)
    body = segment_of(data, broken.sector)[40:]
    at = broken.byte - 40
    body = body[:at] + b"\xfe" + body[at + 1 :]
    return with_segment(data, broken.sector, sealed_segment(body, LAST, broken.sector)), broken


BROKEN = {"pieces of two records": pieces, "no known record": nonsense}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_a_log_is_cut_before_the_first_record_that_is_not_whole(
    make: Callable[[], tuple[bytes, LogPosition]],
) -> None:
    data, broken = make()
    whole = records_of(content(prepared().medium, CURRENT))
    log = LogFile(BytesReader(data), closed=False)
    found = first_broken(log)
    assert found is not None
    assert found[0] == broken
    assert found[1].number == -501
    for closed in (False, True):  # the states in between are those of a crash
        cut = bytearray(data)
        for offset, written in cut_writes(BytesReader(data), log, broken):
            cut[offset : offset + len(written)] = written
            LogFile(BytesReader(bytes(cut)), closed=False)  # no gap with data behind it
        assert records_of(bytes(cut), closed=closed) == [each for each in whole if each[0] < broken]


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_recovery_refuses_it_and_goes_up_to_there_when_asked(
    make: Callable[[], tuple[bytes, LogPosition]],
) -> None:
    data, broken = make()
    medium = prepared().medium.copy()
    put(medium, CURRENT, data)
    refused = run_recovery(medium.copy())
    assert isinstance(refused.error, EseError)
    assert refused.error.number == -501
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert (result.cut_at, tuple(result.lost), result.removed) == (broken, (), ())
    assert [note.number for note in result.notes if note.number == -501] == [-501]
    assert breach(medium) == ""  # what was committed stands before the cut
    again = recovered(medium).result
    assert again is not None
    assert again.clean_log


def test_what_the_database_requires_is_never_cut() -> None:
    data, _ = nonsense()
    medium = prepared().medium.copy()
    put(medium, CURRENT, data)
    with_database_header(medium, last_required_generation=LAST)
    run = run_recovery(medium, allow_lost_logs=True)
    assert isinstance(run.error, EseError)
    assert run.error.number == -501
    assert header_of(medium).state is State.DIRTY_SHUTDOWN


def test_commits_before_the_cut_are_kept_and_those_behind_it_are_gone() -> None:
    """The generation that is cut is one that was closed, with another one behind it."""
    medium = prepared().medium.copy()
    with_database_header(medium, last_required_generation=1)
    data = content(medium, CLOSED)
    header = header_of(medium)
    assert header.last_required_generation == 1
    # Nothing of a required generation may be given up: only the last one is cut.
    put(medium, CLOSED, data[:-SEGMENT_BYTES] + bytes(SEGMENT_BYTES))
    broken, at = nonsense()
    put(medium, CURRENT, broken)
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert result.cut_at == at
    assert rows(medium) == prepared().committed


@strided(5)
def test_a_crash_in_any_step_of_the_cut_is_made_good(stride: int) -> None:
    data, _ = pieces()

    def store() -> Medium:
        medium = prepared().medium.copy()
        put(medium, CURRENT, data)
        return medium

    steps = recovered(store(), allow_lost_logs=True).steps
    cutting = [at for at, step in enumerate(steps, 1) if "E00.log" in step]
    assert len(cutting) > 20
    for step in cutting[::stride]:
        medium = store()
        assert run_recovery(medium, crash_at=step, allow_lost_logs=True).died
        for choices in (None, *POWER_LOSSES.values()):
            after = medium.copy()
            if choices is not None:
                after.lose_power(choices)
            recovered(after, allow_lost_logs=True)
            assert breach(after) == "", steps[step - 1]


def test_a_log_without_a_single_whole_record_is_given_up() -> None:
    medium = prepared().medium.copy()
    data = content(medium, CURRENT)
    put(medium, CURRENT, with_segment(data, 1, sealed_segment(b"\xfe" * 100, LAST, 1)))
    result = recovered(medium, allow_lost_logs=True).result
    assert result is not None
    assert (result.cut_at, tuple(result.lost), result.removed) == (None, (LAST,), (LAST,))
    assert breach(medium) == ""


def test_the_command_tells_where_it_was_cut(
    store: Path, replicator: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    data, broken = nonsense()
    (store / "E00.log").write_bytes(data)
    assert replicator("ese", "recover", store) == 1
    assert "-501 JET_errLogFileCorrupt" in capsys.readouterr().out
    assert replicator("ese", "recover", store, "--allow-lost-logs") == 0
    out = capsys.readouterr().out
    assert f"cut, as allowed, at {broken}: what was logged behind it is gone" in out
    assert "585 JET_wrnCommittedLogFilesLost" in out
    assert rows_of_file(store / "mail.edb") == prepared().committed
    names = {path.name: path.read_bytes() for path in store.glob("E*")}
    assert not log_set(names).errors


def test_logs_of_version_7_are_given_up_as_a_whole() -> None:
    """Their records are under chained checksums: one that makes no sense was written so."""
    medium = crashed_store(7).medium
    log = LogFile(BytesReader(content(medium, f"{DIRECTORY}/E00.log")), closed=False)
    assert first_broken(log) is None
