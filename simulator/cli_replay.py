"""The commands that look back on a campaign: ``simulator replay`` and ``simulator coverage``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.errors import BadInput, ExitCode
from simulator.cli_options import STANDARD_OUTPUT, JsonOption

if TYPE_CHECKING:
    from simulator.scenario import Scenario
    from simulator.scenario_model import Recorded


def replay(
    scenario: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A failure that a campaign has saved; or a campaign's results, with --number.",
            show_default=False,
        ),
    ],
    number: Annotated[
        int | None,
        typer.Option(min=0, help="Which plan of a campaign's results.", show_default=False),
    ] = None,
) -> None:
    """Run a saved failure again and hold it against what was recorded, bit for bit."""
    from rich.console import Console

    from simulator.campaign.job import settled
    from simulator.mutants import mutated
    from simulator.report.terminal import print_result, progress_on
    from simulator.run import ScenarioRun

    loaded, recorded = _recorded(scenario, number)
    console = Console(highlight=False)
    with (
        progress_on(Console(stderr=True), "replaying") as progress,
        mutated(recorded.mutant) as safeguards,
    ):
        result = ScenarioRun(loaded, safeguards=safeguards).run(progress)
    print_result(console, result)
    verdict, _reasons = settled(result)
    same = (result.trace_hash, verdict.value) == (recorded.trace_hash, recorded.verdict)
    if same:
        console.print("the same trace as recorded, bit for bit")
        from simulator.cli import exit_code_of

        raise typer.Exit(exit_code_of(verdict))
    console.print(
        f"not as recorded: the verdict was {recorded.verdict}, the trace {recorded.trace_hash} "
        f"(release {recorded.release or 'unknown'})",
        soft_wrap=True,
    )
    raise typer.Exit(ExitCode.INCONCLUSIVE)


def _recorded(path: Path, number: int | None) -> tuple[Scenario, Recorded]:
    """What is to be run, and what was recorded of it; raises BadInput."""
    if number is not None:
        return _of_results(path, number)
    from simulator.scenario import load_scenario

    if _is_database(path):
        raise BadInput(
            "these are the results of a campaign",
            path=str(path),
            remedy="Say which plan: --number N.",
        )
    loaded = load_scenario(path)
    if loaded.recorded is None:
        raise BadInput(
            "nothing is recorded in this scenario",
            path=str(path),
            remedy="Name a file that 'simulator campaign' wrote, or run it: simulator run FILE.",
        )
    return loaded, loaded.recorded


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16).startswith(b"SQLite format 3")
    except OSError:
        return False  # who reads it as a scenario says why not


def _of_results(path: Path, number: int) -> tuple[Scenario, Recorded]:
    """A plan of a campaign, as the results tell it."""
    from simulator.campaign.job import plan_number
    from simulator.campaign.results import Results
    from simulator.plans.plan import planned
    from simulator.scenario import parse_scenario
    from simulator.scenario_model import Recorded

    results = Results(path)
    try:
        outcome = results.outcome(number)
        if outcome is None:
            raise BadInput(
                f"plan {number} was not run",
                path=str(path),
                remedy="Name a number that is in the table 'plans' of the file.",
            )
        scenario = parse_scenario(results.key["scenario_text"], origin=str(path))
        plan = plan_number(results.seed, number, results.space(number))
        recorded = Recorded(
            verdict=outcome.verdict.value,
            trace_hash=outcome.trace_hash,
            reasons=outcome.reasons,
            release=results.release,
            mutant=results.key["mutant"],
        )
    finally:
        results.close()
    return planned(scenario, plan), recorded


def coverage(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="The results of a campaign, a SQLite file.", show_default=False
        ),
    ],
    json: JsonOption = None,
) -> None:
    """Show which transitions of the protocol a campaign took under which faults, with counts."""
    from rich.console import Console

    from simulator.campaign.marks import mark_counts
    from simulator.campaign.records import coverage_text
    from simulator.campaign.results import Results
    from simulator.report.campaign_coverage import print_gaps, print_marks, print_matrix
    from simulator.report.output import check_file_target, write_atomically

    if json is not None and json != STANDARD_OUTPUT:
        check_file_target(json, "--json")
    kept = Results(results)
    try:
        found, marks = kept.coverage(), mark_counts(kept.marks())
        name = kept.key["scenario"]
    finally:
        kept.close()
    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    print_matrix(console, found)
    print_gaps(console, found)
    print_marks(console, marks, (), found.plans)
    if json == STANDARD_OUTPUT:
        print(coverage_text(name, found, marks), end="", flush=True)
    elif json is not None:
        write_atomically(json, coverage_text(name, found, marks), "--json")
