"""``replicator ese logs`` and ``replicator ese dump``: a chain of logs, and what stands in one."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from replicator.cli_output import (
    JsonOption,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.errors import ExitCode


def logs(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the logs are.", show_default=False)
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="NAME",
            help="The set's three characters, such as E00, where several lie there.",
            show_default=False,
        ),
    ] = None,
    database: Annotated[
        list[Path] | None,
        typer.Option(
            "--database",
            metavar="FILE",
            help="Also check that the logs are there which this database needs; repeatable.",
            show_default=False,
        ),
    ] = None,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Do not read what is behind the headers (fast).")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Check a chain of logs: generations, times, signature, checksums, what is missing.

    Ends with 0 when the chain is whole (a torn tail of the current log is normal), with 1 when
    something is damaged, missing or foreign, with 64 when DIR holds no logs.
    """
    check_target(json)
    from replicator.ese_log_report import (
        TITLES,
        exit_code,
        finding_line,
        logs_document,
        rows_of,
        survey,
    )

    found, errors = survey(directory, base, database or [], contents=not headers_only)
    console = console_for(json)
    rows = [TITLES, *rows_of(found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        say(console, "  ".join(cells).rstrip())
    for note in found.notes:
        say(console, f"note: {finding_line(note)}")
    for error in errors:
        say(console, finding_line(error))
    for remedy in dict.fromkeys(error.remedy for error in errors):
        say(console, f"what to do: {remedy}")
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, logs_document(found, errors))
    raise typer.Exit(exit_code(errors))


def dump(
    log: Annotated[
        Path, typer.Argument(metavar="LOG", help="A log of version 7 or 8.", show_default=False)
    ],
    json: JsonOption = None,
) -> None:
    """List the records of a log, one a line; with --json a JSON object a line.

    Ends with 0, with 1 when the log is damaged (after the records before the damage, where all
    its content verifies), with 64 when there is no such file.
    """
    check_target(json)
    from replicator.ese.errors import EseError
    from replicator.ese.reader import FileReader
    from replicator.ese_log_report import (
        as_bad_input,
        finding_line,
        open_log,
        record_document,
        record_line,
    )

    console = console_for(json)
    try:
        reader = FileReader(log)
    except EseError as error:
        raise as_bad_input(error) from error
    with reader:
        try:
            opened = open_log(reader, log)
            for note in opened.notes():
                say(console, f"note: {finding_line(note)}")
            if json is None:
                for record in opened.records():
                    say(console, record_line(record))
            else:
                with json_target(json) as stream:
                    for record in opened.records():
                        stream.write(json_format.dumps(record_document(record)) + "\n")
        except EseError as error:
            say(console, finding_line(error))
            say(console, f"what to do: {error.remedy}")
            raise typer.Exit(ExitCode.BROKEN) from error
