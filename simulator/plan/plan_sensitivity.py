"""What the figures of a plan depend on: each of its inputs moved alone.

:class:`~.plan_inputs.PlanCase` has the inputs and the outputs, :func:`~.sensitivity.tornado` the
moving; added here is the line rate for the RPO, which is searched anew for each value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import pandas as pd

from simulator.plan.bandwidth import RequiredRate, required_rates
from simulator.plan.line_need import LineNeed
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.sensitivity import numeric_inputs, tornado

LINE: Final = "line_bits_per_second"
"""The output that is the line rate for the RPO."""
_SAME_SHARE: Final = 1e-9
Tell = Callable[[str], None]
_LEFT_OUT: Final = frozenset({"link.mss_bytes", "protection.delay_seconds"})
"""Not what anybody would argue about."""


def _silent(_what: str) -> None:
    return None


def sensitivity_of(
    case: PlanCase, tell: Tell = _silent, rates: Sequence[RequiredRate] = ()
) -> pd.DataFrame:
    """Each input moved alone (:func:`~simulator.plan.sensitivity.tornado`).

    The outputs are those of :meth:`PlanCase.outputs` and ``line_bits_per_second``, the line rate
    that the RPO needs for its share of the time; without it where no line rate keeps it.

    Arguments
    ---------
    rates: what the plan has found that it needs; the one for another share of the time is searched.
    """
    need = _line_need(case, rates)

    def outputs(other: PlanCase) -> dict[str, float | None]:
        found = dict(other.outputs())
        return found if need is None else found | {LINE: other.line_bits_per_second(need)}

    inputs = [
        path for path, value in numeric_inputs(case).items() if value and path not in _LEFT_OUT
    ]
    if case.night_share and "night_share" not in inputs:
        inputs.append("night_share")
    return tornado(case, outputs, inputs=inputs, tell=tell)


def _line_need(case: PlanCase, rates: Sequence[RequiredRate]) -> LineNeed | None:
    """The plan's own line rate for its RPO, to be asked with other inputs."""
    fixed, planned = case.curve, case.curve.change.first(case.curve.steps)
    share, rpo = fixed.rpo_share, fixed.rpo_seconds
    link = fixed.link
    of_share = [each for each in rates if abs(each.share_of_time - share) < _SAME_SHARE]
    [rate, *_] = of_share or required_rates(
        case.protection,
        planned,
        link,
        rpo,
        (share,),
        outages=fixed.outages,
        margin_seconds=planned.grid.step_seconds,
    )
    if rate.bits_per_second is None:
        return None
    return LineNeed.of(
        case.protection,
        planned,
        link,
        rate.bits_per_second,
        rpo,
        share,
        fixed.outages,
    )
