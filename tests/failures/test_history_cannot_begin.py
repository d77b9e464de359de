"""An epoch cannot be begun: programs go on, the board says why, and it is tried again."""

from __future__ import annotations

import pytest

from replicator.board import SenderNotice
from replicator.capture import SpoolPolicy
from replicator.errors import NoSpace, SyncFailed
from replicator.journal import SegmentedLog
from replicator.runtime import sleep_ns
from replicator.segments import LogFull
from replicator.slots import StateSlots
from simulator.shared_page import SimSharedPage
from tests.failures.one_machine import ROOT, OneMachine, Program, payload
from tests.failures.worlds import SECOND


def keep_everything(upper: int) -> int:
    """Of what was not synced all survives."""
    return upper - 1


def ask_for_an_epoch(program: Program) -> None:
    program.board.tell_keeper(
        SenderNotice(program.host.boot_id, end_epoch=program.epoch, floor=3, reason="asked for")
    )


@pytest.mark.parametrize("policy", SpoolPolicy)
@pytest.mark.parametrize("error", [NoSpace("the volume is full"), LogFull()])
def test_it_is_tried_again_until_there_is_room(
    policy: SpoolPolicy, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = OneMachine(policy)
    roll = SegmentedLog.roll

    def full(*_arguments: object, **_named: object) -> None:
        raise error

    async def main(program: Program) -> None:
        file = program.volume.create(f"{ROOT}/db")
        with monkeypatch.context() as patch:
            patch.setattr(SegmentedLog, "roll", full)
            ask_for_an_epoch(program)
            await sleep_ns(3 * SECOND)
            notice = program.board.keeper_notice()
            assert (notice.epoch, notice.capturing) == (0, False)
            assert notice.stop_reason.startswith("no epoch can be begun")
            # Nothing is captured, and nobody is held or refused for it.
            await program.volume.admit(8192)
            file.write_at(0, payload(1))
            await sleep_ns(10 * SECOND)
        assert roll is SegmentedLog.roll
        await sleep_ns(6 * SECOND)
        notice = program.board.keeper_notice()
        assert notice.capturing
        assert notice.epoch == program.epoch > 3
        file.write_at(8192, payload(2))
        assert program.capture.spool.completed == program.board.completed == 1

    machine.run(main, 60_000)
    assert machine.said("history_stalled")


def test_a_spool_too_small_for_the_names_says_so_at_the_start() -> None:
    machine = OneMachine(limit_bytes=128 * 1024)

    async def many(program: Program) -> None:
        for number in range(3000):
            program.host.volume("data").create(f"{ROOT}/{number:060d}").close()

    machine.run(many)
    machine.machine.lose_power(keep_everything)  # another boot: a new epoch at the start
    with pytest.raises(AssertionError, match="does not hold one segment"):
        machine.run(many)


def test_a_file_removed_beside_capture_does_not_end_the_program() -> None:
    machine = OneMachine()

    async def main(program: Program) -> None:
        for name in ("stays", "goes"):
            program.volume.create(f"{ROOT}/{name}")
        program.host.volume("data").unlink(f"{ROOT}/goes")
        ask_for_an_epoch(program)
        await sleep_ns(2 * SECOND)
        assert program.epoch == 4
        assert list(program.capture.spool.catalogue.entries) == ["/stays"]

    machine.run(main)


def test_no_ring_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimSharedPage, "ring", lambda _page, _bell: None)
    machine = OneMachine()

    async def main(program: Program) -> None:
        ask_for_an_epoch(program)
        await sleep_ns(3 * SECOND)
        assert program.epoch == 4

    machine.run(main)


def test_who_only_looks_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender refuses a foreign directory before it has any lock."""
    machine = OneMachine()

    async def main(program: Program) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(StateSlots, "load", lambda _slots: pytest.fail("load() writes"))
            await machine.place(program.host).refuse_foreign()

    machine.run(main)


def test_a_failed_sync_of_the_historys_state_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trying again in this process would be no proof of anything."""
    machine = OneMachine()

    async def failing(_slots: StateSlots, _state: object) -> None:
        raise SyncFailed("input/output error")

    async def main(program: Program) -> None:
        monkeypatch.setattr(StateSlots, "write", failing)
        ask_for_an_epoch(program)
        await sleep_ns(SECOND)

    with pytest.raises(AssertionError, match="SyncFailed"):
        machine.run(main)
