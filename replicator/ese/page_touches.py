"""Which pages a record changes, and what the dbtime of each must have been: the redo test.

See docs/store-redo.md 1.2; E src/ese/_log/logredo.cxx; V.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from replicator.ese.errors import EseError
from replicator.ese.log_page_records import (
    NO_DBTIME,
    ConvertFDP2,
    CreateMultipleExtentFDP,
    CreateSingleExtentFDP,
    EmptyTree,
    Merge2,
    NewPage,
    PageMove,
    PageRecord,
    Record,
    Split2,
    UndoInfo,
)

TOO_OLD: Final = -566
TOO_NEW: Final = -567
BEYOND_REQUIRED: Final = -625
BEYOND_REQUIRED_EVENTS: Final = (516,)

NEW_PAGE: Final = -1
"""As ``before``: the page is made anew, whatever it holds."""


class Touch(NamedTuple):
    """One page of a record.

    Arguments
    ---------
    pgno: its number.
    before: its dbtime before; :data:`NO_DBTIME` where there is nothing to compare with,
        :data:`NEW_PAGE` for a page whose content does not matter.
    """

    pgno: int
    before: int


def touches(record: Record) -> Iterator[Touch]:
    """The pages that a record by itself changes; none for records that change no page."""
    match record:
        case UndoInfo():
            return
        case NewPage():
            yield Touch(record.pgno, NEW_PAGE)
        case CreateMultipleExtentFDP():
            for pgno in (record.pgno, record.owned_pgno, record.available_pgno):
                yield Touch(pgno, NEW_PAGE)
        case CreateSingleExtentFDP():
            yield Touch(record.pgno, NEW_PAGE)
        case ConvertFDP2():
            yield Touch(record.pgno, record.dbtime_before)
            yield Touch(record.owned_pgno, NEW_PAGE)
            yield Touch(record.available_pgno, NEW_PAGE)
        case EmptyTree():
            for page in record.pages:
                yield Touch(page.pgno, page.dbtime_before)
            yield Touch(record.pgno, record.dbtime_before)
        case Split2():
            yield Touch(record.pgno, record.dbtime_before)
            if record.new_pgno:
                yield Touch(record.new_pgno, NEW_PAGE)
            if record.right_pgno:
                yield Touch(record.right_pgno, record.right_dbtime_before)
        case Merge2():
            yield Touch(record.pgno, record.dbtime_before)
            if record.left_pgno:
                yield Touch(record.left_pgno, record.left_dbtime_before)
            if record.right_pgno:
                yield Touch(record.right_pgno, record.right_dbtime_before)
        case PageMove():
            yield Touch(record.pgno, record.dbtime_before)
            yield Touch(record.destination_pgno, NEW_PAGE)
            yield Touch(record.parent_pgno, record.parent_dbtime_before)
            if record.left_pgno:
                yield Touch(record.left_pgno, record.left_dbtime_before)
            if record.right_pgno:
                yield Touch(record.right_pgno, record.right_dbtime_before)
        case PageRecord():
            yield Touch(record.pgno, record.dbtime_before)


def touches_of_macro(records: Iterable[Record]) -> list[Touch]:
    """The pages of all records that take effect together, each once.

    A page that a new-page record begins and a split then fills stays a new page; else what is
    said first counts, for later records of a macro have nothing to compare with.
    """
    found: dict[int, Touch] = {}
    for record in records:
        for touch in touches(record):
            before = found.get(touch.pgno)
            if before is None or before.before == NO_DBTIME or touch.before == NEW_PAGE:
                found[touch.pgno] = touch
    return list(found.values())


def is_wanted(touch: Touch, page_dbtime: int, dbtime: int, *, beyond_required: bool) -> bool:
    """Whether a page is to be changed by a record: it does not have the change yet.

    Arguments
    ---------
    touch: what the record says of the page.
    page_dbtime: of the page, as it was read; 0 of one that is all zero.
    dbtime: of the record.
    beyond_required: whether the record lies behind the highest generation that was required
        when recovery began, so that no page can have the change.

    Raises EseError: -566 when the page misses a change before this one, -567 when it has one
    that is not in these logs, -625 when it is newer than it can be.
    """
    if page_dbtime >= dbtime:
        if beyond_required:
            detail = (
                f"the page has dbtime {page_dbtime}; a record of dbtime {dbtime}, behind the "
                "generations that the database requires, cannot be on disk"
            )
            raise EseError(BEYOND_REQUIRED, detail, page=touch.pgno, events=BEYOND_REQUIRED_EVENTS)
        return False
    if touch.before in (NO_DBTIME, NEW_PAGE) or page_dbtime == touch.before:
        return True
    older = page_dbtime < touch.before
    detail = (
        f"the page has dbtime {page_dbtime}, the log changes it from {touch.before} to {dbtime}: "
        + ("a change before is missing" if older else "it has a change that is not logged")
    )
    raise EseError(TOO_OLD if older else TOO_NEW, detail, page=touch.pgno)
