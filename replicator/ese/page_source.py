"""Pages of a database by number: read when asked for, verified, the latest kept."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.page import Page
from replicator.ese.reader import Reader, name_of, read_exactly
from replicator.ese.verification import is_zero, judge_page

HEADER_PAGES: Final = 2
"""Header and shadow lie before page 1."""

CACHED_PAGES: Final = 64


def page_offset(pgno: int, page_size: int) -> int:
    """Byte in the file at which a page begins."""
    return (pgno - 1 + HEADER_PAGES) * page_size


class PageSource:
    """Reads pages and believes none that does not verify.

    Arguments
    ---------
    reader: the database file.
    page_size: bytes a page.
    checksummed: False for temporary databases, whose pages carry no checksums.
    """

    def __init__(self, reader: Reader, page_size: int, *, checksummed: bool = True) -> None:
        self.reader = reader
        self.page_size = page_size
        self.page_count = max(0, reader.size_bytes // page_size - HEADER_PAGES)
        self.path = name_of(reader)
        self._checksummed = checksummed
        self._latest: OrderedDict[int, Page] = OrderedDict()

    def __contains__(self, pgno: int) -> bool:
        return 1 <= pgno <= self.page_count

    def page(self, pgno: int) -> Page:
        """A page in use, a single-bit error in it mended.

        Raises EseError: -1022 outside the file, -1018, -1019, -1118, and -1206 for its tags.
        """
        if pgno in self._latest:
            self._latest.move_to_end(pgno)
            return self._latest[pgno]
        if pgno not in self:
            detail = f"the file ends with page {self.page_count}"
            raise EseError(-1022, detail, path=self.path, page=pgno)
        offset = page_offset(pgno, self.page_size)
        data = read_exactly(self.reader, offset, self.page_size)
        try:
            if self._checksummed or is_zero(data):
                judgement = judge_page(data, pgno)
                if (error := judgement.error) is not None:
                    raise error
                data = judgement.mended or data
            page = Page(data, pgno)
        except EseError as error:
            error.path, error.offset = self.path, offset
            raise
        self._latest[pgno] = page
        if len(self._latest) > CACHED_PAGES:
            self._latest.popitem(last=False)
        return page
