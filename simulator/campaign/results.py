"""The results of a campaign in an SQLite file: written as they come, read by whatever likes.

One row for each plan, one for the campaign, one for each round of a steered one.  Rows are
committed with each batch: an interrupted campaign goes on where it was, and loses at most the
batches underway.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import pandas as pd

from replicator.command_line import release_name
from replicator.errors import BadInput, ExitCode, ReplicatorError
from simulator.campaign.coverage import TRANSITION_NAMES, Coverage, coverage_of
from simulator.campaign.job import PlanOutcome, Space
from simulator.campaign.steering import round_of, with_weights
from simulator.measures import Verdict
from simulator.plans.budget import Budget
from simulator.plans.draw import PlanSpace
from simulator.plans.enumeration import Enumeration

RESULTS_FORMAT: Final = 3
"""Raised when the file has another form, and when plans are drawn otherwise by the same name."""
_LISTS: Final = ("reasons", "kinds", "happened", "marks")
_TABLES: Final = frozenset({"campaign", "plans", "rounds"})
_COLUMNS: Final = tuple(each.name for each in fields(PlanOutcome))
_TABLE: Final = ", ".join(name for name in _COLUMNS if name != "covered")


@dataclass(frozen=True, slots=True)
class CampaignKey:
    """What a campaign is of: two with the same key run the same plans."""

    scenario: str
    scenario_text: str
    seed: int
    space: Space
    mutant: str = ""
    """Which rule is taken away, to test the bench; empty: none."""
    steering: bool = False
    """Whether the weights of a round follow from what earlier rounds covered."""

    def to_json(self) -> str:
        """One line, the same for equal keys; the order of weights is part of what is drawn."""
        return json.dumps({"format": RESULTS_FORMAT, **asdict(self)}, default=dict)


class ResultsFailed(ReplicatorError):
    """The file of results cannot be written any more."""

    exit_code = ExitCode.USAGE


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
        self._unlock: Callable[[], object] = bool
        self._db: sqlite3.Connection = None  # type: ignore[assignment]
        try:
            if key is not None:
                self._unlock = weakref.finalize(self, os.close, _locked(path))
            self._open(path, key, resume)
        except sqlite3.Error as error:
            self.close()
            raise _unusable(path, str(error)) from error
        except BadInput:
            self.close()
            raise

    def _open(self, path: Path, key: CampaignKey | None, resume: bool) -> None:
        self._db = sqlite3.connect(path)
        tables = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master")}
        if tables and not (key is not None and self._was_just_begun(tables)):
            self._check_format(tables)
        elif key is None:
            raise self._foreign("it holds no results of a campaign")
        else:
            self._make_tables()
        found = self._db.execute("SELECT key, transitions FROM campaign").fetchone()
        if key is None:
            if found is None:
                raise self._foreign("it holds no results of a campaign")
            return
        if found is None:
            row = (key.to_json(), release_name(), json.dumps(TRANSITION_NAMES))
            with self._db:
                self._db.execute("INSERT INTO campaign VALUES (?, ?, ?)", row)
        elif found[0] != key.to_json():
            raise BadInput(
                "it holds the results of another campaign",
                path=str(path),
                remedy="Give --results another file; with --resume scenario, seed, faults and "
                "steering must be what they were.",
            )
        elif not resume:
            raise BadInput(
                "it holds results of this campaign already",
                path=str(path),
                remedy="Add --resume to go on with it, or give --results another file.",
            )
        elif found[1] != json.dumps(TRANSITION_NAMES):
            raise BadInput(
                "it was begun by a release with another protocol",
                path=str(path),
                remedy="Go on with that release, or give --results another file.",
            )

    def _make_tables(self) -> None:
        columns = ", ".join(
            f"{name}{' INTEGER PRIMARY KEY' if name == 'number' else ''}" for name in _COLUMNS
        )
        with self._db:
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS campaign (key TEXT, release TEXT, transitions TEXT)"
            )
            self._db.execute(f"CREATE TABLE IF NOT EXISTS plans ({columns})")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS rounds (round INTEGER PRIMARY KEY, weights TEXT)"
            )

    def _was_just_begun(self, tables: set[str]) -> bool:
        """Whether a campaign was killed before it had made its tables; nothing is in them then."""
        if not tables < _TABLES or "campaign" not in tables:
            return False
        return self._db.execute("SELECT 1 FROM campaign").fetchone() is None

    def _check_format(self, tables: set[str]) -> None:
        """Refuses what another release wrote, and what no campaign did."""
        if not {"campaign", "plans"} <= tables:
            raise self._foreign("it is a database of something else")
        first = self._db.execute("SELECT key FROM campaign").fetchone()
        written = json.loads(first[0]).get("format") if first else RESULTS_FORMAT
        columns = {row[1] for row in self._db.execute("PRAGMA table_info(plans)")}
        if written != RESULTS_FORMAT or not columns >= set(_COLUMNS) or "rounds" not in tables:
            raise BadInput(
                f"its results are of format {written}, this release reads and writes "
                f"{RESULTS_FORMAT}",
                path=str(self.path),
                remedy="Use the release that wrote it (table campaign, column release), or run the "
                "campaign again into another file.",
            )

    def _foreign(self, what: str) -> BadInput:
        return BadInput(
            what,
            path=str(self.path),
            remedy="Name a file that 'simulator campaign --results FILE' wrote, or a new one to "
            "write to.",
        )

    @property
    def key(self) -> dict[str, Any]:
        """What the campaign is of."""
        found = self._db.execute("SELECT key FROM campaign").fetchone()
        key: dict[str, Any] = json.loads(found[0]) if found else {}
        return key

    @property
    def seed(self) -> int:
        """Names the drawn plans."""
        return int(self.key["seed"])

    @property
    def release(self) -> str:
        """That began the campaign."""
        found = self._db.execute("SELECT release FROM campaign").fetchone()
        return str(found[0]) if found else ""

    def marks(self) -> Iterator[tuple[str, ...]]:
        """Of each plan, in no particular order."""
        for row in self._db.execute("SELECT marks FROM plans"):
            yield tuple(json.loads(row[0]))

    def space(self, number: int) -> Space:
        """Where the plan with this number was taken from; raises BadInput."""
        key = self.key
        found = space_from_json(key["space"])
        if key["steering"] and isinstance(found, PlanSpace):
            weights = self.rounds().get(round_of(number))
            if weights is None:
                raise BadInput(
                    f"the round of plan {number} was never begun: its weights are not known",
                    path=str(self.path),
                    remedy="Name a plan that was run, or go on with the campaign: --resume.",
                )
            found = with_weights(found, weights)
        return found

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
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> ResultsFailed:
        return ResultsFailed(
            f"the results cannot be kept: {error}",
            path=str(self.path),
            remedy="Make room on the volume, end who else uses the file, and run the same "
            "command with --resume: what was kept before is there.",
        )

    # -- rounds of a steered campaign --------------------------------------------------

    def rounds(self) -> dict[int, dict[str, float]]:
        """The weights of each round that was begun."""
        rows = self._db.execute("SELECT round, weights FROM rounds ORDER BY round")
        return {number: json.loads(weights) for number, weights in rows}

    def keep_round(self, number: int, weights: Mapping[str, float]) -> None:
        """Keep the weights of a round.  Raises ResultsFailed."""
        try:
            with self._db:
                row = (number, json.dumps(dict(weights)))
                self._db.execute("INSERT OR IGNORE INTO rounds VALUES (?, ?)", row)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    # -- coverage --------------------------------------------------------------------

    def coverage(self, below: int | None = None) -> Coverage:
        """Of all plans, or of those with smaller numbers.

        Raises BadInput when another release counted other transitions.
        """
        found = self._db.execute("SELECT transitions FROM campaign").fetchone()
        if found is None or found[0] != json.dumps(TRANSITION_NAMES):
            raise BadInput(
                "its coverage was counted by a release with another protocol",
                path=str(self.path),
                remedy="Use the release that wrote it.",
            )
        query = "SELECT covered FROM plans WHERE trace_hash <> ''"
        if below is not None:
            query += f" AND number < {int(below)}"
        return coverage_of(row[0] for row in self._db.execute(query))

    def count(self, below: int) -> int:
        """How many plans with smaller numbers have been run."""
        query = "SELECT count(*) FROM plans WHERE number < ?"
        return int(self._db.execute(query, (below,)).fetchone()[0])

    def outcome(self, number: int) -> PlanOutcome | None:
        """The outcome of a plan; None when it has not been run."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM plans WHERE number = ?"
        row = self._db.execute(query, (number,)).fetchone()
        return None if row is None else _outcome(row)

    # -- outcomes --------------------------------------------------------------------

    def failures(self) -> Iterator[PlanOutcome]:
        """Those that somebody has to look at, in the order of their numbers."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM plans WHERE plan <> '' ORDER BY number"
        for row in self._db.execute(query):
            yield _outcome(row)

    def frame(self) -> pd.DataFrame:
        """All rows as a table, coverage apart: lists as tuples, units in names of columns."""
        frame = pd.read_sql_query(f"SELECT {_TABLE} FROM plans ORDER BY number", self._db)
        for name in _LISTS:
            frame[name] = [tuple(json.loads(text)) for text in frame[name]]
        return frame

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
        self._unlock()


def _locked(path: Path) -> int:
    """A handle of the file, made if need be, locked against other campaigns; readers are let in.

    It is closed after the database: closing any handle of a file ends SQLite's own locks on it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if not isinstance(error, BlockingIOError):
            raise _unusable(path, error.strerror or str(error)) from error
        raise BadInput(
            "another campaign is writing to it just now",
            path=str(path),
            remedy="Wait until that one has ended, or give --results another file.",
        ) from error
    return handle


def _unusable(path: Path, reason: str) -> BadInput:
    return BadInput(
        f"it cannot be used as a file of results: {reason}",
        path=str(path),
        remedy="Name a new file, or one that a campaign wrote, on a volume with room.",
    )


def space_from_json(document: dict[str, Any]) -> Space:
    """What :meth:`CampaignKey.to_json` wrote."""
    values = dict(document)
    if values["budget"] is not None:
        values["budget"] = Budget.model_construct(**values["budget"])
    if "instants" in values:
        return Enumeration(**values)
    if "activities" in values:  # a file of an earlier release has none
        values["activities"] = tuple(values["activities"])
    return PlanSpace(**values)


def _outcome(row: tuple[Any, ...]) -> PlanOutcome:
    values = dict(zip(_COLUMNS, row, strict=True))
    values |= {name: tuple(json.loads(values[name])) for name in _LISTS}
    values |= {"verdict": Verdict(values["verdict"]), "repeated": bool(values["repeated"])}
    return PlanOutcome(**values)


def _cell(outcome: PlanOutcome, name: str) -> Any:
    value = getattr(outcome, name)
    return json.dumps(value) if name in _LISTS else value
