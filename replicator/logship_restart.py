"""Where redo of a copy may begin again: the oldest generation that its files still need.

A copy that replays generation after generation never comes to the end of the logs: at the end of
each, transactions are open, and redo of the next one needs what they did before.  Three things
hold the beginning back; the lowest of them counts:

* the generation in which an open transaction, or an open macro, began: redo counts a session from
  its first Begin0, and its undo needs all versions;
* the generation from which a page may lack changes: a page whose before-image an open transaction
  needs is not written, and with it wait the changes of all others;
* the shutdown or detach of a database that no record has attached again: the attach that follows
  is held against it.

A page waits from the first generation of the *run* of replay at whose end it was held: at the end
of the one before, it was written.  But redo passes over a session whose transaction began before
the logs that it reads.  So what a transaction changed in that run, and had begun earlier, is on
such a page only if redo begins where that transaction, or macro, did.  All of it is told by the
records alone, so a process that starts again finds it again from the checkpoint on, where it is
rather too careful than too bold.
"""

from __future__ import annotations

from collections.abc import Iterable

from replicator.ese.log_page_records import NodeRecord
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import TRANSACTION_KINDS, Kind
from replicator.ese.log_records import Begin, Commit, Macro, Rollback
from replicator.ese.versions import VersionStore

Page = tuple[int, int]
"""Number of the database, and of the page."""

_LEAVES = frozenset({Kind.SHUT_DOWN, Kind.DETACH_DB})
_ATTACHES = frozenset({Kind.ATTACH_DB, Kind.CREATE_DB})
_RUN_BEGINS = frozenset({Kind.INIT, Kind.INIT2})


class RestartPoint:
    """Follows the records; one run of replay after another.

    Arguments
    ---------
    first: the generation that redo began with.

    Attributes
    ----------
    generation: where redo may begin again, as of the end of the last run.
    """

    def __init__(self, first: int) -> None:
        self.generation = first
        self._levels = VersionStore()
        self._began: dict[int, int] = {}
        """Session to the generation in which its transaction began."""
        self._held: dict[int, set[Page]] = {}
        """Session to the pages that may wait for the end of its transaction."""
        self._macros: dict[tuple[int, int], int] = {}
        self._waits: dict[Page, int] = {}
        """Pages that were not written at the end of a run, and from where they lack changes."""
        self._open_since: int | None = None
        """The oldest generation in which what was open at the end of the last run had begun."""
        self._left: int | None = None
        """The generation in which the databases were left, if they are."""

    def see(self, records: Iterable[LogRecord]) -> None:
        """Go through the records of the next generation, or of several."""
        for record in records:
            self._one(record)

    def _one(self, record: LogRecord) -> None:
        number = record.number
        if number in _RUN_BEGINS:
            for table in (self._levels.sessions, self._began, self._held, self._macros):
                table.clear()
        elif number in _LEAVES:
            self._left = record.position.generation
        elif number in _ATTACHES:
            self._left = None
        elif number in TRANSACTION_KINDS:
            self._transaction(record)
        elif number in _HOLDING:
            content = record.content
            if isinstance(content, NodeRecord) and content.versioned:
                self._hold(content)

    def _transaction(self, record: LogRecord) -> None:
        content, generation = record.content, record.position.generation
        match content:
            case Begin():
                outermost = content.number == Kind.BEGIN0
                level = content.level_before + content.levels_begun
                self._levels.begin(content.session, level, outermost=outermost)
                if outermost:
                    self._began[content.session] = generation
                    self._held.pop(content.session, None)
            case Commit():
                self._levels.commit(content.session, content.level)
            case Rollback():
                self._levels.roll_back(content.session, content.levels)
            case Macro():
                key = content.session, content.dbtime
                if content.number == Kind.MACRO_BEGIN:
                    self._macros[key] = generation
                else:
                    self._macros.pop(key, None)
        if isinstance(content, Commit | Rollback):
            known = self._levels.sessions.get(content.session)
            if known is None or not known.level:
                self._began.pop(content.session, None)
                self._held.pop(content.session, None)

    def _hold(self, record: NodeRecord) -> None:
        if record.session in self._began:
            self._held.setdefault(record.session, set()).add((record.dbid, record.pgno))

    def end_of_run(self, first: int, last: int) -> int:
        """A run of replay is over, and what may be written is written; returns ``generation``.

        Arguments
        ---------
        first: the first generation that was new in this run.
        last: the last one.
        """
        held = set().union(*self._held.values())
        since = first if self._open_since is None else min(first, self._open_since)
        self._waits = {page: self._waits.get(page, since) for page in held}
        begun = [*self._began.values(), *self._macros.values()]
        self._open_since = min(begun, default=None)
        bounds = [*begun, *self._waits.values(), last]
        if self._left is not None:
            bounds.append(self._left)
        self.generation = max(self.generation, min(bounds))
        return self.generation


_HOLDING = frozenset(
    {Kind.REPLACE, Kind.REPLACE_D, Kind.FLAG_INSERT_AND_REPLACE_DATA, Kind.FLAG_DELETE}
)
"""Changes whose undo needs what only the page knows, as redo remembers it."""

__all__ = ["RestartPoint"]
