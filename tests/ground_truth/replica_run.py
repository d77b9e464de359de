"""One run of a replica on a logged file system: source, programs and replica as processes.

The replica (:mod:`tests.ground_truth.run_replica`) has home, journal, checkpoints and staging on
the logged file system; the source (:mod:`tests.ground_truth.run_source`) has its files and its
spool elsewhere; they talk over loopback.  Whoever starts them kills the replica and starts it
again when the source asks for it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.live.block_log import BlockLog
from simulator.live.logged_file_system import LoggedFileSystem
from tests.ground_truth.replica_steps import differences, images, look, steps_of

ROOT = Path(__file__).resolve().parents[2]
RUN_LIMIT_S = 120.0
END_LIMIT_S = 30.0
DISK_BYTES = 32 << 20


def record(kind: str, script: str, seed: int, safeguards: Safeguards) -> BlockLog:
    """A run from an empty replica to the end of the programs; returns the replica's disk's log.

    Arguments
    ---------
    kind: of the file system.
    script, seed: what the programs do (:func:`tests.ground_truth.replica_steps.steps_of`).
    safeguards: of the replica.  With all of them its last image must be the truth.
    """
    with LoggedFileSystem(kind, DISK_BYTES) as fs:
        source_directory = fs.directory / "source"
        source_directory.mkdir()
        common = {"marks": os.fspath(fs.mark_path), "port": _free_port()}
        replica = _Replica(
            common | {"mount": os.fspath(fs.mount_path), "safeguards": asdict(safeguards)}
        )
        source = start(
            "run_source",
            common | {"directory": os.fspath(source_directory), "script": script, "seed": seed},
            stdout=subprocess.PIPE,
        )
        over = threading.Event()
        guard = threading.Thread(target=_guard, args=(over, source, replica))
        guard.start()
        try:
            assert source.stdout is not None
            for _line in source.stdout:
                replica.kill_and_start_again(lambda: fs.mark("replica killed"))
            assert source.wait(END_LIMIT_S) == 0, "the source failed, or the replica died"
            over.set()
            replica.stop()
        finally:
            over.set()
            guard.join()
            for child in (source, replica.process):
                child.kill()
                child.wait()
            if source.stdout is not None:
                source.stdout.close()
        if safeguards == ALL_SAFEGUARDS:
            found = look(fs.mount_path / "home" / "image")
            assert not differences(found, images(steps_of(script, seed))[-1])
        return fs.finish()


def start(module: str, arguments: dict[str, Any], **named: Any) -> subprocess.Popen[Any]:
    """Start a module of this package as a process, its arguments as JSON."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.ground_truth.{module}", json.dumps(arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        stdin=subprocess.DEVNULL,
        **named,
    )


class _Replica:
    """The replica's process, which may be killed and started again."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._starts = 0
        self._changing = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._starts += 1
        self.process = start("run_replica", self._arguments | {"incarnation": self._starts})

    def kill_and_start_again(self, between: Callable[[], None]) -> None:
        """As a crash of the process: what it had written stays with the kernel."""
        with self._changing:
            self.process.kill()
            self.process.wait()
            between()
            self._start()

    @property
    def died(self) -> bool:
        """Whether it ended, and nobody had asked it to."""
        with self._changing:
            return self.process.poll() is not None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(END_LIMIT_S) == 0, "the replica failed"


def _guard(over: threading.Event, source: subprocess.Popen[Any], replica: _Replica) -> None:
    """End the source when its replica died or the time is over: else it waits for ever."""
    end = time.monotonic() + RUN_LIMIT_S
    while not over.wait(0.1):
        if replica.died or time.monotonic() > end:
            source.kill()
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
