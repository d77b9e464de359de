"""``replicator ese``: look into the files of a store; only recover, restore and reseed change any.

``docs/store-files.md`` explains what is shown.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.cli_ese_logs import dump, logs
from replicator.cli_ese_output import say_table, say_unfinished
from replicator.cli_ese_recover import recover
from replicator.cli_ese_reseed import reseed
from replicator.cli_ese_restore import restore
from replicator.cli_output import (
    JsonOption,
    byte_progress,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.command_line import print_error
from replicator.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from replicator.ese.database_check import Ahead, Chunk, Judged
    from replicator.ese_report import FileVerdict

SHOWN_FINDINGS = 20
"""More than so many of one file are in the JSON and only counted on the terminal."""

ese = typer.Typer(
    help="Look into the files of a store (ESE databases, logs, checkpoints, flush maps), "
    "and recover it.",
    add_completion=False,
    rich_markup_mode=None,
)
ese.command()(logs)
ese.command()(dump)
ese.command()(recover)
ese.command()(restore)
ese.command()(reseed)


@ese.command()
def header(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file.", show_default=False)],
    json: JsonOption = None,
) -> None:
    """Show the header of a database, log, checkpoint or flush map, found out by its content.

    Ends with 0, with 1 when one of its two copies is damaged or none can be used or the trailer
    of a backup's copy is another backup's, with 64 when FILE is no file of a store.
    """
    check_target(json)
    from replicator.ese.errors import EseError
    from replicator.ese_findings import INPUT_ERRORS, as_replicator_error
    from replicator.ese_header_lines import header_lines
    from replicator.ese_header_report import damage_document, header_document, read_header

    try:
        report = read_header(file)
    except EseError as error:
        error.path = error.path or str(file)
        if json is not None and error.number not in INPUT_ERRORS:
            with json_target(json) as stream:
                write_document(stream, damage_document(file, error))
        raise as_replicator_error(error) from error
    console = console_for(json)
    for line in header_lines(report):
        say(console, line)
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, header_document(report))
    raise typer.Exit(report.exit_code)


@ese.command()
def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="The files.", show_default=False)
    ],
    contents: Annotated[
        bool,
        typer.Option("--contents", help="Also check the tags and keys of each page (slow)."),
    ] = False,
    json: JsonOption = None,
) -> None:
    """Verify the checksums of all pages or log segments, and whether a write was lost.

    A flush map beside a database, of the same name with .jfm, is used.  Ends with 0 when all is
    sound, with 1 when something is damaged, with 2 when a file has nothing to verify, with 64
    when a FILE is no file of a store (the others are verified, and JSON is not written).
    """
    check_target(json)
    from replicator.ese_report import verify_document, verify_file, worst

    verdicts: list[FileVerdict] = []
    refused: list[BadInput] = []
    with all_cores() as ahead:
        for file in files:
            with byte_progress("verifying") as progress:
                try:
                    verdicts.append(
                        verify_file(file, contents=contents, progress=progress, ahead=ahead)
                    )
                except BadInput as error:
                    refused.append(error)
    console = console_for(json)
    if verdicts:
        _print_table(console, verdicts)
    for directory in dict.fromkeys(file.parent for file in files):
        say_unfinished(console, directory)
    for verdict in verdicts:
        _print_findings(console, verdict)
    if refused:
        for each in refused:
            print_error(each)
        damaged = worst(verdicts) is ExitCode.BROKEN
        raise typer.Exit(ExitCode.BROKEN if damaged else ExitCode.USAGE)
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, verify_document(verdicts))
    raise typer.Exit(worst(verdicts))


@contextmanager
def all_cores() -> Iterator[Ahead]:
    """Goes through chunks with a thread a core, at most one more chunk than cores in memory."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:

        def ahead(judge: Callable[[Chunk], Judged], chunks: Iterator[Chunk]) -> Iterator[Judged]:
            underway: deque[Future[Judged]] = deque()
            for chunk in chunks:
                underway.append(pool.submit(judge, chunk))
                if len(underway) > cores:
                    yield underway.popleft().result()
            while underway:
                yield underway.popleft().result()

        yield ahead


def _print_table(console: Console, verdicts: list[FileVerdict]) -> None:
    rows = [("verdict", "verified", "initialised", "pages", "file")]
    for each in verdicts:
        check = each.check
        counts = ("-",) * 3
        if check is not None and not check.unchecked:
            counts = (f"{check.verified:,}", f"{check.initialised:,}", f"{check.pages:,}")
        rows.append((each.verdict, *counts, each.path))
    say_table(console, rows, numbers=range(1, 4))


def _print_findings(console: Console, verdict: FileVerdict) -> None:
    from replicator.ese_findings import finding_line, remedies

    for note in verdict.notes:
        say(console, f"note: {verdict.path}: {note}")
    shown = verdict.findings[:SHOWN_FINDINGS]
    for error in shown:
        say(console, finding_line(error))
    more = verdict.finding_count - len(shown)
    if more:
        say(console, f"and {more:,} more in {verdict.path}")
    for line in remedies(verdict.findings):
        say(console, line)
