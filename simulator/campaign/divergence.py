"""Where two runs of one plan part: the first event that differs, of which host, at what time.

The events of the first run go to a temporary file, those of the second are held against it as
they come, so that the length of a run costs no memory.
"""

from __future__ import annotations

import tempfile
from collections import deque
from dataclasses import dataclass
from typing import IO, Final

from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.plans.plan import FaultPlan, planned
from simulator.prepared import PreparedScenario
from simulator.run import ScenarioRun

BEFORE: Final = 3
"""So many events before the first difference are told."""
_ENDED: Final = "the run was over"


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference of two runs."""

    number: int
    """Of the event, from 1 on."""
    first: str
    """The event in the first run, with its time."""
    second: str
    before: tuple[str, ...]
    """The last events that both have, oldest first."""

    @property
    def words(self) -> str:
        """All of it in one sentence."""
        story = f"; before, in both: {'; '.join(self.before)}" if self.before else ""
        return (
            f"event {self.number:,} is '{self.first}' in one run and '{self.second}' in the "
            f"other{story}"
        )


def first_divergence(
    scenario: PreparedScenario, plan: FaultPlan, safeguards: Safeguards = ALL_SAFEGUARDS
) -> Divergence | None:
    """Run a plan two more times and find where they part; None when they do not.

    As in a campaign, the first takes over what earlier runs have found out, the second does not.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        scenario.run(
            plan.faults, None, safeguards, plan.seed, lambda run: _Writer(run, file).attach()
        )
        file.seek(0)
        again = ScenarioRun(planned(scenario.scenario, plan), safeguards=safeguards)
        reader = _Reader(again, file)
        reader.attach()
        again.run()
        return reader.divergence()


class _Events:
    """Gets the events of a run as lines of text."""

    def __init__(self, run: ScenarioRun) -> None:
        self._trace, self._clock = run.world.trace, run.world.clock

    def attach(self) -> None:
        self._trace.watch = self._event

    def _event(self, event: str, values: tuple[int, ...]) -> None:
        at_seconds = f"{self._clock.now() / 1e9:.9f}".rstrip("0").rstrip(".")
        self.line(f"{event} {' '.join(map(str, values))}".strip() + f" at {at_seconds} s")

    def line(self, text: str) -> None:
        raise NotImplementedError


class _Writer(_Events):
    def __init__(self, run: ScenarioRun, file: IO[str]) -> None:
        super().__init__(run)
        self._file = file

    def line(self, text: str) -> None:
        self._file.write(text + "\n")


class _Reader(_Events):
    """Holds the events against those of a file."""

    def __init__(self, run: ScenarioRun, file: IO[str]) -> None:
        super().__init__(run)
        self._file = file
        self._number = 0
        self._before: deque[str] = deque(maxlen=BEFORE)
        self._found: Divergence | None = None

    def line(self, text: str) -> None:
        self._number += 1
        expected = self._file.readline().rstrip("\n")
        if expected != text:
            self._differs(expected or _ENDED, text)
        self._before.append(text)

    def divergence(self) -> Divergence | None:
        """What was found, the end of the shorter run included."""
        rest = "" if self._found is not None else self._file.readline().rstrip("\n")
        if rest:
            self._number += 1
            self._differs(rest, _ENDED)
        return self._found

    def _differs(self, first: str, second: str) -> None:
        self._found = Divergence(self._number, first, second, tuple(self._before))
        self._trace.watch = None
