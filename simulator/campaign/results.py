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
import tomllib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import pandas as pd

from replicator.command_line import release_name
from replicator.errors import BadInput, ExitCode, ReplicatorError
from simulator.campaign.coverage import TRANSITION_NAMES, Coverage, coverage_of
from simulator.campaign.job import PlanOutcome, Space
from simulator.campaign.rows import checked_rows
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
_OF_A_CAMPAIGN: Final = ("key", "release", "transitions")
_OF_A_TABLE: Final = tuple(name for name in _COLUMNS if name != "covered")
_KINDS_OF_A_KEY: Final = {
    "scenario": str,
    "scenario_text": str,
    "seed": int,
    "space": dict,
    "mutant": str,
    "steering": bool,
}
_LARGEST_NUMBER: Final = 2**63 - 1
"""That SQLite knows."""


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

    Raises BadInput when the file is of another campaign, or no such file at all; and, as all that
    reads does, when it holds what no campaign has written.
    """

    def __init__(self, path: Path, key: CampaignKey | None = None, resume: bool = False) -> None:
        self.path = path
        if key is None and not path.is_file():
            raise BadInput(
                "there is no such file of results",
                path=str(path),
                remedy="Name the file that 'simulator campaign --results FILE' wrote.",
            )
        self._writes = key is not None
        self._unlock: Callable[[], object] = bool
        self._db: sqlite3.Connection = None  # type: ignore[assignment]
        try:
            if key is not None:
                self._unlock = weakref.finalize(self, os.close, _locked(path))
            self._open(path, key, resume)
        except sqlite3.Error as error:
            self.close()
            if key is None:
                raise self._foreign(f"it cannot be read as one of results: {error}") from error
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
            if self._db.execute("SELECT 1 FROM plans").fetchone() is not None:
                raise self._damaged("it has plans, and does not say of which campaign they are")
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
        else:
            self.check()

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
        written = self._parsed_key(first[0])["format"] if first else RESULTS_FORMAT
        if written != RESULTS_FORMAT:
            raise BadInput(
                f"its results are of format {written}, this release reads and writes "
                f"{RESULTS_FORMAT}",
                path=str(self.path),
                remedy="Use the release that wrote it (table campaign, column release), or run the "
                "campaign again into another file.",
            )
        for table, wanted in (("plans", _COLUMNS), ("campaign", _OF_A_CAMPAIGN), ("rounds", ())):
            there = {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
            if not there:
                raise self._damaged(f"results of format {written} have a table {table}, it has not")
            if lacking := [name for name in wanted if name not in there]:
                raise self._damaged(
                    f"its table {table} lacks what results of format {written} have: "
                    f"{', '.join(lacking)}"
                )

    def _parsed_key(self, text: Any) -> dict[str, Any]:
        """What the file says of its campaign; raises BadInput."""
        try:
            document = json.loads(text)
            if document["format"] == RESULTS_FORMAT:
                _check_key(document)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged("what it says of its campaign (table campaign, column key)") from (
                error
            )
        found: dict[str, Any] = document
        return found

    def _damaged(self, what: str) -> BadInput:
        return BadInput(
            f"it is damaged: {what}",
            path=str(self.path),
            remedy="Take a copy of it from before, or run the campaign again into another file.",
        )

    def _foreign(self, what: str) -> BadInput:
        return BadInput(
            what,
            path=str(self.path),
            remedy="Name the file that 'simulator campaign --results FILE' wrote"
            f"{', or a new one to write to' if self._writes else ''}.",
        )

    @property
    def key(self) -> dict[str, Any]:
        """What the campaign is of."""
        [text] = next(self._read("SELECT key FROM campaign"))
        return self._parsed_key(text)

    @property
    def seed(self) -> int:
        """Names the drawn plans."""
        return int(self.key["seed"])

    @property
    def release(self) -> str:
        """That began the campaign."""
        [release] = next(self._read("SELECT release FROM campaign"))
        return str(release)

    def marks(self) -> Iterator[tuple[str, ...]]:
        """Of each plan, in the order of their numbers."""
        for _number, marks in self._rows(("number", "marks")):
            yield marks

    def check(self) -> None:
        """Look at each row as a whole; raises BadInput for one that no campaign has written."""
        for _row in self._rows(_COLUMNS):
            pass

    def _rows(
        self, columns: Sequence[str], where: str = "TRUE", arguments: Sequence[int] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of plans in the order of their numbers; all that is read of plans comes from here.

        Raises BadInput for what no campaign has written.
        """
        query = f"SELECT {', '.join(columns)} FROM plans WHERE {where} ORDER BY number"
        return checked_rows(self._read(query, arguments), columns, self.path)

    def _read(self, query: str, arguments: Sequence[int] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            # Not "yield from": that would close the cursor at the end, maybe after the file.
            for row in self._db.execute(query, arguments):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise self._damaged(str(error)) from error

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
        return {number for (number,) in self._rows(("number",))}

    def add(self, outcomes: Iterable[PlanOutcome]) -> None:
        """Keep these; one that is there already is replaced.  Raises ResultsFailed."""
        columns, marks = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
        try:
            with self._db:
                self._db.executemany(
                    f"INSERT OR REPLACE INTO plans ({columns}) VALUES ({marks})",
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
        rows = self._read("SELECT round, weights FROM rounds ORDER BY round")
        return {number: self._weights(number, text) for number, text in rows}

    def _weights(self, number: int, text: Any) -> dict[str, float]:
        try:
            weights = dict(json.loads(text))
            if all(type(each) in (int, float) and each >= 0 for each in weights.values()):
                return weights
        except (ValueError, TypeError, RecursionError):
            pass
        raise self._damaged(f"the weights of round {number}")

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
        [transitions] = next(self._read("SELECT transitions FROM campaign"))
        if transitions != json.dumps(TRANSITION_NAMES):
            raise BadInput(
                "its coverage was counted by a release with another protocol",
                path=str(self.path),
                remedy="Use the release that wrote it.",
            )
        where, arguments = ("TRUE", ()) if below is None else ("number < ?", (below,))
        rows = self._rows(("number", "trace_hash", "covered"), where, arguments)
        return coverage_of(covered for _number, trace_hash, covered in rows if trace_hash)

    def count(self, below: int) -> int:
        """How many plans with smaller numbers have been run."""
        [count] = next(self._read("SELECT count(*) FROM plans WHERE number < ?", (below,)))
        return int(count)

    def outcome(self, number: int) -> PlanOutcome | None:
        """The outcome of a plan; None when it has not been run."""
        if number > _LARGEST_NUMBER:
            return None
        row = next(self._rows(_COLUMNS, "number = ?", (number,)), None)
        return None if row is None else _outcome(row)

    # -- outcomes --------------------------------------------------------------------

    def failures(self) -> Iterator[PlanOutcome]:
        """Those that somebody has to look at, in the order of their numbers."""
        for row in self._rows(_COLUMNS, "plan IS NOT ''"):
            yield _outcome(row)

    def frame(self) -> pd.DataFrame:
        """All rows as a table, coverage apart: lists as tuples, units in names of columns."""
        rows = list(self._rows(_OF_A_TABLE))
        return pd.DataFrame.from_records(rows, columns=list(_OF_A_TABLE), coerce_float=True)

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


def _check_key(key: Mapping[str, Any]) -> None:
    """Raises ValueError, KeyError or TypeError for what no :class:`CampaignKey` gives."""
    for name, kind in _KINDS_OF_A_KEY.items():
        if type(key[name]) is not kind:
            raise TypeError(name)
    tomllib.loads(key["scenario_text"])
    space_from_json(key["space"])


def _outcome(row: tuple[Any, ...]) -> PlanOutcome:
    values = dict(zip(_COLUMNS, row, strict=True))
    values |= {"verdict": Verdict(values["verdict"]), "repeated": bool(values["repeated"])}
    return PlanOutcome(**values)


def _cell(outcome: PlanOutcome, name: str) -> Any:
    value = getattr(outcome, name)
    return json.dumps(value) if name in _LISTS else value
