"""The command ``simulator store``: a store in the real file format, as test data for anybody."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.command_line import printable
from replicator.errors import BadInput, ExitCode, ReplicatorError
from simulator.cli_options import STANDARD_OUTPUT, JsonOption
from simulator.cli_store_text import print_record

if TYPE_CHECKING:
    from replicator.host.world import HostRuntime
    from simulator.exchange.ese.generated_store import StoreSpec
    from simulator.exchange.ese.store_record import StoreRecord
    from simulator.report.terminal import Report


class StoreVersionName(StrEnum):
    """Of Exchange."""

    E2003 = "2003"
    E2007 = "2007"
    E2010 = "2010"


_PROFILES = {"2003": "average", "2007": "average", "2010": "50"}
"""Those of about fifty messages a day (2003: a hundred)."""


_UNFINISHED = """\
'simulator store' is writing a store into this directory, or was killed while it did.
When it is whole this file goes away; until then nothing beside it is of any use.
"""


class Stopped(ReplicatorError):
    """Ctrl-C before the store was whole."""

    exit_code = ExitCode.INTERRUPTED
    default_remedy = "Nothing: what had been written was removed."


def store(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A directory that is empty, or not there yet.", show_default=False
        ),
    ],
    version: Annotated[
        StoreVersionName, typer.Option(help="Whose files: of Exchange.")
    ] = StoreVersionName.E2007,
    mailboxes: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 10,
    days: Annotated[int, typer.Option(min=1, max=3_660, help="Of mail, from a Monday on.")] = 1,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What a mailbox sends and receives, of docs/mail-load.md: 'heavy', or of 2010 "
            "messages a day. By default 'average' or '50'.",
            show_default=False,
        ),
    ] = None,
    databases: Annotated[
        int, typer.Option(min=1, max=5, help="Files of the storage group, with one log.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Names the mail.")] = 1,
    crash: Annotated[
        bool, typer.Option("--crash", help="Kill the store at the end, with changes underway.")
    ] = False,
    crash_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Kill it at this time after its begin, as in 14h30m.",
            show_default=False,
        ),
    ] = None,
    backup: Annotated[
        Path | None,
        typer.Option(
            metavar="BACKUPDIR",
            help="Take a streaming backup into this directory, empty or not there yet, while the "
            "store works (to 2007).",
            show_default=False,
        ),
    ] = None,
    backup_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Begin the backup at this time after the store's begin; by default in the middle.",
            show_default=False,
        ),
    ] = None,
    circular: Annotated[
        bool, typer.Option("--circular", help="Keep only logs that are still needed.")
    ] = False,
    views: Annotated[
        bool,
        typer.Option(
            "--views/--no-views",
            help="Log what views and the like add, so that a mailbox fills its profile's logs.",
        ),
    ] = True,
    io: Annotated[
        bool,
        typer.Option(
            "--io",
            help="Read and write pages of older mail too, so that a mailbox makes its profile's "
            "operations a second.",
        ),
    ] = False,
    json: JsonOption = None,
) -> None:
    """Write a mail store into DIR: databases, logs, checkpoint, and what must be in them.

    The ledger messages.jsonl has a line for each message. The same options give the same bytes.
    """
    from rich.console import Console
    from rich.text import Text

    from replicator.ese.log_names import UNFINISHED_NAME
    from simulator.cli_store_estimate import estimate_line
    from simulator.exchange.ese.store_record import store_text
    from simulator.exchange.mail_io import DEFAULT_IO
    from simulator.report.output import (
        check_file_target,
        check_new_directory_target,
        check_room,
        directory_for,
        write_atomically,
    )
    from simulator.report.terminal import progress_on

    spec = replace(
        _spec(version, mailboxes, days, profile, databases, seed, crash, crash_at),
        circular=circular,
        views=views,
        io=DEFAULT_IO if io else None,
    )
    _refuse_unfinished(directory)
    backup_at_ns = _backup_at_ns(version, spec, backup, backup_at)
    check_new_directory_target(directory, "DIR")
    if backup is not None:
        _check_apart(directory, backup)
        check_new_directory_target(backup, "--backup")
    if json is not None and json != STANDARD_OUTPUT:
        for place, name in ((directory, "DIR"), (backup, "BACKUPDIR")):
            if place is not None and json.resolve().is_relative_to(place.resolve()):
                raise BadInput(
                    f"--json would write into {name}",
                    path=str(json),
                    remedy="Give --json a path outside of it.",
                )
        check_file_target(json, "--json")
        check_room(json)
    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    line = estimate_line(spec, directory)
    if line is not None:
        Console(stderr=True, highlight=False).print(Text(printable(line)), soft_wrap=True)
    places = [(directory, "DIR")] + ([(backup, "--backup")] if backup is not None else [])
    with ExitStack() as made, ExitStack() as unfinished:
        for place, name in places:
            made.enter_context(directory_for(place, name))
            unfinished.callback(_remove, place, spec)
        # A set that is not whole is refused by itself.
        (directory / UNFINISHED_NAME).write_text(_UNFINISHED, encoding="utf-8")
        with progress_on(Console(stderr=True), "writing the store", "of mail") as report:
            record = _write(directory, spec, report, backup, backup_at_ns)
        _open_to_readers(directory, [each.name for each in record.files])
        if backup is not None and record.backup is not None:
            _open_to_readers(backup, record.backup.files)
        (directory / UNFINISHED_NAME).unlink()
        unfinished.pop_all()
    text = store_text(record)
    if json == STANDARD_OUTPUT:
        print(text, end="", flush=True)
    elif json is not None:
        try:
            write_atomically(json, text, "--json")
        except BadInput as error:
            error.remedy = (
                f"The store in {directory} is whole; only the record of it is missing: write it "
                "again into another directory with --json elsewhere, or do without."
            )
            raise
    print_record(console, directory, record, backup)


def _backup_at_ns(
    version: str, spec: StoreSpec, backup: Path | None, backup_at: str | None
) -> int | None:
    """When the backup begins; None without one.  Raises BadInput for what cannot be."""
    from replicator.units import UnitError, format_ns, parse_duration_ns
    from simulator.exchange.diurnal import DAY_NS

    if backup is None:
        if backup_at is not None:
            raise BadInput("--backup-at without --backup", remedy="Say where: --backup BACKUPDIR.")
        return None
    if version == StoreVersionName.E2010:
        raise BadInput(
            "Exchange 2010 has no streaming backup",
            remedy="Give --version 2003 or 2007.",
        )
    life_ns = spec.days * DAY_NS if spec.crash_at_ns is None else spec.crash_at_ns
    if backup_at is None:
        return life_ns // 2
    try:
        at_ns = parse_duration_ns(backup_at)
    except UnitError as error:
        raise BadInput(f"--backup-at: {error}", remedy="Write it as in 9h30m.") from error
    if at_ns > life_ns:
        raise BadInput(
            f"--backup-at lies behind the {format_ns(life_ns)} that the store lives",
            remedy="Give an earlier time, or a later --crash-at.",
        )
    return at_ns


def _check_apart(directory: Path, backup: Path) -> None:
    """Raises BadInput when one lies in the other."""
    one, other = directory.resolve(), backup.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise BadInput(
            "--backup and DIR lie in one another",
            path=str(backup),
            remedy="Give --backup a directory of its own.",
        )


def _spec(
    version: str,
    mailboxes: int,
    days: int,
    profile: str | None,
    databases: int,
    seed: int,
    crash: bool,
    crash_at: str | None,
) -> StoreSpec:
    """What the options say; raises BadInput for what cannot be."""
    from replicator.units import UnitError, format_ns, parse_duration_ns
    from simulator.exchange.diurnal import DAY_NS
    from simulator.exchange.ese.generated_store import StoreSpec
    from simulator.exchange.profiles import select_profile

    crash_at_ns = days * DAY_NS if crash else None
    if crash_at is not None:
        try:
            crash_at_ns = parse_duration_ns(crash_at)
        except UnitError as error:
            raise BadInput(f"--crash-at: {error}", remedy="Write it as in 14h30m.") from error
        if crash_at_ns > days * DAY_NS:
            raise BadInput(
                f"--crash-at lies behind the {format_ns(days * DAY_NS)} of mail",
                remedy="Give an earlier time, or more --days.",
            )
    if databases > mailboxes:
        raise BadInput(
            f"{databases} databases for {mailboxes} mailboxes",
            remedy="Give --mailboxes as many as --databases at least.",
        )
    return StoreSpec(
        profile=select_profile(str(version), profile or _PROFILES[str(version)]),
        mailboxes=mailboxes,
        days=days,
        databases=databases,
        seed=seed,
        crash_at_ns=crash_at_ns,
    )


def _write(
    directory: Path,
    spec: StoreSpec,
    report: Report,
    backup: Path | None = None,
    backup_at_ns: int | None = None,
) -> StoreRecord:
    """Run the store on the real directory; errors name its real files."""
    from replicator.errors import DamagedStore, StorageError
    from replicator.ese.errors import EseError
    from replicator.host.world import run_on_host
    from simulator.exchange.ese.generated_store import generate_store
    from simulator.exchange.ese.store_backup import BackupOrder

    backup_path = None if backup is None else str(backup.resolve())

    async def main(runtime: HostRuntime) -> StoreRecord:
        # The directory is the whole volume: the paths in logs and headers are the same anywhere.
        volume = runtime.volume("store", str(directory.resolve()))

        def progress(done_ns: int, all_ns: int) -> None:
            if runtime.stop.requested:
                raise Stopped("stopped before the store was whole", path=str(directory))
            report(done_ns / 1e9, all_ns / 1e9, "writing the store")

        order = None
        if backup_path is not None and backup_at_ns is not None:
            # Its paths are in no file; seen like this, errors name them as they are.
            target = runtime.volume("backup", backup_path, seen_at=backup_path)
            order = BackupOrder(target, backup_path, backup_at_ns)
        return await generate_store(volume, "/", spec, progress, order)

    def real(path: str) -> str:
        in_backup = backup_path is not None and path.startswith(backup_path)
        return path if in_backup else f"{directory}{path}"

    try:
        return run_on_host(main)
    except StorageError as error:
        error.path = None if error.path is None else real(error.path)
        raise
    except EseError as error:
        path = str(directory) if error.path is None else real(error.path)
        raise DamagedStore(
            f"the store could not be written: {error}",
            path=path,
            remedy="Check the volume, or ask for fewer mailboxes or days.",
        ) from error


def _open_to_readers(directory: Path, names: Sequence[str]) -> None:
    """Give the files the permissions of any new file; the volume makes them for the owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    for name in names:
        (directory / name).chmod(0o666 & ~mask)


def _remove(directory: Path, spec: StoreSpec) -> None:
    """Take away what a store that did not become whole has left."""
    from replicator.ese.log_names import UNFINISHED_NAME, parse_log_name
    from simulator.exchange.ese.generated_store import LEDGER_NAME

    ours = {*spec.file_names, *spec.stream_names, LEDGER_NAME}
    with suppress(OSError):
        for each in directory.iterdir():
            if each.name in ours or parse_log_name(each.name) is not None:
                each.unlink()
        (directory / UNFINISHED_NAME).unlink()  # last, so that it stands beside whatever stays


def _refuse_unfinished(directory: Path) -> None:
    """Raises BadInput for a directory in which a store was begun and not finished."""
    from replicator.ese.log_names import UNFINISHED_NAME

    if (directory / UNFINISHED_NAME).is_file():
        raise BadInput(
            "here lies a store that is still being made, or whose making was killed",
            path=str(directory),
            remedy="If nothing writes there any more, remove the directory; or give another one.",
        )
