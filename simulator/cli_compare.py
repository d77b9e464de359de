"""The command ``simulator compare``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from replicator.command_line import printable
from simulator.cli_options import STANDARD_OUTPUT, JsonOption


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Results of a campaign.", show_default=False)
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="Results of another one.", show_default=False)
    ],
    unpaired: Annotated[
        bool,
        typer.Option("--unpaired", help="Compare them as two samples: they ran other plans."),
    ] = False,
    json: JsonOption = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write DIR/compare.html, with the distributions drawn.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Hold the results of two campaigns against each other, plan by plan.

    The exit code says nothing of what was found: 0 when the two could be compared.
    """
    from contextlib import ExitStack

    from rich.console import Console
    from rich.text import Text

    from simulator.campaign.comparison import compare_results
    from simulator.campaign.records import comparison_text
    from simulator.campaign.results import Results
    from simulator.report.campaign_compare import print_comparison, write_comparison
    from simulator.report.output import check_directory_target, check_file_target, write_atomically

    if json is not None and json != STANDARD_OUTPUT:
        check_file_target(json, "--json")
    if report is not None:
        check_directory_target(report, "--report")
    with ExitStack() as opened:
        first = Results(a)
        opened.callback(first.close)
        second = Results(b)
        opened.callback(second.close)
        found = compare_results(first, second, unpaired)
    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    print_comparison(console, found)
    if json == STANDARD_OUTPUT:
        print(comparison_text(found), end="", flush=True)
    elif json is not None:
        write_atomically(json, comparison_text(found), "--json")
        console.print(Text(printable(f"JSON: {json}")), soft_wrap=True)
    if report is not None:
        words = ["simulator", "compare", str(a), str(b), *(["--unpaired"] if unpaired else [])]
        page = write_comparison(found, report, shlex.join(words))
        console.print(Text(printable(f"report: {page}")), soft_wrap=True)
