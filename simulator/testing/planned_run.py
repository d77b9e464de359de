"""A scenario under one fault plan: what the fixture ``bench_run`` hands to a test."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from replicator.toml_writer import toml_text
from simulator.campaign.job import FAILING, settled
from simulator.measures import Check, RunResult, Verdict
from simulator.mutants import mutated
from simulator.objectives import catch_up
from simulator.plans.plan import FaultPlan
from simulator.prepared import PreparedScenario, prepare
from simulator.scenario import Scenario, parse_scenario
from simulator.testing.reached import Event, Watcher

if TYPE_CHECKING:
    from simulator.run import ScenarioRun


@lru_cache(maxsize=4)
def _prepared(scenario_text: str, _mutant: str) -> PreparedScenario:
    """What is known of the runs of one mutant is nothing to another."""
    return prepare(parse_scenario(scenario_text))


class PlannedRun:
    """A scenario under a fault plan.  It is run at the first question about it, and once.

    Arguments
    ---------
    scenario: its own faults are not used.
    plan: what goes wrong.
    mutant: which rule is taken away (:mod:`simulator.mutants`); empty: none.
    tolerated: verdicts that count as no breach, for instance ``("objective",)``.

    Each question raises what the run itself raises: BadInput when a file that the scenario
    names cannot be read.
    """

    def __init__(
        self,
        scenario: Scenario,
        plan: FaultPlan,
        *,
        mutant: str = "",
        tolerated: tuple[str, ...] = (),
    ) -> None:
        self.scenario = scenario
        self.plan = plan
        self.mutant = mutant
        self.tolerated = tolerated
        self._own: set[str] = set()
        self._result: RunResult | None = None
        self._watcher: Watcher | None = None

    def with_plan(self, plan: FaultPlan) -> PlannedRun:
        """The same under another plan; nothing of it has run."""
        return PlannedRun(self.scenario, plan, mutant=self.mutant, tolerated=self.tolerated)

    # -- the run ---------------------------------------------------------------------------

    @property
    def result(self) -> RunResult:
        """The whole record: losses, checks, faults as they happened, samples over time ..."""
        if self._result is None:
            prepared = _prepared(toml_text(self.scenario), self.mutant)
            with mutated(self.mutant) as safeguards:
                self._result = prepared.run(
                    self.plan.faults, None, safeguards, self.plan.seed, self._watch
                )
        return self._result

    def _watch(self, run: ScenarioRun) -> None:
        self._watcher = Watcher(run)

    @property
    def has_run(self) -> bool:
        """Whether anybody has asked for the result yet."""
        return self._result is not None

    # -- what a suite asks -----------------------------------------------------------------

    @property
    def verdict(self) -> str:
        """How the run ended, in one word: ``pass``, ``safety``, ``liveness``, ``objective``,
        ``unrecoverable`` or ``inconclusive``.

        Faults that found no occasion make no run inconclusive here: many a drawn plan has one.
        """
        return settled(self.result)[0].value

    @property
    def reasons(self) -> list[str]:
        """Why the verdict is no pass, the worst first; empty for a pass."""
        return list(settled(self.result)[1])

    @property
    def breaches(self) -> list[str]:
        """Why this run fails its suite; empty when it does not.

        Those are the reasons of the verdicts *safety*, *liveness*, *objective* and
        *inconclusive*.  What no design can keep under these faults (*unrecoverable*) is none.
        """
        fails = {each.value for each in FAILING} | {Verdict.INCONCLUSIVE.value}
        return self.reasons if self.verdict in fails - set(self.tolerated) else []

    @property
    def rpo_seconds(self) -> float:
        """The most recent work that was lost or would have been, in seconds.

        Over all failures of the run and, after the loss of the source, at that one; 0 when
        nothing ever failed.
        """
        return self.result.rpo_seconds or 0.0

    @property
    def catch_up_seconds(self) -> float | None:
        """Longest time from the end of a fault until the lag was normal again, in seconds.

        0 when no fault has an end; None when it was not seen to its end: the run did not
        converge, or lost a host.
        """
        result = self.result
        found = catch_up(self.scenario, result)
        if found.at_least is None:
            return found.seconds or 0.0
        lost = any(mark.kind == "loss" for mark in result.faults)
        if lost or self.verdict in (Verdict.LIVENESS, Verdict.INCONCLUSIVE):
            return None
        # It converged between the last sample and the end.
        at_most = found.at_least + result.simulated_seconds - result.samples.time_seconds[-1]
        return max(found.seconds or 0.0, at_most)

    @property
    def resynchronizations(self) -> int:
        """So often the copy was brought over anew, the first time not counted."""
        return self.result.resynchronizations

    @property
    def spool_peak_bytes(self) -> int:
        """The most that the spool held on disk."""
        return self.result.spool_peak_bytes

    @property
    def wire_bytes(self) -> int:
        """Sent from source to replica, frames included."""
        return self.result.wire_bytes

    def checks(self, invariant: str, while_: str | None = None) -> list[Check]:
        """What the oracles said of an invariant.

        Arguments
        ---------
        invariant: ``prefix``, ``durable means durable``, ``mountable`` ...
        while_: only while the source was in this state, e.g. ``synchronizing``.
        """
        found = [check for check in self.result.checks if check.invariant == invariant]
        if while_ is None:
            return found
        assert self._watcher is not None
        source = self._watcher.source
        return [
            check
            for check in found
            if while_ in source.during(round(check.at_seconds * 1e9), round(check.at_seconds * 1e9))
        ]

    def events(self, name: str, host: str = "") -> list[Event]:
        """What the hosts' software reported under a name, in the order of time.

        Arguments
        ---------
        name: for instance ``capture_stopped``, ``writer_held``, ``synchronized``, ``stalled``.
        host: of this one only.
        """
        _ = self.result
        assert self._watcher is not None
        found = self._watcher.events.get(name, [])
        return [event for event in found if host in ("", event.host)]

    # -- it really happened ----------------------------------------------------------------

    @property
    def reached(self) -> frozenset[str]:
        """The names of the faults and states that were there in this run."""
        marks = self.result.faults
        assert self._watcher is not None
        return self._watcher.reached(marks) | self._own

    def reach(self, name: str) -> None:
        """Say that this run has reached something of the suite's own."""
        self._own.add(name)

    @property
    def own_reached(self) -> frozenset[str]:
        """What was told to :meth:`reach`."""
        return frozenset(self._own)

    def __repr__(self) -> str:
        return f"PlannedRun({self.scenario.name!r}, {len(self.plan.faults)} faults)"
