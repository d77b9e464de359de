"""The image digest: what it adds to a write."""

from __future__ import annotations

from collections.abc import Callable

from simulator.blocks import BLOCK_BYTES
from simulator.device import INSTANT
from simulator.digest import refresh
from simulator.host import World
from simulator.inode import Inode
from simulator.truth import Truth
from tests.benchmarks.rig import no_collector, payloads
from tests.benchmarks.table import Table, best_seconds

PAGES = 4096
PATTERNS = {
    "8 KiB aligned": (0, BLOCK_BYTES),
    "8 KiB at +512": (512, BLOCK_BYTES),
    "4 KiB at +512": (512, 4096),
    "512 B at +512": (512, 512),
}


def _writes(start: int, length: int, data: list[bytes]) -> list[tuple[int, bytes]]:
    return [
        ((number * 2654435761 % PAGES) * BLOCK_BYTES + start, data[number % len(data)][:length])
        for number in range(PAGES)
    ]


def _cost(
    writes: list[tuple[int, bytes]], after: Callable[[Truth, Inode, int, bytes], object] | None
) -> float:
    """Seconds for one write to the inode, followed by ``after``."""
    world = World(network=False)
    disk = world.machine("source").add_disk("data", INSTANT)
    volume = world.machine("source").start().volume("data")
    volume.mkdir("/store")
    inode = volume.create("/store/file").inode
    truth = Truth(disk, "data", "/store")

    def run() -> None:
        for offset, data in writes:
            inode.write(offset, data)
            if after is not None:
                after(truth, inode, offset, data)
        inode.settle(inode.change_count())
        inode.touched.clear()

    run()  # the first round makes the blocks
    return best_seconds(run) / len(writes)


def _digest(_truth: Truth, inode: Inode, _offset: int, _data: bytes) -> None:
    refresh(inode)


def _truth(truth: Truth, inode: Inode, offset: int, data: bytes) -> None:
    truth.wrote(inode, offset, data)


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "Digest: microseconds for one write",
        ["write", "inode alone", "+ block hashes", "+ truth in full", "aim"],
    )
    data = payloads(0.5)
    with no_collector():
        for name, (start, length) in PATTERNS.items():
            writes = _writes(start, length, data)
            alone = _cost(writes, None)
            hashes = _cost(writes, _digest) - alone
            full = _cost(writes, _truth) - alone
            aim = "5" if start == 0 else ""
            result.add(name, alone * 1e6, hashes * 1e6, full * 1e6, aim)
    result.notes = [
        "Block hashes: xxh3_128 of each block touched and the sum. Truth in full: that, a check "
        "that the bytes arrived, the image's digest, time and bytes of the operation noted."
    ]
    return result
