"""Block synchronization beside rsync: time until durable at the other end, and bytes both ways.

Both on one machine over loopback, in the same minute, of the same file, found in memory: the
replicator's sender and replica; rsync to a daemon of its own.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from replicator.errors import BadInput
from replicator.status_view import StatusView
from simulator.payload import PayloadPool
from tests.benchmarks.live import (
    COMPRESSIBLE_SHARE,
    PATIENCE_S,
    POLL_S,
    BenchmarkFailed,
    LiveRig,
    Progress,
    Setting,
    fill,
    free_port,
    live_rig,
    processor_seconds,
    same,
    settle,
    sync_path,
    warm,
)
from tests.benchmarks.table import Table
from tests.processes.trial import Process

NAME = "synchronization"
PAGE_BYTES = 8192
_FILE = "pages"
_SYNCHRONIZING = " source: synchronizing"
_SYNCHRONIZED = " source: the replica is synchronized"

RSYNC = ("--inplace", "--no-whole-file")
PEERS = {
    "rsync": RSYNC,
    "rsync, 8 KiB, zstd": (
        *RSYNC,
        "--block-size=8192",
        "--compress",
        "--compress-choice=zstd",
        "--compress-level=1",
    ),
}
OURS = "replicator"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    file_bytes: int
    repetitions: int
    pause_s: float
    """Before each measurement."""


FULL = Scale(1 << 30, 3, 2.0)
QUICK = Scale(64 << 20, 1, 0.5)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One synchronization."""

    seconds: float
    processor_s: float
    sent_bytes: int
    received_bytes: int
    start_s: float = 0.0
    """Part of it: until the processes of both ends spoke."""
    promised_s: float = 0.0
    """When the new image was durable at the replica, before it was laid out."""
    silent_s: float = 0.0
    """After the end, until the replica's process reported again."""

    @property
    def wire_bytes(self) -> int:
        return self.sent_bytes + self.received_bytes


def check(setting: Setting) -> None:
    """Raises BadInput when rsync is not installed, or when there is no room."""
    if shutil.which("rsync") is None:
        raise BadInput(
            f"the benchmark {NAME!r} measures beside rsync, which is not installed: install the "
            "package rsync, or name other benchmarks",
            remedy="",
        )
    scale = QUICK if setting.quick else FULL
    setting.require_room(NAME, (4 + len(PEERS)) * scale.file_bytes)


# -- the replicator --------------------------------------------------------------------


def _forget_history(rig: LiveRig) -> None:
    """Take away what the source knows of the replica: all must be compared."""
    for path in rig.spool.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _size_bytes(path: Path) -> int:
    """Of a file that may be removed meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def replicate(rig: LiveRig, replica: Process, number: int) -> Transfer:
    """A source that knows nothing of the replica synchronizes it; from its start on."""
    counts = rig.base / f"counts.{number}.json"
    before = rig.look()
    known = before.replica and before.replica.last_known
    epoch = known["epoch"] if known else 0
    replica_before_s = processor_seconds(replica.pid)
    staging = rig.replica / "staging"
    rig.until(lambda _view: not any(staging.glob("*.pages")), "removing what was staged before")
    started, started_wall = time.perf_counter(), time.time()
    source = rig.run_module("source", "counted_source", rig.config, counts)
    seen_bytes, gone_at, gone_wall_ns = -1, None, 0
    end = time.monotonic() + PATIENCE_S
    rig.progress.begin("the replicator synchronizes")
    while gone_at is None:
        # The staged pages are cut off and removed once a checkpoint says that they are in place.
        size_bytes = sum(_size_bytes(path) for path in staging.glob("*.pages"))
        if size_bytes > seen_bytes:
            seen_bytes = size_bytes
        elif size_bytes < seen_bytes or (not size_bytes and _in_place(rig.look(), epoch)):
            gone_at, gone_wall_ns = time.perf_counter(), time.time_ns()
        if not source.running or time.monotonic() > end:
            raise BenchmarkFailed(f"the replicator does not synchronize\n{rig.said()}")
        rig.progress.tick()
        time.sleep(POLL_S)
    spent_s = processor_seconds(source.pid) + processor_seconds(replica.pid) - replica_before_s
    after = rig.until(
        lambda view: _in_place(view, epoch) and _reported_ns(view) > gone_wall_ns,
        "the replica reports its new image",
    )
    rig.dismiss(source)
    found = json.loads(counts.read_text())
    if found["connections"] != 1:
        raise BenchmarkFailed(f"the connection broke\n{rig.said()}")
    return Transfer(
        gone_at - started,
        spent_s,
        found["sent_bytes"],
        found["received_bytes"],
        _said_at(source, _SYNCHRONIZING) - started_wall,
        _said_at(source, _SYNCHRONIZED) - started_wall,
        (_reported_ns(after) - gone_wall_ns) / 1e9,
    )


def _in_place(view: StatusView, epoch: int) -> bool:
    """Whether the image is that of a newer epoch, the one that is captured."""
    replica = view.replica and view.replica.status
    spool = view.spool
    return bool(
        replica
        and spool
        and spool.capturing
        and replica["epoch"] == spool.epoch > epoch
        and replica["applied"] == spool.completed
    )


def _reported_ns(view: StatusView) -> int:
    """When the replica last reported, by the wall clock."""
    return (view.replica and view.replica.as_of_wall_ns) or 0


def _said_at(source: Process, what: str) -> float:
    """Wall time, in seconds, of a line of the source's log."""
    for line in source.log.splitlines():
        if what in line:
            return datetime.fromisoformat(line.split()[0]).timestamp()
    raise BenchmarkFailed(f"the source never says {what!r}\n{source.log}")


# -- the peers -------------------------------------------------------------------------


class Rsync:
    """An rsync daemon on loopback with a module for each peer; see :func:`rsync_daemon`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port = free_port()
        modules = []
        for number in range(len(PEERS)):
            (base / f"peer{number}").mkdir()
            modules += [f"[peer{number}]", f"path = {base}/peer{number}", "read only = no"]
        config = base / "rsyncd.conf"
        head = ["use chroot = no"]
        if os.getuid() == 0:
            head += ["uid = 0", "gid = 0"]
        config.write_text("\n".join([*head, *modules]) + "\n")
        command = ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1"]
        command += [f"--port={self.port}", f"--config={config}", f"--log-file={base}/rsyncd.log"]
        self.daemon = Process("rsyncd", command, base)

    def copy_of(self, peer: str) -> Path:
        """The file at the other end."""
        return self.base / f"peer{list(PEERS).index(peer)}" / _FILE

    def wait(self) -> None:
        """Return when the daemon listens; raises BenchmarkFailed."""
        end = time.monotonic() + 10
        command = ["rsync", f"rsync://127.0.0.1:{self.port}/"]
        while subprocess.run(command, capture_output=True, timeout=10, check=False).returncode:
            if not self.daemon.running or time.monotonic() > end:
                raise BenchmarkFailed(f"the rsync daemon does not listen\n{self.daemon.log}")
            time.sleep(0.05)

    def transfer(self, peer: str, source: Path, progress: Progress) -> Transfer:
        """Bring the peer's copy up to date, durably."""
        copy = self.copy_of(peer)
        module = f"rsync://127.0.0.1:{self.port}/{copy.parent.name}/"
        command = ["rsync", "--times", "--ignore-times", "--stats", "--no-human-readable"]
        command += [*PEERS[peer], str(source), module]
        daemon_before_s = processor_seconds(self.daemon.pid, children=True)
        client_before_s = _children_seconds()
        progress.begin(peer)
        started = time.perf_counter()
        with subprocess.Popen(
            command,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as client:
            try:
                while client.poll() is None and time.perf_counter() - started < PATIENCE_S:
                    progress.tick()
                    time.sleep(POLL_S)
            finally:
                client.kill()
            said = client.stdout.read() if client.stdout else ""
        if client.returncode:
            raise BenchmarkFailed(f"rsync ended with {client.returncode}: {said}")
        sync_path(copy)
        seconds = time.perf_counter() - started
        time.sleep(0.1)  # until the daemon has seen the end of its child
        return Transfer(
            seconds,
            _children_seconds()
            - client_before_s
            + processor_seconds(self.daemon.pid, children=True)
            - daemon_before_s,
            _stat(said, "Total bytes sent"),
            _stat(said, "Total bytes received"),
        )


@contextmanager
def rsync_daemon(base: Path) -> Iterator[Rsync]:
    """A daemon that is ended at the end."""
    rsync = Rsync(base)
    try:
        rsync.wait()
        yield rsync
    finally:
        rsync.daemon.kill()


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _stat(said: str, name: str) -> int:
    found = re.search(rf"^{name}: ([\d,]+)", said, re.MULTILINE)
    if found is None:
        raise BenchmarkFailed(f"rsync does not say {name!r}: {said}")
    return int(found[1].replace(",", ""))


# -- the table -------------------------------------------------------------------------


def change_pages(path: Path, share: float, seed: int) -> int:
    """Write new pages at random places; returns how many, when they are durable."""
    places = path.stat().st_size // PAGE_BYTES
    chosen = random.Random(seed).sample(range(places), max(1, int(places * share)))
    pool = PayloadPool(COMPRESSIBLE_SHARE, 1000 + seed)
    fd = os.open(path, os.O_WRONLY)
    try:
        for place in sorted(chosen):
            os.pwrite(fd, pool.take((seed << 40) + place, PAGE_BYTES), place * PAGE_BYTES)
        os.fsync(fd)
    finally:
        os.close(fd)
    return len(chosen)


def table(setting: Setting, scale: Scale | None = None) -> Table:
    """The table."""
    scale = scale or (QUICK if setting.quick else FULL)
    size_mib = scale.file_bytes >> 20
    result = Table(
        f"Synchronizing a file of {size_mib:,} MiB, until it is durable at the other end",
        [
            "what differs",
            "by",
            "s",
            "of it start",
            "MB/s",
            "processor s",
            "sent kB",
            "received kB",
            "wire/changed",
            "times as fast",
            "bytes",
        ],
    )
    promised: list[str] = []
    silent: list[str] = []
    with (
        setting.workplace(NAME) as directory,
        rsync_daemon(directory) as rsync,
        live_rig(
            directory / "rig",
            setting.progress,
            source='heartbeat = "200ms"\nheartbeat_misses = 200',
            spool='limit = "1GiB"\nsegment_size = "8MiB"',
            replica='heartbeat = "200ms"\nheartbeat_misses = 200',
            journal='limit = "1GiB"\nsegment_size = "8MiB"',
        ) as rig,
    ):
        file = rig.data / _FILE
        pages = scale.file_bytes // PAGE_BYTES
        fill(file, scale.file_bytes, setting.progress)
        replica = rig.start("replica")
        rig.until(lambda view: view.replica and view.replica.status, "the replica starts")
        number = 0
        for what, repetitions in (
            ("all: first copy", 1),
            ("nothing", scale.repetitions),
            ("1 % of the pages", scale.repetitions),
            ("every page", 1),
        ):
            runs: dict[str, list[Transfer]] = {OURS: []} | {peer: [] for peer in PEERS}
            changed = 0
            for _ in range(repetitions):
                number += 1
                match what:
                    case "all: first copy":
                        changed = pages
                    case "1 % of the pages":
                        changed = change_pages(file, 0.01, number)
                    case "every page":
                        fill(file, scale.file_bytes, setting.progress, seed=number)
                        changed = pages
                _forget_history(rig)
                image = rig.image / _FILE
                settle(directory, scale.pause_s)
                warm(file, image)
                runs[OURS].append(replicate(rig, replica, number))
                _demand_same(file, image)
                for peer in PEERS:
                    copy = rsync.copy_of(peer)
                    settle(directory, scale.pause_s)
                    warm(file, copy)
                    runs[peer].append(rsync.transfer(peer, file, setting.progress))
                    _demand_same(file, copy)
            best = {by: min(found, key=lambda run: run.seconds) for by, found in runs.items()}
            ours = best[OURS]
            for by, run in best.items():
                result.add(
                    what,
                    by,
                    run.seconds,
                    f"{run.start_s:.2f}" if by == OURS else "",
                    scale.file_bytes / run.seconds / 1e6,
                    run.processor_s,
                    run.sent_bytes / 1e3,
                    run.received_bytes / 1e3,
                    f"{run.wire_bytes / (changed * PAGE_BYTES):.2f}" if changed else "",
                    run.seconds / ours.seconds,
                    run.wire_bytes / ours.wire_bytes,
                )
            promised.append(f"{what} {ours.promised_s:.2f} s")
            silent.append(f"{what} {max(run.silent_s for run in runs[OURS]):.2f} s")
        rig.dismiss(replica)
    result.notes = [
        f"Loopback, one volume, all files in memory, page-like payload (shrinks 2:1); best of "
        f"{scale.repetitions} where nothing or 1 % differs, else one run. The other end's copy was "
        "compared byte by byte after each run.",
        "Replicator: from the start of its sender's process, which knows nothing of the replica, "
        "until the new image is laid out, synced and in a checkpoint; of it start: until the two "
        "processes had connected. Its bytes are all frames of "
        "the connection both ways. The image was promised (durable, staged) after: "
        + ", ".join(promised)
        + ". After the end the replica's process was silent, while it removed what was staged, for "
        "up to: " + ", ".join(silent) + ".",
        f"rsync: {' '.join(RSYNC)} --ignore-times to a daemon, then fsync of the copy and its "
        "directory; bytes of --stats. The second also with --block-size=8192 "
        "--compress-choice=zstd --compress-level=1.",
        "times as fast, bytes: the peer's time and bytes as multiples of the replicator's. "
        "Aim at 1 %: 2 times as fast as rsync, fewer bytes.",
    ]
    return result


def _demand_same(original: Path, copy: Path) -> None:
    if not same(original, copy):
        raise BenchmarkFailed("the copy is not equal to the original", path=str(copy))
