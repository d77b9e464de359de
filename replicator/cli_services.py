"""``replicator source``, ``replica``, ``status``, ``promote`` and ``unfence``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from replicator.cli_config import ConfigArgument
from replicator.cli_output import (
    STANDARD_OUTPUT,
    JsonOption,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.errors import BadInput, ExitCode


def source(
    config: ConfigArgument,
    accept_empty: Annotated[
        bool,
        typer.Option(
            "--accept-empty",
            help="The set is empty on purpose, though it had files; for one start only.",
        ),
    ] = False,
) -> None:
    """Run the sending end of CONFIG until SIGTERM or Ctrl-C.

    Asked to stop, it first waits until everything is durable at the replica, for at most
    source.drain: then it ends with 0, else with 3.  A second signal ends it at once.
    """
    from replicator.config import load_configuration
    from replicator.host.processes import run_source

    raise typer.Exit(run_source(load_configuration(config), accept_empty))


def replica(config: ConfigArgument) -> None:
    """Run the end of CONFIG that holds the copy until SIGTERM or Ctrl-C.

    Asked to stop, it first applies what is in its journal and takes a checkpoint, for at most
    replica.drain: then it ends with 0, else with 3.  A second signal ends it at once.
    """
    from replicator.config import load_configuration
    from replicator.host.processes import run_replica

    raise typer.Exit(run_replica(load_configuration(config)))


def status(config: ConfigArgument, json: JsonOption = None) -> None:
    """Show how the ends of CONFIG that run on this machine are, also when they do not.

    Ends with 0 when all is as it should be, with 1 when something needs a look.
    """
    check_target(json)
    from replicator.config import load_configuration
    from replicator.host.status_reader import read_status
    from replicator.status_text import status_lines

    view = read_status(load_configuration(config))
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, view.to_json())
    if json != STANDARD_OUTPUT:
        console = console_for(json)
        for line in status_lines(view):
            say(console, line)
    raise typer.Exit(ExitCode.BROKEN if view.attention() else ExitCode.PASS)


def promote(
    config: ConfigArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take back a wish that is not carried out yet.")
    ] = False,
) -> None:
    """Let the replica of CONFIG take over: its source's history ends here, durably.

    There is no way back but to protect the new source anew.  --withdraw ends with 0 when there was
    a wish and it does not count any more, with 1 when there was none, with 64 when it is too late.
    """
    from replicator.config import load_configuration
    from replicator.host.promotion import look_before, promote_replica, withdraw_promotion
    from replicator.host.status_reader import read_status
    from replicator.status_text import promotion_lines, question_lines
    from replicator.takeover_wish import wish_words

    loaded = load_configuration(config)
    console = console_for(None)
    if withdraw:
        if not withdraw_promotion(loaded):
            say(console, "there was no wish to take over: nothing was changed")
            raise typer.Exit(ExitCode.BROKEN)
        say(console, "withdrawn: no takeover comes of the wish any more")
        return
    found = look_before(loaded)
    wish = read_status(loaded).wish
    if wish is not None and not found.promoted:
        say(console, f"wish        {wish_words(wish.state, wish.age_ns)}")
    if not found.promoted and not yes:
        for line in question_lines(found):
            say(console, line)
        _ask("Take over now?", "the promotion")
    for line in promotion_lines(promote_replica(loaded)):
        say(console, line)


def unfence(
    config: ConfigArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Open the source of CONFIG again, after a takeover that is not to count.

    Needs a replica whose directory is new: one that has taken over closes the source again.
    What was written where it took over does not come back.
    """
    from replicator.config import load_configuration
    from replicator.host.processes import unfence_source
    from replicator.host.status_reader import read_status

    loaded = load_configuration(config)
    loaded.source()
    console = console_for(None)
    cause = read_status(loaded).fence
    if not cause:
        say(console, "not fenced: nothing was changed")
        return
    say(console, f"fenced      {cause}")
    if not yes:
        say(console, "What was written where the replica took over is not brought back.")
        _ask("Open this source again?", "the opening")
    unfence_source(loaded)
    say(console, "unfenced: the source and its programs may be started")


def _ask(question: str, what: str) -> None:
    """Raises BadInput unless somebody at a terminal types yes."""
    refusal = BadInput(
        f"nothing was changed: {what} was not confirmed",
        remedy="Answer yes, or give --yes.",
    )
    if sys.stdin is None or not sys.stdin.isatty():
        raise refusal
    print(f"{question} Type yes: ", end="", flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise refusal
