"""The commands ``simulator campaign`` and ``simulator replay``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.errors import BadInput, ExitCode
from simulator.cli_options import (
    STANDARD_OUTPUT,
    JsonOption,
    PlanSeedOption,
    ScenarioArgument,
    SetOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.campaign.campaign import Limits, OpenPool
    from simulator.campaign.results import CampaignKey, Results
    from simulator.scenario import Scenario


CLUSTER_WORKERS = 64
"""So many workers of a cluster are kept busy when nobody says how many there are."""


def campaign(
    scenario: ScenarioArgument,
    plans: Annotated[
        int | None,
        typer.Option(min=1, max=10_000_000, help="So many plans.", show_default=False),
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="So long, e.g. 10m.", show_default=False),
    ] = None,
    seed: PlanSeedOption = 1,
    workers: WorkersOption = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Dask scheduler whose workers run the plans, e.g. tcp://10.0.0.5:8786.",
            show_default=False,
        ),
    ] = None,
    until_failure: Annotated[
        bool, typer.Option("--until-failure", help="End at the first failure.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the results that are there.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the results in this SQLite file; SCENARIO.campaign.db by default.",
            show_default=False,
        ),
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write shrunk failures there; SCENARIO.failures by default.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
    mutant: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Take a rule away from the replicator, to see that it is found.",
            show_default=False,
        ),
    ] = "",
    set_: SetOption = None,
) -> None:
    """Run SCENARIO under many fault plans, and make what fails small.

    The scenario's own faults are not used: each plan has its own.
    """
    from rich.console import Console

    from simulator.campaign.campaign import Limits
    from simulator.campaign.executors import processors
    from simulator.campaign.results import CampaignKey, Results
    from simulator.plans.draw import space_of
    from simulator.report.output import check_file_target
    from simulator.scenario import load_scenario

    loaded = load_scenario(scenario, list(set_ or [])).model_copy(update={"faults": ()})
    if (plans is None) == (for_ is None):
        raise BadInput(
            "a campaign needs one of --plans and --for",
            remedy="Write for instance --plans 1000, or --for 10m.",
        )
    limits = Limits(plans, None if for_ is None else _seconds(for_), until_failure)
    results = results or Path(f"{scenario.stem}.campaign.db")
    failures = failures or Path(f"{scenario.stem}.failures")
    check_file_target(results, "--results")
    if json is not None and json != STANDARD_OUTPUT:
        check_file_target(json, "--json")
    from replicator.toml_writer import toml_text
    from simulator.mutants import mutant_named

    if mutant:
        mutant_named(mutant)
    key = CampaignKey(loaded.name, toml_text(loaded), seed, space_of(loaded), mutant)
    kept = Results(results, key, resume)
    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    busy = workers or (CLUSTER_WORKERS if scheduler else processors())
    try:
        _run(console, key, kept, limits, _pool(busy, scheduler), busy, json)
        _make_small(console, loaded, key, kept, failures)
        code = _exit_code(kept)
    finally:
        kept.close()
    raise typer.Exit(code)


def _exit_code(results: Results) -> ExitCode:
    """1: a promise is broken; 2: nothing is, but some run proves nothing, or there was none."""
    from simulator.campaign.job import FAILING

    found = list(results.failures())
    if any(each.verdict in FAILING for each in found):
        return ExitCode.BROKEN
    return ExitCode.INCONCLUSIVE if found or not results.numbers() else ExitCode.PASS


def _seconds(text: str) -> float:
    from replicator import units

    try:
        return units.parse_duration_ns(text) / 1e9
    except units.UnitError as error:
        raise BadInput(
            str(error), path=f"--for {text}", remedy="Write for instance 10m."
        ) from error


def _pool(workers: int, scheduler: str | None) -> OpenPool:
    from functools import partial

    from simulator.campaign.executors import dask_cluster, process_pool

    return partial(process_pool, workers) if scheduler is None else partial(dask_cluster, scheduler)


def _run(
    console: Console,
    key: CampaignKey,
    results: Results,
    limits: Limits,
    pool: OpenPool,
    workers: int,
    json: Path | None,
) -> None:
    """Run the plans and tell what was found."""
    from rich.console import Console
    from rich.text import Text

    from simulator.campaign.campaign import Campaign
    from simulator.campaign.summary import summary_document
    from simulator.report.campaign import campaign_progress, print_campaign
    from simulator.report.output import write_atomically
    from simulator.report.record import schema_text

    with campaign_progress(Console(stderr=True), limits) as on_progress:
        run = Campaign(key, results, pool, workers, limits, on_progress)
        try:
            progress = run.run()
        except KeyboardInterrupt:
            print(
                f"what was done is in {results.path}: the same command with --resume goes on",
                file=sys.stderr,
            )
            raise
    frame = results.frame()
    print_campaign(console, frame, progress)
    if json is not None:
        text = schema_text(summary_document(results.key, frame))
        if json == STANDARD_OUTPUT:
            print(text, end="", flush=True)
        else:
            write_atomically(json, text, "--json")
            console.print(Text(f"JSON: {json}"), soft_wrap=True)
    console.print(Text(f"results: {results.path}"), soft_wrap=True)


def _make_small(
    console: Console, scenario: Scenario, key: CampaignKey, results: Results, directory: Path
) -> None:
    """Shrink failures that differ, and say where they are."""
    from rich.console import Console

    from simulator.campaign.failures import distinct, save_failure
    from simulator.report.campaign import print_failure
    from simulator.report.output import directory_for

    found = list(results.failures())
    if not found:
        return
    with directory_for(directory, "--failures"):
        for failure in distinct(found):
            with Console(stderr=True).status(f"shrinking plan {failure.number}"):
                saved = save_failure(scenario, failure, key.space, directory, key.mutant)
            print_failure(console, saved)


def killmatrix(
    scenario: Annotated[
        Path,
        typer.Argument(
            metavar="SCENARIO", help="The scenario of the campaign.", show_default=False
        ),
    ],
    plans: Annotated[int, typer.Option(min=1, max=1_000_000, help="For each mutant.")] = 2_000,
    seed: PlanSeedOption = 1,
    workers: WorkersOption = None,
    json: JsonOption = None,
) -> None:
    """Take away one rule after another, and see that a campaign finds it.

    Exit code 1: one of them was not found.
    """
    from rich.console import Console

    from replicator.toml_writer import toml_text
    from simulator.campaign.executors import process_pool, processors
    from simulator.campaign.killmatrix import Fate, kill_matrix, kill_matrix_document
    from simulator.mutants import MUTANTS
    from simulator.plans.draw import space_of
    from simulator.report.campaign import print_kill_matrix
    from simulator.report.output import check_file_target, write_atomically
    from simulator.report.record import schema_text
    from simulator.scenario import load_scenario

    loaded = load_scenario(scenario).model_copy(update={"faults": ()})
    if json is not None and json != STANDARD_OUTPUT:
        check_file_target(json, "--json")
    with (
        Console(stderr=True).status("trying mutants") as status,
        process_pool(workers or processors()) as pool,
    ):
        done: list[Fate] = []

        def tell(fate: Fate) -> None:
            done.append(fate)
            status.update(f"{len(done)} of {len(MUTANTS)} mutants, the last: {fate.name}")

        fates = kill_matrix(pool, toml_text(loaded), seed, space_of(loaded), plans, on_fate=tell)
    print_kill_matrix(Console(stderr=json == STANDARD_OUTPUT, highlight=False), fates)
    if json is not None:
        text = schema_text(kill_matrix_document(fates, loaded.name, seed, plans))
        if json == STANDARD_OUTPUT:
            print(text, end="", flush=True)
        else:
            write_atomically(json, text, "--json")
    alive = any(not fate.killed for fate in fates)
    raise typer.Exit(ExitCode.BROKEN if alive else ExitCode.PASS)


def replay(
    scenario: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A failure that a campaign has saved.", show_default=False
        ),
    ],
) -> None:
    """Run a saved failure again and hold it against what was recorded, bit for bit."""
    from rich.console import Console

    from simulator.mutants import mutated
    from simulator.report.terminal import print_result, progress_on
    from simulator.run import ScenarioRun
    from simulator.scenario import load_scenario

    loaded = load_scenario(scenario)
    recorded = loaded.recorded
    if recorded is None:
        raise BadInput(
            "nothing is recorded in this scenario",
            path=str(scenario),
            remedy="Name a file that 'simulator campaign' wrote, or run it: simulator run FILE.",
        )
    console = Console(highlight=False)
    with (
        progress_on(Console(stderr=True), "replaying") as progress,
        mutated(recorded.mutant) as safeguards,
    ):
        result = ScenarioRun(loaded, safeguards=safeguards).run(progress)
    print_result(console, result)
    same = (result.trace_hash, result.verdict.value) == (recorded.trace_hash, recorded.verdict)
    if same:
        console.print("the same trace as recorded, bit for bit")
        from simulator.cli import exit_code_of

        raise typer.Exit(exit_code_of(result.verdict))
    console.print(
        f"not as recorded: the verdict was {recorded.verdict}, the trace {recorded.trace_hash} "
        f"(release {recorded.release or 'unknown'})",
        soft_wrap=True,
    )
    raise typer.Exit(ExitCode.INCONCLUSIVE)
