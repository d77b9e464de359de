"""The command ``simulator``: run a scenario, check one, print the schemas.

``docs/exit-codes.md`` lists the exit codes.  What a command needs is imported inside it, so
that ``simulator --help`` and a mistyped option answer at once.

Everything that can be refused is refused before the run: options, the scenario, and targets
that cannot be written.
"""

from __future__ import annotations

if __name__ == "__main__":  # first of all: Ctrl-C while the rest is still being loaded
    from replicator.cli_start import start

    start("simulator.cli")  # and never comes back

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from replicator.command_line import print_error, printable, run_app
from replicator.errors import BadInput, ExitCode
from simulator.cli_campaign import campaign
from simulator.cli_compare import compare
from simulator.cli_killmatrix import killmatrix
from simulator.cli_options import (
    STANDARD_OUTPUT,
    JsonOption,
    PlanOption,
    ScenarioArgument,
    SetOption,
)
from simulator.cli_plan import plan as make_capacity_plan
from simulator.cli_plans import draw, with_plan
from simulator.cli_replay import coverage, replay
from simulator.cli_schema import schema
from simulator.cli_size import size
from simulator.cli_store import store
from simulator.cli_truth import plan_truth

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.measures import RunResult, Verdict
    from simulator.report.terminal import Report
    from simulator.run import ScenarioRun
    from simulator.scenario import Protection, Scenario
    from simulator.timeline import Timeline

PROGRAM = "simulator"


class WorldName(StrEnum):
    """Where a scenario is run."""

    SIMULATED = "simulated"
    LIVE = "live"


app = typer.Typer(
    name=PROGRAM,
    help="Replicates an emulated store under faults, and says whether the copy held.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 pass, 1 an invariant or objective is broken, 2 inconclusive, "
    "3 and 4 and 75 are those of the replicator, 64 wrong usage or bad input, 70 internal error, "
    "130 interrupted, 143 a campaign ended by SIGTERM.",
)


@app.command()
def run(
    scenario: ScenarioArgument,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="Instead of the scenario's.", show_default=False),
    ] = None,
    json: JsonOption = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the report DIR/report.html.", show_default=False),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page that shows what happened when, event by event; not of a live run.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the machines' final files to DIR, which must be empty: spool, journal, "
            "checkpoint, image; of a live run its logs too.",
            show_default=False,
        ),
    ] = None,
    plan: PlanOption = None,
    set_: SetOption = None,
    world: Annotated[
        WorldName,
        typer.Option(help="live: with real processes on this machine, and in real time."),
    ] = WorldName.SIMULATED,
) -> None:
    """Run SCENARIO and say the verdict."""
    from simulator.scenario import load_scenario

    if timeline is not None and world is WorldName.LIVE:
        raise BadInput(
            "a live run has no timeline",
            path=str(timeline),
            remedy="Leave out --timeline, or run the scenario in the simulated world.",
        )
    if timeline == STANDARD_OUTPUT:
        raise BadInput(
            "--timeline wants a file, not the standard output",
            remedy="Give --timeline the path of a file.",
        )
    overrides = list(set_ or [])
    loaded = with_plan(load_scenario(scenario, overrides), plan, world is WorldName.LIVE)
    kind = None if loaded.candidate is None else loaded.candidate.kind
    if world is WorldName.LIVE and kind not in (None, "command"):
        raise BadInput(
            f"a candidate of kind {kind!r} runs in the simulated world only",
            path=str(scenario),
            remedy="Leave out --world live: of candidates only commands have a live run.",
        )
    _check_targets(json, report, keep, timeline)
    for option, target in (("--json", json), ("--timeline", timeline)):
        if target not in (None, STANDARD_OUTPUT) and target.resolve() == scenario.resolve():
            raise BadInput(
                f"{option} would overwrite the scenario",
                path=str(target),
                remedy=f"Give {option} another path.",
            )
        if target is not None and plan is not None and target.resolve() == plan.resolve():
            raise BadInput(
                f"{option} would overwrite the fault plan",
                path=str(target),
                remedy=f"Give {option} another path.",
            )

    from rich.console import Console

    from simulator.report.terminal import print_result, progress_on
    from simulator.run import run_scenario
    from simulator.timeline import record_timeline, write_timeline

    # With the record on standard output nothing else may stand there.
    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    ended: list[ScenarioRun] = []
    recorded: Timeline | None = None
    with progress_on(Console(stderr=True), "starting", world) as progress:
        if world is WorldName.LIVE:
            result = _run_live(loaded, seed, progress, keep)
        else:
            at_end = None if keep is None else ended.append
            if timeline is not None:
                result, recorded = record_timeline(loaded, seed, progress=progress, at_end=at_end)
            elif at_end is not None:
                result = run_scenario(loaded, seed, progress, at_end)
            else:
                result = run_scenario(loaded, seed, progress)
    print_result(console, result)
    command = _command(scenario, result.seed, overrides, world, plan)
    _write(result, json, report, command, console)
    if timeline is not None and recorded is not None:
        write_timeline(recorded, result, timeline, command=command)
        _say_where(console, "timeline", timeline)
    if ended:
        assert keep is not None
        _keep(ended.pop(), keep, console)
    elif keep is not None:
        _say_where(console, "files of the run", keep)
    raise typer.Exit(exit_code_of(result.verdict))


@app.command()
def check(scenario: ScenarioArgument, plan: PlanOption = None, set_: SetOption = None) -> None:
    """Say what SCENARIO is, or every error in it and in a plan for it, without running it.

    What can run but hardly is as it was meant, is a warning on standard error; the exit code
    is 0 all the same.
    """
    from simulator.scenario import check_scenario

    loaded, warnings = check_scenario(scenario, list(set_ or []))
    for line in describe(with_plan(loaded, plan)):
        print(printable(line))
    sys.stdout.flush()  # the warnings stand below, also where both streams are one
    for warning in warnings:
        print_error(warning, "warning")


app.command()(schema)
app.command()(draw)
app.command()(campaign)
app.command()(replay)
app.command()(coverage)
app.command()(compare)
app.command()(killmatrix)
app.command()(store)
app.command()(size)
app.command("plan")(make_capacity_plan)
app.command("plan-truth")(plan_truth)


def exit_code_of(verdict: Verdict) -> ExitCode:
    """How a run with this verdict ends the command."""
    from simulator.measures import Verdict

    if verdict is Verdict.PASS:
        return ExitCode.PASS
    return ExitCode.INCONCLUSIVE if verdict is Verdict.INCONCLUSIVE else ExitCode.BROKEN


def _protection_line(protection: Protection) -> str:
    from simulator.units import format_bytes, format_duration

    if protection.kind == "log shipping":
        p = protection.log_shipping
        lag = f"replay {format_duration(p.replay_lag_ns / 1e9)} later" if p.replay_lag_ns else ""
        behind = f"replay {p.logs_behind} logs behind" if p.logs_behind else ""
        return "  protection: " + ", ".join(filter(None, (protection.kind, lag, behind)))
    limit = format_bytes(protection.spool_limit_bytes)
    return f"  protection: {protection.kind}, spool up to {limit}, then {protection.spool_full}"


def describe(scenario: Scenario) -> list[str]:
    """What a scenario is, in a few lines."""
    from simulator.units import (
        count_of,
        format_bytes,
        format_duration,
        format_rate,
    )

    def duration(time_ns: int) -> str:
        return format_duration(time_ns / 1e9)

    link, protection = scenario.link, scenario.protection
    lines = [scenario.name]
    if scenario.description:
        lines.append(f"  {scenario.description}")
    lines.append(f"  lasts {duration(scenario.duration_ns)}, seed {scenario.seed}")
    lines.append(f"  stream: {scenario.stream.kind}")
    candidate = scenario.candidate
    if candidate is not None:
        named = {
            "port": getattr(candidate, "class_", ""),
            "program": getattr(candidate, "source", ""),
            "command": " ".join(getattr(candidate, "command", ())),
        }
        lines.append(f"  candidate: {candidate.kind}, {named[candidate.kind]}")
    else:
        lines.append(_protection_line(protection))
    lines.append(
        f"  link: {format_rate(link.bits_per_second / 8)}, round trip {duration(link.rtt_ns)}"
        + (f", {count_of(len(link.schedule), 'scheduled change')}" if link.schedule else "")
    )
    lines.append(f"  {count_of(len(scenario.faults), 'fault')}" + (":" * bool(scenario.faults)))
    for fault in sorted(scenario.faults, key=lambda each: each.at_ns):
        host = getattr(fault, "host", None)
        where = f" of {host}" if host else ""
        kind = fault.kind.replace("_", " ")
        lines.append(f"    after {duration(fault.at_ns)}: {kind}{where}")
    objectives = {
        "RPO": scenario.objectives.rpo_ns,
        "RTO": scenario.objectives.rto_ns,
        "catch-up": scenario.objectives.catch_up_ns,
    }
    wanted = [
        f"{name} {duration(value)}" for name, value in objectives.items() if value is not None
    ]
    peak_bytes = scenario.objectives.spool_peak_bytes
    if peak_bytes is not None:
        wanted.append(f"spool peak {format_bytes(peak_bytes)}")
    for name in ("copy_queue", "replay_queue"):
        peak_logs = getattr(scenario.objectives, f"{name}_peak_logs")
        if peak_logs is not None:
            wanted.append(f"{name.replace('_', ' ')} peak {count_of(peak_logs, 'log')}")
    lines.append(f"  objectives: {', '.join(wanted) or 'none'}")
    return lines


def _check_targets(
    json: Path | None, report: Path | None, keep: Path | None, timeline: Path | None
) -> None:
    """Refuses, before the run, what could not be written after it."""
    from contextlib import ExitStack

    from simulator.report.output import (
        check_directory_target,
        check_file_target,
        check_new_directory_target,
        directory_for,
    )

    if keep is not None:
        check_new_directory_target(keep, "--keep")
    with ExitStack() as made:
        if report is not None:
            check_directory_target(report, "--report")
            # The other targets may lie in it.
            made.enter_context(directory_for(report, "--report", keep=False))
            check_file_target(report / "report.html", "--report")
        page = None if report is None else report / "report.html"
        taken = [("--report", page)]
        for option, target in (("--json", json), ("--timeline", timeline)):
            if target is None or (option == "--json" and target == STANDARD_OUTPUT):
                continue
            check_file_target(target, option)
            for other, place in taken:
                if place is not None and target.resolve() == place.resolve():
                    raise BadInput(
                        f"{option} and {other} would write the same file",
                        path=str(target),
                        remedy=f"Give {option} another name; --report always writes report.html.",
                    )
            taken.append((option, target))
    if keep is not None:
        for option, target in (("--report", report), ("--json", json), ("--timeline", timeline)):
            if target is not None and target.resolve().is_relative_to(keep.resolve()):
                raise BadInput(
                    f"{option} would write into the directory of --keep",
                    path=str(target),
                    remedy=f"Give {option} a path outside of it.",
                )


def _write(
    result: RunResult, json: Path | None, report: Path | None, command: str, console: Console
) -> None:
    """Writes what was asked for, and says where it is."""
    from contextlib import ExitStack

    from simulator.report.output import directory_for, write_atomically
    from simulator.report.record import result_text

    with ExitStack() as made:
        if report is not None:
            made.enter_context(directory_for(report, "--report"))
        if json == STANDARD_OUTPUT:
            print(result_text(result), end="", flush=True)
        elif json is not None:
            write_atomically(json, result_text(result), "--json")
            _say_where(console, "JSON", json)
        if report is not None:
            from simulator.report import render_report

            _say_where(console, "report", render_report(result, report, command=command))


def _keep(run: ScenarioRun, directory: Path, console: Console) -> None:
    """Writes the machines' files, and says where they are."""
    from replicator.cli_output import byte_progress
    from simulator.kept_files import keep_files

    with byte_progress("keeping files") as progress:
        kept = keep_files(run, directory, progress)
    for machine, place in kept.items():
        if place is not None:
            _say_where(console, f"files of the {machine}", place)
        else:
            _say(console, f"files of the {machine}: none, it was lost in the run")


def _say_where(console: Console, what: str, path: Path) -> None:
    _say(console, f"{what}: {path}")


def _say(console: Console, line: str) -> None:
    from rich.text import Text

    console.print(Text(printable(line)), soft_wrap=True)


def _run_live(
    scenario: Scenario, seed: int | None, progress: Report, keep: Path | None
) -> RunResult:
    """Run with real processes; a SIGTERM ends them as Ctrl-C does."""
    import signal

    from simulator.live.run import run_live

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        return run_live(scenario, seed, progress, keep)
    finally:
        signal.signal(signal.SIGTERM, before)


def _command(
    scenario: Path, seed: int, overrides: list[str], world: WorldName, plan: Path | None
) -> str:
    """The command that makes the run again."""
    import shlex

    words = [PROGRAM, "run", str(scenario), "--seed", str(seed)]
    if world is not WorldName.SIMULATED:
        words += ["--world", world.value]
    if plan is not None:
        words += ["--plan", str(plan)]
    for override in overrides:
        words += ["--set", override]
    return shlex.join(words)


def main() -> NoReturn:
    """The console command."""
    run_app(app, PROGRAM)
