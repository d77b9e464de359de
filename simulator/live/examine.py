"""Judges a real image: ``python -m simulator.live.examine SPECIFICATION``; answers in JSON.

On a copy of a replica's directory its own recovery runs first; then the digest of the image is
taken, the store's own recovery mounts it, and the ledger judges the mailboxes: what had been
acknowledged before the next operation must be there.  Of a replica that has taken over the
image itself is mounted, and the time that takes is the live part of an RTO.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from replicator.config import load_configuration
from replicator.errors import ReplicatorError
from replicator.host.processes import replica_places, replica_store
from replicator.host.world import HostRuntime, run_on_host
from simulator.judgement import complete_before_ns
from simulator.live.ledger_file import read_ledger
from simulator.live.programs import store_workload
from simulator.live.real_tree import tree_digest
from simulator.live.truth_file import TruthReader


@dataclass(frozen=True, slots=True)
class ExaminationSpecification:
    """What is to be judged; a JSON file."""

    configuration: str
    """The replica's, with the directories of the copy."""
    ledger: str
    ledger_bytes: int
    """So much of the ledger had been written at the instant that is judged."""
    truth: str
    """What the programs did: it says how much must be in the image of an operation."""
    taken_over: tuple[int, int] | None
    """Epoch and operation of an image that has taken over; None to recover a copy."""
    kind: str
    stream: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write it where the process will read it."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found; ``mounted`` is None when there is nothing to mount."""

    epoch: int
    operation: int
    damage: str
    digest: str
    """Of the image, hexadecimal."""
    mounted: bool | None
    mount_reason: str
    mount_ns: int
    transactions: int
    lost_messages: int | None
    """Acknowledged, and not in the image."""
    failure: str
    """Why recovery itself failed; empty when it did not."""


async def examine(runtime: HostRuntime, specification: ExaminationSpecification) -> Finding:
    """Recover if asked to, then look at the image and mount it."""
    loaded = load_configuration(specification.configuration)
    places = replica_places(runtime, loaded)
    image = f"{places.home.path}/image"
    epoch, operation = specification.taken_over or (0, 0)
    damage = ""
    if specification.taken_over is None:
        report = await replica_store(runtime, loaded, places).open()
        epoch, operation, damage = report.epoch, report.operation, report.damage
    digest = f"{tree_digest(image):032x}"
    mounted: bool | None = None
    reason, mount_ns, transactions, lost = "", 0, 0, None
    if specification.kind == "store":
        ledger = read_ledger(Path(specification.ledger), specification.ledger_bytes)
        if not damage and (epoch or specification.taken_over is not None):
            draw = random.Random(0).random  # mounting draws nothing
            store = store_workload(specification.stream, draw, ledger, 1, image)
            truth = TruthReader(Path(specification.truth))
            truth.poll()
            stale = epoch < max(truth.epochs, default=0)
            complete_ns = complete_before_ns(truth, epoch, operation)
            volume = places.home.volume
            began_ns = time.monotonic_ns()
            verdict = await store.mounts(runtime, volume, image, stale, complete_ns)
            mount_ns = time.monotonic_ns() - began_ns
            assert verdict is not None
            mounted, reason, transactions = verdict.ok, verdict.reason, verdict.transactions
        lost = ledger.loss(transactions).messages
    return Finding(
        epoch, operation, damage, digest, mounted, reason, mount_ns, transactions, lost, ""
    )


def main() -> None:
    """The process."""
    specification = ExaminationSpecification(**json.loads(Path(sys.argv[1]).read_text()))
    try:
        finding = run_on_host(lambda runtime: examine(runtime, specification), name="examine")
    except ReplicatorError as failure:
        finding = Finding(0, 0, "", "", None, "", 0, 0, None, str(failure))
    print(json.dumps(asdict(finding)))


if __name__ == "__main__":
    main()
