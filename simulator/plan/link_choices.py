"""Lines that could be bought, side by side: what each gives the plan.

Each line takes the place of the planned one, all else as it is, so what differs is the line alone:
its rate, its round trip and loss, what TCP makes of them, and how long shipped logs wait for
answers.  Outages at dates are left aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from replicator.errors import BadInput
from simulator.plan.answers import answer_frame, or_none
from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.horizon import after_seconds
from simulator.plan.link_use import link_use
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation_curves import NS
from simulator.plan.outage_starts import worst_starts
from simulator.plan.planner import Plan
from simulator.plan.protection import on_round_trip
from simulator.plan.run_outages import outages_of


@dataclass(frozen=True)
class LinkChoice:
    """What one line gives.

    Attributes
    ----------
    name: of the line.
    bits_per_second: its rate outside of its windows.
    streams_bits_per_second: what its TCP streams carry at most, whatever the rate; None when
        nothing bounds them.
    mean_utilisation: of all that is to be carried to what can be; None for a line that carries
        nothing.
    rpo_seconds: not exceeded for the objective's share of the time; None for never.
    catch_up_seconds: after the planned outage at its worst start; None for never.
    spool_bytes: of that outage; None where it grows for ever.
    meets_rpo: whether the RPO is kept and the outage is caught up.
    reason: why there is no figure; else empty.
    """

    name: str
    bits_per_second: float
    streams_bits_per_second: float | None
    mean_utilisation: float | None
    rpo_seconds: float | None
    catch_up_seconds: float | None
    spool_bytes: float | None
    meets_rpo: bool
    reason: str = ""


def link_choices(plan: Plan, links: Mapping[str, PlannedLink]) -> pd.DataFrame:
    """A row for each line, the columns those of :class:`LinkChoice`.

    Arguments
    ---------
    links: by name; ``dataclasses.replace(plan.link, ...)`` makes one that differs in a few things.

    Raises BadInput for no lines.
    """
    if not links:
        raise BadInput(
            "there are no lines to compare", remedy="Give at least one, by its name: plan.link."
        )
    # Outages late in the plan catch up behind its end.
    longer = continued(plan.change, after_seconds(plan.organisation))
    return answer_frame([_choice(name, link, plan, longer) for name, link in links.items()])


def _choice(name: str, link: PlannedLink, plan: Plan, longer: ChangeCurve) -> LinkChoice:
    objectives = plan.organisation.objectives
    usual = link.capacity_bytes(plan.change.grid)
    kind = on_round_trip(plan.protection, link.rtt_seconds)
    use = link_use(kind, plan.change, usual)
    streams = or_none(8.0 * link.streams_bytes_per_second)
    rate = float(link.bits_per_second)
    if not use.catches_up:
        return LinkChoice(
            name, rate, streams, use.mean_utilisation, None, None, None, False, use.reason
        )
    rpo = kind.course(plan.change, usual).lag_at(objectives.rpo_share)
    model = outages_of(kind, longer, link.capacity_bytes(longer.grid))
    length = plan.organisation.outages.planned_ns / NS
    starts, _hours = worst_starts(model, length, "day", plan.change.grid.span_seconds)
    effects = model.effects(starts, length, with_lag=False)
    caught_up = bool(effects.caught_up.all())
    return LinkChoice(
        name,
        rate,
        streams,
        use.mean_utilisation,
        rpo,
        float(effects.catch_up_seconds.max()) if caught_up else None,
        # Runs read again what changed: what waits for them lies in no spool.
        float(effects.spool_peak_bytes.max()) if plan.spools and caught_up else None,
        caught_up and rpo <= objectives.rpo_ns / NS,
        "" if caught_up else "the planned outage is not caught up within the plan",
    )
