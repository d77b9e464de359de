"""One scenario, made ready to be run under many fault plans: the work of a campaign.

:func:`prepare` returns an object whose :meth:`~PreparedScenario.run` gives what a
:class:`~simulator.run.ScenarioRun` of the scenario with these faults gives, field by field
(the wall time apart), and takes from earlier runs what does not depend on the plan
(:mod:`simulator.known`).  Nothing is judged less: each examination that would be made is in
the record, at its instant.

What is *not* taken over, and why: what the source's programs do.  A record of the store's calls
would spare its own code only, about a twentieth of a run, since what its calls go through
(capture, spool, disk, truth) is what the faults are to hit.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from replicator.ese.recall import recalling
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.known import Known
from simulator.measures import RunResult
from simulator.run import ScenarioRun
from simulator.scenario import Fault, Scenario


class PreparedScenario:
    """A scenario to be run under many plans; for one process and one thread.

    Arguments
    ---------
    scenario: checked; its own faults are replaced by those of each run.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.known = Known()

    def run(
        self,
        faults: tuple[Fault, ...],
        seed: int | None = None,
        safeguards: Safeguards = ALL_SAFEGUARDS,
        fault_seed: int | None = None,
        at_start: Callable[[ScenarioRun], None] | None = None,
    ) -> RunResult:
        """Run the scenario with these faults in place of its own; returns the record.

        Arguments
        ---------
        seed: instead of the scenario's own.
        safeguards: for tests that switch one off.
        fault_seed: instead of the scenario's own.
        at_start: gets the run before anything of it has started, for who wants to look on.
        """
        changes: dict[str, object] = {"faults": faults}
        if fault_seed is not None:
            changes["fault_seed"] = fault_seed
        scenario = self.scenario.model_copy(update=changes)
        # Garbage is looked for when the run is gone.  While its world is being let go, a
        # collection would walk through what is still there, and leave that to a later one.
        collects = gc.isenabled()
        gc.disable()
        try:
            run = ScenarioRun(scenario, seed, safeguards, self.known)
            if at_start is not None:
                at_start(run)
            with recalling(self.known.recall):
                result = run.run()
            del run
            return result
        finally:
            if collects:
                gc.enable()


def prepare(scenario: Scenario) -> PreparedScenario:
    """Make a scenario ready to be run under many fault plans."""
    return PreparedScenario(scenario)
