"""One item of a marked test: its plan, its judgement, and what to do when it fails.

A failure is made small by calling the test again under smaller plans, with its other fixtures
as they are.  It counts as the same failure when the same kind of error is raised in the same
line of the suite, and for the same reason.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from replicator.command_line import release_name
from replicator.errors import BadInput, ReplicatorError
from replicator.toml_writer import toml_document, toml_text
from simulator.mutants import mutated
from simulator.plans.draw import space_of
from simulator.plans.plan import FaultPlan, planned, wrong_with
from simulator.plans.shrink import Shrinker
from simulator.report.output import directory_for, write_atomically
from simulator.scenario import Scenario
from simulator.scenario_model import Recorded
from simulator.testing.command_lines import line, python, seen_from_here, shown
from simulator.testing.planned_run import PlannedRun
from simulator.testing.plugin import FIXTURE, REPLAY
from simulator.testing.reach_report import PROPERTY, function_id
from simulator.testing.suite import Suite
from simulator.timeline import record_timeline, write_timeline

MOST_BREACHES: Final = 5
"""So many are shown; the saved failure has them all."""
Signature = tuple[str, str, str]
_shrunk: Final[pytest.StashKey[dict[tuple[str, Signature], str]]] = pytest.StashKey()
"""Failures that this session has made small: the test and how it fails, and of which plan."""
_stories: Final[pytest.StashKey[dict[tuple[str, Signature], str]]] = pytest.StashKey()
"""What was told of an item that failed so: one that is run again fails the same way again."""


@dataclass
class _Small:
    """What shrinking has left of a failure."""

    run: PlannedRun
    runs: int = 0
    same_as: str = ""
    """The plan whose failure was shrunk before, and is of the same kind."""


class Case:
    """A plan for one call of a test.

    Arguments
    ---------
    item: the test.
    suite, number: which plan.
    base_seed: of the session.
    total: items of this test.
    mutant, changes: as ``--bench-mutant`` and ``--bench-set`` gave them.
    shrink_runs: so many; 0 for none.
    failures: where failures are saved, absolute; need not exist.
    command: how pytest is called again.
    replays: the plan is a saved one: nothing is shrunk or saved.
    """

    def __init__(
        self,
        item: pytest.Function,
        suite: Suite,
        number: int,
        *,
        base_seed: int,
        total: int,
        mutant: str,
        changes: tuple[str, ...],
        shrink_runs: int,
        failures: Path,
        command: list[str],
        replays: bool,
    ) -> None:
        self._item = item
        self._suite = suite
        self._total = total
        self._base_seed = base_seed
        self._changes = changes
        self._shrink_runs = shrink_runs
        self._failures = failures
        self._command = command
        self._replays = replays
        self._id = REPLAY if replays else f"plan{number}"
        plan = suite.plan(number, base_seed, item.originalname)
        self.run = PlannedRun(suite.scenario, plan, mutant=mutant, tolerated=suite.tolerates)
        self.story = ""
        """What the item's text says about the plan; empty unless it failed."""

    # -- judgement -------------------------------------------------------------------------

    def judge(self, run: PlannedRun) -> None:
        """What holds for every suite; fails the test otherwise."""
        breaches = run.breaches
        if breaches:
            shown = breaches[:MOST_BREACHES]
            if len(breaches) > len(shown):
                shown.append(f"and {len(breaches) - len(shown)} more")
            told = "\n".join(f"  {each}" for each in shown)
            pytest.fail(f"the run ended with the verdict {run.verdict}:\n{told}", pytrace=False)

    def note_reached(self) -> None:
        """Let the session know what this run has reached."""
        if not self.run.has_run:
            return
        told = {
            "wanted": list(self._suite.reaches),
            "reached": sorted(self.run.reached),
            "total": self._total,
            "seed": self._base_seed,
            "whole": not self._replays and self._suite.count >= self._suite.asked_for,
        }
        self._item.user_properties.append((PROPERTY, told))

    # -- a failure -------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        """Make the failure small, save it, and tell how to see it again."""
        signature = self._signature(error, self.run)
        stories = self._item.config.stash.setdefault(_stories, {})
        known = (self._item.nodeid, signature)
        if known in stories:
            self.story = stories[known]
            return
        small = self._shrink(signature)
        lines = self._head(small)
        again = [*self._command, self._node(small), *self._options()]
        if self._replays:
            lines += ["the test again:", f"  {line([*again, *self._plan_option()])}"]
        else:
            lines += self._saved(small, again)
            node = seen_from_here(self._item.config, self._item.nodeid)
            whole = [*self._command, node, "--bench-seed", str(self._base_seed), *self._options()]
            lines += [f"the test under the whole {self._id}:", f"  {line(whole)}"]
        self.story = stories[known] = "\n".join(lines)

    def _signature(self, error: BaseException, run: PlannedRun) -> Signature:
        own = [
            f"{frame.filename}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == self._item.path
        ]
        reason = run.breaches[0] if run.has_run and run.breaches else ""
        words = re.sub(r"\(.*?\)|[0-9a-f]{8,}|[0-9][0-9.]*", "", reason).split(":")[0].strip()
        return type(error).__name__, own[-1] if own else "", words

    def _shrink(self, wanted: Signature) -> _Small:
        key = (function_id(self._item.nodeid), wanted)
        shrunk = self._item.config.stash.setdefault(_shrunk, {})
        if key in shrunk:
            return _Small(self.run, same_as=shrunk[key])
        if self._replays or not self._shrink_runs or not self._can_be_called_again():
            return _Small(self.run)
        scenario, best = self._suite.scenario, self.run

        def fails(plan: FaultPlan) -> bool:
            nonlocal best
            if wrong_with(plan, scenario):
                return False
            run = self.run.with_plan(plan)
            try:
                self._call(run)
            except pytest.skip.Exception:
                return False
            except pytest.exit.Exception:
                raise
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 it is compared
                if self._signature(error, run) != wanted:
                    return False
                best = run
                return True
            return False

        shrinker = Shrinker(fails, space_of(scenario).grid_ns, self._shrink_runs)
        plan = shrinker.shrink(self.run.plan)
        shrunk[key] = self._id
        return _Small(best if best.plan == plan else self.run.with_plan(plan), shrinker.runs)

    def _can_be_called_again(self) -> bool:
        takes_it_itself = FIXTURE in self._item._fixtureinfo.argnames
        return takes_it_itself and not inspect.iscoroutinefunction(self._item.obj)

    def _call(self, run: PlannedRun) -> None:
        names = self._item._fixtureinfo.argnames
        arguments = {name: self._item.funcargs[name] for name in names} | {FIXTURE: run}
        self._item.obj(**arguments)
        self.judge(run)

    # -- words -----------------------------------------------------------------------------

    def _head(self, small: _Small) -> list[str]:
        before, after = len(self.run.plan.faults), len(small.run.plan.faults)
        head = f"{self._id} of {self._suite.count}, base seed {self._base_seed}"
        if self._replays:
            head = "the plan of --bench-plan"
        head += f": {_faults(after)}"
        if small.runs:
            head += f", shrunk from {before} by {small.runs} runs"
        elif small.same_as:
            head += f"; not shrunk, it fails as {small.same_as} does, which was"
        lines = [head]
        for fault in small.run.plan.faults:
            keys = {**toml_document(fault)}
            kind, at = keys.pop("kind"), keys.pop("at")
            rest = "".join(f", {name} {value}" for name, value in keys.items())
            lines.append(f"  {kind} at {at}{rest}")
        return lines

    def _node(self, small: _Small) -> str:
        """The item that runs the test under the plan of a file."""
        nodeid = self._item.nodeid
        head, bracket, ids = nodeid.rpartition("[")
        ids = re.sub(rf"(?<![^-]){self._id}(?![^\]-])", REPLAY, ids, count=1)
        return seen_from_here(self._item.config, head + bracket + ids)

    def _options(self) -> list[str]:
        options = [f"--bench-set={change}" for change in self._changes]
        if self.run.mutant:
            options.append(f"--bench-mutant={self.run.mutant}")
        if not self._replays and self._suite.count > self._suite.asked_for:
            options.append(f"--bench-plans={self._suite.count}")
        return options

    def _plan_option(self) -> list[str]:
        return ["--bench-plan", str(self._item.config.option.bench_plan)]

    # -- files -----------------------------------------------------------------------------

    def _saved(self, small: _Small, again: list[str]) -> list[str]:
        """Save it; returns the lines that tell how to see it again."""
        path = self._failures / f"{self._file_name()}.toml"
        page = path.with_suffix(".html")
        config = self._item.config
        told = shown(config, path)
        recorded = None
        if small.run.has_run:
            result = small.run.result
            recorded = Recorded(
                verdict=result.verdict.value,
                trace_hash=result.trace_hash,
                reasons=tuple(result.reasons),
                release=release_name(),
                mutant=small.run.mutant,
            )
        saved = planned(self._suite.scenario, small.run.plan).model_copy(
            update={"recorded": recorded}
        )
        shell = [python(), "-m", "simulator.cli"]
        command = [*shell, "replay" if recorded else "run", told]
        try:
            with directory_for(self._failures, "--bench-failures"):
                write_atomically(path, toml_text(saved), "--bench-failures")
                lines = [
                    "the test under this plan:",
                    f"  {line([*again, '--bench-plan', told])}",
                    "the run alone:",
                    f"  {line(command)}",
                ]
                if recorded is not None:
                    self._write_timeline(saved, small.run.mutant, page)
                    lines.append(f"its timeline: {shown(config, page)}")
                return lines
        except BadInput as error:
            return [f"the plan could not be saved: {error}"]
        except ReplicatorError as error:
            return [*lines, f"no timeline could be made: {error}"]

    @staticmethod
    def _write_timeline(saved: Scenario, mutant: str, page: Path) -> None:
        with mutated(mutant) as safeguards:
            result, timeline = record_timeline(saved, safeguards=safeguards)
        command = f"simulator replay {page.with_suffix('.toml').name}"
        write_timeline(timeline, result, page, command=command)

    def _file_name(self) -> str:
        """Another one for each item and seed, whatever process it runs in."""
        item = self._item
        whole = f"{item.nodeid} {self._base_seed} {self._options()}"
        slug = re.sub(r"[^A-Za-z0-9]+", "_", item.name).strip("_")[:60]
        return f"{slug}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def _faults(count: int) -> str:
    return {0: "no fault", 1: "1 fault"}.get(count, f"{count} faults")
