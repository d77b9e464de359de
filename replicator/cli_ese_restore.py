"""``replicator ese restore``: hard recovery of a streaming backup's set on this machine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from replicator.cli_ese_copy import CopyBeside, with_streaming_files
from replicator.cli_ese_output import BaseOption, StopBeforeUndoOption
from replicator.cli_ese_places import ChangedWithin, Places
from replicator.cli_ese_recover import (
    carried_out,
    located,
    say_recovery,
    stamps,
    stop_check,
)
from replicator.cli_output import JsonOption, byte_progress, check_target
from replicator.errors import BadInput

if TYPE_CHECKING:
    from replicator.cli_ese_recover import Outcome
    from replicator.ese.errors import EseError
    from replicator.ese.recovery_result import RecoverySettings
    from replicator.ese.restore_checks import RestorePlan
    from replicator.host.machine_volumes import MachineVolumes
    from replicator.host.world import HostRuntime
    from replicator.runtime.port import Volume


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
) -> Outcome:
    """Restore; the result, or None and what is wrong.

    Arguments
    ---------
    places: of the backup's set.
    store_logs: a directory of logs that follow, or None.
    undo, output, told: see :func:`replicator.cli_ese_recover.recover_files`.

    Raises as that does.
    """

    def act(
        runtime: HostRuntime, settings: RecoverySettings, copy: CopyBeside | None
    ) -> Coroutine[Any, Any, Outcome]:
        return _restore(runtime, places, store_logs, settings, copy)

    return carried_out(act, places, undo=undo, output=output, told=told)


async def _restore(
    runtime: HostRuntime,
    places: Places,
    store_logs: Path | None,
    settings: RecoverySettings,
    copy: CopyBeside | None,
) -> Outcome:
    from replicator.ese.restore import restore
    from replicator.host.machine_volumes import MachineVolumes

    stopped = stop_check(runtime)
    machine = MachineVolumes(runtime)
    changed = [] if copy is not None else list(places.directories())
    volume, plan, errors = await _planned(machine, places, store_logs, changed, stopped)
    if plan is not None and copy is not None:
        paths = [log.path for log in plan.logs]
        copies = with_streaming_files([each.found for each in plan.copies])
        await copy.take([*paths, *copies], stopped)
        there = replace(places, logs=copy.path, base=plan.base, databases=())
        changed = list(there.directories())
        volume, plan, errors = await _planned(machine, there, store_logs, changed, stopped)
    if plan is None:
        return None, errors

    now, signature = stamps(runtime)
    with byte_progress("restoring") as report:

        def progress(done_bytes: int, total_bytes: int) -> None:
            stopped()
            report(done_bytes, total_bytes)

        result = await restore(
            volume,
            plan,
            settings,
            now=now,
            flush_signature=signature,
            progress=progress,
        )
    return result, ()


async def _planned(
    machine: MachineVolumes,
    places: Places,
    store_logs: Path | None,
    changed: Sequence[str],
    stopped: Callable[[], None],
) -> tuple[Volume, RestorePlan | None, tuple[EseError, ...]]:
    """The volume, on which but for the directories to be changed all is only read, and the plan."""
    from replicator.ese.restore_checks import RestoreRequest, plan_restore

    directories = () if store_logs is None else (store_logs,)
    below, request, more = located(machine, places, *directories)
    volume = ChangedWithin(below, *changed)
    plan, errors = await plan_restore(
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
    return volume, plan, errors
