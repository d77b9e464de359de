"""Where the time of a replicated operation goes, by sampling.

A profiling timer of the process (SIGPROF, processor time) interrupts the run some hundred
times a second; the line that is being executed is charged to a layer.  Python looks for
signals after calls of C functions and at the start of functions, so what lies between is
charged to the next such place: good for layers, too coarse for single lines.  A line that
calls zstd or xxhash counts for those, the joining of their arguments included.
"""

from __future__ import annotations

import linecache
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.benchmarks.replication import SHARES, replicate
from tests.benchmarks.rig import payloads
from tests.benchmarks.table import Table

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE_S = 0.001
_LAYERS: dict[str, tuple[str, ...]] = {
    "kernel: tasks, queues, signals": ("replicator/runtime/",),
    "SimPy's heap and the clock": ("simulator/runtime.py", "simpy/"),
    "truth and image digest": ("simulator/truth.py", "simulator/digest.py"),
    "disk model": (
        "simulator/volume.py",
        "simulator/disk.py",
        "simulator/inode.py",
        "simulator/blocks.py",
        "simulator/device.py",
        "simulator/namespace.py",
    ),
    "hash of the event trace": ("simulator/event_trace.py",),
    "network": ("simulator/network.py", "simulator/link.py", "simulator/stream.py"),
    "capture and spool": ("replicator/capture.py", "replicator/spool.py"),
    "records and logs": ("replicator/records.py", "replicator/journal.py"),
    "source, protocol, batches": (
        "replicator/source.py",
        "replicator/protocol.py",
        "replicator/connection.py",
        "replicator/batch.py",
        "replicator/operation.py",
    ),
    "replica and home": (
        "replicator/replica.py",
        "replicator/replica_session.py",
        "replicator/replica_store.py",
        "replicator/replica_intake.py",
        "replicator/replica_apply.py",
        "replicator/replica_checkpointer.py",
        "replicator/home.py",
    ),
    "programs and this benchmark": ("tests/benchmarks/", "simulator/systems/"),
}
_ZSTD, _XXHASH, _OTHER = "zstd", "xxhash", "everything else"
_XXHASH_CALLS = ("_digest(", "_h(", "xxh3_")


def layer_of(frame: FrameType) -> str:
    path = frame.f_code.co_filename
    line = linecache.getline(path, frame.f_lineno or 0)
    if ".compress(" in line or ".decompress(" in line:
        return _ZSTD
    if "def " not in line and any(call in line for call in _XXHASH_CALLS):
        return _XXHASH
    name = path.removeprefix(f"{ROOT}/")
    for layer, beginnings in _LAYERS.items():
        if any(name.startswith(start) or f"/{start}" in name for start in beginnings):
            return layer
    return _OTHER


class Sampler:
    """Counts samples by layer while it is on.

    Arguments
    ---------
    charge: names the layer that a frame belongs to.
    """

    def __init__(self, charge: Callable[[FrameType], str] = layer_of) -> None:
        self.counts: Counter[str] = Counter()
        self._charge = charge

    def __enter__(self) -> Sampler:
        self._before = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, _SAMPLE_S, _SAMPLE_S)
        return self

    def __exit__(self, *_failure: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename.startswith("<"):
            frame = frame.f_back  # a generated constructor: charged to who calls it
        self.counts[self._charge(frame) if frame is not None else _OTHER] += 1


def table(quick: bool) -> Table:
    """The table."""
    operations = 20_000 if quick else 150_000
    columns = ["layer"]
    shares: list[tuple[Counter[str], float]] = []
    for name, share in SHARES.items():
        data = payloads(share)
        replicate(data, 2000)
        with Sampler() as sampler:
            run = replicate(data, operations)
        shares.append((sampler.counts, run.seconds / operations * 1e6))
        columns += [f"{name}: %", "us each"]
    result = Table("Where the time of a replicated operation goes", columns)
    layers = sorted(
        {layer for counts, _ in shares for layer in counts},
        key=lambda layer: -shares[0][0][layer],
    )
    for layer in layers:
        cells: list[float] = []
        for counts, us in shares:
            part = counts[layer] / counts.total()
            cells += [part * 100, part * us]
        result.add(layer, *cells)
    result.add("all", *(cell for _counts, us in shares for cell in (100.0, us)))
    samples = " and ".join(f"{counts.total():,}" for counts, _ in shares)
    result.notes = [
        f"Sampled ({samples} samples of processor time), {operations:,} operations each; a line "
        "that calls zstd or xxhash counts for those. Sampling itself costs a few per cent.",
    ]
    return result
