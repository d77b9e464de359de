"""What happens before an instance runs: what lies there is recovered as soft recovery does.

One case is the engine's own.  A database whose creation the last run did not finish has a
CreateDB record and no CreateDBFinish, and a file that is missing, empty, JustCreated, or dirty
without all of its trees.  Nobody has been given it, so it goes away; recovery by itself refuses
it (-1206, -1216), or leaves a database without a catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from replicator.ese.database_header import State
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.log_options import Durability
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import AttachDB, CreateDB
from replicator.ese.recovery import recover
from replicator.ese.recovery_checks import RecoveryPlan, RecoveryRequest, plan_recovery
from replicator.ese.recovery_files import (
    find_databases,
    find_logs,
    joined,
    read_file,
    read_header,
)
from replicator.ese.recovery_result import RecoveryResult, RecoverySettings
from replicator.ese.values import LogTime, Signature
from replicator.runtime.port import Volume
from simulator.exchange.ese.instance_options import InstanceConfig

_UNFINISHED: Final = frozenset({-1206, -1216})


def has_logs(volume: Volume, directory: str, base: str) -> bool:
    """Whether a log set of this base lies there, its current log or closed ones."""
    roles = (LogRole.CURRENT, LogRole.CLOSED)
    found = (parse_log_name(name) for name in volume.list(directory))
    return any(each and each.role in roles and each.base == base.upper() for each in found)


async def recover_instance(
    volume: Volume,
    directory: str,
    config: InstanceConfig,
    *,
    now: Callable[[], LogTime],
    flush_signature: Callable[[], Signature],
) -> tuple[RecoveryPlan, RecoveryResult]:
    """Bring what the last run left to rest; what was shut down cleanly stays as it is.

    Arguments
    ---------
    directory: of logs, checkpoint and databases.
    config: the base; in the lazy mode committed logs may be lost.
    now, flush_signature: as for :func:`replicator.ese.recovery.recover`.

    Raises EseError with the first thing that keeps the store from recovery.
    """
    lost = config.durability is Durability.LAZY
    if lost:
        await _give_up_broken(volume, directory, config.base)
    request = RecoveryRequest(log_directory=directory, base=config.base, allow_lost_logs=lost)
    plan, errors = await plan_recovery(volume, request)
    at_rest = plan is not None and all(
        each.header.state is State.CLEAN_SHUTDOWN for each in plan.databases
    )
    if not at_rest and {each.number for each in errors} <= _UNFINISHED:
        unfinished = await _unfinished(volume, directory, config.base)
        for each in await find_databases(volume, (directory,)):
            if each.header.database_signature in unfinished:
                volume.unlink(each.path)
        for path in unfinished.values():
            name = path.rpartition("/")[2]
            here = joined(directory, name)  # the logs have the path of where they were written
            # Without a header it is no database, and nothing else has this name.
            if name in volume.list(directory) and await read_header(volume, here) is None:
                volume.unlink(here)
        await volume.sync_directory(directory)
        if await _missing(volume, directory, config.base) <= unfinished.keys():
            request = replace(request, ignore_missing_databases=True)
        plan, errors = await plan_recovery(volume, request)
    if plan is None:
        raise errors[0]
    settings = RecoverySettings()
    result = await recover(volume, plan, settings, now=now, flush_signature=flush_signature)
    return plan, result


async def _give_up_broken(volume: Volume, directory: str, base: str) -> None:
    """Remove logs that no database requires, from the first on whose records do not hold together.

    What a power loss left of a log that was never made durable may be segments of different
    ages, each whole in itself.  Recovery takes that for corruption.
    """
    databases = await find_databases(volume, (directory,))
    required = max(
        (
            each.header.consistent_position.generation
            if each.header.state is State.CLEAN_SHUTDOWN
            else each.header.last_required_generation
            for each in databases
        ),
        default=0,
    )
    logs = (await find_logs(volume, directory, base)).logs
    above = [log for log in logs if (log.generation or required + 1) > required]
    for place, log in enumerate(above):
        try:
            closed = log.name.role is LogRole.CLOSED
            opened = LogFile(await read_file(volume, log.path), closed=closed)
            for record in opened.records():
                _ = record.content
        except EseError:
            if place or len(above) < len(logs):  # else nothing would be left to go on from
                for broken in reversed(above[place:]):
                    volume.unlink(broken.path)
                await volume.sync_directory(directory)
            return


async def _unfinished(volume: Volume, directory: str, base: str) -> dict[Signature, str]:
    """The databases, with paths, whose creation was begun in these logs, and not finished.

    What was made or attached under such a path later is another one, which somebody has been given.
    """
    begun: dict[int, tuple[Signature, str]] = {}
    logs = await find_logs(volume, directory, base)
    for log in logs.logs:
        closed = log.name.role is LogRole.CLOSED
        try:
            opened = LogFile(await read_file(volume, log.path), closed=closed)
        except EseError:
            break  # recovery says what is wrong with it
        for record in opened.records():
            if record.number in (Kind.CREATE_DB, Kind.ATTACH_DB):
                content = record.content
                assert isinstance(content, CreateDB | AttachDB)
                begun = {dbid: each for dbid, each in begun.items() if each[1] != content.path}
                if isinstance(content, CreateDB):
                    begun[content.dbid] = content.database_signature, content.path
            elif record.number == Kind.CREATE_DB_FINISH:
                begun.pop(record.data[3], None)
    return dict(begun.values())


async def _missing(volume: Volume, directory: str, base: str) -> set[Signature]:
    """The databases that the logs leave attached and whose files are not there."""
    logs = await find_logs(volume, directory, base)
    there = {each.header.database_signature for each in await find_databases(volume, (directory,))}
    return {each.signature for each in logs.attached or ()} - there
