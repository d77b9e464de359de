"""Rot in a part of the journal that the checkpoint includes: nothing of it is needed any more.

Each byte in front of the place where redo begins is spoilt, in logs made by the real code.
"""

from __future__ import annotations

import pytest

from replicator.journal import Damage, LogKind, Position, SegmentedLog
from replicator.log_recovery import LogRecovery
from replicator.readonly import run_to_end
from replicator.records import Record, RecordType
from replicator.segments import segment_name
from tests.tools.small_logs import DIRECTORY, SET, DictVolume, small_journal

SOUND = small_journal(8)
Found = list[tuple[Position, Record]]


def opened(
    files: dict[str, bytes], redo_from: Position
) -> tuple[SegmentedLog, Found, Damage | None]:
    log = SegmentedLog(DictVolume(files), DIRECTORY, LogKind.JOURNAL, SET, 1024, 1 << 20)
    found: Found = []
    damage = run_to_end(
        log.recover(
            lambda record, position: found.append((position, record)),
            redo_from.segment,
            redo_offset=redo_from.offset,
        )
    )
    return log, found, damage


def behind(found: Found, redo_from: Position) -> Found:
    return [each for each in found if each[0] >= redo_from]


EVERYTHING = opened(SOUND, Position(1, 0))[1]
CHAINED = [at for at, record in EVERYTHING if record.type < RecordType.SEGMENT]
ENDS = {at: Position(at.segment, at.offset + record.size_bytes) for at, record in EVERYTHING}


def spoilt(place: Position) -> dict[str, bytes]:
    path = f"{DIRECTORY}/{segment_name(place.segment)}"
    data = bytearray(SOUND[path])
    data[place.offset] ^= 0x20
    return {**SOUND, path: bytes(data)}


@pytest.mark.parametrize("redo_from", [ENDS[at] for at in CHAINED[:-1]])
def test_wherever_it_is_all_that_follows_is_read(redo_from: Position) -> None:
    sound = opened(SOUND, redo_from)[0]
    wanted = behind(EVERYTHING, redo_from)
    for offset in range(0, redo_from.offset, 3):
        log, found, damage = opened(spoilt(Position(redo_from.segment, offset)), redo_from)
        assert damage is None and log.passed_over is not None, offset
        assert log.passed_over.offset <= offset
        assert behind(found, redo_from) == wanted
        assert (log.chain, log.sequence, log.end) == (sound.chain, sound.sequence, sound.end)


def test_what_is_appended_then_is_found_by_the_next_start() -> None:
    redo_from = ENDS[CHAINED[-1]]
    first = SOUND[f"{DIRECTORY}/{segment_name(redo_from.segment)}"]
    link = CHAINED[-1].offset
    assert 200 < link < len(first)
    for offset in range(0, link, 7):
        log = opened(spoilt(Position(redo_from.segment, offset)), redo_from)[0]
        prefix = EVERYTHING[-1][1].prefix
        log.append(RecordType.BATCH, 3, log.sequence + 1, log.sequence, prefix)
        volume = log._volume
        assert isinstance(volume, DictVolume)
        again, found, damage = opened(volume.content(), redo_from)
        assert damage is None, offset
        assert (again.chain, again.sequence) == (log.chain, log.sequence)
        appended = [r for _at, r in behind(found, redo_from) if r.type < RecordType.SEGMENT]
        assert [record.sequence for record in appended] == [log.sequence]


def test_rot_in_the_last_record_of_all_is_not_passed_over() -> None:
    """Nothing tells which number comes next."""
    redo_from, last = ENDS[CHAINED[-1]], CHAINED[-1]
    log, _found, _damage = opened(spoilt(last), redo_from)
    assert log.passed_over is None
    assert log.end < redo_from, "the replica's start holds that against its checkpoint"


def test_rot_behind_that_place_is_damage_as_ever() -> None:
    redo_from = ENDS[CHAINED[0]]
    assert CHAINED[1].segment == redo_from.segment
    log, _found, damage = opened(spoilt(CHAINED[1]), redo_from)
    assert damage is not None and damage.offset == CHAINED[1].offset
    assert log.passed_over is None


def test_without_passing_over_it_is_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogRecovery, "_pass_over", lambda *_arguments: False)
    redo_from = ENDS[CHAINED[1]]
    log, found, damage = opened(spoilt(CHAINED[0]), redo_from)
    assert damage is not None
    assert behind(found, redo_from) == [], "and all that follows is set aside"
    assert log.sequence == 0


def test_an_operation_within_a_batch_is_no_link_of_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch that is not compressed has whole records in it, the last of which ends with it."""
    redo_from, spoilt_head = ENDS[CHAINED[0]], spoilt(CHAINED[0])
    assert opened(spoilt_head, redo_from)[2] is None
    monkeypatch.setattr(LogRecovery, "_goes_on", lambda *_arguments: True)
    _log, found, damage = opened(spoilt_head, redo_from)
    assert damage is not None and damage.reason == "the record does not follow the one before"
    assert behind(found, redo_from) == []


def rotten_at_both_ends(redo_from: Position) -> dict[str, bytes]:
    """In front of where redo begins, and in the newest record of all."""
    files = spoilt(Position(redo_from.segment, 5))
    path = f"{DIRECTORY}/{segment_name(CHAINED[-1].segment)}"
    data = bytearray(files[path])
    data[CHAINED[-1].offset + 9] ^= 0x20
    return {**files, path: bytes(data)}


def test_where_a_log_has_rotted_its_torn_end_is_damage_too() -> None:
    log, _found, damage = opened(rotten_at_both_ends(ENDS[CHAINED[0]]), ENDS[CHAINED[0]])
    assert log.passed_over is not None
    assert damage is not None
    assert (damage.path, damage.offset) == (
        f"{DIRECTORY}/{segment_name(CHAINED[-1].segment)}",
        CHAINED[-1].offset,
    )


def test_else_it_is_erased_and_nobody_doubts_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogRecovery, "_rots", lambda *_arguments, **_named: False)
    log, _found, damage = opened(rotten_at_both_ends(ENDS[CHAINED[0]]), ENDS[CHAINED[0]])
    assert damage is None and log.end <= CHAINED[-1]
