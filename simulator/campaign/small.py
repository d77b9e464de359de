"""A small campaign in this very process: a few dozen plans, for a notebook or a first look.

The plans are those that ``simulator campaign`` runs with the same seed, judged by the same code;
only the workers are missing, whose start would take longer than the plans.  For thousands of plans
take the command: this one uses one processor, and nobody watches over its memory.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd

from replicator.errors import BadInput
from replicator.toml_writer import toml_text
from simulator.campaign.campaign import Campaign, Limits
from simulator.campaign.results import CampaignKey, Results
from simulator.plans.draw import space_of
from simulator.scenario import load_scenario

MOST_PLANS: Final = 1_000


def run_small_campaign(
    scenario: str | Path, plans: int, results: str | Path, seed: int = 1
) -> pd.DataFrame:
    """Run plans 0 to ``plans`` - 1 of a campaign, and read what came out.

    Arguments
    ---------
    scenario: its file; faults of its own are left out.
    plans: how many, 1,000 at most.
    results: the file that keeps them, as ``simulator campaign --results`` writes it; of a file of
        this campaign only what is missing is run.
    seed: of the campaign.

    A row for each plan (:meth:`~simulator.campaign.results.Results.frame`).  Raises BadInput for a
    scenario or a file of results that cannot be used, and another number of plans.
    """
    if not 1 <= plans <= MOST_PLANS:
        raise BadInput(
            f"a small campaign has 1 to {MOST_PLANS:,} plans, not {plans:,}",
            remedy="For more run 'simulator campaign', and read its file of results.",
        )
    loaded = load_scenario(scenario).model_copy(update={"faults": ()})
    key = CampaignKey(loaded.name, toml_text(loaded), seed, space_of(loaded))
    kept = Results(Path(results), key, resume=True)
    try:
        # A thread, not a process: its one worker knows all that this process has loaded.
        Campaign(key, kept, partial(ThreadPoolExecutor, 1), 1, Limits(plans)).run()
        frame = kept.frame()
    finally:
        kept.close()
    return frame.loc[frame["number"] < plans].reset_index(drop=True)


def read_campaign(results: str | Path) -> pd.DataFrame:
    """The rows of a campaign that was run before; raises BadInput for a file that is none."""
    kept = Results(Path(results))
    try:
        return kept.frame()
    finally:
        kept.close()
