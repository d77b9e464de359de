"""``replicator source CONFIG`` that notes at its end what went over its connections.

``counted_source.py CONFIG FILE``: the very same service; the counters are its own, which are
read when it has ended, so nothing is slower for it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import replicator.source
from replicator.block_frames import BlockTraffic
from replicator.config import load_configuration
from replicator.connection import Connection
from replicator.host.processes import run_source


def main() -> int:
    config, counts = sys.argv[1], Path(sys.argv[2])
    connections: list[Connection] = []
    traffics: list[BlockTraffic] = []

    class CountedConnection(Connection):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            connections.append(self)

    def traffic() -> BlockTraffic:
        traffics.append(BlockTraffic())
        return traffics[-1]

    replicator.source.Connection = CountedConnection  # type: ignore[misc]
    replicator.source.BlockTraffic = traffic  # type: ignore[misc,assignment]
    code = run_source(load_configuration(config))
    document = asdict(traffics[0]) | {
        "connections": len(connections),
        "sent_bytes": sum(each.sent_bytes for each in connections),
        "received_bytes": sum(each.received_bytes for each in connections),
    }
    counts.write_text(json.dumps(document))
    return code


if __name__ == "__main__":
    sys.exit(main())
