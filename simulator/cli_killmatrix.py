"""The command ``simulator killmatrix``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.errors import ExitCode
from simulator.cli_options import STANDARD_OUTPUT, JsonOption, PlanSeedOption, WorkersOption

if TYPE_CHECKING:
    from simulator.campaign.killmatrix import Fate


def killmatrix(
    scenario: Annotated[
        Path,
        typer.Argument(
            metavar="SCENARIO", help="The scenario of the campaign.", show_default=False
        ),
    ],
    mutant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only these, e.g. 'engine_*'; repeatable. All that the scenario can run by "
            "default.",
            show_default=False,
        ),
    ] = None,
    plans: Annotated[int, typer.Option(min=1, max=1_000_000, help="For each mutant.")] = 2_000,
    seed: PlanSeedOption = 1,
    workers: WorkersOption = None,
    json: JsonOption = None,
) -> None:
    """Take away one rule after another, and see that a campaign finds it.

    Exit code 1: one of them was not found.  2: none of these, but runs of one that was not found
    prove nothing: they ended by an error of this program, or fail without the mutant, too.
    """
    from rich.console import Console

    from replicator.toml_writer import toml_text
    from simulator.campaign.executors import process_pool, processors
    from simulator.campaign.killmatrix import kill_matrix, kill_matrix_document
    from simulator.mutants import chosen_mutants
    from simulator.plans.draw import space_of
    from simulator.report.campaign import print_kill_matrix
    from simulator.report.output import check_file_target, write_atomically
    from simulator.report.record import schema_text
    from simulator.scenario import load_scenario

    loaded = load_scenario(scenario).model_copy(update={"faults": ()})
    if json is not None and json != STANDARD_OUTPUT:
        check_file_target(json, "--json")
    mutants = chosen_mutants(loaded, mutant or ())
    with (
        Console(stderr=True).status("trying mutants") as status,
        process_pool(workers or processors()) as pool,
    ):
        done: list[Fate] = []

        def tell(fate: Fate) -> None:
            done.append(fate)
            status.update(f"{len(done)} of {len(mutants)} mutants, the last: {fate.name}")

        space = space_of(loaded)
        fates = kill_matrix(pool, toml_text(loaded), seed, space, plans, mutants, on_fate=tell)
    print_kill_matrix(Console(stderr=json == STANDARD_OUTPUT, highlight=False), fates)
    if json is not None:
        text = schema_text(kill_matrix_document(fates, loaded.name, seed, plans))
        if json == STANDARD_OUTPUT:
            print(text, end="", flush=True)
        else:
            write_atomically(json, text, "--json")
    raise typer.Exit(exit_code_of(fates))


def exit_code_of(fates: Sequence[Fate]) -> ExitCode:
    """1 when a mutant is alive; 2 when of one nothing is known; 0 when all were found."""
    if any(fate.is_alive for fate in fates):
        return ExitCode.BROKEN
    return ExitCode.INCONCLUSIVE if any(fate.is_undecided for fate in fates) else ExitCode.PASS
