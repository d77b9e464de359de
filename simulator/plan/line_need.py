"""The line rate that an RPO needs, asked again and again with inputs that are moved.

Theory
------
:mod:`.bandwidth` searches the rates of a plan, to a part in a thousand.  A tornado asks for one
twice for each input, and most inputs do little: so here the guess is the plan's own rate times
what is offered more, and the tolerance is wider.

What is asked is the same as there: the lag at a share of the time, outages at dates included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.lag_by_rate import LagByRate
from simulator.plan.link_use import offered_bytes
from simulator.plan.protection import Protection

TOLERANCE: Final = 0.01
"""Of the rate found, as a share."""


@dataclass(frozen=True, eq=False)
class LineNeed:
    """What is asked, and the answer for the plan as it is.

    Attributes
    ----------
    bits_per_second: of the plan, outside of windows.
    offered_bytes: of the plan, in all.
    payload_share: of the plan's line.
    rpo_seconds: the largest lag allowed; with room for a step, where any line can
        (:func:`~simulator.plan.bandwidth.required_rates`).
    share_of_time: for which it must hold.
    outages: at dates; as for :func:`~simulator.plan.capacity.without`.
    """

    bits_per_second: float
    offered_bytes: float
    payload_share: float
    rpo_seconds: float
    share_of_time: float
    outages: Sequence[tuple[float, float]]

    @classmethod
    def of(
        cls,
        protection: Protection,
        change: ChangeCurve,
        link: PlannedLink,
        bits_per_second: float,
        rpo_seconds: float,
        share_of_time: float,
        outages: Sequence[tuple[float, float]],
    ) -> LineNeed:
        """The question whose answer for these is ``bits_per_second``."""
        return cls(
            bits_per_second,
            float(offered_bytes(protection, change).sum()),
            link.payload_share,
            rpo_seconds,
            share_of_time,
            outages,
        )

    def answer(
        self, protection: Protection, change: ChangeCurve, link: PlannedLink
    ) -> float | None:
        """The least rate, in bits per second; None where no rate keeps it.

        ``link``: its rate does not matter, but for the ratio of its windows to it.
        """
        offered = float(offered_bytes(protection, change).sum())
        more = offered / self.offered_bytes if self.offered_bytes > 0 else 1.0
        guess = self.bits_per_second * more * self.payload_share / link.payload_share
        lags = LagByRate(protection, change, link, (self.share_of_time,), self.outages)
        room = max(self.rpo_seconds - change.grid.step_seconds, self.rpo_seconds / 2)
        for lag_seconds in (room, self.rpo_seconds):
            rate = lags.least_rate(self.share_of_time, lag_seconds, guess, TOLERANCE)
            if rate is not None:
                return rate
        return None
