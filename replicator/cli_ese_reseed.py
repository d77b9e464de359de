"""``replicator ese reseed``: a copy that went another way follows the active one again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.cli_ese_output import BaseOption, say_findings, say_table
from replicator.cli_ese_places import (
    ChangedWithin,
    Places,
    check_writable,
    held,
    open_like_the_logs,
)
from replicator.cli_ese_recover import bad_input_of, located, stamps, stop_check
from replicator.cli_output import (
    JsonOption,
    byte_progress,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.errors import BadInput

if TYPE_CHECKING:
    from replicator.ese.errors import EseError
    from replicator.ese.reseed import ReseedResult
    from replicator.host.world import HostRuntime


def reseed(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The copy that gives way: logs, databases.", show_default=False
        ),
    ],
    active: Annotated[
        Path,
        typer.Argument(
            metavar="ACTIVE", help="The copy that is right: logs, databases.", show_default=False
        ),
    ],
    base: BaseOption = None,
    json: JsonOption = None,
) -> None:
    """Bring a copy that has diverged back to the active one (incremental reseed).

    The logs that ACTIVE never had go away; pages that they may have changed and all logs that
    follow are taken from ACTIVE, which is not changed and not in use meanwhile.  Recover DIR
    afterwards.  An interrupted reseed is run again.

    Ends with 0, with 1 when the copy has to be seeded anew or something is damaged, with 64 when
    one of them holds no logs.
    """
    check_target(json)
    from replicator.ese_reseed_report import TITLES, exit_code, lines_of, reseed_document, rows_of

    result, errors = reseed_files(directory, active, base)
    console = console_for(json)
    if result is not None:
        say_table(console, [TITLES, *rows_of(result)], numbers=range(2, 3))
        for line in lines_of(result):
            say(console, line)
    say_findings(console, errors)
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, reseed_document(result, errors, str(directory), str(active)))
    raise typer.Exit(exit_code(result))


def reseed_files(
    directory: Path, active: Path, base: str | None
) -> tuple[ReseedResult | None, tuple[EseError, ...]]:
    """Reseed; the result, or None and what is wrong.

    Raises BadInput when there is nothing to work on, Locked while a recovery runs in one of the
    directories, and StorageError when a disk fails.
    """
    from replicator.ese.errors import EseError
    from replicator.ese_findings import INPUT_ERRORS
    from replicator.host.world import run_on_host

    mine = Places(directory, base, None, (), False, False)
    other = Places(active, base, None, (), False, False)
    mine.check()
    if not active.is_dir():
        reason = "this is no directory" if active.exists() else "there is no such directory"
        raise BadInput(f"ACTIVE: {reason}", path=str(active), remedy="Correct the path.")
    if directory.resolve() == active.resolve():
        raise BadInput(
            "DIR and ACTIVE are the same directory", path=str(active), remedy="Name two copies."
        )
    check_writable(mine)
    try:
        with held(mine, shared=False), held(other, shared=True):
            found = run_on_host(lambda runtime: _reseed(runtime, mine, active))
            open_like_the_logs(mine.logs, mine.directories())
        return found
    except EseError as error:
        if error.number in INPUT_ERRORS:
            raise bad_input_of(error) from error
        return None, (error,)


async def _reseed(
    runtime: HostRuntime, places: Places, active: Path
) -> tuple[ReseedResult | None, tuple[EseError, ...]]:
    from replicator.ese.reseed import reseed
    from replicator.ese.reseed_checks import ReseedRequest, plan_reseed
    from replicator.host.machine_volumes import MachineVolumes

    stopped = stop_check(runtime)
    below, wanted, others = located(MachineVolumes(runtime), places, active)
    volume = ChangedWithin(below, wanted.log_directory)
    request = ReseedRequest(
        directory=wanted.log_directory, active_directory=others[0], base=wanted.base
    )
    plan, errors = await plan_reseed(volume, request, stopped)
    if plan is None:
        return None, errors
    page_bytes = max(each.found.header.page_size for each in plan.databases)

    now, signature = stamps(runtime)
    with byte_progress("reseeding") as report:

        def progress(done_pages: int, all_pages: int) -> None:
            stopped()
            report(done_pages * page_bytes, all_pages * page_bytes)

        result = await reseed(
            volume,
            plan,
            now=now,
            flush_signature=signature,
            progress=progress,
        )
    return result, ()
