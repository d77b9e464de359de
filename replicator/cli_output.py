"""What the commands of ``replicator`` share: consoles, targets of ``--json``, progress."""

from __future__ import annotations

import json as json_format
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from replicator.command_line import printable
from replicator.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from replicator.offline import Progress

STANDARD_OUTPUT = Path("-")
_QUIET_SECONDS = 2.0
_LINE_SECONDS = 10.0

JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write what was found as JSON; '-' is standard output.",
        show_default=False,
    ),
]


def console_for(json: Path | None) -> Console:
    """With JSON on standard output nothing else may stand there."""
    from rich.console import Console

    return Console(stderr=json == STANDARD_OUTPUT, highlight=False)


def say(console: Console, line: str) -> None:
    """One line, never folded, that cannot steer the terminal, nor look like two."""
    from rich.text import Text

    console.print(Text(printable(line).replace("\n", "\\n")), soft_wrap=True)


def refused_target(path: Path, reason: str) -> BadInput:
    """What is raised for a target that cannot be written."""
    return BadInput(
        f"--json cannot be written: {reason}",
        path=str(path),
        remedy="Give --json a path that can be written.",
    )


def _is_json(path: Path) -> bool:
    """Whether a file may be replaced by a document: it is one, or empty.

    A database or a log is easily named twice on one command line.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return True  # what cannot be read is told of when it is written
    return not start or (start.lstrip()[:1] in (b"{", b"[") and b"\0" not in start)


def check_target(json: Path | None, directory: Path | None = None) -> None:
    """Refuses, before the work, a target that could not be written or must not be."""
    if json is None or json == STANDARD_OUTPUT:
        return
    if json.is_dir():
        raise refused_target(json, "it is a directory")
    if not json.parent.is_dir():
        raise refused_target(json, "its directory does not exist")
    if directory is not None and json.resolve().is_relative_to(directory.resolve()):
        raise refused_target(json, "it lies in the directory that is only to be read")
    if not os.access(json if json.exists() else json.parent, os.W_OK):
        raise refused_target(json, "permission denied")
    if json.is_file() and not _is_json(json):
        raise refused_target(json, "what is there is no JSON, and would be replaced")


@contextmanager
def json_target(json: Path) -> Iterator[TextIO]:
    """Where the JSON goes: written beside the target and renamed, whole or not at all."""
    if json == STANDARD_OUTPUT:
        yield sys.stdout
        return
    if json.exists() and not json.is_file():  # a pipe or device is written in place
        try:
            with json.open("w", encoding="utf-8") as stream:
                yield stream
        except OSError as error:
            raise refused_target(json, error.strerror or "it failed") from error
        return
    target = json.resolve()
    beside = target.with_name(f".{target.name[:100]}.{os.getpid()}.tmp")
    try:
        with beside.open("x", encoding="utf-8") as stream:
            yield stream
        os.replace(beside, target)
    except OSError as error:
        raise refused_target(json, error.strerror or "it failed") from error
    finally:
        with suppress(OSError):
            beside.unlink()


def write_document(stream: TextIO, document: dict[str, Any]) -> None:
    """The document as JSON, and all of it out."""
    stream.write(json_format.dumps(document, indent=2) + "\n")
    stream.flush()


@contextmanager
def byte_progress(doing: str = "reading") -> Iterator[Progress]:
    """A bar on a terminal, elsewhere a line now and then; nothing in the first two seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn(doing),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(doing, total=None)
    started = next_line = time.monotonic()
    shown = False

    def report(done_bytes: int, total_bytes: int) -> None:
        nonlocal next_line, shown
        now = time.monotonic()
        if now < started + _QUIET_SECONDS:
            return
        if console.is_terminal:
            if not shown:
                bar.start()
                shown = True
            bar.update(task, completed=done_bytes, total=total_bytes)
        elif now >= next_line:
            next_line = now + _LINE_SECONDS
            share = 100 * done_bytes // max(1, total_bytes)
            print(f"{doing}: {share} % of {total_bytes:,} bytes", file=sys.stderr, flush=True)

    try:
        yield report
    finally:
        if shown:
            bar.stop()
