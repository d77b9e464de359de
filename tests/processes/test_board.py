"""The marks of the board, stored by one process and read by another at the same time."""

from __future__ import annotations

import mmap
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from replicator.board import PAGE_BYTES, Board
from replicator.runtime.port import Volume
from tests.processes.trial import ENVIRONMENT

COUNTS = 400_000


class MappedPage:
    """A shared page without bells."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self.memory = memoryview(mmap.mmap(file.fileno(), PAGE_BYTES))
            self.words = self.memory.cast("Q")

    def ring(self, _bell: int) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"not used here: {name}")


class Pages:
    """As much of a volume as a board needs."""

    def shared_page(self, path: str, _size_bytes: int) -> MappedPage:
        return MappedPage(path)


def board_at(path: Path) -> Board:
    return Board(cast(Volume, Pages()), str(path), 1)


def count_up(path: Path) -> None:
    """The keeper's process."""
    board = board_at(path)
    for number in range(1, COUNTS + 1):
        board.intend(number)
        board.complete(number, 100 * number, 7 * number)
        board.occupy(3 * number)


def changes_seen(path: Path) -> int:
    """Look at the marks while a keeper counts them up; returns how often they had changed."""
    path.write_bytes(bytes(PAGE_BYTES))
    board = board_at(path)
    keeper = subprocess.Popen([sys.executable, __file__, str(path)], env=ENVIRONMENT)
    seen = (0, 0, 0, 0, 0)
    changes = 0
    deadline = time.monotonic() + 60
    try:
        while seen[0] < COUNTS:
            assert time.monotonic() < deadline
            # In the opposite order of the stores: what is loaded later is never older.
            completed, intended = board.completed, board.intended
            now = (completed, intended, *board.statistics, board.used_bytes)
            assert all(was <= new for was, new in zip(seen, now, strict=True)), (seen, now)
            assert completed <= intended
            changes += now != seen
            seen = now
    finally:
        assert keeper.wait(60) == 0
    return changes


def test_a_mark_is_never_seen_half(tmp_path: Path) -> None:
    # Two processes that share one processor take turns, and see each other seldom.
    changes = rounds = 0
    while changes <= 100:
        assert rounds < 20, f"{rounds} rounds saw next to nothing change: this means nothing"
        changes, rounds = changes + changes_seen(tmp_path / f"board {rounds}"), rounds + 1


if __name__ == "__main__":
    count_up(Path(sys.argv[1]))
