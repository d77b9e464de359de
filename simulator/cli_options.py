"""Arguments and options that several commands of ``simulator`` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

STANDARD_OUTPUT: Final = Path("-")

ScenarioArgument = Annotated[
    Path, typer.Argument(metavar="SCENARIO", help="The scenario, a TOML file.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one value of the scenario, for instance link.rtt=80ms. Repeatable.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the result as JSON; '-' is standard output.",
        show_default=False,
    ),
]
PlanSeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, help="Names the plans that are drawn.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="So many processes; by default as many as processors.",
        show_default=False,
    ),
]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        help="Instead of the scenario's own faults those of a fault plan, TOML or JSON.",
        show_default=False,
    ),
]
EnumerateOption = Annotated[
    int | None,
    typer.Option(
        "--enumerate",
        metavar="K",
        min=1,
        max=3,
        help="Not drawn plans, but all of up to K faults: kinds, hosts, a grid of instants.",
        show_default=False,
    ),
]
HarshOption = Annotated[
    bool,
    typer.Option(
        "--harsh",
        help="Draw faults that no design survives unharmed, too: disks that lie, a second source.",
    ),
]
InstantsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1_000,
        help="Of the grid of --enumerate; 8 when nothing is said.",
        show_default=False,
    ),
]
