"""``replicator ese restore``: hard recovery of a streaming backup's set on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.cli_ese_copy import CopyBeside, as_kept, left_behind_lines, with_streaming_files
from replicator.cli_ese_output import BaseOption, StopBeforeUndoOption
from replicator.cli_ese_places import Places, check_writable, held, open_like_the_logs
from replicator.cli_ese_recover import (
    bad_input_of,
    located,
    say_recovery,
    stamps,
    stop_check,
)
from replicator.cli_output import JsonOption, byte_progress, check_target
from replicator.errors import BadInput

if TYPE_CHECKING:
    from replicator.ese.errors import EseError
    from replicator.ese.recovery_result import RecoveryResult, RecoverySettings
    from replicator.ese.restore_checks import RestorePlan
    from replicator.host.machine_volumes import MachineVolumes
    from replicator.host.world import HostRuntime


def restore(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Where the logs of the backup are.", show_default=False),
    ],
    base: BaseOption = None,
    databases: Annotated[
        list[Path] | None,
        typer.Option(
            "-d",
            "--database",
            metavar="PATH",
            help="A copy, or the directory of copies, when not with the logs; repeatable.",
            show_default=False,
        ),
    ] = None,
    store_logs: Annotated[
        Path | None,
        typer.Option(
            "-f",
            "--then",
            metavar="DIR",
            help="Go on with the store's own logs from there; they stay as they are.",
            show_default=False,
        ),
    ] = None,
    allow_lost_logs: Annotated[
        bool,
        typer.Option(
            "-a",
            "--allow-lost-logs",
            help="Go on up to the first of the store's logs that is missing or damaged.",
        ),
    ] = False,
    stop_before_undo: StopBeforeUndoOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="NEWDIR",
            help="Restore a copy there and leave everything else as it is; must not exist.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Bring the copies of a streaming backup to rest, with its logs (hard recovery).

    The files in DIR are changed, as eseutil /cc does; with --output a copy is.  What keeps them
    from it is found out before anything is changed.  An interrupted restore is run again.

    Ends with 0 when the databases are at rest, with 3 when it stopped before undo, as asked, with
    1 when something is damaged, missing or foreign, with 64 when DIR holds no logs.
    """
    check_target(json)
    if store_logs is not None and not store_logs.is_dir():
        reason = "this is no directory" if store_logs.exists() else "there is no such directory"
        raise BadInput(f"--then: {reason}", path=str(store_logs), remedy="Correct the path.")
    places = Places(directory, base, None, tuple(databases or ()), allow_lost_logs, True)
    told: list[str] = []
    result, errors = restore_files(
        places, store_logs, undo=not stop_before_undo, output=output, told=told
    )
    say_recovery(result, errors, str(output or directory), json, told)


def restore_files(
    places: Places,
    store_logs: Path | None,
    *,
    undo: bool,
    output: Path | None,
    told: list[str] | None = None,
) -> tuple[RecoveryResult | None, tuple[EseError, ...]]:
    """Restore; the result, or None and what is wrong.

    Arguments
    ---------
    places: of the backup's set.
    store_logs: a directory of logs that follow, or None.
    undo, output, told: see :func:`replicator.cli_ese_recover.recover_files`.

    Raises as that does.
    """
    from replicator.ese.errors import EseError
    from replicator.ese.recovery_result import RecoverySettings
    from replicator.ese_findings import INPUT_ERRORS
    from replicator.host.world import run_on_host

    places.check()
    if output is not None and output.exists():
        raise BadInput("it exists already", path=str(output), remedy="Name a new directory.")
    settings = RecoverySettings(undo=undo)
    try:
        if output is None:
            check_writable(places)
            with held(places, shared=False):
                found = run_on_host(
                    lambda runtime: _restore(runtime, places, store_logs, settings, None)
                )
                open_like_the_logs(places.logs, places.directories())
            return found
        with held(places, shared=True), CopyBeside(output) as beside:
            try:
                result, errors = run_on_host(
                    lambda runtime: _restore(runtime, places, store_logs, settings, beside)
                )
            except EseError as error:
                beside.tell_of_original(error, places.logs)
                raise
            for each in (*errors, *(() if result is None else result.notes)):
                beside.tell_of_original(each, places.logs)
            if result is None:
                return None, errors
            open_like_the_logs(beside.path, (str(beside.path),))
            beside.keep()
            if told is not None:
                told.extend(left_behind_lines(places.logs, beside.copied))
            return as_kept(result, output), ()
    except EseError as error:
        if error.number in INPUT_ERRORS:
            raise bad_input_of(error) from error
        return None, (error,)


async def _restore(
    runtime: HostRuntime,
    places: Places,
    store_logs: Path | None,
    settings: RecoverySettings,
    copy: CopyBeside | None,
) -> tuple[RecoveryResult | None, tuple[EseError, ...]]:
    from replicator.ese.restore import restore
    from replicator.host.machine_volumes import MachineVolumes

    stopped = stop_check(runtime)
    machine = MachineVolumes(runtime)
    plan, errors = await _planned(machine, places, store_logs, stopped)
    if plan is not None and copy is not None:
        paths = [log.path for log in plan.logs]
        copies = with_streaming_files([each.found for each in plan.copies])
        copy.take([*paths, *copies], stopped)
        there = replace(places, logs=copy.path, base=plan.base, databases=())
        plan, errors = await _planned(machine, there, store_logs, stopped)
    if plan is None:
        return None, errors

    now, signature = stamps(runtime)
    with byte_progress("restoring") as report:

        def progress(done_bytes: int, total_bytes: int) -> None:
            stopped()
            report(done_bytes, total_bytes)

        result = await restore(
            located(machine, places)[0],
            plan,
            settings,
            now=now,
            flush_signature=signature,
            progress=progress,
        )
    return result, ()


async def _planned(
    machine: MachineVolumes, places: Places, store_logs: Path | None, stopped: Callable[[], None]
) -> tuple[RestorePlan | None, tuple[EseError, ...]]:
    from replicator.ese.restore_checks import RestoreRequest, plan_restore

    directories = () if store_logs is None else (store_logs,)
    volume, request, more = located(machine, places, *directories)
    return await plan_restore(
        volume,
        RestoreRequest(
            directory=request.log_directory,
            base=request.base,
            databases=request.databases,
            database_directories=request.database_directories,
            store_logs=more[0] if more else None,
            allow_lost_logs=request.allow_lost_logs,
        ),
        stopped,
    )
