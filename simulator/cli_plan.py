"""The command ``simulator plan``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.command_line import print_error, printable
from replicator.errors import BadInput, ExitCode
from simulator.cli_options import STANDARD_OUTPUT, JsonOption

if TYPE_CHECKING:
    from simulator.plan.plan_answer import Topic
    from simulator.plan.planner import Plan

XlsxOption = Annotated[
    Path | None,
    typer.Option(
        "--xlsx", metavar="FILE", help="Write the tables as a spreadsheet.", show_default=False
    ),
]


def plan(
    organisation: Annotated[
        Path,
        typer.Argument(
            metavar="ORGANISATION", help="The organisation, a TOML file.", show_default=False
        ),
    ],
    json: JsonOption = None,
    report: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Write the report DIR/plan.html, with pictures.", show_default=False
        ),
    ] = None,
    xlsx: XlsxOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace one value, for instance link.bandwidth=50Mbit/s. Repeatable.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say how large line and spool must be for ORGANISATION, and what its plan gives.

    Exit code 1: an objective is missed as it is planned.  What the file says in vain is a warning
    on standard error.
    """
    from simulator.plan.organisation import check_organisation

    if report is not None and not report.strip():
        raise BadInput(
            "--report names no directory", remedy="Give it one, for instance --report out/plan."
        )
    pages = None if report is None else Path(report)
    overrides = list(set_ or [])
    loaded, warnings = check_organisation(organisation, overrides)
    check_targets(organisation, json, pages, xlsx)
    for warning in warnings:
        print_error(warning, "warning")

    from rich.console import Console
    from rich.text import Text

    from simulator.plan.plan_answer import answer_topics
    from simulator.plan.plan_objectives import holds, outcomes_of
    from simulator.plan.planner import make_plan
    from simulator.plan.site_weeks import data_warnings
    from simulator.report.plan_terminal import WIDTH, print_plan, steps_on

    # With the record on standard output nothing else may stand there.
    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    made = make_plan(loaded, steps_on(Console(stderr=True, highlight=False)))
    for warning in data_warnings(made.change):
        print_error(warning, "warning")
    topics = answer_topics(made)
    words = ["simulator", "plan", str(organisation)]
    for override in overrides:
        words += ["--set", override]
    # Files first: whoever reads the tables may stop reading at any line.
    written = _write(made, topics, shlex.join(words), json, pages, xlsx)
    print_plan(console, made, topics)
    for line in written:
        console.print(Text(printable(line)), soft_wrap=True)
    raise typer.Exit(ExitCode.PASS if holds(outcomes_of(made)) else ExitCode.BROKEN)


def check_targets(
    organisation: Path, json: Path | None, report: Path | None, xlsx: Path | None
) -> None:
    """Refuses, before the work, what could not be written after it; raises BadInput."""
    from contextlib import ExitStack

    from simulator.report.output import check_directory_target, check_file_target, directory_for
    from simulator.report.plan_page import PLAN_NAME

    if xlsx == STANDARD_OUTPUT:
        raise BadInput(
            "--xlsx wants a file, not the standard output",
            remedy="Give --xlsx the path of a file.",
        )
    with ExitStack() as made:
        taken = [("the organisation's file", organisation)]
        if report is not None:
            check_directory_target(report, "--report")
            # The other targets may lie in it.
            made.enter_context(directory_for(report, "--report", keep=False))
            check_file_target(report / PLAN_NAME, "--report")
            taken.append(("--report", report / PLAN_NAME))
        for option, target in (("--json", json), ("--xlsx", xlsx)):
            if target is None or target == STANDARD_OUTPUT:
                continue
            check_file_target(target, option)
            for other, place in taken:
                if target.resolve() == place.resolve():
                    raise BadInput(
                        f"{option} and {other} are the same file",
                        path=str(target),
                        remedy=f"Give {option} another name.",
                    )
            taken.append((option, target))


def _write(
    made: Plan,
    topics: list[Topic],
    command: str,
    json: Path | None,
    report: Path | None,
    xlsx: Path | None,
) -> list[str]:
    """Writes what was asked for, the standard output last; gives lines that say where it is."""
    from contextlib import ExitStack

    from simulator.report.output import directory_for, write_atomically

    written = []
    with ExitStack() as opened:
        if report is not None:
            opened.enter_context(directory_for(report, "--report"))
        text = ""
        if json is not None:
            from simulator.plan.plan_record import plan_text, record_of

            text = plan_text(record_of(made, topics))
            if json != STANDARD_OUTPUT:
                write_atomically(json, text, "--json")
                written.append(f"JSON: {json}")
        if xlsx is not None:
            from simulator.report.plan_sheets import write_sheets

            write_sheets(made, xlsx, topics, command)
            written.append(f"spreadsheet: {xlsx}")
        if report is not None:
            from simulator.report.plan_page import render_plan

            written.append(f"report: {render_plan(made, report, topics, command)}")
    if json == STANDARD_OUTPUT:
        print(text, end="", flush=True)
    return written
