"""``python -m tests.benchmarks``: print the tables of all benchmarks, or of those named.

Each table stands under a calibration line that was measured just before it.  Nothing is
judged: aims are printed beside what was measured.
"""

from __future__ import annotations

import json as json_format
import platform
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from replicator.command_line import run_app
from replicator.errors import BadInput
from tests.benchmarks import (
    campaign,
    digests,
    durable,
    kernels,
    log_replay,
    log_writing,
    memory,
    plan,
    prefix,
    replication,
    server_hour,
    shares,
    store_engine,
    store_pages,
    synchronization,
    trace,
    transactions,
)
from tests.benchmarks.calibration import calibrate
from tests.benchmarks.live import Progress, Setting

PROGRAM = "python -m tests.benchmarks"
BENCHMARKS = {
    "replication": replication.table,
    "shares": shares.table,
    "digest": digests.table,
    "prefix": prefix.table,
    "kernel": kernels.table,
    "trace": trace.table,
    "store": transactions.table,
    "engine": store_engine.table,
    "server_hour": server_hour.table,
    "pages": store_pages.table,
    "logs": log_writing.table,
    "replay": log_replay.table,
    "plan": plan.table,
    campaign.NAME: campaign.table,
}
LIVE = {"durable": durable, "synchronization": synchronization, "memory": memory}
"""Benchmarks of real processes and files; each says at once when it cannot be run here."""
NAMES = [*BENCHMARKS, *LIVE]

app = typer.Typer(name=PROGRAM, add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help=f"Which: {', '.join(NAMES)}; all if none."),
    ] = None,
    quick: Annotated[bool, typer.Option(help="Fewer repetitions and smaller sizes.")] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as JSON as well.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help=f"Where {', '.join(LIVE)} work, on the volume to be measured; "
            "default: that of temporary files.",
        ),
    ] = None,
) -> None:
    """Measure and print."""
    chosen = names or NAMES
    for name in chosen:
        if name not in NAMES:
            raise BadInput(f"there is no benchmark {name!r}; there are {', '.join(NAMES)}")
    setting = Setting(directory or Path(tempfile.gettempdir()), quick, Progress())
    for name in chosen:
        if name in LIVE:
            LIVE[name].check(setting)
    # Asked to end, it ends what it has started and removes its files.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=150)
    machine = f"Python {platform.python_version()}, {platform.machine()}, {_processor()}"
    console.print(machine)
    document: dict[str, object] = {"machine": machine, "quick": quick}
    for name in chosen:
        calibration = calibrate()
        table = LIVE[name].table(setting) if name in LIVE else BENCHMARKS[name](quick)
        table.notes.insert(0, calibration.line())
        table.show(console)
        console.print()
        document[name] = table.document()
    if json is not None:
        json.write_text(json_format.dumps(document, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else "unknown processor"


if __name__ == "__main__":
    run_app(app, PROGRAM)
