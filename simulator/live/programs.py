"""The programs of a live source: ``python -m simulator.live.programs SPECIFICATION``.

One process: the scenario's workload, the very code that runs in the simulator, over a captured
volume of the real world (:mod:`replicator.host.captured_volume`), below the volume that notes
the truth.  It is made to be killed: the ledger, the truth and the place in a trace are in files,
and the next start goes on from them.

It says ``ready`` on standard output when all is loaded, waits for a line on standard input (the
monotonic time at which the run began), and ends with 0 when the programs have ended.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from replicator.config import load_configuration
from replicator.errors import ExitCode, ReplicatorError
from replicator.host.captured_volume import captured_volume
from replicator.host.event_log import EventLog
from replicator.host.world import HostRuntime, run_on_host
from simulator.exchange.ledger import Ledger
from simulator.exchange.load import LoadConfig
from simulator.exchange.stores import store_config, store_figures
from simulator.live.ledger_file import RecordedLedger
from simulator.live.truth_volume import CountedLiveTruth, LiveTruth
from simulator.scenario_model import StoreStream, TraceStream
from simulator.traces import TracePlayer, read_writes
from simulator.witness import WitnessedVolume
from simulator.workload import StoreWorkload, TraceWorkload, Workload

READY: Final = "ready"


@dataclass(frozen=True, slots=True)
class ProgramsSpecification:
    """What the process is told; a JSON file."""

    configuration: str
    """The source's configuration file."""
    truth: str
    ledger: str
    duration_ns: int
    seed: int
    kind: str
    """store or trace."""
    stream: dict[str, Any]
    """The figures of the store and its load, or of the trace."""
    directory: str = ""
    """The protected set, where nothing captures it; then there is no configuration."""

    def write(self, path: Path) -> None:
        """Write it where the process will read it."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def stream_figures(stream: StoreStream | TraceStream) -> dict[str, Any]:
    """A scenario's stream as the specification has it."""
    if isinstance(stream, StoreStream):
        return {"store": store_figures(stream.store), "load": asdict(stream.load)}
    return {
        "path": str(stream.path),
        "speed": stream.speed,
        "compressible": stream.compressible,
        "limit_ns": stream.limit_ns,
    }


def store_workload(
    figures: dict[str, Any],
    next_random: Callable[[], float],
    ledger: Ledger,
    first_message_id: int,
    directory: str,
) -> StoreWorkload:
    """The store of a specification and its load."""
    return StoreWorkload(
        store_config(figures["store"]),
        LoadConfig(**figures["load"]),
        next_random,
        ledger,
        first_message_id,
        directory,
    )


def _trace_workload(specification: ProgramsSpecification, root: str, played: int) -> TraceWorkload:
    figures = specification.stream
    writes = read_writes(figures["path"])
    limit_ns = figures["limit_ns"]
    if limit_ns is not None:
        writes = (write for write in writes if write.time_ns < limit_ns)
    player = TracePlayer(
        islice(writes, played, None),
        speed=figures["speed"],
        compressible_share=figures["compressible"],
        path=f"{root}/disk0.img",
        seed=specification.seed,
    )
    player.figures.writes = played
    return TraceWorkload(player, root=root)


def _load_random(seed: int, begun: int) -> Callable[[], float]:
    """The simulator's stream of the same name; a restart draws from one of its own."""
    return random.Random(f"{seed}/load" if not begun else f"{seed}/load/{begun}").random


def run_programs(specification: ProgramsSpecification, zero_ns: int) -> None:
    """Run the workload to its end.  Raises ReplicatorError."""
    if specification.directory:
        _run_uncaptured(specification, zero_ns)
        return
    loaded = load_configuration(specification.configuration)
    truth = LiveTruth(loaded.source().directory, Path(specification.truth))
    log = EventLog("program", loaded.configuration.log)

    def emit(event: str, values: tuple[int | str, ...]) -> None:
        truth.event(event, values)
        log.emit(event, values)

    async def main(runtime: HostRuntime) -> None:
        async with captured_volume(runtime, loaded) as protected:
            truth.capture = protected.capture
            volume = WitnessedVolume(truth, protected.volume)
            until_ns = zero_ns + specification.duration_ns
            await _workload(specification, truth).run(runtime, volume, until_ns)

    run_on_host(main, name="programs", incarnation=0, emit=emit)


def _run_uncaptured(specification: ProgramsSpecification, zero_ns: int) -> None:
    truth = CountedLiveTruth(specification.directory, Path(specification.truth))

    async def main(runtime: HostRuntime) -> None:
        root = specification.directory
        volume = WitnessedVolume(truth, runtime.volume("programs", root, seen_at=root))
        until_ns = zero_ns + specification.duration_ns
        await _workload(specification, truth).run(runtime, volume, until_ns)

    run_on_host(main, name="programs", incarnation=0, emit=truth.event)


def _workload(specification: ProgramsSpecification, truth: LiveTruth) -> Workload:
    if specification.kind == "trace":
        return _trace_workload(specification, truth.root, truth.data_records)
    ledger = RecordedLedger(Path(specification.ledger))
    draw = _load_random(specification.seed, ledger.begun)
    first_id = ledger.next_message_id
    return store_workload(specification.stream, draw, ledger, first_id, truth.root)


def main() -> int:
    """The process; returns its exit code."""
    specification = ProgramsSpecification(**json.loads(Path(sys.argv[1]).read_text()))
    print(READY, flush=True)
    line = sys.stdin.readline()
    if not line:
        return ExitCode.INTERRUPTED
    try:
        run_programs(specification, int(line))
    except ReplicatorError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return failure.exit_code
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
