"""The command ``replicator``: run an end, see how it is, take over, look into its logs.

``docs/exit-codes.md`` lists the exit codes, ``docs/operating.md`` shows the commands at work.
What a command needs is imported inside it, so that ``--help`` and a mistyped option answer at
once.
"""

from __future__ import annotations

if __name__ == "__main__":  # first of all: Ctrl-C while the rest is still being loaded
    from replicator.cli_start import start

    start("replicator.cli")  # and never comes back

from typing import Annotated, NoReturn

import typer

from replicator.cli_config import check_config, schema
from replicator.cli_ese import ese
from replicator.cli_journal import journal
from replicator.cli_services import promote, replica, source, status, unfence
from replicator.command_line import release_name, run_app

PROGRAM = "replicator"

app = typer.Typer(
    name=PROGRAM,
    help="The reference replicator: captures a protected set, replicates it, takes over.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 pass, 1 an invariant or objective is broken, 2 inconclusive, 3 stopped "
    "before all had reached the other end, 4 the replica has taken over, "
    "64 wrong usage or bad input, 70 internal error, 75 not yet: try again, 130 interrupted.",
)
app.command()(source)
app.command()(replica)
app.command()(status)
app.command()(promote)
app.command()(unfence)
app.command("check-config")(check_config)
app.command()(schema)
app.add_typer(journal, name="journal")
app.add_typer(ese, name="ese")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {release_name()}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the release.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """The reference replicator: captures a protected set, replicates it, takes over."""


def main() -> NoReturn:
    """The console command."""
    run_app(app, PROGRAM)
