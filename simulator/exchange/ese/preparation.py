"""Statements that say which pages they need before they change anything.

Not all pages are in memory, and a change cannot stop for a read in its middle: half a split would
be in the log, and to take that back would leak the space that it took, for space is not undone.
So a statement is a generator that *yields a look* first::

    plan --> yield look (reads pages, changes none) --> records logged, pages changed --> result
                 |
                 PageNotInMemory: what is missing is read, then the look is taken again

Between the look that found everything and the changes nobody else runs, so nothing goes from
memory.  A statement may yield again, and is told whether others have run meanwhile.

Three nets lie below each other.  A page that a look has forgotten raises
:class:`PageNotInMemory` before the tree operation that needs it has logged anything; the
statement is rolled back, as a transaction within its caller's, and carried out anew.  Splits
and merges look at all of their pages before their first record.  What is missing even then is a
defect: :class:`InternalError`, and the instance stops.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

from replicator.ese.page import TAG_BYTES

if TYPE_CHECKING:
    from simulator.exchange.ese.session import Session
    from simulator.exchange.ese.tree import Tree

NODE_OVERHEAD_BYTES = TAG_BYTES + 4
"""Most that a node takes besides its key and its data."""

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")

Look = Callable[[], object]
"""Reads all pages that are needed; changes nothing, and may be called any number of times."""
Steps = Generator[Look, bool | None, T]
"""A statement: yields looks, is sent whether others have run meanwhile, returns its result."""


class PageNotInMemory(Exception):
    """Pages have to be read first.

    Arguments
    ---------
    pgnos: those that are needed.
    ahead: those that will be needed soon; worth a read on the way.
    """

    def __init__(self, pgnos: Iterable[int], ahead: Iterable[int] = ()) -> None:
        self.pgnos, self.ahead = frozenset(pgnos), frozenset(ahead)
        super().__init__(f"pages {sorted(self.pgnos)} are not in memory")


class InternalError(Exception):
    """A change needs a page that it has not looked at; a part of it is in the log already."""


def prepared(
    steps: Callable[Concatenate[S, Session, P], Steps[T]],
) -> Callable[Concatenate[S, Session, P], T]:
    """A method whose steps are taken at once when it is called; its looks are left out.

    That is for pages that are all in memory.  :func:`steps_of` gives the steps themselves.
    """

    @wraps(steps)
    def at_once(self: S, session: Session, /, *args: P.args, **kwargs: P.kwargs) -> T:
        going = steps(self, session, *args, **kwargs)
        try:
            while True:
                next(going)
        except StopIteration as done:
            return cast(T, done.value)

    at_once.steps = steps  # type: ignore[attr-defined]
    return at_once


def steps_of(statement: Callable[..., Any]) -> Callable[..., Steps[Any]] | None:
    """The steps of a bound method that is :func:`prepared`, to be called with its arguments.

    None for any other callable.
    """
    steps = getattr(statement, "steps", None)
    return None if steps is None else steps.__get__(getattr(statement, "__self__", None))


class Touch(NamedTuple):
    """A node that will be changed.

    Arguments
    ---------
    tree, key, data: which; data counts in a tree that is not unique.
    added_bytes: so much longer its page may get; 0 for a flag.
    """

    tree: Tree
    key: bytes
    data: bytes = b""
    added_bytes: int = 0


def look_at(touches: Iterable[Touch]) -> None:
    """Visit the pages that changes need.

    These are the way to each node, and the right neighbour where the leaf may split, since a
    split tells it of the new page.  (Roots and the trees that keep space are in memory always.)

    Raises PageNotInMemory for all that is missing, of all touches together.
    """
    missing: set[int] = set()
    ahead: set[int] = set()
    filled: dict[int, int] = {}
    try:
        for each in touches:
            try:
                _visit(each, filled)
            except PageNotInMemory as found:
                missing |= found.pgnos
    except PageNotInMemory as found:  # to know what will be touched, a page has to be read
        missing |= found.pgnos
        ahead |= found.ahead
    if missing:
        raise PageNotInMemory(missing, ahead)


def have_pages(page: Callable[[int], object], pgnos: Iterable[int]) -> None:
    """Visit pages that will all be needed; what is missing of them is read together.

    Arguments
    ---------
    page: gives one.

    Raises PageNotInMemory: the first that is missing is needed, the others are read ahead.
    """
    missing: dict[int, None] = {}
    for pgno in pgnos:
        try:
            page(pgno)
        except PageNotInMemory as found:
            missing |= dict.fromkeys(found.pgnos)
    if missing:
        first, *others = missing
        raise PageNotInMemory((first,), others)


def _visit(touch: Touch, filled: dict[int, int]) -> None:
    page = touch.tree.seek(touch.key, touch.data).page
    if touch.added_bytes and page.next_pgno:
        added = filled[page.pgno] = filled.get(page.pgno, 0) + touch.added_bytes
        if added > page.free_bytes - page.uncommitted_free_bytes:
            touch.tree.context.page(page.next_pgno)
