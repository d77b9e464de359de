"""Judges a real image: ``python -m simulator.live.examine SPECIFICATION``; answers in JSON.

On a copy of a replica's directory its own recovery runs first; then the digest of the image is
taken, the store's own recovery mounts it, and the ledger judges the mailboxes.  Of a replica
that has taken over (``recover`` false) the image itself is mounted, and the time that takes is
the live part of an RTO.
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
from simulator.live.ledger_file import read_ledger
from simulator.live.programs import store_workload
from simulator.live.real_tree import tree_digest


@dataclass(frozen=True, slots=True)
class ExaminationSpecification:
    """What is to be judged; a JSON file."""

    configuration: str
    """The replica's, with the directories of the copy."""
    ledger: str
    ledger_bytes: int
    """So much of the ledger had been written at the instant that is judged."""
    recover: bool
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
    epoch = operation = 0
    damage = ""
    if specification.recover:
        report = await replica_store(runtime, loaded, places).open()
        epoch, operation, damage = report.epoch, report.operation, report.damage
    digest = f"{tree_digest(image):032x}"
    mounted: bool | None = None
    reason, mount_ns, transactions, lost = "", 0, 0, None
    if specification.kind == "store":
        ledger = read_ledger(Path(specification.ledger), specification.ledger_bytes)
        if not damage and (epoch or not specification.recover):
            draw = random.Random(0).random  # mounting draws nothing
            store = store_workload(specification.stream, draw, ledger, 1, image)
            began_ns = time.monotonic_ns()
            verdict = await store.mounts(runtime, places.home.volume, image)
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
