"""Whether a suite's plans, all together, have reached what the suite is about.

Its plans may have run in several processes; what each reached comes with its item's report, so
this is judged where all reports come together.  PYTEST_DONT_REWRITE: there are no asserts here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal

import pytest

PROPERTY: Final = "bench_reached"
_FINISHED: Final = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def function_id(nodeid: str) -> str:
    """The node id of a test without the brackets of its parameters."""
    path, colons, rest = nodeid.partition("::")
    return path + colons + rest.partition("[")[0]


@dataclass
class _Test:
    """What is known of one marked test."""

    wanted: list[str]
    seed: int
    """The base seed of the plans that are drawn."""
    total: int
    whole: bool
    """All plans that its marker asks for were to be run."""
    ran: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)


class ReachReport:
    """Collects reports, and adds one of a failure for each test that reached too little."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tests: dict[str, _Test] = {}
        self._unjudged: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, dict):
                self._note(report.nodeid, value)

    def _note(self, nodeid: str, told: dict[str, Any]) -> None:
        if not told["wanted"]:
            return
        key = function_id(nodeid)
        test = self._tests.setdefault(
            key, _Test(told["wanted"], told["seed"], told["total"], told["whole"])
        )
        test.ran.add(nodeid)
        test.reached |= set(told["reached"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge, unless the session was cut short."""
        if exitstatus not in _FINISHED:
            return
        for nodeid, test in self._tests.items():
            missing = [name for name in test.wanted if name not in test.reached]
            if not missing:
                self._forget(nodeid)
            elif len(test.ran) < test.total or not test.whole:
                self._unjudged.append(f"{nodeid}: not reached by the part that was run: "
                                      f"{', '.join(missing)}")  # fmt: skip
            else:
                self._fail(session, nodeid, test, missing)

    def _fail(self, session: pytest.Session, nodeid: str, test: _Test, missing: list[str]) -> None:
        plans = "its one plan" if test.total == 1 else f"any of its {test.total} plans"
        lines = [f"{nodeid}: what it is about was never reached in {plans}:"]
        for name in missing:
            near = get_close_matches(name, sorted(test.reached), n=3)
            lines.append(f"  {name}" + (f"   (reached: {', '.join(near)})" if near else ""))
        lines.append("what to do: let the plans strike there, run more of them, or correct")
        lines.append("'reaches'; docs/suites.md says how the names are made.")
        lines.append(f"the same plans again: --bench-seed {test.seed}")
        report = _report(nodeid, "failed", "\n".join(lines))
        # The terminal counts how much of the session is done: this is none of its items.
        plugins = self._config.pluginmanager
        terminal = plugins.get_plugin("terminalreporter")
        others = plugins.subset_hook_caller("pytest_runtest_logreport", [terminal, self])
        others(report=report)
        if terminal is not None:
            terminal.stats.setdefault("failed", []).append(report)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _forget(self, nodeid: str) -> None:
        """It is no failure any more for ``--lf``."""
        last_failed = self._config.pluginmanager.get_plugin("lfplugin")
        if last_failed is not None:
            last_failed.pytest_runtest_logreport(report=_report(nodeid, "passed", None))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._unjudged:
            terminalreporter.section("fault plans: reach not judged")
            for line in self._unjudged:
                terminalreporter.line(line)


def _report(
    nodeid: str, outcome: Literal["passed", "failed"], text: str | None
) -> pytest.TestReport:
    """The report of an item that there is none of: the test as a whole."""
    path, _colons, name = nodeid.partition("::")
    return pytest.TestReport(
        nodeid=nodeid,
        location=(path, None, f"{name} reaches"),
        keywords={},
        outcome=outcome,
        longrepr=text,
        when="call",
    )
