"""``replicator ese logs`` and ``replicator ese dump``: a chain of logs, and what stands in one."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from replicator.cli_ese_output import BaseOption, say_findings, say_table, say_unfinished
from replicator.cli_output import (
    JsonOption,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from replicator.ese.errors import EseError
    from replicator.ese.reader import FileReader


def logs(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the logs are.", show_default=False)
    ],
    base: BaseOption = None,
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
        logs_document,
        preparation_lines,
        rows_of,
        survey,
    )

    found, errors = survey(directory, base, database or [], contents=not headers_only)
    console = console_for(json)
    say_table(console, [TITLES, *rows_of(found)])
    say_unfinished(console, directory)
    for line in preparation_lines(found):
        say(console, line)
    say_findings(console, errors, found.notes)
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
    its content verifies; the JSON tells the damage in its last line), with 64 when there is no
    such file.
    """
    check_target(json)
    from replicator.ese.errors import EseError
    from replicator.ese.reader import FileReader
    from replicator.ese_findings import as_bad_input

    console = console_for(json)
    try:
        reader = FileReader(log)
    except EseError as error:
        raise as_bad_input(error) from error
    with reader:
        if json is None:
            damage = _say_records(console, reader, log)
        else:
            with json_target(json) as stream:
                damage = _write_records(stream, console, reader, log)
    if damage is not None:
        say_findings(console, [damage])
        raise typer.Exit(ExitCode.BROKEN)


def _say_records(console: Console, reader: FileReader, log: Path) -> EseError | None:
    """A line a record; gives the damage that ended it, if one did."""
    from replicator.ese.errors import EseError
    from replicator.ese_log_report import open_log, record_line

    try:
        opened = open_log(reader, log)
        say_findings(console, (), opened.notes())
        for record in opened.records():
            say(console, record_line(record))
    except EseError as error:
        return error
    return None


def _write_records(
    stream: TextIO, console: Console, reader: FileReader, log: Path
) -> EseError | None:
    """A JSON object a record, and one for the damage that ended it, if one did."""
    from replicator.ese.errors import EseError
    from replicator.ese_log_report import damage_document, open_log, record_document

    try:
        opened = open_log(reader, log)
        say_findings(console, (), opened.notes())
        for record in opened.records():
            stream.write(json_format.dumps(record_document(record)) + "\n")
    except EseError as error:
        stream.write(json_format.dumps(damage_document(error)) + "\n")
        return error
    finally:
        stream.flush()
    return None
