"""The fuzzing targets by themselves: they run, they get behind checksums, they tell what is wrong.

Searching is done by hand (docs/fuzzing.md); here each target runs its first plans.
"""

from __future__ import annotations

import pytest

from replicator.ese.database_check import check_database
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.page import Page
from replicator.ese.reader import BytesReader
from tests.fuzz import bases, outcomes, page_targets
from tests.fuzz.edits import NUMBERS, Plan, edit
from tests.fuzz.outcomes import TooSlow, within_limits
from tests.fuzz.page_targets import changed_database
from tests.fuzz.sealing import seal_log
from tests.fuzz.targets import TARGETS, seeds

SLOW = {"commands": 12, "database": 6, "recovery": 4}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_first_plans(name: str) -> None:
    for plan in seeds(name)[:: SLOW.get(name, 1)]:
        within_limits(TARGETS[name], plan)


@pytest.mark.full
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_all_its_plans(name: str) -> None:
    for plan in seeds(name):
        within_limits(TARGETS[name], plan)


def test_a_plan_says_which_bytes_become_what() -> None:
    data = bytearray(16)
    # The whole, byte 5, number 19 of the table, in two bytes.
    edit(data, Plan(bytes((0, 5, 0, 0, 19, 1))))
    assert data == bytes(5) + NUMBERS[19].to_bytes(2, "little") + bytes(9)
    # The region from 8 on, its byte 1, one bit.
    edit(data, Plan(bytes((1, 1, 0, 2, 7))), ((8, 12),))
    assert data[9] == 1 << 7
    for plan in (b"", b"\xff" * 40):
        edit(data, Plan(plan), ((12, 99), (16, 20)))
        assert len(data) == 16


def test_what_is_edited_is_sealed() -> None:
    """A page gets another dbtime, and its checksum is right."""
    base = bases.databases()[0]
    place = base.used.index(4)
    name, data = changed_database(Plan(bytes((0, 0, 6, place, 1, 8, 0, 0, 5, 0))))
    assert name == base.name
    changed = [at for at, (old, new) in enumerate(zip(base.data, data, strict=True)) if old != new]
    assert changed
    numbers = {error.number for error in check_database(BytesReader(data)).findings}
    assert -1018 not in numbers


def whole(log: bytes) -> bool:
    """Whether all checksums of a log are right."""
    try:
        return not LogFile(BytesReader(log), closed=True).notes()
    except EseError:
        return False


@pytest.mark.parametrize("place", [100, 4096 + 70])
def test_logs_are_sealed(place: int) -> None:
    """Of both versions, after a change of the header or of the first data."""
    for log in bases.logs():
        sealed = bytearray(log)
        seal_log(sealed)
        assert sealed == log
        broken = bytearray(log)
        broken[place : place + 2] = bytes(each ^ 0x5A for each in broken[place : place + 2])
        assert whole(log) and not whole(bytes(broken))
        seal_log(broken)
        assert whole(bytes(broken))


def test_what_a_reader_takes_for_granted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not look at its tags falls over one of the first pages."""
    monkeypatch.setattr(Page, "_check_tags", lambda page: None)
    monkeypatch.setattr(page_targets, "_change", lambda page, plan: None)
    with pytest.raises((AssertionError, IndexError)):
        for first in range(24):
            for at in range(0, 64, 2):
                plan = bytes((first, 1, 2, at, 0, 0, 27, 1))
                page_targets.fuzz_page(plan)


def test_what_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "SECONDS", 0.02)

    def never(_data: bytes) -> None:
        while True:
            try:
                raise EseError(-1206, "again")
            except EseError:
                continue

    with pytest.raises(TooSlow):
        within_limits(never, b"")
