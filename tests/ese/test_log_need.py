"""What databases and checkpoints need of a log set, each shortage by its number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.checkpoint import Checkpoint
from replicator.ese.database_header import DatabaseHeader, State, read_database_header
from replicator.ese.log_header import SEGMENT_BYTES
from replicator.ese.log_need import absent, check_checkpoint, check_database, check_recovery
from replicator.ese.log_set import AttachedDatabase, LogSet, open_log_directory
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime, Signature
from tests.ese.logs import CLOSED, CURRENT, LATER, flipped, log_set
from tests.ese.samples import SHARED, load

OTHER = Signature(1, LogTime(bytes(range(8))))


def logs(*generations: int) -> LogSet:
    """The real pair, 4 and 5, of which the logs not named are taken away."""
    files = {4: ("SRU00004.log", load(CLOSED)), 5: ("SRU.log", load(CURRENT))}
    there = dict(files[generation] for generation in generations or (4, 5))
    return log_set({**there, "SRU.chk": load(f"{LATER}/SRU.chk")})


def database(first: int, last: int, committed: int | None = None, **more: object) -> DatabaseHeader:
    """The real database of that set, made dirty."""
    header, _ = read_database_header(BytesReader(load(f"{LATER}/SRUDB.dat")))
    fields: dict[str, object] = {
        "state_number": State.DIRTY_SHUTDOWN,
        "first_required_generation": first,
        "last_required_generation": last,
        "last_committed_generation": last if committed is None else committed,
        "last_committed_created": LogTime(),
        "attach_position": LogPosition(4, 8, 0x268),
        **more,
    }
    return replace(header, **fields)  # type: ignore[arg-type]


def findings(found: LogSet, header: DatabaseHeader) -> list[tuple[int, tuple[int, ...]]]:
    return [(error.number, error.events) for error in check_database(found, header, "a.edb")]


def test_all_that_is_needed_is_there() -> None:
    assert findings(logs(), database(4, 5)) == []
    assert findings(logs(), database(5, 5)) == []
    created = logs().logs[-1].header
    assert created is not None
    assert findings(logs(), database(4, 5, last_committed_created=created.created)) == []


def test_a_clean_database_needs_nothing() -> None:
    header, _ = read_database_header(BytesReader(load(f"{LATER}/SRUDB.dat")))
    assert findings(logs(5), header) == []
    assert list(check_recovery(logs(), {"SRUDB.dat": header})) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which CI has")
def test_the_real_dirty_database_can_be_recovered() -> None:
    header, _ = read_database_header(BytesReader(load("srum-win10-dirty/SRUDB.dat")))
    found = open_log_directory(SHARED / "srum-win10-dirty")
    assert not header.is_clean
    assert list(check_recovery(found, {"SRUDB.dat": header})) == []
    beyond = replace(header, last_committed_generation=83)
    assert [each.number for each in check_recovery(found, {"SRUDB.dat": beyond})] == [-582]


def test_required_logs_are_missing() -> None:
    assert findings(logs(), database(3, 5)) == [(-543, (452,))]
    assert findings(logs(), database(4, 6)) == [(-543, (453,))]
    assert findings(logs(4), database(4, 5)) == [(-543, (453,))]
    error = next(check_database(logs(), database(1, 7)))
    assert "missing: 0x1 to 0x3, 0x6 to 0x7" in error.detail


def test_only_committed_logs_are_missing() -> None:
    assert findings(logs(), database(4, 5, 6)) == [(-582, (523, 528))]
    assert findings(logs(4), database(4, 4, 5)) == [(-582, (523, 528))]
    assert findings(logs(), database(4, 6, 7)) == [(-543, (453,)), (-582, (523, 528))]


def test_a_committed_log_is_damaged() -> None:
    damaged = flipped(load(CURRENT), 8 * 3 * SEGMENT_BYTES, 8 * 3 * SEGMENT_BYTES + 1)
    files = {"SRU00004.log": load(CLOSED), "SRU.log": damaged}
    assert findings(log_set(files), database(4, 4, 5)) == [(-586, (525,))]


def test_the_last_committed_log_is_another_one() -> None:
    other = LogTime(bytes((1, 2, 3, 4, 5, 100, 1, 0)))
    header = database(4, 5, last_committed_created=other)
    assert findings(logs(), header) == [(-543, (496,))]


def test_another_log_set_another_database() -> None:
    header = database(4, 5, log_signature=OTHER)
    assert [number for number, _ in findings(logs(), header)] == [-539]
    early = LogPosition(2, 3, 0x268)
    assert findings(logs(), database(4, 5, attach_position=early)) == []
    other = database(4, 5, attach_position=early, database_signature=OTHER)
    assert [number for number, _ in findings(logs(), other)] == [-531]
    unknown = replace(other, dbid=7)
    assert [number for number, _ in findings(logs(), unknown)] == [-539]


def test_a_reseed_that_was_not_ended() -> None:
    header = database(4, 5, state_number=State.INCREMENTAL_RESEED_IN_PROGRESS)
    assert [number for number, _ in findings(logs(), header)] == [-1226]


def test_an_attached_database_that_is_not_at_hand() -> None:
    attached = (AttachedDatabase(1, "D:\\a.edb", OTHER),)
    found = replace(logs(), attached=attached)
    (error,) = check_recovery(found, {})
    assert (error.number, error.path, error.events) == (-1216, "D:\\a.edb", (494, 495))
    assert list(check_recovery(found, {"a": database(4, 5, database_signature=OTHER)})) == []


def with_checkpoint(position: LogPosition, signature: Signature | None = None) -> LogSet:
    found = logs()
    checkpoint = found.checkpoint
    assert isinstance(checkpoint, Checkpoint)
    changed = replace(
        checkpoint, position=position, log_signature=signature or checkpoint.log_signature
    )
    return replace(found, checkpoint=changed)


@pytest.mark.parametrize(
    ("generation", "number"), [(1, -509), (3, -509), (4, None), (5, None), (6, -528)]
)
def test_where_the_checkpoint_lets_redo_begin(generation: int, number: int | None) -> None:
    found = [error.number for error in check_checkpoint(with_checkpoint(LogPosition(generation)))]
    assert found == ([] if number is None else [number])


def test_the_log_at_the_checkpoint_lies_in_a_gap() -> None:
    found = with_checkpoint(LogPosition(3))
    first = replace(found.logs[0], name=replace(found.logs[0].name, generation=2))
    (error,) = check_checkpoint(replace(found, logs=(first, found.logs[1])))
    assert (error.number, error.events) == (-528, (450, 518, 519))


def test_the_checkpoint_of_another_log_set() -> None:
    (error,) = check_checkpoint(with_checkpoint(LogPosition(4), OTHER))
    assert (error.number, error.path) == (-532, "SRU.chk")


def test_no_checkpoint_is_no_error() -> None:
    assert list(check_checkpoint(replace(logs(), checkpoint=None))) == []


@given(first=st.integers(0, 2**32 - 1), last=st.integers(0, 2**32 - 1))
def test_what_is_absent_is_told_as_ranges(first: int, last: int) -> None:
    gaps = absent(logs(), first, last)
    assert len(gaps) <= 2
    missing = sum(len(gap) for gap in gaps)
    there = sum(first <= generation <= last for generation in (4, 5))
    assert missing == max(0, last - first + 1) - there
