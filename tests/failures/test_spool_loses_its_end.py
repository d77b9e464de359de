"""What was completed is not in the spool any more when the next process looks: that is a gap.

The board outlives processes and knows how far the history had come.  A spool that ends earlier
is no sound history, however sound what is left of it may look.
"""

from __future__ import annotations

from typing import Any

import pytest

from replicator.board import SenderNotice
from replicator.errors import StorageError
from replicator.runtime import sleep_ns
from replicator.spool import Spool
from tests.failures.one_machine import ROOT, OneMachine, Program, payload
from tests.failures.worlds import KIB, SECOND

RECORD = 8 * KIB + 300
"""A little more than one captured write takes."""


async def write(program: Program, count: int) -> None:
    file = program.volume.create(f"{ROOT}/db")
    for number in range(count):
        await program.volume.admit(8 * KIB)
        file.write_at(number * 8 * KIB, payload(number))


class Failing:
    """A file that reads but cannot be written."""

    def __init__(self, below: Any) -> None:
        self._below = below

    def write_at(self, *_arguments: Any) -> int:
        raise StorageError("input/output error", path=self._below.path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def epoch_of_the_next_process(machine: OneMachine) -> int:
    epochs: list[int] = []

    async def look(program: Program) -> None:
        epochs.append(program.epoch)

    machine.run(look)
    return epochs[0]


def spool_fails(writes: int) -> OneMachine:
    """The spool's disk fails after so many writes, for good; the program goes on and is killed."""
    machine = OneMachine()

    async def main(program: Program) -> None:
        await write(program, writes)
        newest = program.capture.spool.log.segments[-1]
        newest.file = Failing(newest.file)
        program.volume.open(f"{ROOT}/db").write_at(0, b"not captured")
        assert not program.capture.capturing
        assert program.capture.stop_reason.startswith("the spool failed")

    machine.run(main)
    return machine


@pytest.mark.parametrize("writes", [3, 40])
def test_a_history_whose_end_could_not_be_noted_is_not_continued(writes: int) -> None:
    assert epoch_of_the_next_process(spool_fails(writes)) == 2


@pytest.mark.parametrize("writes", [3, 40])
def test_the_board_alone_would_do(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "abandon", lambda _spool: None)
    assert epoch_of_the_next_process(spool_fails(writes)) == 2


def test_without_board_and_abandon_it_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "abandon", lambda _spool: None)
    monkeypatch.setattr(Spool, "_gap_by_the_board", lambda _spool, _epoch: "")
    assert epoch_of_the_next_process(spool_fails(40)) == 1, "this test means nothing"


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_completed_records_that_cannot_be_read_any_more_are_a_gap(
    lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged() -> OneMachine:
        machine = OneMachine()

        async def main(program: Program) -> None:
            await write(program, 7)
            newest = program.capture.spool.log.segments[-1]
            assert newest.end > lost * RECORD
            newest.file.zero_range(newest.end - lost * RECORD, lost * RECORD)

        machine.run(main)
        return machine

    assert epoch_of_the_next_process(damaged()) == 2
    monkeypatch.setattr(Spool, "_gap_by_the_board", lambda _spool, _epoch: "")
    assert epoch_of_the_next_process(damaged()) == 1, "without the board it is missed"


def test_a_lost_outcome_is_a_gap() -> None:
    machine = OneMachine()

    async def main(program: Program) -> None:
        await write(program, 2)
        before = program.capture.spool.log.segments[-1].end
        with pytest.raises(StorageError):
            program.volume.create(f"{ROOT}/nowhere/file")
        newest = program.capture.spool.log.segments[-1]
        outcome = newest.end - before
        assert 0 < outcome < 600
        newest.file.zero_range(newest.end - 60, 60)  # within the OUTCOME, the last record

    machine.run(main)
    assert epoch_of_the_next_process(machine) == 2


@pytest.mark.parametrize("writes", [3, 40])
def test_the_next_epoch_begins_at_once(writes: int) -> None:
    """What was given up is out of the way, whatever it consisted of."""
    machine = OneMachine()

    async def main(program: Program) -> None:
        await write(program, writes)
        newest = program.capture.spool.log.segments[-1]
        newest.file = Failing(newest.file)
        program.volume.open(f"{ROOT}/db").write_at(0, b"not captured")
        program.board.tell_keeper(SenderNotice(program.host.boot_id, end_epoch=program.epoch))
        await sleep_ns(SECOND)
        assert program.epoch == 2
        assert program.capture.capturing

    machine.run(main)
    assert not machine.said("history_stalled")
