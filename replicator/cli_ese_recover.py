"""``replicator ese recover``: soft recovery of a store on this machine, in place or of a copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from replicator.cli_ese_copy import CopyBeside, as_kept, left_behind_lines, with_streaming_files
from replicator.cli_ese_output import (
    BaseOption,
    StopBeforeUndoOption,
    say_findings,
    say_table,
    say_unfinished,
)
from replicator.cli_ese_places import (
    ChangedWithin,
    Places,
    check_writable,
    held,
    open_like_the_logs,
)
from replicator.cli_output import (
    JsonOption,
    byte_progress,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.errors import (
    BadInput,
    ExitCode,
    ReplicatorError,
)

if TYPE_CHECKING:
    from replicator.ese.errors import EseError
    from replicator.ese.recovery_checks import RecoveryPlan, RecoveryRequest
    from replicator.ese.recovery_result import RecoveryResult, RecoverySettings
    from replicator.ese.values import LogTime, Signature
    from replicator.host.machine_volumes import MachineVolumes
    from replicator.host.world import HostRuntime
    from replicator.runtime.port import Volume

    Outcome = tuple[RecoveryResult | None, tuple[EseError, ...]]
    """Of a recovery: what it did, or None; and what is wrong."""

_NAME_A_SET = "Say with --base which of those that were found."
_FIND_THE_LOGS = (
    "Name the directory that the logs are in; 'replicator ese header' on a database tells "
    "which generations it requires."
)


class Stopped(ReplicatorError):
    """Ctrl-C, or SIGTERM: obeyed where a crash would do no harm."""

    exit_code = ExitCode.INTERRUPTED
    default_remedy = "Run it again: it goes on from what is on disk."


def recover(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the logs are.", show_default=False)
    ],
    base: BaseOption = None,
    system: Annotated[
        Path | None,
        typer.Option(
            "-s",
            "--system",
            metavar="DIR",
            help="Where the checkpoint is, when not with the logs.",
            show_default=False,
        ),
    ] = None,
    databases: Annotated[
        list[Path] | None,
        typer.Option(
            "-d",
            "--database",
            metavar="PATH",
            help="A database, or the directory of databases, when not with the logs; repeatable.",
            show_default=False,
        ),
    ] = None,
    allow_lost_logs: Annotated[
        bool,
        typer.Option(
            "-a",
            "--allow-lost-logs",
            help="Go on without committed logs that no database requires: what they hold is lost.",
        ),
    ] = False,
    stop_before_undo: StopBeforeUndoOption = False,
    ignore_missing: Annotated[
        bool,
        typer.Option(
            "-i",
            "--ignore-missing-databases",
            help="Go on when a database that the logs leave attached is not there.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="NEWDIR",
            help="Recover a copy there and leave everything else as it is; must not exist.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Bring databases that were not shut down to rest, with their logs (soft recovery).

    The files in DIR are changed, as eseutil /r does; with --output a copy is.  What keeps them
    from recovery is found out before anything is changed.  An interrupted recovery is run again.

    Ends with 0 when the databases are at rest, with 3 when it stopped before undo, as asked, with
    1 when something is damaged, missing or foreign, with 64 when DIR holds no logs.
    """
    check_target(json)
    places = Places(
        directory, base, system, tuple(databases or ()), allow_lost_logs, ignore_missing
    )
    told: list[str] = []
    say_unfinished(console_for(json), directory)
    result, errors = recover_files(places, undo=not stop_before_undo, output=output, told=told)
    say_recovery(result, errors, str(output or directory), json, told)


def say_recovery(
    result: RecoveryResult | None,
    errors: tuple[EseError, ...],
    place: str,
    json: Path | None,
    told: Sequence[str] = (),
) -> NoReturn:
    """Print what a recovery did, write it as JSON where asked, and end the command.

    Arguments
    ---------
    place: the directory that was recovered.
    told: further lines, about a copy.
    """
    from replicator.ese_recovery_report import (
        TITLES,
        exit_code,
        lines_of,
        recovery_document,
        rows_of,
        unread_lines,
    )

    console = console_for(json)
    if result is not None:
        say_table(console, [TITLES, *rows_of(result)])
        say_findings(console, (), result.notes)
        for line in (*lines_of(result), *told, *unread_lines(result)):
            say(console, line)
    say_findings(console, errors)
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, recovery_document(result, errors, place))
    raise typer.Exit(exit_code(result))


def recover_files(
    places: Places, *, undo: bool, output: Path | None, told: list[str] | None = None
) -> Outcome:
    """Recover; the result, or None and what is wrong.

    Arguments
    ---------
    undo: False to stop before it.
    output: a directory for a copy, which must not exist; None to recover in place.
    told: is given lines about what was copied.

    Raises BadInput when there is nothing to recover, Locked while another recovery runs, and
    StorageError when a disk fails.
    """

    def act(
        runtime: HostRuntime, settings: RecoverySettings, copy: CopyBeside | None
    ) -> Coroutine[Any, Any, Outcome]:
        return _recover(runtime, places, settings, copy)

    return carried_out(act, places, undo=undo, output=output, told=told)


def carried_out(
    act: Callable[[HostRuntime, RecoverySettings, CopyBeside | None], Coroutine[Any, Any, Outcome]],
    places: Places,
    *,
    undo: bool,
    output: Path | None,
    told: list[str] | None,
) -> Outcome:
    """Soft or hard recovery, in place or of a copy that stays only when it came to an end.

    Arguments
    ---------
    act: plans and recovers: in place, or, when it is given one, in the copy that it takes.
    places, undo, output, told: as of :func:`recover_files`, which raises the same.
    """
    from replicator.ese.errors import EseError
    from replicator.ese.recovery_result import RecoverySettings
    from replicator.ese_findings import INPUT_ERRORS
    from replicator.host.world import run_on_host

    places.check()
    if output is not None and os.path.lexists(output):
        raise BadInput("it exists already", path=str(output), remedy="Name a new directory.")
    settings = RecoverySettings(undo=undo)
    try:
        if output is None:
            check_writable(places)
            with held(places, shared=False):
                found = run_on_host(lambda runtime: act(runtime, settings, None))
                open_like_the_logs(places.logs, places.directories())
            return found
        with held(places, shared=True), CopyBeside(output) as beside:
            try:
                result, errors = run_on_host(lambda runtime: act(runtime, settings, beside))
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


def bad_input_of(error: EseError) -> BadInput:
    """Logs that are not there, or that have to be named."""
    remedy = _NAME_A_SET if "found: " in error.detail else _FIND_THE_LOGS
    return BadInput(error.detail, path=error.path, remedy=remedy)


def stop_check(runtime: HostRuntime) -> Callable[[], None]:
    """Raises :class:`Stopped` when it is called after Ctrl-C or SIGTERM."""

    def stopped() -> None:
        if runtime.stop.requested:
            raise Stopped("stopped, as asked")

    return stopped


async def _recover(
    runtime: HostRuntime, places: Places, settings: RecoverySettings, copy: CopyBeside | None
) -> Outcome:
    from replicator.ese.recovery import recover
    from replicator.ese.recovery_checks import plan_recovery
    from replicator.host.machine_volumes import MachineVolumes

    stopped = stop_check(runtime)
    machine = MachineVolumes(runtime)
    volume, request, _ = located(machine, places)
    if copy is not None:
        volume = ChangedWithin(volume)
    plan, errors = await plan_recovery(volume, request, stopped)
    if plan is not None and copy is not None:
        await copy.take(_files_of(plan), stopped)
        volume, request, _ = located(
            machine, replace(places, logs=copy.path, base=plan.base, system=None, databases=())
        )
        plan, errors = await plan_recovery(volume, request, stopped)
    if plan is None:
        return None, errors

    now, signature = stamps(runtime)
    with byte_progress("recovering") as report:

        def progress(done_bytes: int, total_bytes: int) -> None:
            stopped()
            report(done_bytes, total_bytes)

        result = await recover(
            volume,
            plan,
            settings,
            now=now,
            flush_signature=signature,
            progress=progress,
        )
    return result, ()


def stamps(runtime: HostRuntime) -> tuple[Callable[[], LogTime], Callable[[], Signature]]:
    """This machine's time as logs and headers have it, and what draws a signature for a header."""
    from replicator.ese.log_encoding import log_time_at
    from replicator.ese.values import Signature

    draw = runtime.random("header flush signature")

    def now() -> LogTime:
        return log_time_at(runtime.wall_ns())

    return now, lambda: Signature(int(draw() * 2**32), now())


def located(
    machine: MachineVolumes, places: Places, *more: Path
) -> tuple[Volume, RecoveryRequest, list[str]]:
    """The one file system that everything lies on, and what is asked for on it.

    Arguments
    ---------
    more: further directories, whose paths there follow.
    """
    volumes: dict[str, Volume] = {}

    def real(directory: Path) -> str:
        place = machine.at(str(directory), "DIR")
        volumes[place.volume.name] = place.volume
        return place.path

    request = places.request(real)
    others = [real(each) for each in more]
    if len(volumes) > 1:
        raise BadInput(
            f"the files lie on several file systems: {', '.join(sorted(volumes))}",
            remedy="Bring them together on one, for instance into one directory.",
        )
    (volume,) = volumes.values()
    return volume, request, others


def _files_of(plan: RecoveryPlan) -> list[str]:
    """All that a plan names."""
    paths = [log.path for log in (*plan.logs, *plan.dropped)]
    paths += with_streaming_files(plan.databases)
    checkpoint = f"{plan.system_directory}/{plan.checkpoint_name}"
    if os.path.exists(checkpoint):
        paths.append(checkpoint)
    return paths
