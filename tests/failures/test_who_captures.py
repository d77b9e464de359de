"""Who keeps the history: one process of one source, and a caretaker that is busy gives way.

A caretaker that reads a long spool has to hand the lock over at once, or the store cannot start
behind it; and the same files must not be captured into two spools.  Each rule is also taken away
here, and then what it keeps off does happen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

import replicator.capture_lock
from replicator.board import Board
from replicator.capture_lock import (
    GIVES_WAY_WITHIN_NS,
    SET_PATIENCE_NS,
    CaptureLocks,
    keep_while_nobody_captures,
)
from replicator.errors import ExitCode, Locked, StorageError
from replicator.history import kept
from replicator.log_recovery import LogRecovery
from replicator.operation import write_prefix
from replicator.runtime import first, sleep_ns
from replicator.runtime.port import Lock
from replicator.runtime.scopes import UNFINISHED
from replicator.source_place import SourcePlace
from simulator.host import Host, lose_everything
from simulator.inode import Inode
from tests.failures.one_machine import ROOT, OneMachine, Program, payload
from tests.failures.worlds import FAST, KIB, MIB, MS, SECOND, slow

SLOW = replace(FAST, bytes_per_second=512 * KIB)
WRITES = 400
"""Of 8 KiB: at that pace the spool is read in more than six seconds."""
Main = Callable[[Host, SourcePlace, Board], Awaitable[None]]


class Machine(OneMachine):
    """Processes that run side by side, until one has ended by itself."""

    def start(
        self, name: str, main: Main, place: Callable[[Host], SourcePlace] | None = None
    ) -> Host:
        host = self.machine.start(name, networked=False)

        async def whole() -> None:
            its = (place or self.place)(host)
            await its.prepare()
            await main(host, its, its.board())

        host.start(whole(), name)
        return host

    def run_for(self, time_ns: int) -> None:
        self.world.clock.run_until(self.world.clock.now() + time_ns)

    def waiting(self) -> None:
        """A spool that a killed program left, on a slow disk."""

        async def write(program: Program) -> None:
            file = program.volume.create(f"{ROOT}/db")
            for number in range(WRITES):
                await program.volume.admit(8 * KIB)
                file.write_at(number % 16 * 8 * KIB, payload(number))

        self.run(write)
        disk = self.machine.disks["spool"]
        disk.device.model = SLOW
        for inode in disk._inodes.values():
            inode.resident = False  # a spool of some GiB is in no page cache

    def open_files(self, name: str) -> int:
        """Files that the process has open."""
        holder = self.machine.processes[name]
        return sum(
            holder in inode.handles
            for disk in self.machine.disks.values()
            for inode in disk._inodes.values()
        )


def other_spool(machine: OneMachine) -> Callable[[Host], SourcePlace]:
    """Another configuration: the same files, a spool of its own."""

    def place(host: Host) -> SourcePlace:
        own, spool = host.volume("data"), host.volume("spool")
        return SourcePlace(host, own, ROOT, spool, "/spool2", "set", "src2", machine.options)

    return place


async def caretake(_host: Host, place: SourcePlace, board: Board) -> None:
    await keep_while_nobody_captures(
        place.capture_locks(), board, lambda: place.keeper(board), SECOND
    )


def program(patience_ns: int, opened: list[int], holds_ns: int = SECOND) -> Main:
    """Takes the lock, keeps the history, and says how many operations it found."""

    async def main(_host: Host, place: SourcePlace, board: Board) -> None:
        lock = await place.take_capture_lock(board, patience_ns)
        async with kept(place.keeper(board)) as capture:
            opened.append(capture.spool.completed)
            await sleep_ns(holds_ns)
        lock.release()
        board.capture_released()

    return main


# -- a caretaker that reads a long spool -------------------------------------------------------


@pytest.mark.parametrize("after_ms", [0, 1, 30, 700, 1500, 3000, 5000, 6000, 6500, 8000])
def test_a_caretaker_in_the_midst_of_a_spool_gives_way(after_ms: int) -> None:
    """Whenever the wish comes: the program is let in soon, and finds the history whole."""
    machine, opened = Machine(limit_bytes=16 * MIB), []
    machine.waiting()
    machine.start("sender", caretake)
    machine.run_for(after_ms * MS)
    host = machine.start("program", program(2 * SECOND, opened))
    machine.run_for(SECOND)
    assert host.failure is None
    # It has the lock, and now reads the spool itself; the other one holds nothing open.
    assert machine.open_files("sender") == 0
    machine.run_for(15 * SECOND)
    assert host.failure is None
    assert opened == [WRITES + 1]
    assert [values[0] for values in machine.said("continue")][-1] == 1
    assert not machine.failures


def test_without_that_a_reading_that_is_given_up_leaves_files_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, opened = Machine(limit_bytes=16 * MIB), []
    machine.waiting()

    async def careless(recovery: LogRecovery, path: str) -> bytes:
        file = recovery._volume.open(path)
        content = await file.read_at(0, file.size_bytes)
        file.close()
        return content

    monkeypatch.setattr(LogRecovery, "_content", careless)
    machine.start("sender", caretake)
    machine.run_for(3 * SECOND)
    machine.start("program", program(2 * SECOND, opened))
    machine.run_for(SECOND)
    assert machine.open_files("sender") >= 1


async def killed_in_a_write(program: Program) -> None:
    file = program.volume.create(f"{ROOT}/db")
    for number in range(20):
        file.write_at(number * 8 * KIB, payload(number))
    await file.sync()
    await program.volume.sync_directory(ROOT)
    prefix = write_prefix(1, 0, 9, program.host.wall_ns())
    assert program.capture.intend(prefix, b"half done", f"{ROOT}/db")
    await sleep_ns(3 * SECOND)


def gives_up(after_ns: int, outcomes: list[object]) -> Main:
    """Opens the history and is cancelled after so long."""

    async def main(_host: Host, place: SourcePlace, board: Board) -> None:
        async def slow_admit(_size_bytes: int, _writes: int = 1) -> None:
            await sleep_ns(2 * MS)

        place.volume.admit = slow_admit  # type: ignore[method-assign]
        lock = await place.take_capture_lock(board, SECOND)
        keeper = place.keeper(board)
        outcomes.append((await first(keeper.open(), sleep_ns(after_ns)))[0])
        keeper.close()
        lock.release()
        await sleep_ns(SECOND)

    return main


@pytest.mark.parametrize("restarted", [False, True], ids=["same boot", "restart"])
def test_an_opening_that_is_given_up_anywhere_leaves_nothing_half_done(restarted: bool) -> None:
    """At each of the moments at which it waits: the next one finds what it would have found."""
    outcomes: list[object] = []
    for after_us in range(0, 9_000, 250):
        machine, opened = Machine(disk=slow(1)), []
        machine.run(killed_in_a_write)
        if restarted:
            machine.machine.lose_power(lose_everything)
        machine.start("sender", gives_up(after_us * 1000, outcomes))
        machine.run_for(500 * MS)
        assert machine.open_files("sender") == 0
        machine.start("program", program(SECOND, opened, 2 * SECOND))
        machine.run_for(500 * MS)
        node = machine.machine.disks["data"].names.node(f"{ROOT}/db")
        assert isinstance(node, Inode)
        begins = payload(0) if restarted else b"half done" + payload(0)[9:]
        assert bytes(node.read(0, 8 * KIB)) == begins
        assert opened == [0 if restarted else 23]
        assert not machine.failures
    assert outcomes.count(UNFINISHED) > 10 and outcomes[-1] is None


async def _one_after_the_other(
    opening: Coroutine[Any, Any, Any], wish: Coroutine[Any, Any, Any]
) -> tuple[Any, Any]:
    wish.close()
    return await opening, None


def test_without_that_the_store_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, opened = Machine(limit_bytes=16 * MIB), []
    machine.waiting()
    monkeypatch.setattr(replicator.capture_lock, "first", _one_after_the_other)
    machine.start("sender", caretake)
    machine.run_for(700 * MS)
    host = machine.start("program", program(2 * SECOND, opened))
    machine.run_for(4 * SECOND)
    assert isinstance(host.failure, Locked)
    assert not opened


def test_the_caretaker_comes_back_and_reads_it_to_the_end() -> None:
    machine, opened = Machine(limit_bytes=16 * MIB), []
    machine.waiting()
    machine.start("sender", caretake)
    machine.run_for(3 * SECOND)
    machine.start("program", program(2 * SECOND, opened))
    machine.run_for(SECOND)
    machine.machine.crash_process("program")
    machine.run_for(20 * SECOND)
    assert machine.said("continue")[-1] == (1, WRITES + 1)
    assert not opened and machine.open_files("sender") == 0  # what was read is not kept open


def slow_to_leave(noticed_ms: int, more_ms: int) -> Main:
    """Holds the lock like a caretaker that has noticed a wish and cannot leave at once."""

    async def main(_host: Host, place: SourcePlace, board: Board) -> None:
        lock = place.capture_locks().of_the_spool()
        await sleep_ns(noticed_ms * MS)
        board.give_way(True)
        await sleep_ns(more_ms * MS)
        lock.release()
        board.give_way(False)
        board.capture_released()
        await sleep_ns(100 * SECOND)

    return main


def test_a_caretaker_that_has_noticed_is_waited_for() -> None:
    machine, opened = Machine(), []
    machine.start("sender", slow_to_leave(500, 10_000))
    host = machine.start("program", program(2 * SECOND, opened))
    machine.run_for(9 * SECOND)
    assert not opened and host.failure is None
    machine.run_for(3 * SECOND)
    assert opened == [0]


def test_without_that_its_patience_is_over_before(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, opened = Machine(), []
    monkeypatch.setattr(Board, "gives_way", False)
    machine.start("sender", slow_to_leave(500, 10_000))
    host = machine.start("program", program(2 * SECOND, opened))
    machine.run_for(4 * SECOND)
    assert isinstance(host.failure, Locked)


def test_it_is_not_waited_for_without_end_nor_is_another_program() -> None:
    machine, opened = Machine(), []
    machine.start("sender", slow_to_leave(500, 1_000_000))
    host = machine.start("program", program(2 * SECOND, opened))
    machine.run_for(2 * SECOND + GIVES_WAY_WITHIN_NS - SECOND)
    assert host.failure is None
    machine.run_for(2 * SECOND)
    assert isinstance(host.failure, Locked)
    machine = Machine()

    async def holds(_host: Host, place: SourcePlace, board: Board) -> None:
        board.give_way(True)  # what a caretaker that was killed had said
        await place.take_capture_lock(board, SECOND)
        await sleep_ns(100 * SECOND)

    machine.start("first", holds)
    machine.run_for(100 * MS)
    host = machine.start("program", program(2 * SECOND, opened))
    machine.run_for(3 * SECOND)
    assert isinstance(host.failure, Locked) and "another program" in str(host.failure)
    assert not opened


# -- one directory, two spools -----------------------------------------------------------------


def test_a_set_is_captured_into_one_spool() -> None:
    machine, opened = Machine(), []
    first = machine.start("program", program(SECOND, opened, 4 * SECOND))
    machine.run_for(100 * MS)
    other = machine.start("other program", program(SECOND, opened), other_spool(machine))
    sender = machine.start("other sender", caretake, other_spool(machine))
    machine.run_for(2 * SECOND + SET_PATIENCE_NS)
    for refused in (other, sender):
        failure = refused.failure
        assert isinstance(failure, Locked)
        assert failure.path == ROOT and "into a spool of its own" in str(failure)
        assert "source.directory" in failure.remedy
        assert failure.exit_code == ExitCode.USAGE
    assert opened == [0] and first.failure is None
    # Neither has kept a lock: when the first one has ended, another spool may have the set.
    machine.run_for(2 * SECOND)
    machine.machine.crash_process("other program")
    again = machine.start("third program", program(SECOND, opened), other_spool(machine))
    machine.run_for(500 * MS)
    assert again.failure is None and opened == [0, 0]


def test_without_that_lock_both_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(_locks: CaptureLocks) -> Lock | None:
        return None

    monkeypatch.setattr(CaptureLocks, "of_the_set", none)
    machine, opened = Machine(), []
    machine.start("program", program(SECOND, opened))
    machine.run_for(100 * MS)
    machine.start("other program", program(SECOND, opened), other_spool(machine))
    machine.run_for(800 * MS)
    assert opened == [0, 0]


def test_a_caretaker_keeps_other_spools_out_too() -> None:
    machine, opened = Machine(), []
    machine.start("sender", caretake)
    machine.run_for(SECOND)
    other = machine.start("other program", program(SECOND, opened), other_spool(machine))
    own = machine.start("program", program(SECOND, opened))
    machine.run_for(300 * MS)
    assert own.failure is None and opened == [0]
    machine.run_for(SECOND)
    assert isinstance(other.failure, Locked)


def test_where_directories_cannot_be_locked_that_is_told() -> None:
    machine, opened = Machine(), []

    def place(host: Host) -> SourcePlace:
        made = machine.place(host)

        def refuse(path: str) -> Lock:
            raise StorageError("no locks here", path=path)

        made.volume.lock = refuse  # type: ignore[method-assign]
        return made

    machine.start("program", program(SECOND, opened), place)
    machine.run_for(200 * MS)
    assert opened == [0]
    assert machine.said("set_not_locked") == [(f"{ROOT}: no locks here",)]
