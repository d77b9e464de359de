"""One scenario in two worlds, side by side: ``python -m simulator.live.compare SCENARIO``.

Runs it simulated and with real processes, and prints a table in Markdown.  With ``--write
PAGE`` the table replaces what stands in that page between the scenario's two marker lines.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console

from replicator.errors import BadInput, ExitCode, ReplicatorError
from simulator.live.run import run_live
from simulator.measures import RunResult
from simulator.objectives import catch_up_seconds
from simulator.report.terminal import progress_on
from simulator.run import run_scenario
from simulator.scenario import Scenario, load_scenario
from simulator.units import format_bytes, format_count, format_duration

BEGIN_MARK: Final = "<!-- {name}: begin -->"
END_MARK: Final = "<!-- {name}: end -->"
"""Around the table of the scenario of that name."""


class Row(NamedTuple):
    """One figure in both worlds; None where it was not measured."""

    name: str
    simulated: float | None
    live: float | None
    spell: Callable[[float], str]

    @property
    def difference(self) -> str:
        """Of the live figure against the simulated one: in per cent of that, or how many times."""
        if self.simulated is None or self.live is None:
            return ""
        if not self.simulated:
            return "none" if not self.live else "from nothing"
        ratio = self.live / self.simulated
        return f"{ratio:,.0f} times" if ratio >= 10 else f"{100 * (ratio - 1):+.0f} %"


def rows(scenario: Scenario, simulated: RunResult, live: RunResult) -> list[Row]:
    """The figures that the two worlds are held against each other by."""

    def row(
        name: str, of: Callable[[RunResult], float | None], spell: Callable[[float], str]
    ) -> Row:
        return Row(name, of(simulated), of(live), spell)

    def part(name: str) -> Callable[[RunResult], float | None]:
        def of(result: RunResult) -> float | None:
            recovery = result.recovery
            return None if recovery is None else float(getattr(recovery, name))

        return of

    def lost(what: str) -> Callable[[RunResult], float | None]:
        def of(result: RunResult) -> float | None:
            worst = result.worst_loss
            return None if worst is None else getattr(worst, what)

        return of

    seconds, size, number = format_duration, format_bytes, format_count
    found = [
        row("RPO", lambda r: r.rpo_seconds, seconds),
        row("RPO, bytes", lost("bytes"), size),
        row("RPO, messages", lost("messages"), number),
        row("RTO", lambda r: r.rto_seconds, seconds),
        *(row(f"RTO, {name}", part(name), seconds) for name in ("detect", "recover", "mount")),
        row("spool peak", lambda r: float(r.spool_peak_bytes), size),
        row("catch-up", lambda r: catch_up_seconds(scenario, r), seconds),
        row("wire bytes", lambda r: float(r.wire_bytes), size),
        row("wire bytes back", lambda r: float(r.reverse_wire_bytes), size),
        row("written by the programs", lambda r: float(r.captured_bytes), size),
        row("operations", lambda r: float(r.operations), number),
        row("messages", lambda r: r.messages, number),
        row("resynchronizations", lambda r: float(r.resynchronizations), number),
        row("time covered", lambda r: r.simulated_seconds, seconds),
    ]
    for index, loss in enumerate(simulated.losses):
        twin = live.losses[index] if index < len(live.losses) else None
        name = f"lost at {loss.failure.replace('_', ' ')}, {loss.at_seconds:.0f} s"
        found.append(Row(name, loss.seconds, None if twin is None else twin.seconds, seconds))
    return [each for each in found if each.simulated is not None or each.live is not None]


def table(command: str, scenario: Scenario, simulated: RunResult, live: RunResult) -> str:
    """The comparison in Markdown."""
    lines = [
        f"`{command}`: simulated **{simulated.verdict}** in "
        f"{format_duration(simulated.wall_seconds)}, live **{live.verdict}** in "
        f"{format_duration(live.wall_seconds)}.",
        "",
        "| figure | simulated | live | live against simulated |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in rows(scenario, simulated, live):
        cells = [
            "not measured" if value is None else row.spell(value)
            for value in (row.simulated, row.live)
        ]
        lines.append(f"| {row.name} | {cells[0]} | {cells[1]} | {row.difference} |")
    for world, result in (("simulated", simulated), ("live", live)):
        if result.reasons:
            lines += ["", *(f"- Why {world} is no pass: {each}." for each in result.reasons)]
    if live.live is not None:
        lines += ["", *(f"- Live, not as in the scenario: {each}." for each in _left_out(live))]
    return "\n".join(lines) + "\n"


def _left_out(live: RunResult) -> list[str]:
    return [] if live.live is None else live.live.without_counterpart


def put_into(page: Path, name: str, text: str) -> None:
    """Replace what stands between a scenario's marker lines; raises BadInput without them."""
    marks = BEGIN_MARK.format(name=name), END_MARK.format(name=name)
    content = page.read_text(encoding="utf-8") if page.exists() else ""
    before, begin, rest = content.partition(marks[0])
    _old, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise BadInput(
            "the page has no place for the table",
            path=str(page),
            remedy=f"Write the lines {marks[0]} and {marks[1]} into it.",
        )
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulator.live.compare", description=__doc__)
    parser.add_argument("scenario", type=Path, metavar="SCENARIO")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page with marker lines")
    given = parser.parse_args()
    try:
        scenario = load_scenario(given.scenario, [])
        errors = Console(stderr=True)
        with progress_on(errors, "starting") as progress:
            simulated = run_scenario(scenario, None, progress)
        with progress_on(errors, "starting", "live") as progress:
            live = run_live(scenario, None, progress)
        command = shlex.join(["python", "-m", "simulator.live.compare", str(given.scenario)])
        text = table(command, scenario, simulated, live)
        print(text, end="")
        if given.write is not None:
            put_into(given.write, scenario.name, text)
    except ReplicatorError as failure:
        print(f"error: {failure}\nwhat to do: {failure.remedy}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
