"""What the benchmarks of real processes share: where they work, what they say, whom they start.

All files lie below one directory that is made for the run and removed at its end.  Every wait
is bounded; what does not come in time ends the benchmark with what the processes said, never
with a figure.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from replicator.config import load_configuration
from replicator.errors import BadInput, ExitCode, ReplicatorError
from replicator.host.status_reader import read_status
from replicator.status_view import StatusView
from replicator.units import format_bytes
from simulator.payload import PayloadPool
from tests.processes.trial import Process, Trial, free_port

PATIENCE_S = 600.0
"""No single step takes longer."""
POLL_S = 0.005
_QUIET_S = 2.0
_LINE_S = 10.0
_REDRAW_S = 0.2
_FILL_BYTES = 1 << 20
COMPRESSIBLE_SHARE = 0.5
"""Page-like payload, which shrinks 2:1."""


class BenchmarkFailed(ReplicatorError):
    """There is no figure: something did not come, or is not as it must be."""

    exit_code: ClassVar[ExitCode] = ExitCode.INCONCLUSIVE


class Progress:
    """A line on standard error while something takes longer than two seconds.

    On a terminal it is drawn anew, elsewhere written every ten seconds.
    """

    def __init__(self) -> None:
        self._what = ""
        self._since = self._next = time.monotonic()
        self._drawn = 0

    def begin(self, what: str) -> None:
        """Something new is underway."""
        self.end()
        self._what = what
        self._since = time.monotonic()
        self._next = self._since + _QUIET_S

    def tick(self, how_far: str = "") -> None:
        """Call it often."""
        now = time.monotonic()
        if now < self._next:
            return
        line = f"{self._what}: {how_far or 'underway'}, {now - self._since:.0f} s"
        if sys.stderr.isatty():
            print(f"\r{line:<{self._drawn}}", end="", file=sys.stderr, flush=True)
            self._drawn, self._next = len(line), now + _REDRAW_S
        else:
            print(line, file=sys.stderr, flush=True)
            self._next = now + _LINE_S

    def end(self) -> None:
        """Wipe what was drawn."""
        if self._drawn:
            print(f"\r{'':<{self._drawn}}\r", end="", file=sys.stderr, flush=True)
            self._drawn = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """How a benchmark of real processes is run.

    Arguments
    ---------
    directory: where the directory of the run is made; on the volume that is measured.
    quick: fewer repetitions and smaller sizes.
    """

    directory: Path
    quick: bool
    progress: Progress

    @contextmanager
    def workplace(self, name: str) -> Iterator[Path]:
        """A directory for one benchmark, removed at its end."""
        path = Path(tempfile.mkdtemp(prefix=f"benchmark-{name}-", dir=self.directory)).resolve()
        try:
            yield path
        finally:
            self.progress.end()
            shutil.rmtree(path)

    def require_room(self, name: str, needed_bytes: int) -> None:
        """Raises BadInput when the volume has less room than the benchmark will take."""
        if not self.directory.is_dir():
            raise BadInput("there is no such directory", path=str(self.directory))
        free_bytes = shutil.disk_usage(self.directory).free
        if free_bytes < needed_bytes:
            raise BadInput(
                f"the benchmark {name!r} needs {format_bytes(needed_bytes)} on this volume, "
                f"{format_bytes(free_bytes)} are free",
                path=str(self.directory),
                remedy="Name a directory on another volume with --directory, or use --quick.",
            )


class LiveRig(Trial):
    """Source, replica and programs on this machine, for a benchmark.

    Arguments
    ---------
    base, settings: as of :class:`~tests.processes.trial.Trial`.
    """

    def __init__(self, base: Path, progress: Progress, **settings: str) -> None:
        base.mkdir(exist_ok=True)
        super().__init__(base, **settings)
        self.progress = progress
        self._loaded = load_configuration(self.config)
        self._dismissed: list[Process] = []

    def look(self) -> StatusView:
        """How all ends are now, as they say themselves."""
        return read_status(self._loaded)

    def run_module(self, name: str, module: str, *arguments: object) -> Process:
        """Start a module of ours as a process."""
        command = [sys.executable, "-P", "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
        return self._started(Process(name, command, self.base))

    def until(
        self,
        condition: Callable[[StatusView], object],
        what: str,
        how_far: Callable[[StatusView], str] | None = None,
        poll_s: float = POLL_S,
    ) -> StatusView:
        """The first status that fulfils the condition; raises BenchmarkFailed."""
        end = time.monotonic() + PATIENCE_S
        self.progress.begin(what)
        while True:
            view = self.look()
            if condition(view):
                return view
            services = [p for p in self.processes if p.name in ("source", "replica")]
            ended = [p for p in services if not p.running and p not in self._dismissed]
            if ended or time.monotonic() > end:
                cause = f"{ended[0].name} has ended" if ended else f"not within {PATIENCE_S:.0f} s"
                raise BenchmarkFailed(f"{what}: {cause}\n{self.said()}")
            self.progress.tick(how_far(view) if how_far else "")
            time.sleep(poll_s)

    def said(self) -> str:
        """The last lines of all processes' logs."""
        lines = [f"--- {p.name} {p.pid}\n{p.log[-2000:]}" for p in self.processes]
        return "\n".join(lines)

    def dismiss(self, process: Process) -> None:
        """Ask a service to end in good order, and wait until it has."""
        self._dismissed.append(process)
        process.signal(signal.SIGTERM)
        self.ended(process)

    def ended(self, process: Process) -> None:
        """Wait for a process to end well; raises BenchmarkFailed."""
        end = time.monotonic() + PATIENCE_S
        while process.running and time.monotonic() < end:
            self.progress.tick(f"waiting for the {process.name}")
            time.sleep(POLL_S)
        code = process.ends(0.1) if not process.running else None
        if code != 0:
            raise BenchmarkFailed(f"the {process.name} ended with {code}\n{self.said()}")

    def in_step(self, view: StatusView) -> bool:
        """Whether the replica has applied all that is captured."""
        source = view.source and view.source.status
        replica = view.replica and view.replica.status
        return bool(
            source
            and replica
            and view.spool
            and source["state"] == "streaming"
            and source["capturing"]
            and replica["epoch"] == view.spool.epoch
            and replica["applied"] == view.spool.completed
        )


@contextmanager
def live_rig(base: Path, progress: Progress, **settings: str) -> Iterator[LiveRig]:
    """A rig whose processes are ended at the end."""
    rig = LiveRig(base, progress, **settings)
    try:
        yield rig
    finally:
        rig.end()


def last_line(process: Process) -> dict[str, Any]:
    """The JSON object that a program of ours prints at its end."""
    lines = process.log.splitlines()
    document: dict[str, Any] = json.loads(lines[-1])
    return document


# -- files -----------------------------------------------------------------------------


def fill(path: Path, size_bytes: int, progress: Progress, seed: int = 0) -> None:
    """Make a file of page-like payload, or write it anew in place; returns when it is durable."""
    pool = PayloadPool(COMPRESSIBLE_SHARE, seed)
    flags = os.O_WRONLY | os.O_CREAT
    fd = os.open(path, flags, 0o644)
    progress.begin(f"filling {path.name}")
    try:
        for at in range(0, size_bytes, _FILL_BYTES):
            length = min(_FILL_BYTES, size_bytes - at)
            pages = [pool.take((seed << 40) + at + n, 8192) for n in range(0, length, 8192)]
            os.pwrite(fd, b"".join(pages)[:length], at)
            progress.tick(f"{format_bytes(at)} of {format_bytes(size_bytes)}")
        os.fsync(fd)
    finally:
        os.close(fd)


def warm(*paths: Path) -> None:
    """Read files, so that what follows finds them in memory."""
    buffer = bytearray(_FILL_BYTES)
    for path in paths:
        if path.exists():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def settle(directory: Path, pause_s: float) -> None:
    """Let the volume come to rest: what was written or removed before costs it time after that.

    Freed space, for instance, is told to the disk (discard) some time after the files went.
    """
    for _ in range(2):
        command = ["sync", "--file-system", str(directory)]
        subprocess.run(command, check=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
        time.sleep(pause_s / 2)


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while data := left.read(_FILL_BYTES):
            if data != right.read(_FILL_BYTES):
                return False
    return True


def sync_path(path: Path) -> None:
    """Make a file and its name durable."""
    for each in (path, path.parent):
        fd = os.open(each, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


# -- processes -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process, in bytes."""

    anonymous: int = 0
    """Its own: heap, stacks."""
    total: int = 0
    """With the parts of files that it maps: the interpreter, libraries."""

    def most(self, other: Memory) -> Memory:
        """The greater of each."""
        return Memory(max(self.anonymous, other.anonymous), max(self.total, other.total))


def memory_of(process: Process) -> Memory:
    """The process's memory now; nothing when it is gone."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return Memory()
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "VmRSS"):
            found[name] = int(value.split()[0]) * 1024
    return Memory(found.get("RssAnon", 0), found.get("VmRSS", 0))


def processor_seconds(pid: int, children: bool = False) -> float:
    """Processor time of a process so far, or that of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    first = 13 if children else 11
    return (int(fields[first]) + int(fields[first + 1])) / os.sysconf("SC_CLK_TCK")


__all__ = [
    "BenchmarkFailed",
    "LiveRig",
    "Memory",
    "Progress",
    "Setting",
    "fill",
    "free_port",
    "last_line",
    "live_rig",
    "memory_of",
    "processor_seconds",
    "same",
    "settle",
    "sync_path",
    "warm",
]
