"""``replicator journal``: look into a spool or journal while no replicator runs.

``docs/journal.md`` explains what is shown.  Both commands only read: no lock is taken and nothing
in the directory is changed, so they are safe on the directory of a replicator at work (what it
writes meanwhile may show as a torn tail).
"""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from replicator.cli_output import (
    JsonOption,
    byte_progress,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.command_line import printable
from replicator.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from replicator.offline import LogReading
    from replicator.offline_listing import Row, Selection
    from replicator.offline_place import Finding
    from replicator.offline_report import Examination
    from replicator.offline_survey import SegmentSummary

journal = typer.Typer(
    help="Look into a spool or journal offline; nothing is changed.",
    add_completion=False,
    rich_markup_mode=None,
)

DirectoryArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="The directory of the segments, or its parent.",
        show_default=False,
    ),
]


@journal.command()
def verify(directory: DirectoryArgument, json: JsonOption = None) -> None:
    """Check every record of a spool or journal, and its state and staging.

    Ends with 0 when all of it is sound (a torn tail is normal), with 1 when something is
    damaged or gone, with 2 when the log is not here, with 64 when DIR holds no log of this
    release.
    """
    check_target(json, directory)
    from replicator.offline_report import examine, verify_document

    with byte_progress() as progress:
        found = examine(directory, progress)
    console = console_for(json)
    _print_verification(console, found)
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, verify_document(found))
    raise typer.Exit(found.exit_code)


@journal.command()
def inspect(
    directory: DirectoryArgument,
    records: Annotated[bool, typer.Option("--records", help="One line a record.")] = False,
    operations: Annotated[
        bool, typer.Option("--operations", help="One line an operation.")
    ] = False,
    first: Annotated[
        int, typer.Option("--from", metavar="N", min=0, help="First operation to list.")
    ] = 0,
    last: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", min=0, help="Last operation to list.", show_default=False
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Show what a spool or journal holds and what the next start would do with it."""
    if records and operations:
        raise BadInput(
            "--records and --operations exclude each other", remedy="Run the command twice."
        )
    if (first or last is not None) and not (records or operations):
        raise BadInput("--from and --to limit a listing", remedy="Add --records or --operations.")
    check_target(json, directory)
    from replicator.offline_listing import Selection
    from replicator.offline_report import examine

    with byte_progress() as progress:
        found = examine(directory, progress)
    console = console_for(json)
    _print_inspection(console, found)
    selection = None
    if records or operations:
        selection = Selection(operations, first, 1 << 64 if last is None else last)
    if json is not None:
        with json_target(json) as stream:
            _write_inspection(stream, found, selection)
    elif selection is not None:
        for reading in found.readings:
            _print_listing(found, reading, selection)
    raise typer.Exit(found.exit_code)


# -- tables and lines ------------------------------------------------------------------


def _print_verification(console: Console, found: Examination) -> None:
    from replicator.offline_report import describe_state
    from replicator.units import format_bytes

    for reading in found.readings:
        survey = reading.survey
        count = sum(sum(segment.records.values()) for segment in survey.segments)
        say(
            console,
            f"{reading.directory}: {survey.kind} of {survey.set_id!r}, segments: "
            f"{len(reading.numbers):,}, {format_bytes(reading.used_bytes)}; checked "
            f"{count:,} records with {reading.operations:,} operations",
        )
    for pair in found.states:
        say(console, describe_state(pair))
    _print_findings(console, found.findings)
    verdict = found.verdict
    say(console, f"verdict: {verdict.upper() if verdict == 'broken' else verdict}")


def _print_findings(console: Console, findings: list[Finding]) -> None:
    for finding in findings:
        place = (
            finding.path if finding.offset is None else f"{finding.path} at byte {finding.offset}"
        )
        say(console, f"{finding.kind}: {place}: {finding.message}")
        if finding.last_good:
            say(console, f"  last good: {finding.last_good}")
        if finding.remedy:
            say(console, f"  what to do: {finding.remedy}")


def _print_inspection(console: Console, found: Examination) -> None:
    from replicator.offline_report import describe_state, explain

    for reading in found.readings:
        survey = reading.survey
        say(console, f"{reading.directory}: {survey.kind} of {survey.set_id!r}")
        _print_segments(console, reading)
        for line in explain(found, reading):
            say(console, line)
    for pair in found.states:
        say(console, describe_state(pair))
    _print_findings(console, found.findings)


def _print_segments(console: Console, reading: LogReading) -> None:
    """A table that is never folded: a line a segment, however narrow the terminal is."""
    rows = [_SEGMENT_TITLES, *(_segment_row(segment) for segment in reading.survey.segments)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        say(console, "  " + "  ".join(cells).rstrip())


_SEGMENT_TITLES = (
    "segment",
    "size",
    "records",
    "operations",
    "by type",
    "captured (UTC)",
    "packed to",
)


def _segment_row(segment: SegmentSummary) -> tuple[str, ...]:
    from replicator.offline_report import wall_time
    from replicator.units import format_bytes

    operations = (
        f"{held.first:,}-{held.last:,} (epoch {epoch})"
        for epoch, held in segment.operations.items()
    )
    types = (
        f"{count:,} {name}"
        for name, count in sorted(segment.records.items())
        if name not in ("segment", "catalogue")
    )
    first, last = wall_time(segment.first_captured_ns), wall_time(segment.last_captured_ns)
    if first[:10] == last[:10]:
        last = last[11:]
    packed = ""
    if segment.unpacked_bytes:
        packed = f"{100 * segment.packed_bytes / segment.unpacked_bytes:.0f} %"
    return (
        str(segment.number),
        format_bytes(segment.used_bytes),
        f"{segment.first_sequence:,}-{segment.last_sequence:,}" if segment.last_sequence else "-",
        ", ".join(operations) or "-",
        ", ".join(types) or "-",
        f"{first} to {last}" if first else "-",
        packed or "-",
    )


def _rows(found: Examination, reading: LogReading, selection: Selection, emit: Any) -> None:
    """Walk over a log once more and emit its rows as they come."""
    from replicator.journal import LogKind
    from replicator.offline import walk
    from replicator.offline_listing import Listing

    survey = reading.survey
    state = found.state("checkpoint") if survey.kind == LogKind.JOURNAL else None
    listing = Listing(selection, state, survey.names, emit)
    with byte_progress() as progress:
        opened = (survey.kind, survey.set_id)
        walk(
            reading.directory,
            opened,
            reading.redo_from,
            listing.visit,
            progress,
            survey.last_good,
        )
        listing.settle()


def _print_listing(found: Examination, reading: LogReading, selection: Selection) -> None:
    from replicator.offline_report import wall_time

    def emit(row: Row) -> None:
        place = f"{row['segment']:>8}:{row['offset']:<10}"
        if not selection.operations:
            words = [
                f"{place} {row['type']:<9} {row['sequence']:>10} epoch {row['epoch']} "
                f"{row['bytes']:>9} bytes"
            ]
            if "operations" in row:
                words.append(f"operations {row['operations'][0]} to {row['operations'][1]}")
            words += [f"{key} {row[key]}" for key in ("fence", "problem") if key in row]
        else:
            words = [f"{place} {row['operation']:>10} epoch {row['epoch']} {row['kind']:<10}"]
            words.append(f"#{row['file_id']} {row['path'] or '(path unknown)'}")
            if row["path2"]:
                words.append(f"-> {row['path2']}")
            words.append(f"at {row['at']} length {row['length']} {wall_time(row['captured_ns'])}")
            if row["done"] is not None:
                words.append(f"FAILED after {row['done']} bytes")
        print(printable(" ".join(words)))

    _rows(found, reading, selection, emit)


# -- JSON ------------------------------------------------------------------------------


def _write_inspection(stream: TextIO, found: Examination, selection: Selection | None) -> None:
    """The document; rows of a listing are written as they come, however many there are."""
    from replicator.offline_report import inspect_document

    document = inspect_document(found)
    if selection is None:
        write_document(stream, document)
        return
    key = "operation_list" if selection.operations else "record_list"
    stream.write(json_format.dumps(document, indent=2).removesuffix("\n}"))
    stream.write(f',\n  "{key}": [')
    separator = "\n    "

    def emit(row: Row) -> None:
        nonlocal separator
        stream.write(separator + json_format.dumps(row))
        separator = ",\n    "

    for reading in found.readings:
        _rows(found, reading, selection, emit)
    stream.write("\n  ]\n}\n")
    stream.flush()
