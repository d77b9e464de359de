"""Recovery times, drawn: how long users wait, not once but in ten thousand losses of the source.

Theory
------
The parts of a recovery follow one another (:mod:`.recovery_time`), so a drawn recovery is the sum
of its parts, each the planned figure times a factor that is drawn.  Factors of different parts are
drawn independently: who is slow to decide has no slower disks.  Because the largest part, the
decision of people, has a long tail, the sum of all medians is less than the median of the sum, and
far less than its 95 % quantile: that is why an RTO is promised for a share of cases.

Leaves out: that a recovery fails and is begun again, and that a loss at the busiest hour has more
to replay than one at night (the planned figures are those of the busiest time).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from replicator.errors import BadInput
from simulator.plan.change import ChangeCurve
from simulator.plan.distributions import Distribution, Lognormal, Triangular
from simulator.plan.grid import Floats
from simulator.plan.protection import Protection
from simulator.plan.recovery_time import PARTS, RecoveryFigures, recovery_time

DRAWS: Final = 10_000
_MOST_DRAWS: Final = 1_000_000


def _of_people() -> Distribution:
    return Lognormal(1.0, 2.0)


def _of_machines() -> Distribution:
    return Triangular(0.7, 1.0, 2.5)


@dataclass(frozen=True, kw_only=True)
class UncertainRecovery:
    """By what the planned figure of each part is multiplied.

    By default parts that wait for people have half of the cases longer than planned, and one in
    six longer than twice that; those of machines lie between 0.7 and 2.5 times [A].

    Attributes
    ----------
    detect_seconds ... redirect_seconds: for the part of this name.
    """

    detect_seconds: Distribution = field(default_factory=_of_machines)
    decide_seconds: Distribution = field(default_factory=_of_people)
    restore_seconds: Distribution = field(default_factory=_of_machines)
    apply_seconds: Distribution = field(default_factory=_of_machines)
    replay_seconds: Distribution = field(default_factory=_of_machines)
    mount_seconds: Distribution = field(default_factory=_of_machines)
    redirect_seconds: Distribution = field(default_factory=_of_people)


def recovery_draws(
    protection: Protection,
    change: ChangeCurve,
    figures: RecoveryFigures | None = None,
    uncertain: UncertainRecovery | None = None,
    draws: int = DRAWS,
    seed: int = 1,
) -> pd.DataFrame:
    """Drawn recoveries of a kind of protection.

    Arguments
    ---------
    change, figures: as for :func:`~.recovery_time.recovery_time`, which gives the planned parts.
    draws: how many.
    seed: names all draws; each part has its own, so that another distribution of one part leaves
        the others as they were.

    A row for each: the parts (:data:`~.recovery_time.PARTS`), and ``total_seconds``, the RTO.

    Raises BadInput where the planned figure is not known, and ValueError for no draws, more than a
    million, and factors that are negative.
    """
    if not 1 <= draws <= _MOST_DRAWS:
        raise ValueError(f"there can be 1 to {_MOST_DRAWS:,} draws, not {draws}")
    planned = recovery_time(protection, change, figures)
    if planned.total_seconds is None:
        raise BadInput(
            f"no recovery of {protection.name} can be drawn: {planned.reason}",
            remedy="Say how large the databases are: database_size under [change].",
        )
    chances = uncertain or UncertainRecovery()
    table: dict[str, Floats] = {}
    for part in PARTS:
        random = np.random.default_rng([seed, *part.encode()])
        factor = getattr(chances, part).draw(random, draws)
        if not ((factor >= 0) & np.isfinite(factor)).all():
            raise ValueError(f"{part}: a recovery's part cannot be drawn as negative or endless")
        table[part] = getattr(planned, part) * factor
    total = np.sum(list(table.values()), axis=0)
    return pd.DataFrame({**table, "total_seconds": total})
