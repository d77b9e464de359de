"""Verification of a store's pages: gigabytes a second on one core and on all, beside a plain read.

One core: processor time.  All cores: wall time of what ``replicator ese verify`` does, with a
thread for each core; the plain read beside it by the wall clock, too.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from replicator.cli_ese import all_cores
from replicator.ese.checksum import with_checksums
from replicator.ese.reader import FileReader, read_exactly
from replicator.ese.verification import quick_verdicts
from tests.benchmarks.table import Table, best_seconds

SIZES = (4096, 8192, 16384, 32768)
CHUNK_BYTES = 4 << 20


def _pages(size: int, count: int) -> bytes:
    """Pages of noise that verify."""
    noise = np.random.default_rng(1).integers(0, 256, (64, size), np.uint8)
    noise[:, 37] |= 0x20
    pages = bytearray()
    for number in range(1, count + 1):
        page = noise[number % 64]
        if size > 8192:
            page[64:68] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)
        pages += with_checksums(page.tobytes(), number)
    return bytes(pages)


def _chunks(reader: FileReader, total: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The number of the first page of each chunk, and the chunk."""
    for start in range(0, total, CHUNK_BYTES):
        yield start // size + 1, read_exactly(reader, start, CHUNK_BYTES)


def table(quick: bool) -> Table:
    """The table."""
    cores = os.cpu_count() or 1
    result = Table(
        "Pages verified: GB/s",
        [
            "page size",
            "in memory",
            "from a file",
            "plain read of the file",
            "sum of the bytes",
            "aim",
            f"{cores} cores, wall: from a file",
            "plain read",
        ],
    )
    total = (16 << 20) if quick else (128 << 20)
    with tempfile.TemporaryDirectory() as directory:
        for size in SIZES:
            data = _pages(size, total // size)
            path = Path(directory) / "pages"
            path.write_bytes(data)
            words = np.frombuffer(data, np.uint64)

            def verify(data: bytes = data, size: int = size) -> None:
                assert quick_verdicts(data, size, 1).all()

            def from_file(path: Path = path, size: int = size) -> None:
                with FileReader(path) as reader:
                    for first, chunk in _chunks(reader, total, size):
                        assert quick_verdicts(chunk, size, first).all()

            def read(path: Path = path, size: int = size) -> None:
                with FileReader(path) as reader:
                    for _ in _chunks(reader, total, size):
                        pass

            def on_all_cores(path: Path = path, size: int = size) -> None:
                def judge(chunk: tuple[int, bytes]) -> bool:
                    return bool(quick_verdicts(chunk[1], size, chunk[0]).all())

                with FileReader(path) as reader, all_cores() as ahead:
                    assert all(ahead(judge, _chunks(reader, total, size)))

            figures = [
                total / best_seconds(run) / 1e9
                for run in (verify, from_file, read, lambda words=words: words.sum())
            ]
            wall = [
                total / best_seconds(run, clock=time.perf_counter) / 1e9
                for run in (on_all_cores, read)
            ]
            result.add(f"{size // 1024} KiB", *figures, "1", *wall)
    result.notes = ["The file lies in the operating system's cache."]
    return result
