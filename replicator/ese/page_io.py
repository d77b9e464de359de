"""Pages between file and memory: judged coming in, sealed going out, neighbours in one write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from replicator.ese.checksum import is_as_summed
from replicator.ese.errors import EseError
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.recall import key_of, recall
from replicator.ese.verification import judge_page

RUN_BYTES: Final = 1 << 20
"""Neighbouring pages go out in one write of at most so many bytes."""

_FLUSH_TYPE_SHIFT: Final = 15
_FLUSH_TYPES: Final = 3


def judged_page(data: bytes, pgno: int, path: str) -> PageEditor:
    """A page in use as the file has it, a single-bit error in it mended.

    Raises EseError with path and offset for one that cannot be believed.
    """
    tables = recall()
    if tables is not None:
        known = tables.pages.get(key_of(data, pgno))
        if known is not None:
            return known.copy()
    try:
        mended = None
        if not is_as_summed(data, pgno):
            judgement = judge_page(data, pgno)
            if judgement.error is not None:
                raise judgement.error
            mended = judgement.mended
        page = PageEditor.load(mended or data, pgno)
    except EseError as error:
        error.path, error.offset = path, page_offset(pgno, len(data))
        raise
    if tables is not None:
        tables.pages.keep(key_of(data, pgno), page.copy(), 2 * len(data))
    return page


def page_to_write(page: PageEditor, flags: int) -> bytes:
    """The bytes of a page for the file, with the next flush type where it has one.

    Arguments
    ---------
    flags: bits that every page of this format carries on disk.
    """
    page.flags |= flags
    kind = page.flags >> _FLUSH_TYPE_SHIFT & _FLUSH_TYPES
    if kind:
        page.flags &= ~int(PageFlag.FLUSH_TYPE)
        page.flags |= (kind % _FLUSH_TYPES + 1) << _FLUSH_TYPE_SHIFT
    return page.sealed_bytes()


def neighbours(pgnos: Iterable[int], page_bytes: int) -> Iterator[list[int]]:
    """Ascending page numbers, those that one write takes together."""
    most = max(1, RUN_BYTES // page_bytes)
    run: list[int] = []
    for pgno in pgnos:
        if run and (run[-1] != pgno - 1 or len(run) == most):
            yield run
            run = []
        run.append(pgno)
    if run:
        yield run
