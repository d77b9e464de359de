"""Memory of program, sender and replica beside the size of the spool.

The replica goes away, the program writes until the spool holds several GiB, the replica comes
back and catches up.  What counts is that memory does not follow the spool.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from replicator.status_view import StatusView
from replicator.units import format_bytes
from tests.benchmarks.live import (
    PATIENCE_S,
    BenchmarkFailed,
    LiveRig,
    Memory,
    Setting,
    fill,
    last_line,
    live_rig,
    memory_of,
    same,
)
from tests.benchmarks.table import Table
from tests.processes.trial import Process

NAME = "memory"
AIM_BYTES = 200 << 20
_FILE = "pages"
_WRITE_BYTES = 8 << 10
_SYNC_EVERY = 256
_SAMPLE_S = 0.02
_STEPS = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    spool_bytes: int
    file_bytes: int


FULL = Scale(3 << 30, 256 << 20)
QUICK = Scale(512 << 20, 64 << 20)


def check(setting: Setting) -> None:
    """Raises BadInput when there is no room."""
    setting.require_room(NAME, _needed_bytes(QUICK if setting.quick else FULL))


def _needed_bytes(scale: Scale) -> int:
    return scale.spool_bytes * 5 // 4 + (1 << 30) + 4 * scale.file_bytes


@dataclass(slots=True)
class _Sampled:
    """The most that each process had since the last row."""

    processes: dict[str, Process] = field(default_factory=dict)
    most: dict[str, Memory] = field(default_factory=dict)
    ever: dict[str, Memory] = field(default_factory=dict)
    samples: int = 0

    def sample(self) -> None:
        for name, process in self.processes.items():
            found = memory_of(process)
            self.most[name] = self.most.get(name, Memory()).most(found)
            self.ever[name] = self.ever.get(name, Memory()).most(found)
        self.samples += 1

    def row(self, phase: str, view: StatusView, result: Table) -> None:
        """Add a row and begin anew."""
        cells = [
            f"{found.anonymous / (1 << 20):.0f} / {found.total / (1 << 20):.0f}"
            if (found := self.most.get(name, Memory())).total
            else "-"
            for name in ("program", "sender", "replica")
        ]
        spool = view.spool
        waiting, used = (spool.waiting_bytes, spool.used_bytes) if spool else (0, 0)
        result.add(phase, waiting / (1 << 20), used / (1 << 20), *cells)
        self.most.clear()


def _settings(scale: Scale) -> dict[str, str]:
    limit_mib = (scale.spool_bytes * 5 // 4 >> 20) + 64
    return {
        "source": 'heartbeat = "200ms"\nheartbeat_misses = 200',
        "spool": f'limit = "{limit_mib}MiB"\nsegment_size = "8MiB"\npolicy = "hold"',
        "replica": 'heartbeat = "200ms"\nheartbeat_misses = 200',
        "journal": 'limit = "1GiB"\nsegment_size = "8MiB"',
    }


def _fill_spool(rig: LiveRig, scale: Scale, sampled: _Sampled, result: Table) -> None:
    program = rig.run_module(
        "program",
        "page_writer",
        *("captured", rig.config, f"/{_FILE}"),
        *("--size", _WRITE_BYTES, "--every", _SYNC_EVERY, "--file-bytes", scale.file_bytes),
        *("--writes", scale.spool_bytes // _WRITE_BYTES, "--seconds", PATIENCE_S / 2),
    )
    sampled.processes["program"] = program
    rig.progress.begin("the spool fills")
    end, step = time.monotonic() + PATIENCE_S, scale.spool_bytes // _STEPS
    following = step
    view = rig.look()
    while program.running:
        sampled.sample()
        view = rig.look()
        waiting = view.spool.waiting_bytes if view.spool else 0
        if waiting >= following:
            sampled.row("fills", view, result)
            following += step
        if time.monotonic() > end:
            raise BenchmarkFailed(f"the spool does not fill\n{rig.said()}")
        rig.progress.tick(f"{format_bytes(waiting)} of {format_bytes(scale.spool_bytes)}")
        time.sleep(_SAMPLE_S)
    rig.ended(program)
    found = last_line(program)
    view = rig.look()
    if found["bytes"] < scale.spool_bytes * 9 // 10:
        raise BenchmarkFailed(f"only {format_bytes(found['bytes'])} were written in time")
    sampled.row("full", view, result)
    del sampled.processes["program"]


def _catch_up(rig: LiveRig, scale: Scale, sampled: _Sampled, result: Table) -> float:
    """Returns the seconds."""
    step = scale.spool_bytes // _STEPS
    following = scale.spool_bytes - step

    def caught_up(view: StatusView) -> bool:
        nonlocal following
        sampled.sample()
        waiting = view.spool.waiting_bytes if view.spool else 0
        if 0 < waiting <= following:
            sampled.row("drains", view, result)
            following = waiting // step * step - (step if waiting % step == 0 else 0)
        return rig.in_step(view)

    started = time.monotonic()
    view = rig.until(
        caught_up,
        "the replica catches up",
        lambda view: f"{format_bytes(view.spool.waiting_bytes)} left" if view.spool else "",
        _SAMPLE_S,
    )
    seconds = time.monotonic() - started
    sampled.row("in step", view, result)
    return seconds


def table(setting: Setting, scale: Scale | None = None) -> Table:
    """The table."""
    scale = scale or (QUICK if setting.quick else FULL)
    result = Table(
        f"Memory beside a spool of {scale.spool_bytes >> 20:,} MiB: own / resident, MiB",
        ["phase", "waiting MiB", "spool MiB", "program", "sender", "replica"],
    )
    sampled = _Sampled()
    with (
        setting.workplace(NAME) as directory,
        live_rig(directory, setting.progress, **_settings(scale)) as rig,
    ):
        fill(rig.data / _FILE, scale.file_bytes, setting.progress)
        replica = rig.start("replica")
        sampled.processes = {"replica": replica, "sender": (source := rig.start("source"))}

        def synchronized(view: StatusView) -> bool:
            sampled.sample()
            return rig.in_step(view)

        view = rig.until(synchronized, "synchronizing", poll_s=_SAMPLE_S)
        sampled.row("synchronized", view, result)
        del sampled.processes["replica"]
        rig.dismiss(replica)
        _fill_spool(rig, scale, sampled, result)
        sampled.processes["replica"] = replica = rig.start("replica")
        seconds = _catch_up(rig, scale, sampled, result)
        rig.dismiss(source)
        rig.dismiss(replica)
        _demand_image(rig)
    highest = ", ".join(
        f"{name} {most.total / (1 << 20):.0f}" for name, most in sorted(sampled.ever.items())
    )
    result.notes = [
        f"Writes of {_WRITE_BYTES >> 10} KiB through the client library while the replica is away, "
        f"a sync every {_SYNC_EVERY}; then the replica catches up, in {seconds:.1f} s "
        f"({scale.spool_bytes / seconds / 1e6:.0f} MB/s). Page-like payload, which shrinks 2:1; "
        "the program keeps 20 MiB of it at hand.",
        f"Each row: the most since the row before, {sampled.samples:,} samples; own is RssAnon, "
        "resident VmRSS. waiting: what the replica has not released; spool: its disk space.",
        f"Most of all, resident: {highest} MiB. Aim: less than {AIM_BYTES >> 20} MiB for each "
        "process, whatever the size of the spool.",
    ]
    return result


def _demand_image(rig: LiveRig) -> None:
    image: Path = rig.image / _FILE
    if not same(rig.data / _FILE, image):
        raise BenchmarkFailed("the image is not equal to the original", path=str(image))
