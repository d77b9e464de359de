"""The command ``simulator plan-truth``: the fluid plan beside the event simulation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from replicator.errors import BadInput
from simulator.cli_options import STANDARD_OUTPUT, JsonOption

SCHEMA = "simulator-plan-truth/1"


def plan_truth(
    case: Annotated[
        list[str] | None,
        typer.Option(
            "--case", metavar="NAME", help="Only this one. Repeatable.", show_default=False
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="A recorded vscsi trace from begin to end, as a case; alone without --case.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Hold the fluid capacity plan against the event simulation.

    Exit code 1 when a figure differs by more than is allowed; docs/plan-truth.md explains it.
    """
    import json as documents

    from simulator.plan.truth import compare, truth_frame
    from simulator.plan.truth_cases import CASES, whole_trace
    from simulator.plan.truth_page import difference, spelled
    from simulator.report.output import check_file_target, write_atomically

    for name in case or []:
        if name not in CASES:
            raise BadInput(f"there is no case {name!r}", remedy=f"Give one of: {', '.join(CASES)}.")
    if json is not None and json != STANDARD_OUTPUT:
        check_file_target(json, "--json")
    chosen = [CASES[name] for name in case or []]
    if trace is not None:
        chosen.append(whole_trace(trace))
    missing = [each for each in chosen or CASES.values() if not each.is_there]
    if missing:
        raise BadInput(
            "there is no such trace",
            path=str(missing[0].source),
            remedy="Give --trace the path of a vscsi trace in CSV form, or choose cases by --case.",
        )
    found = []
    told = sys.stderr if json == STANDARD_OUTPUT else sys.stdout
    for each in chosen or CASES.values():
        rows, simulated = compare(each)
        found += rows
        operations = sum(ran.operations for ran in simulated)
        print(f"{each.name} ({each.system}, {operations:,} operations)", file=told)
        for row in rows:
            figures = f"fluid {spelled(row, row.fluid)}, simulated {spelled(row, row.simulated)}"
            verdict = "holds" if row.holds else f"DIFFERS by more than {row.allowed:.0%}"
            print(f"  {row.figure:10}  {figures}: {difference(row)}, {verdict}", file=told)
    if json is not None:
        rows_json = truth_frame(found).to_dict(orient="records")
        text = documents.dumps({"schema": SCHEMA, "rows": rows_json}, indent=2) + "\n"
        if json == STANDARD_OUTPUT:
            sys.stdout.write(text)
        else:
            write_atomically(json, text, "--json")
    if not all(row.holds for row in found):
        raise typer.Exit(1)
