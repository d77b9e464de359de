"""How fast this machine is just now: the yardstick that stands beside each table.

The figures of a benchmark mean something only against what the same machine does in the
same minute with the same payload, since machines vary and other processes take their part.
"""

from __future__ import annotations

from dataclasses import dataclass

import xxhash
import zstandard

from simulator.payload import PayloadPool
from tests.benchmarks.table import best_seconds

PAGE_BYTES = 8192
BATCH_BYTES = 256 << 10
_ROUNDS = 200_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """Rates of this machine; GB and MB are decimal."""

    calls_per_second: float
    """A Python function that adds two numbers, called in a loop."""
    copy_gb_per_second: float
    """8 KiB blocks copied into new memory, out of 64 MiB."""
    xxh3_gb_per_second: float
    """xxh3_128 of the same 8 KiB blocks."""
    compress_mb_per_second: float
    """zstd level 1 of batches of page-like payload."""
    decompress_mb_per_second: float

    def line(self) -> str:
        """One line of text."""
        return (
            f"calibration: {self.calls_per_second / 1e6:.1f} M Python calls/s, "
            f"copy {self.copy_gb_per_second:.1f} GB/s, "
            f"xxh3_128 {self.xxh3_gb_per_second:.1f} GB/s, "
            f"zstd level 1 {self.compress_mb_per_second:,.0f} MB/s, "
            f"unpack {self.decompress_mb_per_second:,.0f} MB/s"
        )


def _add(one: int, other: int) -> int:
    return one + other


def _call() -> int:
    total = 0
    for number in range(_ROUNDS):
        total = _add(total, number)
    return total


def calibrate() -> Calibration:
    """Measure; takes about a second."""
    pool = PayloadPool(0.5)
    blocks = [pool.take(number, PAGE_BYTES) for number in range((64 << 20) // PAGE_BYTES)]
    size = len(blocks) * PAGE_BYTES
    copy_s = best_seconds(lambda: [bytes(memoryview(block)) for block in blocks], 3)
    hash_s = best_seconds(lambda: [xxhash.xxh3_128_digest(block) for block in blocks], 3)
    per_batch = BATCH_BYTES // PAGE_BYTES
    batches = [b"".join(blocks[i : i + per_batch]) for i in range(0, 64 * per_batch, per_batch)]
    batch_size = sum(map(len, batches))
    pack, unpack = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    pack_s = best_seconds(lambda: [pack.compress(batch) for batch in batches], 3)
    packed = [pack.compress(batch) for batch in batches]
    unpack_s = best_seconds(lambda: [unpack.decompress(batch) for batch in packed], 3)
    return Calibration(
        _ROUNDS / best_seconds(_call),
        size / copy_s / 1e9,
        size / hash_s / 1e9,
        batch_size / pack_s / 1e6,
        batch_size / unpack_s / 1e6,
    )
