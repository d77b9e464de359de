"""Logs of version 8 written: megabytes a second on one core, encoder alone and on the disk."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_options import LogOwner, LogStreamOptions
from replicator.ese.log_record_types import Kind
from replicator.ese.log_stream import LogStream
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.values import LogTime, Signature
from replicator.runtime import Kernel
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.runtime import SimClock
from simulator.volume import SimVolume
from tests.benchmarks.table import Table, best_seconds

NOW = log_time_at(10**18)
SIZES = (8, 83, 69, 354, 44, 120, 1500, 8, 83, 69)
"""About what a message makes: small page changes, one body."""
RECORDS = [
    bytes((Kind.MACRO_INFO,)) + (size - 5).to_bytes(4, "little") + bytes(size - 5) for size in SIZES
]
MESSAGE_BYTES = sum(SIZES)


def _encode(messages: int, total_bytes: int, segments_a_write: int | None) -> None:
    log_format = LogV8Format(now=lambda: NOW, segments_a_write=segments_a_write)
    done = generation = 0
    while done < total_bytes:
        generation += 1
        encoder = log_format.encoder(log_format.header(generation, NOW))
        while encoder.fits(messages * MESSAGE_BYTES + 4096):
            for _ in range(messages):
                for record in RECORDS:
                    encoder.append(record)
            encoder.flush()
            done += messages * MESSAGE_BYTES


def _write(messages: int, total_bytes: int, segments_a_write: int | None) -> None:
    clock = SimClock()
    kernel = Kernel(clock)
    volume = SimVolume(Disk(clock, replace(INSTANT, size_bytes=1 << 30), "disk"), kernel)
    log_format = LogV8Format(now=lambda: NOW, segments_a_write=segments_a_write)

    async def began(generation: int, created: LogTime) -> None:
        pass

    async def script() -> None:
        log = await LogStream.create(
            volume,
            "/",
            log_format,
            LogOwner(lambda header: header, began),
            now=lambda: NOW,
            signature=Signature(1, NOW),
            options=LogStreamOptions(circular=True),
        )
        for _ in range(total_bytes // (messages * MESSAGE_BYTES)):
            for _message in range(messages):
                for record in RECORDS:
                    log.append(record)
            await log.flush()
            log.delete_below(log.generation)
        await log.close()

    task = kernel.run_task(script(), "benchmark")
    clock.run_until_idle()
    task.result()


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "Logs written: MB/s on one core",
        ["a flush", "encoder", "stream, a segment a write", "stream, a flush a write", "aim"],
    )
    total = (2 << 20) if quick else (16 << 20)
    for messages in (1, 10, 60):
        figures = [
            total / best_seconds(partial(run, messages, total, each)) / 1e6
            for run, each in ((_encode, 1), (_write, 1), (_write, None))
        ]
        result.add(f"{messages * MESSAGE_BYTES / 1000:.1f} kB", *figures, "-")
    result.notes = ["The stream writes to an emulated disk that takes no time, logs of 1 MB."]
    return result
