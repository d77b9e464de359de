"""Years of outages, drawn: how large the spool gets, how old the copy, for how long.

Theory
------
Each simulated year is the plan's curve with inputs of its own (load, growth, compression), and a
Poisson number of outages whose begins and lengths are drawn.  Every outage is evaluated exactly,
not on a coarser grid and not for a load nearby: a site that writes k times as much on a link that
carries f times as much is the same queue with service f / k (:mod:`.outages`).  For protections
that take snapshots, loads are rounded to steps of 2 % (:mod:`.run_outages`).

Outages late in the year catch up in the weeks after it: the last week of the curve goes on.  One
that is not caught up by then is "never", larger than any figure.

Leaves out: that an outage may begin before the one before is caught up, or even over
(``overlapping_share`` says how many do; they are evaluated each alone), and that growth changes
the shape of a day.

Random numbers: one generator for each concern, from the seed and the concern's name, so that more
years, or another distribution of lengths, leave the other draws as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan import quantiles
from simulator.plan.answers import answer_frame, finite_frame
from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.distributions import Distribution, Fixed
from simulator.plan.grid import DAY_SECONDS, Floats, Indices
from simulator.plan.outages import OutageModel
from simulator.plan.protection import Protection
from simulator.plan.run_outages import outages_of
from simulator.plan.spool_full import Spool, with_spool

SHARES: Final = (0.5, 0.9, 0.95, 0.99)
YEAR_SECONDS: Final = 365.25 * DAY_SECONDS
_WEEK_SECONDS: Final = 7 * DAY_SECONDS
_OUTAGES_AT_ONCE: Final = 20_000
_MOST_OUTAGES: Final = 10_000_000
MOST_YEARS: Final = 1_000_000
MEASURES: Final = ("spool_peak_bytes", "rpo_seconds", "catch_up_seconds", "unprotected_seconds")
YEAR_MEASURES: Final = (
    "outages",
    "largest_spool_peak_bytes",
    "largest_rpo_seconds",
    "unprotected_seconds",
)


@dataclass(frozen=True, kw_only=True)
class OutageLaw:
    """How outages come.

    Attributes
    ----------
    per_year: how many on average.
    length_seconds: how long they last.
    hour_weights: how likely a begin is in each hour of the day (24) or of the week (168, from
        Monday, midnight); empty for any time.

    Raises ValueError for a frequency that is negative, and for weights of another number, negative
    or all 0.
    """

    per_year: float
    length_seconds: Distribution
    hour_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.per_year < 1e6:
            raise ValueError(f"there cannot be {self.per_year} outages a year")
        if len(self.hour_weights) not in (0, 24, 168):
            raise ValueError("hours have 24 weights (a day) or 168 (a week)")
        finite = all(0 <= each < np.inf for each in self.hour_weights)
        if self.hour_weights and not (finite and sum(self.hour_weights) > 0):
            raise ValueError("weights are not negative, and one is above 0")


@dataclass(frozen=True, kw_only=True)
class UncertainInputs:
    """What is drawn once for each simulated year.

    Attributes
    ----------
    load_factor: times as much is written as the curve says.
    saving: of compression; None for the protection's own.
    growth_per_year: of what is written.
    years_ahead: how long it has grown.
    """

    load_factor: Distribution = field(default_factory=lambda: Fixed(1.0))
    saving: Distribution | None = None
    growth_per_year: Distribution = field(default_factory=lambda: Fixed(0.0))
    years_ahead: float = 0.0

    @property
    def any_drawn(self) -> bool:
        """Whether years differ in their inputs."""
        given = (self.load_factor, self.saving, self.growth_per_year)
        return any(each is not None and not isinstance(each, Fixed) for each in given)


@dataclass(frozen=True, eq=False)
class MonteCarlo:
    """What was drawn, and what came out.

    Attributes
    ----------
    outages: a row for each: ``year``, ``begin_seconds`` (from the begin of the curve),
        ``length_seconds``, ``load``, ``service`` (times as much as planned), and the measures
        :data:`MEASURES`.  To reckon with: infinity for never; :meth:`frame` is for readers.
    years: how many were drawn, those without an outage too.
    grouped: whether outages of one year share drawn inputs.
    overlapping_share: of the outages, begun before the one before was caught up.
    shortened: outages that were cut to the longest that could be evaluated.
    seed: of all draws.
    """

    outages: pd.DataFrame
    years: int
    grouped: bool
    overlapping_share: float
    shortened: int
    seed: int

    def frame(self) -> pd.DataFrame:
        """:attr:`outages` with None for never."""
        return finite_frame(self.outages)

    def of_outages(
        self, shares: Sequence[float] = SHARES, confidence: float = quantiles.CONFIDENCE
    ) -> pd.DataFrame:
        """Quantiles over outages: ``measure``, and the columns of
        :class:`~simulator.plan.quantiles.Quantile`."""
        random = _generator(self.seed, "bootstrap")
        years = self.outages["year"].to_numpy()
        never = "not caught up within the weeks that were looked at"
        rows = []
        for name in MEASURES:
            values = self.outages[name].to_numpy()
            for share in shares:
                if self.grouped:
                    found = quantiles.of_groups(values, years, share, random, confidence, never)
                else:
                    found = quantiles.of_independent(values, share, confidence, never)
                rows.append({"measure": name, **vars(found)})
        return answer_frame(rows, ("measure", *quantiles.Quantile.__dataclass_fields__))

    def by_year(self) -> pd.DataFrame:
        """A row for each year, the columns :data:`YEAR_MEASURES`; None for never."""
        return finite_frame(self._by_year())

    def _by_year(self) -> pd.DataFrame:
        groups = self.outages.groupby("year")
        table = pd.DataFrame(
            {
                "outages": groups.size().astype(np.float64),
                "largest_spool_peak_bytes": groups["spool_peak_bytes"].max(),
                "largest_rpo_seconds": groups["rpo_seconds"].max(),
                "unprotected_seconds": groups["unprotected_seconds"].sum(),
            }
        )
        return table.reindex(np.arange(self.years), fill_value=0.0).rename_axis("year")

    def of_years(
        self, shares: Sequence[float] = SHARES, confidence: float = quantiles.CONFIDENCE
    ) -> pd.DataFrame:
        """Quantiles over years; columns as :meth:`of_outages`."""
        table = self._by_year()
        rows = [
            {
                "measure": name,
                **vars(quantiles.of_independent(table[name].to_numpy(), share, confidence)),
            }
            for name in YEAR_MEASURES
            for share in shares
        ]
        return answer_frame(rows, ("measure", *quantiles.Quantile.__dataclass_fields__))


def continued(change: ChangeCurve, seconds: float) -> ChangeCurve:
    """The curve and then its last week again and again, for so many seconds more; of a curve
    shorter than a week all of it."""
    grid = change.grid
    more = int(np.ceil(seconds / grid.step_seconds))
    week = max(1, min(grid.steps, round(_WEEK_SECONDS / grid.step_seconds)))
    place = np.concatenate((np.arange(grid.steps), grid.steps - week + np.arange(more) % week))
    return replace(
        change,
        grid=replace(grid, steps=grid.steps + more),
        log_bytes=change.log_bytes[place],
        database_bytes=change.database_bytes[place],
        message_bytes=change.message_bytes[place],
    )


def monte_carlo(
    protection: Protection,
    change: ChangeCurve,
    link: PlannedLink,
    law: OutageLaw,
    years: int,
    seed: int = 1,
    uncertain: UncertainInputs | None = None,
    spool: Spool | None = None,
    after_days: float = 56.0,
) -> MonteCarlo:
    """Draw years of outages and evaluate each.

    Arguments
    ---------
    change: a year, or less: a shorter curve has as many outages as fall into it.
    law: how outages come.
    years: how many are simulated.
    seed: names all draws.
    uncertain: what differs from year to year.
    spool: with one, what is unprotected counts until a resynchronization has ended, and the
        outage's own effects are those of an unlimited spool; only for protections that send in
        order.
    after_days: in which an outage must have ended, and catch up.

    Unprotected is an outage from its begin until the copy is as current again as without it.

    Raises ValueError for no years, more than ten million outages, inputs that leave nothing to
    write, and a spool with a protection that has none.
    """
    if not 1 <= years <= MOST_YEARS:
        raise ValueError(f"there can be 1 to {MOST_YEARS:,} years, not {years}")
    uncertain = uncertain or UncertainInputs()
    longer = continued(change, after_days * DAY_SECONDS)
    model = outages_of(protection, longer, link.capacity_bytes(longer.grid))
    if spool is not None and not isinstance(model, OutageModel):
        raise ValueError(f"protection {protection.name!r} has no spool")
    expected = law.per_year * change.grid.span_seconds / YEAR_SECONDS
    if expected * years > _MOST_OUTAGES:
        raise ValueError(f"{expected * years:,.0f} outages are more than {_MOST_OUTAGES:,}")
    counts = _generator(seed, "counts").poisson(expected, years)
    load, service = _year_inputs(protection, uncertain, years, seed)
    year = np.repeat(np.arange(years), counts)
    begin = _begins(change, law, len(year), _generator(seed, "begins"))
    length = law.length_seconds.draw(_generator(seed, "lengths"), len(year))
    if len(year) and not length.min() >= 0:
        raise ValueError("an outage cannot last a negative time")
    longest = after_days * DAY_SECONDS - change.grid.step_seconds
    shortened = int((length > longest).sum())
    length = np.minimum(length, longest)
    table = {
        "year": year,
        "begin_seconds": begin,
        "length_seconds": length,
        "load": load[year],
        "service": service[year],
        **{name: np.zeros(len(year)) for name in MEASURES},
    }
    for at in range(0, len(year), _OUTAGES_AT_ONCE):
        part = slice(at, at + _OUTAGES_AT_ONCE)
        given = (begin[part], length[part], load[year[part]], service[year[part]])
        effects = model.effects(*given)
        catch_up = np.where(effects.caught_up, effects.catch_up_seconds, np.inf)
        unprotected = effects.length_seconds + catch_up
        if spool is not None and isinstance(model, OutageModel):
            behind = with_spool(model, spool, *given).behind_seconds
            unprotected = np.where(np.isnan(behind), np.inf, behind)
        results = (effects.spool_peak_bytes, effects.lag_peak_seconds, catch_up, unprotected)
        for name, values in zip(MEASURES, results, strict=True):
            # What is never caught up has no largest lag and no peak either.
            table[name][part] = np.where(effects.caught_up, values, np.inf)
    outages = pd.DataFrame(table)
    return MonteCarlo(outages, years, uncertain.any_drawn, _overlapping(outages), shortened, seed)


def _generator(seed: int, concern: str) -> np.random.Generator:
    return np.random.default_rng([seed, *concern.encode()])


def _year_inputs(
    protection: Protection, uncertain: UncertainInputs, years: int, seed: int
) -> tuple[Floats, Floats]:
    """Load and service of each year, times as planned."""
    load = uncertain.load_factor.draw(_generator(seed, "load factor"), years)
    growth = uncertain.growth_per_year.draw(_generator(seed, "growth"), years)
    load = load * np.maximum(1.0 + growth, 0.0) ** uncertain.years_ahead
    service = np.ones(years)
    if uncertain.saving is not None:
        planned = float(getattr(protection, "saving", 0.0))
        saving = uncertain.saving.draw(_generator(seed, "saving"), years)
        if not (saving < 1).all():
            raise ValueError("a saving must leave something to be carried")
        service = (1.0 - planned) / (1.0 - saving)
    if not ((load > 0) & np.isfinite(load) & (service > 0)).all():
        raise ValueError("loads and services that are drawn must be positive")
    return load, service


def _begins(change: ChangeCurve, law: OutageLaw, count: int, random: np.random.Generator) -> Floats:
    """Begins of outages, in seconds from the begin of the curve."""
    grid = change.grid
    drawn = random.random(count)
    if not law.hour_weights:
        return np.floor(drawn * grid.steps) * grid.step_seconds
    hours: Indices = (grid.seconds_of_week() // 3_600).astype(np.int64)
    weights = np.array(law.hour_weights)[hours % len(law.hour_weights)]
    sums = np.cumsum(weights)
    if not sums[-1] > 0:
        raise ValueError("the curve has no hour in which an outage could begin")
    places = np.searchsorted(sums, drawn * sums[-1], side="right")
    begins: Floats = np.minimum(places, grid.steps - 1) * np.float64(grid.step_seconds)
    return begins


def _overlapping(outages: pd.DataFrame) -> float:
    """Which share of the outages begins before the one before, of its year, is caught up."""
    if not len(outages):
        return 0.0
    ordered = outages.sort_values(["year", "begin_seconds"], kind="stable")
    over = (ordered["begin_seconds"] + ordered["unprotected_seconds"]).groupby(ordered["year"])
    before = over.cummax().groupby(ordered["year"]).shift()
    return float((before > ordered["begin_seconds"]).mean())
