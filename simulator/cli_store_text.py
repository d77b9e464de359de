"""What ``simulator store`` prints of a store that it has written."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from replicator.command_line import printable

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.exchange.ese.store_record import StoreRecord


def print_record(
    console: Console, directory: Path, record: StoreRecord, backup: Path | None = None
) -> None:
    """A table of a store that was written, and what can be tried with it.

    Arguments
    ---------
    directory, backup: where it is, and a backup of it.
    """
    from rich.table import Table
    from rich.text import Text

    from replicator.units import format_bytes, format_ns

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")

    def files(kind: str) -> str:
        found = [each for each in record.files if each.kind == kind]
        size = format_bytes(sum(each.size_bytes for each in found))
        names = f", {found[0].name}" if len(found) == 1 else ""
        return f"{len(found):,}, {size}{names}"

    state: str = record.state
    if record.crashed_at_ns is not None:
        state += f", killed after {format_ns(record.crashed_at_ns)}"
    rows = [
        ("state", state),
        ("version", f"{record.version}, profile {record.profile}, seed {record.seed}"),
        ("mailboxes", f"{record.mailboxes:,}, {record.mailboxes_with_messages:,} have messages"),
        ("messages", f"{record.messages:,} that must be there"),
        ("databases", files("database")),
        *([("streaming", files("streaming file"))] if record.streaming_file_bytes else []),
        ("logs", f"{files('log')}, generations {_range(record)}"),
        ("ledger", files("ledger")),
    ]
    if record.uncommitted_messages:
        rows.insert(4, ("", f"{record.uncommitted_messages:,} that must not, uncommitted"))
    if record.required_generations is not None:
        low, high = record.required_generations
        rows.append(("logs needed", f"0x{low:X} to 0x{high:X}"))
    if record.older_pages and record.hours:
        rows.append(("operations", _operations(record)))
    if record.backup is not None:
        low, high = record.backup.first_generation, record.backup.last_generation
        rows.append(
            (
                "backup",
                f"{record.backup.messages:,} messages, {record.backup.pages:,} pages, "
                f"generations 0x{low:X} to 0x{high:X}",
            )
        )
    for title, value in rows:
        table.add_row(title, Text(printable(value)))
    console.print(table)
    place = str(directory)
    command = (
        ["replicator", "ese", "verify", f"{place}/priv1.edb"]
        if record.required_generations is None
        else ["replicator", "ese", "recover", place, "--output", f"{place.rstrip('/')}-recovered"]
    )
    commands = [command]
    if backup is not None:
        output = f"{str(backup).rstrip('/')}-restored"
        commands.append(["replicator", "ese", "restore", str(backup), "--output", output])
    for each in commands:
        console.print(Text(printable(f"try: {shlex.join(each)}")), soft_wrap=True)


def _operations(record: StoreRecord) -> str:
    """What was read and written in the busiest hour, and how much of it stands for users' work."""
    hour = max(record.hours, key=lambda each: each.database_reads + each.database_writes)
    reads, writes = hour.database_reads, hour.database_writes
    stand_ins = min(reads + writes, hour.stand_in_reads + hour.stand_in_writes)
    return (
        f"{(reads + writes) / 3600 / record.mailboxes:.3f} a second and mailbox in hour "
        f"{hour.hour}, {reads / max(1, writes):.2f} reads to a write; "
        f"{stand_ins / max(1, reads + writes):.0%} on pages of older mail"
    )


def _range(record: StoreRecord) -> str:
    return f"0x{record.first_generation:X} to 0x{record.last_generation:X}"
