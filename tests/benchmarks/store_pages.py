"""Verification of a store's pages: gigabytes a second on one core, beside a plain read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

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


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "Pages verified: GB/s on one core",
        [
            "page size",
            "in memory",
            "from a file",
            "plain read of the file",
            "sum of the bytes",
            "aim",
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
                    for start in range(0, total, CHUNK_BYTES):
                        chunk = read_exactly(reader, start, CHUNK_BYTES)
                        assert quick_verdicts(chunk, size, start // size + 1).all()

            def read(path: Path = path) -> None:
                with FileReader(path) as reader:
                    for start in range(0, total, CHUNK_BYTES):
                        read_exactly(reader, start, CHUNK_BYTES)

            figures = [
                total / best_seconds(run) / 1e9
                for run in (verify, from_file, read, lambda words=words: words.sum())
            ]
            result.add(f"{size // 1024} KiB", *figures, "1")
    result.notes = ["The file lies in the operating system's cache."]
    return result
