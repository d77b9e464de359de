"""Real processes of one protected set on this machine: start, look, wait, kill.

Only processes that were started here are ended, by their own process id.  Every wait is bounded
and fails with what the processes said.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replicator.config import load_configuration
from replicator.host.status_reader import read_status
from tests.real_tree import tree

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
# As installed, with the compiled code beside the text: a start that compiles takes half a second.
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
Status = dict[str, Any]

WRITER = Path(__file__).with_name("writer.py")


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """One process that was started here, and what it said on standard error."""

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        self.name = name
        number = len(list(directory.glob(f"{name}.*.log")))
        self.log_path = directory / f"{name}.{number}.log"
        with self.log_path.open("wb") as log:
            self._popen = subprocess.Popen(
                command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.running:
            os.kill(self.pid, number)

    def ends(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for the end; returns the exit code, or minus the signal."""
        try:
            return self._popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.log}") from None

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._popen.wait(PATIENCE_S)


class Trial:
    """A source and a replica on one machine.

    Arguments
    ---------
    base: where everything is; the directories ``data``, ``spool`` and ``replica`` are made
        unless they are there (mounted, for instance).
    settings: lines for the tables ``source``, ``spool``, ``replica`` and ``journal``.
    """

    def __init__(self, base: Path, **settings: str) -> None:
        self.base = base
        self.port = free_port()
        self.data, self.spool, self.replica = base / "data", base / "spool", base / "replica"
        for directory in (self.data, self.spool, self.replica):
            directory.mkdir(exist_ok=True)
        self.processes: list[Process] = []
        self.config = self.configure("trial.toml", **settings)

    @property
    def image(self) -> Path:
        return self.replica / "image"

    def configure(self, file_name: str, set_id: str = "trial", **settings: str) -> Path:
        """Write a configuration; a table's lines may be given, and come last."""
        defaults = {
            "source": f'directory = "{self.data}"\nreplica = "127.0.0.1:{self.port}"\n'
            'reconnect = "100ms"\nheartbeat = "200ms"',
            "source.spool": f'directory = "{self.spool}"\nlimit = "64MiB"\nsegment_size = "1MiB"',
            "replica": f'directory = "{self.replica}"\nlisten = "127.0.0.1:{self.port}"\n'
            'heartbeat = "200ms"\nretry = "200ms"',
            "replica.journal": 'limit = "64MiB"\nsegment_size = "1MiB"',
        }
        parts = [f'set = "{set_id}"']
        for table, lines in defaults.items():
            given = settings.get(table.rpartition(".")[2], "")
            changed = {line.partition("=")[0].strip() for line in given.splitlines()}
            kept = [
                line for line in lines.splitlines() if line.partition("=")[0].strip() not in changed
            ]
            parts += [f"[{table}]", *kept, given]
        path = self.base / file_name
        path.write_text("\n".join(parts) + "\n")
        return path

    # -- processes -------------------------------------------------------------------------

    def start(self, name: str, config: Path | None = None) -> Process:
        """``replicator source`` or ``replicator replica``."""
        command = [sys.executable, "-m", "replicator.cli", name, str(config or self.config)]
        return self._started(Process(name, command, self.base))

    def write(self, seed: int, operations: int, *more: str) -> Process:
        """A program that writes the protected set through the client library."""
        command = [sys.executable, str(WRITER), str(self.config), str(seed), str(operations), *more]
        return self._started(Process("writer", command, self.base))

    def _started(self, process: Process) -> Process:
        self.processes.append(process)
        return process

    def end(self) -> None:
        """End what still runs."""
        for process in self.processes:
            process.kill()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ``replicator`` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "replicator.cli", *arguments],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    # -- looking ---------------------------------------------------------------------------

    def status(self, config: Path | None = None) -> Status:
        """What ``replicator status --json`` prints."""
        shown: Status = json.loads(
            json.dumps(read_status(load_configuration(config or self.config)).to_json())
        )
        return shown

    def wait(
        self, condition: Callable[[Status], object], what: str, patience_s: float = PATIENCE_S
    ) -> Status:
        """The first status that fulfils the condition."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            status = self.status()
            if condition(status):
                return status
            time.sleep(0.03)
        logs = "\n".join(f"--- {p.name} {p.pid}\n{p.log}" for p in self.processes)
        raise AssertionError(f"never {what}: {json.dumps(status, indent=1)}\n{logs}")

    def wait_for(self, state: str, end: str = "source") -> Status:
        """Wait for a state of the source, the replica or the program."""
        return self.wait(
            lambda s: s[end] is not None and s[end]["state"] == state, f"{end} {state}"
        )

    def wait_for_condition(self, condition: str, end: str) -> Status:
        """Wait until a process is running, hung, not running ..."""
        return self.wait(
            lambda s: s[end] is not None and s[end]["condition"] == condition, f"{end} {condition}"
        )

    def converge(self) -> Status:
        """Wait until the replica has applied all that is captured; the images must be equal."""

        def converged(status: Status) -> bool:
            source, replica = status["source"]["status"], status["replica"]["status"]
            return (
                source is not None
                and replica is not None
                and source["state"] == "streaming"
                and source["capturing"]
                # The spool's own count is of this instant, reports are a little older.
                and replica["epoch"] == status["spool"]["epoch"]
                and replica["applied"] == status["spool"]["completed"]
                and not replica["damage"]
            )

        status = self.wait(converged, "converged")
        assert tree(self.image) == tree(self.data)
        return status


@contextmanager
def trial(base: Path, **settings: str) -> Iterator[Trial]:
    """A :class:`Trial` whose processes are ended at the end."""
    made = Trial(base, **settings)
    try:
        yield made
    finally:
        made.end()


def random_pages(seed: int) -> Iterator[tuple[int, bytes]]:
    """Pages of 8 KiB at random places of a small database, the same for a seed."""
    numbers = random.Random(seed)
    while True:
        yield numbers.randrange(300) * 8192, numbers.randbytes(8192)
