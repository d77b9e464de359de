"""A source's machine alone: programs that keep a history, one process after the other."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from replicator.board import Board
from replicator.capture import Capture, SpoolPolicy
from replicator.captured_volume import CapturedVolume
from replicator.history import HistoryKeeper, kept
from replicator.runtime import sleep_ns
from replicator.source_place import SourcePlace, SpoolOptions
from simulator.device import DiskModel
from simulator.host import Host, World
from tests.failures.worlds import FAST, KIB, MIB, MS, SECOND

MACHINE = "source"
ROOT = "/data"
SEGMENT = 64 * KIB


def payload(number: int, size: int = 8 * KIB) -> bytes:
    """Bytes that no other number gives."""
    return random.Random(number).randbytes(size)


class Program:
    """What a test's program has at hand while it keeps the history."""

    def __init__(self, host: Host, board: Board, keeper: HistoryKeeper) -> None:
        self.host = host
        self.board = board
        self.keeper = keeper
        self.capture: Capture = keeper.capture
        self.volume = CapturedVolume(keeper.capture)

    @property
    def epoch(self) -> int:
        return self.capture.spool.epoch


Main = Callable[[Program], Awaitable[None]]


class OneMachine:
    """One machine with a data volume and a spool volume of its own.

    Arguments
    ---------
    policy, limit_bytes: of the spool.
    disk: model of both volumes.
    """

    def __init__(
        self,
        policy: SpoolPolicy = SpoolPolicy.RESYNCHRONIZE,
        limit_bytes: int = 4 * MIB,
        disk: DiskModel = FAST,
    ) -> None:
        self.world = World(seed=1, network=False)
        self.machine = self.world.machine(MACHINE)
        self.machine.add_disk("data", disk)
        self.machine.add_disk("spool", replace(disk))
        self.options = SpoolOptions(limit_bytes, SEGMENT, policy)
        self.events: list[tuple[str, tuple[int | str, ...]]] = []
        self.failures: list[str] = []
        self.world.observers.append(self._observe)
        self.programs = 0

    def _observe(self, _machine: str, name: str, values: tuple[int | str, ...]) -> None:
        self.events.append((name, values))
        if name == "failed":
            self.failures.append(str(values[0]))

    def said(self, name: str) -> list[tuple[int | str, ...]]:
        return [values for event, values in self.events if event == name]

    def place(self, host: Host) -> SourcePlace:
        return SourcePlace(
            host, host.volume("data"), ROOT, host.volume("spool"), "/spool", "set", "src",
            self.options,
        )  # fmt: skip

    def run(self, main: Main, for_ms: float = 20_000, kill: bool = True) -> None:
        """One process: it takes the lock, keeps the history and runs ``main``; then kill -9.

        Fails when ``main`` does not end in time, or raises.
        """
        self.programs += 1
        name = f"program {self.programs}"
        host = self.machine.start(name, networked=False)
        ended = False

        async def whole() -> None:
            nonlocal ended
            place = self.place(host)
            await place.prepare()
            board = place.board()
            await place.take_capture_lock(board, SECOND)
            keeper = place.keeper(board)
            async with kept(keeper):
                await main(Program(host, board, keeper))
                ended = True
                while True:
                    await sleep_ns(SECOND)

        host.start(whole(), name)
        end = self.world.clock.now() + int(for_ms * MS)
        while not ended and not self.failures and self.world.clock.now() < end:
            self.world.clock.run_until(self.world.clock.now() + MS)
        assert not self.failures, self.failures
        assert ended, "the program is not done"
        if kill:
            self.machine.crash_process(name)
