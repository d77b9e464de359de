"""Fault plans on the command line: ``--plan FILE``, ``--budget FILE`` and ``simulator draw``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.errors import BadInput
from simulator.cli_options import (
    STANDARD_OUTPUT,
    EnumerateOption,
    HarshOption,
    InstantsOption,
    ScenarioArgument,
    SetOption,
)

if TYPE_CHECKING:
    from simulator.campaign.job import Space
    from simulator.campaign.results import Results
    from simulator.plans.budget import Budget
    from simulator.scenario import Scenario


def with_plan(scenario: Scenario, path: Path | None, live: bool = False) -> Scenario:
    """The scenario with the faults of a plan file in place of its own; as it is without one.

    Arguments
    ---------
    live: for the live world, where faults without a counterpart are refused.

    Raises BadPlan, with file and line.
    """
    if path is None:
        return scenario
    from replicator.toml_errors import Remark
    from simulator.plans.plan import BadPlan, planned, read_plan, read_plan_file

    plan, places = read_plan(read_plan_file(path), scenario, str(path))
    if live:
        from simulator.live.faults import WITHOUT_COUNTERPART

        remarks = [
            Remark(
                (("faults", index, "kind"),),
                f"a live run cannot do this: {WITHOUT_COUNTERPART[fault.kind]}",
                "Take the fault out, or run the plan in the simulated world.",
            )
            for index, fault in enumerate(plan.faults)
            if fault.kind in WITHOUT_COUNTERPART
        ]
        if remarks:
            raise BadPlan([places.error(remark) for remark in remarks])
    return planned(scenario, plan)


def load_budget(path: Path | None, scenario: Scenario) -> Budget | None:
    """The ``[budget]`` of a plan file that has nothing else; raises BadPlan, BadInput."""
    if path is None:
        return None
    from simulator.plans.plan import load_plan

    plan = load_plan(path, scenario)
    if plan.budget is None:
        raise BadInput(
            "there is no [budget] in it",
            path=str(path),
            remedy='Write for instance a line [budget], and below it weakest = "detected".',
        )
    if plan.faults:
        raise BadInput(
            "a budget for a campaign has no faults of its own",
            path=str(path),
            remedy="Take [[faults]] out: a campaign makes its own.",
        )
    return plan.budget


def space_for(
    scenario: Scenario,
    enumerate_: int | None,
    instants: int | None,
    budget: Budget | None,
    harsh: bool = False,
) -> Space:
    """The plans that the options of a campaign ask for; raises BadInput."""
    from dataclasses import replace

    from simulator.plans.draw import space_of
    from simulator.plans.enumeration import INSTANTS, enumeration_of

    if harsh and enumerate_ is not None:
        raise BadInput(
            "--harsh says what is drawn, and an enumeration draws nothing",
            path="--harsh",
            remedy="Leave --harsh or --enumerate out.",
        )
    if enumerate_ is None:
        if instants is not None:
            raise BadInput(
                "--instants says how fine an enumeration is, and nothing is enumerated",
                remedy="Add --enumerate K, or leave --instants out.",
            )
        space = space_of(scenario, harsh)
        if harsh and space == space_of(scenario):
            raise BadInput(
                "this kind of protection is judged under none of the faults that it adds",
                path="--harsh",
                remedy="Leave --harsh out.",
            )
        return replace(space, budget=budget)
    return enumeration_of(scenario, enumerate_, instants or INSTANTS, budget)


def draw(
    scenario: ScenarioArgument,
    number: Annotated[int, typer.Option(min=0, help="Of the plan, from 0 on.")],
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            help="Names the plans that are drawn; 1 by default.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(metavar="FILE", help="FILE.toml or FILE.json; '-' is standard output."),
    ] = STANDARD_OUTPUT,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take seed, weights and budget from these results of a campaign.",
            show_default=False,
        ),
    ] = None,
    enumerate_: EnumerateOption = None,
    instants: InstantsOption = None,
    budget: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="As given to the campaign.", show_default=False),
    ] = None,
    harsh: HarshOption = False,
    set_: SetOption = None,
) -> None:
    """Write plan number N of a campaign on SCENARIO as a file.

    'simulator run SCENARIO --plan FILE' runs it.
    """
    from simulator.campaign.job import plan_number, plans_of
    from simulator.campaign.results import Results
    from simulator.plans.plan import plan_file_text
    from simulator.report.output import check_file_target, write_atomically
    from simulator.scenario import load_scenario

    if output != STANDARD_OUTPUT:
        if output.suffix.lower() not in (".toml", ".json"):
            raise BadInput(
                "the name of a plan's file ends with .toml or .json",
                path=f"--output {output}",
                remedy=f"Write for instance --output {output.with_suffix('.toml')}.",
            )
        check_file_target(output, "--output")
    loaded = load_scenario(scenario, list(set_ or [])).model_copy(update={"faults": ()})
    if results is not None:
        if enumerate_ is not None or budget is not None or harsh:
            raise BadInput(
                "--results knows what was drawn or enumerated, and within which budget",
                remedy="Leave --harsh, --enumerate and --budget out.",
            )
        kept = Results(results)
        try:
            _check_campaign(kept, loaded, scenario, seed)
            seed, space = kept.seed, kept.space(number)
        finally:
            kept.close()
    else:
        seed = 1 if seed is None else seed
        space = space_for(loaded, enumerate_, instants, load_budget(budget, loaded), harsh)
    most = plans_of(space)
    if most is not None and number >= most:
        raise BadInput(
            f"there are only {most:,} plans",
            path=f"--number {number}",
            remedy=f"Give a number from 0 to {most - 1}.",
        )
    text = plan_file_text(plan_number(seed, number, space), output)
    if output == STANDARD_OUTPUT:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_atomically(output, text, "--output")
        print(f"plan {number}: {output}")


def _check_campaign(results: Results, scenario: Scenario, path: Path, seed: int | None) -> None:
    """Raises BadInput for the results of another campaign than the one that is asked for."""
    from replicator.toml_writer import toml_text
    from simulator.scenario import parse_scenario

    if seed is not None and seed != results.seed:
        raise BadInput(
            f"the campaign of {results.path} has seed {results.seed}",
            path=f"--seed {seed}",
            remedy="Leave --seed out: the results know it; or name those of another campaign.",
        )
    of_the_results = parse_scenario(results.key["scenario_text"], origin=str(results.path))
    if toml_text(of_the_results) != toml_text(scenario):
        raise BadInput(
            f"it holds the results of another scenario than {path}",
            path=str(results.path),
            remedy="Name the scenario of that campaign, with the same --set; its text is in the "
            "table 'campaign' of the file.",
        )
