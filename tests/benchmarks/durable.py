"""Captured, durable at the replica, applied there: page writes of a program with syncs.

A program, a sender and a replica as real processes on one machine and one disk.  Beside it
what the disk gives without any of it.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicator.status_view import StatusView
from tests.benchmarks.live import (
    PATIENCE_S,
    BenchmarkFailed,
    LiveRig,
    Setting,
    fill,
    last_line,
    live_rig,
    settle,
    sync_path,
)
from tests.benchmarks.table import Table

NAME = "durable"
HEARTBEAT = "50ms"
_POLL_S = 0.02
_FILE = "pages"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    seconds: float
    """Of writing, at most."""
    file_bytes: int
    written_bytes: int
    """At most."""
    repetitions: int
    limit_seconds: float
    """Of measuring the disk alone."""
    pause_s: float
    """Before each measurement."""


FULL = Scale(8.0, 256 << 20, 1 << 30, 3, 2.0, 2.0)
QUICK = Scale(1.5, 64 << 20, 256 << 20, 1, 0.5, 0.5)
LOADS = ((8 << 10, 1), (8 << 10, 32), (64 << 10, 1), (64 << 10, 32))
"""Bytes of a write, and writes between two syncs."""


def check(setting: Setting) -> None:
    """Raises BadInput when there is no room."""
    scale = QUICK if setting.quick else FULL
    setting.require_room(NAME, 4 * scale.file_bytes + 6 * scale.written_bytes)


@dataclass(frozen=True, slots=True)
class Replicated:
    """One run of the program; seconds from its first write."""

    writes: int
    size_bytes: int
    captured_s: float
    durable_s: float
    applied_s: float


class _Marks:
    """When which operation was first seen to be durable, and applied."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[int, int, int]]] = {"durable": [], "applied": []}
        """(epoch, operation, wall time) each."""

    def note(self, view: StatusView) -> None:
        for mark, end in (("durable", view.source), ("applied", view.replica)):
            if end is not None and end.status is not None and end.as_of_wall_ns is not None:
                status = end.status
                if status[mark] is not None:
                    self.seen[mark].append((status["epoch"], status[mark], end.as_of_wall_ns))

    def reached(self, mark: str, epoch: int, operation: int) -> int | None:
        """The wall time of the first report of it."""
        for seen_epoch, seen, wall_ns in self.seen[mark]:
            if seen_epoch == epoch and seen >= operation:
                return wall_ns
        return None


def replicate(rig: LiveRig, scale: Scale, size_bytes: int, every: int) -> Replicated:
    """Let the program write, and watch until all of it is applied."""
    marks = _Marks()
    program = rig.run_module(
        "program",
        "page_writer",
        *("captured", rig.config, f"/{_FILE}"),
        *("--size", size_bytes, "--every", every, "--file-bytes", scale.file_bytes),
        *("--writes", scale.written_bytes // size_bytes, "--seconds", scale.seconds),
    )
    rig.progress.begin(f"{size_bytes >> 10} KiB, sync every {every}")
    end = time.monotonic() + PATIENCE_S
    while program.running and time.monotonic() < end:
        marks.note(rig.look())
        rig.progress.tick("the program writes")
        time.sleep(_POLL_S)
    rig.ended(program)
    found = last_line(program)
    epoch, last = found["epoch"], found["completed"]

    def all_applied(view: StatusView) -> bool:
        marks.note(view)
        return all(marks.reached(mark, epoch, last) is not None for mark in marks.seen)

    rig.until(all_applied, "waiting for the replica", poll_s=_POLL_S)

    def seconds(wall_ns: int | None) -> float:
        assert wall_ns is not None
        return (max(wall_ns, found["end_ns"]) - found["begin_ns"]) / 1e9

    return Replicated(
        found["writes"],
        found["bytes"],
        seconds(found["end_ns"]),
        seconds(marks.reached("durable", epoch, last)),
        seconds(marks.reached("applied", epoch, last)),
    )


def plain_seconds(rig: LiveRig, scale: Scale, path: Path, run: Replicated, every: int) -> float:
    """The same writes without the replicator."""
    program = rig.run_module(
        "plain",
        "page_writer",
        *("plain", path, "--size", run.size_bytes // run.writes, "--every", every),
        *("--file-bytes", scale.file_bytes, "--writes", run.writes, "--seconds", PATIENCE_S / 2),
    )
    rig.progress.begin("the same writes without the replicator")
    rig.ended(program)
    found: dict[str, Any] = last_line(program)
    if found["writes"] != run.writes:
        raise BenchmarkFailed("the plain program was not done in time")
    return float(found["end_ns"] - found["begin_ns"]) / 1e9


def copy_seconds(rig: LiveRig, scale: Scale, run: Replicated) -> float:
    """As many bytes copied by cp, then sync of that file."""
    original, copy = rig.base / "original", rig.base / "copy"
    fill(original, run.size_bytes, rig.progress)
    settle(rig.base, scale.pause_s)
    started = time.perf_counter()
    for command in (["cp", str(original), str(copy)], ["sync", str(copy)]):
        subprocess.run(command, check=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    original.unlink(), copy.unlink()
    return seconds


def syncs_per_second(directory: Path, size_bytes: int, seconds: float) -> float:
    """How often this disk makes one write of so many bytes durable, at a place laid out before."""
    path = directory / "limit"
    data = os.urandom(size_bytes)
    path.write_bytes(data)
    sync_path(path)
    fd, count = os.open(path, os.O_WRONLY), 0
    try:
        started = time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            os.pwrite(fd, data, 0)
            os.fdatasync(fd)
            count += 1
    finally:
        os.close(fd)
        path.unlink()
    return count / spent


def table(setting: Setting, scale: Scale | None = None) -> Table:
    """The table."""
    scale = scale or (QUICK if setting.quick else FULL)
    result = Table(
        "Captured, durable, applied: real processes, MB/s",
        [
            "write",
            "sync",
            "writes",
            "captured",
            "durable",
            "applied",
            "after ms",
            "plain",
            "cp",
            "limit",
            "syncs/s",
            "/plain",
            "/cp",
        ],
    )
    with (
        setting.workplace(NAME) as directory,
        live_rig(
            directory,
            setting.progress,
            source=f'heartbeat = "{HEARTBEAT}"\nheartbeat_misses = 200',
            spool='limit = "4GiB"\nsegment_size = "8MiB"\npolicy = "hold"',
            replica=f'heartbeat = "{HEARTBEAT}"\nheartbeat_misses = 200',
            journal='limit = "1GiB"\nsegment_size = "8MiB"',
        ) as rig,
    ):
        other = directory / "plain"
        for path in (rig.data / _FILE, other):
            fill(path, scale.file_bytes, setting.progress)
        replica, source = rig.start("replica"), rig.start("source")
        for size_bytes, every in LOADS:
            runs: list[Replicated] = []
            plain: list[float] = []
            copies: list[float] = []
            rates: list[float] = []
            for _ in range(scale.repetitions):
                rig.until(rig.in_step, "synchronizing")
                settle(directory, scale.pause_s)
                runs.append(replicate(rig, scale, size_bytes, every))
                bytes_each = runs[-1].size_bytes
                settle(directory, scale.pause_s)
                plain.append(bytes_each / plain_seconds(rig, scale, other, runs[-1], every))
                settle(directory, scale.pause_s)
                rates.append(syncs_per_second(directory, size_bytes * every, scale.limit_seconds))
                copies.append(bytes_each / copy_seconds(rig, scale, runs[-1]))
            best = min(runs, key=lambda run: run.durable_s / run.size_bytes)
            durable = best.size_bytes / best.durable_s
            result.add(
                f"{size_bytes >> 10} KiB",
                f"every {every}",
                best.writes,
                best.size_bytes / best.captured_s / 1e6,
                durable / 1e6,
                best.size_bytes / best.applied_s / 1e6,
                (best.durable_s - best.captured_s) * 1e3,
                max(plain) / 1e6,
                max(copies) / 1e6,
                max(rates) * size_bytes * every / 1e6,
                max(rates),
                durable / max(plain),
                durable / max(copies),
            )
        rig.until(rig.in_step, "the last of it")
        rig.dismiss(source)
        rig.dismiss(replica)
    result.notes = [
        f"Program, sender and replica on one machine and one volume; page-like payload (shrinks "
        f"2:1) at random places of a file of {scale.file_bytes >> 20} MiB; for at most "
        f"{scale.seconds:g} s or {scale.written_bytes >> 20} MiB; best of {scale.repetitions}.",
        "From the first write until: the program's last sync returned (captured), the source has "
        "the replica's word that all is durable there, the replica has applied all. The last two "
        f"are as the processes report them, every {int(HEARTBEAT[:-2]) // 2} ms.",
        "plain: the same writes of the same program without the replicator, pwrite and fdatasync. "
        "cp: as many bytes, cp and sync FILE. limit: what is between two syncs in one piece, "
        "always to the same place, and fdatasync (syncs/s): the disk's own rate. /plain, /cp: "
        "durable as a part of these. after ms: from captured to durable.",
        "Each captured byte is written to this disk four times (spool, file, journal, image), "
        "compressed in the journal.",
    ]
    return result
