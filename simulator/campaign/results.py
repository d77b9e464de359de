"""The results of a campaign in an SQLite file: written as they come, read by whatever likes.

One row for each plan, one for the campaign.  Rows are committed with each batch: an
interrupted campaign goes on where it was, and loses at most the batches underway.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import pandas as pd

from replicator.command_line import release_name
from replicator.errors import BadInput, ReplicatorError
from simulator.campaign.job import PlanOutcome
from simulator.measures import Verdict
from simulator.plans.draw import PlanSpace

RESULTS_FORMAT: Final = 1
_LISTS: Final = ("reasons", "kinds", "happened")
_COLUMNS: Final = tuple(each.name for each in fields(PlanOutcome))


@dataclass(frozen=True, slots=True)
class CampaignKey:
    """What a campaign is of: two with the same key run the same plans."""

    scenario: str
    scenario_text: str
    seed: int
    space: PlanSpace
    mutant: str = ""
    """Which rule is taken away, to test the bench; empty: none."""

    def to_json(self) -> str:
        """One line, the same for equal keys."""
        return json.dumps({"format": RESULTS_FORMAT, **asdict(self)}, sort_keys=True, default=dict)


class ResultsFailed(ReplicatorError):
    """The file of results cannot be written any more."""


class Results:
    """The file; made when it is not there.

    Arguments
    ---------
    path: of the file.
    key: of the campaign; None to read whatever campaign the file is of.
    resume: whether rows may be there already.

    Raises BadInput when the file is of another campaign, or no such file at all.
    """

    def __init__(self, path: Path, key: CampaignKey | None = None, resume: bool = False) -> None:
        self.path = path
        if key is None and not path.is_file():
            raise BadInput(
                "there is no such file of results",
                path=str(path),
                remedy="Name the file that 'simulator campaign --results FILE' wrote.",
            )
        try:
            self._open(path, key, resume)
        except sqlite3.Error as error:
            raise BadInput(
                f"it cannot be used as a file of results: {error}",
                path=str(path),
                remedy="Name a new file, or one that a campaign wrote, on a volume with room.",
            ) from error

    def _open(self, path: Path, key: CampaignKey | None, resume: bool) -> None:
        self._db = sqlite3.connect(path)
        self._db.execute("CREATE TABLE IF NOT EXISTS campaign (key TEXT, release TEXT)")
        columns = ", ".join(
            f"{name}{' INTEGER PRIMARY KEY' if name == 'number' else ''}" for name in _COLUMNS
        )
        self._db.execute(f"CREATE TABLE IF NOT EXISTS plans ({columns})")
        found = self._db.execute("SELECT key FROM campaign").fetchone()
        if key is None:
            return
        if found is None:
            with self._db:
                self._db.execute(
                    "INSERT INTO campaign VALUES (?, ?)", (key.to_json(), release_name())
                )
        elif found[0] != key.to_json():
            raise BadInput(
                "it holds the results of another campaign",
                path=str(path),
                remedy="Give --results another file; with --resume scenario, seed and faults must "
                "be what they were.",
            )
        elif not resume:
            raise BadInput(
                "it holds results of this campaign already",
                path=str(path),
                remedy="Add --resume to go on with it, or give --results another file.",
            )

    @property
    def key(self) -> dict[str, Any]:
        """What the campaign is of."""
        found = self._db.execute("SELECT key FROM campaign").fetchone()
        key: dict[str, Any] = json.loads(found[0]) if found else {}
        return key

    def numbers(self) -> set[int]:
        """Of the plans that have been run."""
        return {row[0] for row in self._db.execute("SELECT number FROM plans")}

    def add(self, outcomes: Iterable[PlanOutcome]) -> None:
        """Keep these; one that is there already is replaced.  Raises ResultsFailed."""
        marks = ", ".join("?" * len(_COLUMNS))
        try:
            with self._db:
                self._db.executemany(
                    f"INSERT OR REPLACE INTO plans VALUES ({marks})",
                    (tuple(_cell(each, name) for name in _COLUMNS) for each in outcomes),
                )
        except sqlite3.Error as error:
            raise ResultsFailed(
                f"the results cannot be kept: {error}",
                path=str(self.path),
                remedy="Make room on the volume, end who else uses the file, and run the same "
                "command with --resume: what was kept before is there.",
            ) from error

    def failures(self) -> Iterator[PlanOutcome]:
        """Those that somebody has to look at, in the order of their numbers."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM plans WHERE plan <> '' ORDER BY number"
        for row in self._db.execute(query):
            values = dict(zip(_COLUMNS, row, strict=True))
            values |= {name: tuple(json.loads(values[name])) for name in _LISTS}
            values |= {"verdict": Verdict(values["verdict"]), "repeated": bool(values["repeated"])}
            yield PlanOutcome(**values)

    def frame(self) -> pd.DataFrame:
        """All rows as a table: lists as tuples, units in the names of the columns."""
        frame = pd.read_sql_query("SELECT * FROM plans ORDER BY number", self._db)
        for name in _LISTS:
            frame[name] = [tuple(json.loads(text)) for text in frame[name]]
        return frame

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _cell(outcome: PlanOutcome, name: str) -> Any:
    value = getattr(outcome, name)
    return json.dumps(value) if name in _LISTS else value
