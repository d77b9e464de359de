"""A replica on a mounted file system whose disk is logged, as a process of its own.

``python -m tests.ground_truth.run_replica '{"mount": ..., "marks": ..., "port": ...}'`` recovers
what is there, listens, and ends in good order on SIGTERM.  What it does is marked in the
disk's log.  :func:`recover` is the start alone, for judging what a power loss left.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from replicator.host.world import Emit, HostRuntime, run_on_host
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import RecoveryReport, ReplicaStore
from replicator.runtime import deadline, group
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards

SET_ID = "set"
HOME = "/home"
RECOVERY_LIMIT_NS = 20_000_000_000
DIRTY_LIMIT_BYTES = 128 << 10
"""Small, so that files are written back while the replica works on."""

OPTIONS = ReplicaOptions(
    SET_ID,
    "replica",
    journal_limit_bytes=4 << 20,
    segment_bytes=64 << 10,
    checkpoint_bytes=60_000,
    checkpoint_interval_ns=100_000_000,
    retry_ns=50_000_000,
)
_PR_SET_PDEATHSIG = 1
_SYNC_FILE_RANGE_WRITE = 2

libc = ctypes.CDLL(None, use_errno=True)
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_uint]


def die_with_the_parent() -> None:
    """Be killed when the process that started this one ends."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Marks:
    """Says words to the log of a disk; see :func:`simulator.live.logged_file_system.mark`."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY)

    def say(self, text: str) -> None:
        os.write(self._file, text.encode())

    def close(self) -> None:
        os.close(self._file)


def marking(say: Callable[[str], None]) -> Emit:
    """Events of a replica that become marks."""

    def emit(event: str, values: tuple[int | str, ...]) -> None:
        if event in ("activity", "recovered", "damage", "stalled"):
            say(" ".join([event, *map(str, values)]).strip())

    return emit


def make_store(
    runtime: HostRuntime, mount: str, safeguards: Safeguards = ALL_SAFEGUARDS
) -> ReplicaStore:
    """The replica's storage: home, journal, checkpoints and staging on one file system."""
    volume = runtime.volume("replica", mount, DIRTY_LIMIT_BYTES)
    return ReplicaStore(runtime, volume, HOME, volume, HOME, OPTIONS, safeguards)


def recover(
    mount: str, safeguards: Safeguards, emit: Emit = lambda _event, _values: None
) -> RecoveryReport:
    """The replica's own recovery, over a mounted file system; raises what it raises."""

    async def main(runtime: HostRuntime) -> RecoveryReport:
        async with deadline(RECOVERY_LIMIT_NS):
            return await make_store(runtime, mount, safeguards).open()

    return run_on_host(main, emit=emit)


def hurry(directory: Path, ended: threading.Event, choice: random.Random) -> None:
    """Have the kernel write back pages of some file every few milliseconds.

    It may do so at any moment by itself, but takes seconds to begin, and the run is short.
    """
    while not ended.wait(choice.uniform(0.0, 0.008)):
        try:
            files = [path for path in directory.rglob("*") if path.is_file()]
            if not files:
                continue
            descriptor = os.open(choice.choice(files), os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # removed or renamed just now
        try:
            libc.sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)
        finally:
            os.close(descriptor)


def main(arguments: dict[str, Any]) -> None:
    """Replicate until SIGTERM."""
    die_with_the_parent()
    marks = Marks(arguments["marks"])
    mount = arguments["mount"]
    safeguards = Safeguards(**arguments["safeguards"])

    async def replicate(runtime: HostRuntime) -> None:
        store = make_store(runtime, mount, safeguards)
        await store.open()
        async with group() as g:
            replica = Replica(runtime, store, f"127.0.0.1:{arguments['port']}")
            g.spawn(replica.run(), "replica")
            await runtime.stop.wait()
            g.cancel()

    ended = threading.Event()
    choice = random.Random(arguments["incarnation"])
    hurrying = threading.Thread(target=hurry, args=(Path(mount) / "home", ended, choice))
    hurrying.start()
    try:
        marks.say(f"replica starts {arguments['incarnation']}")
        run_on_host(replicate, incarnation=arguments["incarnation"], emit=marking(marks.say))
    finally:
        ended.set()
        hurrying.join()
        marks.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
