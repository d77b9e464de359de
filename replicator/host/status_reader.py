"""Reads the status of the processes of this machine from beside: pages, locks, the board.

Nothing is changed and no process need answer.  A lock is tried for an instant; services that
start at that instant try again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any, cast

from replicator.board import PAGE_BYTES, Board
from replicator.config import LoadedConfiguration
from replicator.config_model import SpoolTable
from replicator.fence import fence_cause
from replicator.host.identity import boot_id
from replicator.host.machine_volumes import real_directory
from replicator.host.paths import translated
from replicator.host.processes import REPLICA_LOCK, REPLICA_STATUS
from replicator.runtime.port import Volume
from replicator.slots import newest_of
from replicator.status_page import newest_document
from replicator.status_view import ProcessView, SpoolView, StatusView, WishView, judge
from replicator.takeover_wish import BEGUN_NAME, REQUEST_NAME, WishState, judge_wish


def read_status(loaded: LoadedConfiguration) -> StatusView:
    """How the configured ends on this machine are now; raises BadInput, StorageError."""
    configuration, boot = loaded.configuration, boot_id()
    source = program = replica = None
    spool: SpoolView | None = None
    wish: WishView | None = None
    fence = ""
    if configuration.source is not None:
        table = configuration.source
        root = Path(real_directory(table.spool.directory, "source.spool.directory"))
        source = _judge(root / "status.source", root / "sender.lock", loaded.set_id, boot)
        keeper_seen = source.last_known if source.last_known is not None else {}
        if not keeper_seen.get("caretaker") or source.status is None:
            program = _judge(root / "status.program", root / "capture.lock", loaded.set_id, boot)
            if program.last_known is None:
                program = None
        spool = _spool(root / "board", boot, table.spool)
        slots = (_bytes(root / f"fence.{slot}") for slot in "ab")
        fence = fence_cause(newest_of((each for each in slots if each is not None), "fence"))
    if configuration.replica is not None:
        root = Path(real_directory(configuration.replica.directory, "replica.directory"))
        replica = _judge(root / REPLICA_STATUS, root / REPLICA_LOCK, loaded.set_id, boot)
        wish = _wish(root, boot)
    now_ns = time.time_ns()
    return StatusView(loaded.set_id, now_ns, source, program, spool, replica, fence, wish)


def _wish(root: Path, boot: int) -> WishView | None:
    noted = judge_wish(_target(root / REQUEST_NAME), _target(root / BEGUN_NAME), boot)
    if noted.state == WishState.NONE:
        return None
    age_ns = noted.age_ns(boot, time.monotonic_ns(), time.time_ns())
    if noted.wish is None:
        return WishView(noted.state, None, None, age_ns)
    return WishView(noted.state, noted.wish.pid, noted.wish.wall_ns, age_ns)


def _target(path: Path) -> str | None:
    """Where a link points; empty for what is no link, None when there is nothing."""
    with translated(str(path)):
        try:
            return os.readlink(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:
                return ""
            raise


def _judge(page: Path, lock: Path, set_id: str, boot: int) -> ProcessView:
    locked = _is_locked(lock)
    document = _document(page)
    if document is not None and document.get("set") != set_id:
        document = None
    return judge(document, locked, time.monotonic_ns(), boot)


def _document(page: Path) -> dict[str, Any] | None:
    memory = _bytes(page)
    return None if memory is None else newest_document(memory)[1]


def _bytes(path: Path) -> bytes | None:
    with translated(str(path)):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _is_locked(lock: Path) -> bool:
    """Whether a process holds the lock; it is taken for an instant to find out."""
    with translated(str(lock)):
        try:
            fd = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
    return False


class _StillPage:
    """A copy of a shared page, for reading only; a volume that has just this page."""

    def __init__(self, memory: bytes) -> None:
        self.memory = memory
        self.words = memoryview(memory)[:PAGE_BYTES].cast("Q")

    def shared_page(self, _path: str, _size_bytes: int) -> _StillPage:
        return self


def _spool(path: Path, boot: int, table: SpoolTable) -> SpoolView | None:
    memory = _bytes(path)
    if memory is None or len(memory) < PAGE_BYTES:
        return None
    board = Board(cast(Volume, _StillPage(memory)), str(path), boot)
    keeper, sender = board.keeper_notice(), board.sender_notice()
    if keeper.boot != boot:
        return None  # nobody has kept a history since the machine was started
    released_bytes = sender.released_bytes if sender.epoch == keeper.epoch else 0
    return SpoolView(
        keeper.epoch,
        keeper.capturing,
        "" if keeper.capturing else keeper.stop_reason,
        board.completed,
        max(0, board.statistics[0] - released_bytes),
        board.used_bytes,
        table.limit_bytes,
        keeper.capturing
        and table.policy == "hold"
        and board.used_bytes + table.segment_size_bytes > table.limit_bytes,
    )
