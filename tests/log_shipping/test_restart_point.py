"""Where redo of a copy may begin again, against a copy that is kept by hand, change by change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replicator.ese.log_page_records import NodeRecord
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Begin0, Commit0
from replicator.ese.values import LogPosition
from replicator.logship_restart import RestartPoint

SESSIONS, PAGES = (1, 2), (7, 8)


@dataclass(frozen=True)
class Said:
    """A record as the restart point sees it."""

    position: LogPosition
    number: int
    content: Any


@dataclass(frozen=True)
class Step:
    """A session begins, changes (or holds) a page, commits; or the log, or the run, ends."""

    what: str
    session: int = 0
    page: int = 0


STEPS = st.one_of(
    st.builds(Step, st.sampled_from(["begin", "commit"]), st.sampled_from(SESSIONS)),
    st.builds(
        Step,
        st.sampled_from(["change", "hold"]),
        st.sampled_from(SESSIONS),
        st.sampled_from(PAGES),
    ),
    st.builds(Step, st.sampled_from(["log", "run"])),
)


class Copy:
    """What stands in the logs, and which changes of each page are on disk."""

    def __init__(self) -> None:
        self.generation = 1
        self.first = 1
        """Of the run that is under way."""
        self.began: dict[int, int] = {}
        self.holds: dict[int, set[int]] = {}
        self.unwritten: list[tuple[int, int, int]] = []
        """Generation of a change, generation in which its transaction began, page."""
        self.records: list[Said] = []

    def do(self, step: Step) -> None:
        session, open_ = step.session, step.session in self.began
        if step.what == "begin" and not open_:
            self.began[session], self.holds[session] = self.generation, set()
            self._say(Begin0(number=Kind.BEGIN0, session=session, levels=0x10))
        elif step.what == "commit" and open_:
            del self.began[session], self.holds[session]
            self._say(Commit0(number=Kind.COMMIT0, session=session, level=0))
        elif step.what in ("change", "hold") and open_:
            hold = step.what == "hold"
            if hold:
                self.holds[session].add(step.page)
            self.unwritten.append((self.generation, self.began[session], step.page))
            kind = Kind.FLAG_DELETE if hold else Kind.INSERT
            change = NodeRecord(
                number=kind, session=session, dbid=1, pgno=step.page, level=1, flags=int(hold)
            )
            self._say(change)

    def _say(self, content: Any) -> None:
        place = LogPosition(self.generation, 1, 0)
        self.records.append(Said(place, content.number, content))

    def end_run(self, restart: RestartPoint) -> int:
        """What is not held is written; where the restart point says that redo may begin."""
        restart.see(self.records)
        self.records = []
        held = set().union(*self.holds.values())
        self.unwritten = [each for each in self.unwritten if each[2] in held]
        begin = restart.end_of_run(self.first, self.generation)
        self.generation += 1
        self.first = self.generation
        return begin

    def lost_from(self, begin: int) -> list[tuple[int, int, int]]:
        """Changes that redo from a generation on would pass over, and that are not on disk."""
        return [each for each in self.unwritten if each[0] < begin or each[1] < begin]


def lost(steps: list[Step]) -> list[tuple[int, list[tuple[int, int, int]]]]:
    """After which run redo would begin too late, and what of."""
    copy, restart, found = Copy(), RestartPoint(1), []
    for step in [*steps, Step("run")]:
        if step.what == "log":
            copy.generation += 1
        elif step.what == "run":
            run_ends_with = copy.generation
            begin = copy.end_run(restart)
            assert 1 <= begin <= run_ends_with
            if missing := copy.lost_from(begin):
                found.append((begin, missing))
        else:
            copy.do(step)
    return found


BEGUN_EARLIER = [
    Step("begin", 1),
    Step("run"),
    Step("change", 1, 7),
    Step("commit", 1),
    Step("begin", 2),
    Step("hold", 2, 7),
]
"""A transaction of the log before changes a page that another one holds back."""


@given(st.lists(STEPS, max_size=30))
@example(BEGUN_EARLIER)
def test_redo_begins_where_nothing_is_passed_over(steps: list[Step]) -> None:
    assert lost(steps) == []


def test_without_what_was_open_before_the_run_a_change_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = RestartPoint.end_of_run

    def forgets(restart: RestartPoint, first: int, last: int) -> int:
        restart._open_since = None
        return original(restart, first, last)

    monkeypatch.setattr(RestartPoint, "end_of_run", forgets)
    assert lost(BEGUN_EARLIER) == [(2, [(2, 1, 7)])]


def test_it_goes_on_when_nothing_is_open() -> None:
    restart = RestartPoint(1)
    copy = Copy()
    for step in BEGUN_EARLIER[:1]:
        copy.do(step)
    assert copy.end_run(restart) == 1
    for step in (*BEGUN_EARLIER[2:], Step("commit", 2)):
        copy.do(step)
    assert copy.end_run(restart) == 2
