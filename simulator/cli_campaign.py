"""The command ``simulator campaign``."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from replicator.command_line import print_error, printable
from replicator.errors import BadInput, ExitCode
from simulator.cli_options import (
    STANDARD_OUTPUT,
    EnumerateOption,
    HarshOption,
    InstantsOption,
    JsonOption,
    PlanSeedOption,
    ScenarioArgument,
    SetOption,
    WorkersOption,
)
from simulator.cli_plans import load_budget, space_for

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
            help="Take a rule away from what is tested, to see that it is found.",
            show_default=False,
        ),
    ] = "",
    enumerate_: EnumerateOption = None,
    instants: InstantsOption = None,
    steer: Annotated[
        bool,
        typer.Option("--steer", help="Draw more of the kinds of faults that have covered least."),
    ] = False,
    harsh: HarshOption = False,
    budget: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A plan file with a [budget]: plans stay within it, and must lose nothing.",
            show_default=False,
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MARK",
            help="What must really have happened in some plan; @FILE: each line of a file. "
            "Repeatable.",
            show_default=False,
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a JUnit report.", show_default=False),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Run SCENARIO under many fault plans, and make what fails small.

    The scenario's own faults are not used: each plan has its own. Exit code 2: nothing failed,
    but some plan proves nothing, or a demanded mark was never reached.
    """
    from rich.console import Console

    from simulator.campaign.campaign import Limits
    from simulator.campaign.executors import processors
    from simulator.campaign.failures import check_failures
    from simulator.campaign.job import plans_of
    from simulator.campaign.results import CampaignKey, Results
    from simulator.report.output import check_directory_target, check_file_target
    from simulator.scenario import load_scenario

    loaded = load_scenario(scenario, list(set_ or [])).model_copy(update={"faults": ()})
    if enumerate_ is None and (plans is None) == (for_ is None):
        raise BadInput(
            "a campaign needs one of --plans and --for",
            remedy="Write for instance --plans 1000, or --for 10m; or --enumerate 1.",
        )
    if steer and enumerate_ is not None:
        raise BadInput(
            "an enumeration has all plans: there is nothing to steer",
            path="--steer",
            remedy="Leave --steer or --enumerate out.",
        )
    required = _required(require or [])
    space = space_for(loaded, enumerate_, instants, load_budget(budget, loaded), harsh)
    there_are = plans_of(space)
    if there_are is not None:
        plans = there_are if plans is None else min(plans, there_are)
    limits = Limits(plans, None if for_ is None else _seconds(for_), until_failure)
    results = results or Path(f"{scenario.stem}.campaign.db")
    failures = failures or Path(f"{scenario.stem}.failures")
    check_file_target(results, "--results")
    check_directory_target(failures, "--failures")
    if junit == STANDARD_OUTPUT:
        raise BadInput(
            "--junit wants a file, not the standard output",
            remedy="Give --junit the path of a file.",
        )
    for option, target in (("--json", json), ("--junit", junit)):
        if target is None or target == STANDARD_OUTPUT:
            continue
        check_file_target(target, option)
        for other, what in ((results, "results"), (scenario, "scenario")):
            if target.resolve() == other.resolve():
                raise BadInput(
                    f"{option} would overwrite the {what}",
                    path=str(target),
                    remedy=f"Give {option} another path.",
                )
    from replicator.toml_writer import toml_text
    from simulator.mutants import check_mutant

    if mutant:
        check_mutant(mutant, loaded)
    key = CampaignKey(loaded.name, toml_text(loaded), seed, space, mutant, steer)
    kept = Results(results, key, resume)
    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    busy = workers or (CLUSTER_WORKERS if scheduler else processors())
    try:
        with _terminated_as_interrupted():
            check_failures(kept, loaded)
            if there_are is not None:
                _say(console, f"all plans of up to {enumerate_} faults: {there_are:,}")
            _run(console, key, kept, limits, _pool(busy, scheduler), busy)
            reached = _tell(console, kept, required, json, junit)
            _make_small(console, loaded, key, kept, failures)
            code = _exit_code(kept, reached)
    except _Terminated:
        print("ended by SIGTERM", file=sys.stderr)
        code = ExitCode.TERMINATED
    finally:
        kept.close()
    raise typer.Exit(code)


class _Terminated(KeyboardInterrupt):
    """A SIGTERM: what is to be done is the same as at Ctrl-C."""


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    def end(_number: int, _frame: object) -> NoReturn:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _required(names: list[str]) -> tuple[str, ...]:
    """The demanded marks, those from files included; raises BadInput."""
    from simulator.campaign.marks import checked_marks

    found: list[str] = []
    for name in names:
        if not name.startswith("@"):
            found += checked_marks([name])
            continue
        path = Path(name[1:])
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise BadInput(
                f"it cannot be read: {reason}",
                path=str(path),
                remedy="Name a text file with one mark a line.",
            ) from error
        marks = {at: mark for at, line in enumerate(lines, 1) if (mark := _without_remark(line))}
        if not marks:
            raise BadInput(
                "there is no mark in it: nothing would be demanded",
                path=str(path),
                remedy=f"Write one mark a line, or leave --require {name} out.",
            )
        for number, mark in marks.items():
            found += checked_marks([mark], f"{path}:{number}")
    return tuple(dict.fromkeys(found))


def _without_remark(line: str) -> str:
    return line.partition("#")[0].strip()


def _exit_code(results: Results, reached: bool) -> ExitCode:
    """1: a promise is broken; 2: nothing is, but some run proves nothing, or there was none."""
    from simulator.measures import Verdict

    found = list(results.failures())
    if any(each.verdict is not Verdict.INCONCLUSIVE for each in found):
        return ExitCode.BROKEN
    nothing = not results.numbers() or not reached
    return ExitCode.INCONCLUSIVE if found or nothing else ExitCode.PASS


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
) -> None:
    """Run the plans and show the tables."""
    from rich.console import Console

    from simulator.campaign.campaign import Campaign
    from simulator.report.campaign import campaign_progress, print_campaign

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
    print_campaign(console, results.frame(), progress)


def _tell(
    console: Console,
    results: Results,
    required: tuple[str, ...],
    json: Path | None,
    junit: Path | None,
) -> bool:
    """Show coverage, write what was asked for; returns whether all demanded marks were reached."""
    from simulator.campaign.marks import mark_counts
    from simulator.campaign.records import summary_text
    from simulator.report.campaign_coverage import print_gaps, print_marks
    from simulator.report.campaign_junit import junit_text
    from simulator.report.output import write_atomically

    frame = results.frame()
    counts = mark_counts(frame["marks"])
    if len(frame):
        print_gaps(console, results.coverage())
        print_marks(console, counts, required, len(frame))
    if json is not None:
        text = summary_text(results, required)
        if json == STANDARD_OUTPUT:
            print(text, end="", flush=True)
        else:
            write_atomically(json, text, "--json")
            _say(console, f"JSON: {json}")
    if junit is not None:
        name, failures = results.key["scenario"], results.failures()
        text = junit_text(name, frame, failures, counts, required, results.path)
        write_atomically(junit, text, "--junit")
        _say(console, f"JUnit: {junit}")
    _say(console, f"results: {results.path}")
    return all(counts[name] for name in required)


def _say(console: Console, line: str) -> None:
    from rich.text import Text

    console.print(Text(printable(line)), soft_wrap=True)


def _make_small(
    console: Console, scenario: Scenario, key: CampaignKey, results: Results, directory: Path
) -> None:
    """Shrink failures that differ, and say where they are.

    Where they cannot be written, for want of room perhaps, they are told as they were found: what
    the campaign has shown stands.
    """
    from rich.console import Console

    from simulator.campaign.failures import distinct, save_failure
    from simulator.report.campaign import print_failure, print_unsaved
    from simulator.report.output import directory_for

    found = list(results.failures())
    if not found:
        return
    to_save = distinct(found)
    try:
        with directory_for(directory, "--failures"):
            while to_save:
                with Console(stderr=True).status(f"shrinking plan {to_save[0].number}"):
                    saved = save_failure(scenario, to_save[0], key.space, directory, key.mutant)
                print_failure(console, saved)
                to_save.pop(0)
    except BadInput as error:
        print_unsaved(console, to_save, results.path)
        error.remedy = (
            "Make room, or give --failures another directory, and give the same command again "
            "with --resume: no plan is run twice."
        )
        print_error(error)
