"""How long a database's file has to be: as its own tree of owned extents says.

The root of page 1 leads to that tree; its last entry ends with the last page that belongs to
anything.  A file of a database that was shut down, or recovered, is never shorter [V: all real
ones at hand]; where it is, it was cut.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from replicator.ese.database_header import State
from replicator.ese.errors import EseError
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_io import judged_page
from replicator.ese.page_source import HEADER_PAGES, page_offset
from replicator.ese.recovery_files import FoundDatabase
from replicator.ese.space import MULTIPLE_EXTENT, SYSTEM_ROOT, SpaceHeader, too_short
from replicator.ese.undo import BAD_PAGE_LINK, TREE_LEVELS_MAX
from replicator.runtime.port import File, Volume

PageReader = Callable[[int], Awaitable[PageEditor]]
READ_FAILED: Final = -1022


async def last_owned(page: PageReader, path: str) -> int | None:
    """The last page of the file that belongs to anything; None when page 1 does not say.

    Arguments
    ---------
    page: reads a page by its number.
    path: how errors call the file.

    Raises EseError -338 for a tree without an end, and what reading a page raises.
    """
    root = await page(SYSTEM_ROOT)
    if root.is_zero or len(root.external_header) != SpaceHeader.SIZE:
        return None
    space = SpaceHeader.decode(root.external_header)
    if not space.flags & MULTIPLE_EXTENT:
        return None
    pgno = space.owned_root_or_map
    for _level in range(TREE_LEVELS_MAX):
        found = await page(pgno)
        if not found.line_count:
            return None
        if found.is_leaf:
            return int.from_bytes(found.key(found.line_count - 1)[-4:], "big")
        pgno = found.child(found.line_count - 1)
    detail = f"the tree of owned extents has more than {TREE_LEVELS_MAX} levels"
    raise EseError(BAD_PAGE_LINK, detail, path=path, page=pgno)


async def check_whole(volume: Volume, databases: Collection[FoundDatabase]) -> list[EseError]:
    """Databases that were shut down and whose files were cut since: -1206.

    What else is wrong with the few pages read here is for ``replicator ese verify``, and for redo
    where it needs them.
    """
    errors = []
    for each in databases:
        if each.header.state is State.CLEAN_SHUTDOWN:
            file = volume.open(each.path)
            try:
                size = each.header.page_size
                last = await _last_in(file, size)
                there = file.size_bytes // size - HEADER_PAGES
                if last is not None and last > there:
                    errors.append(too_short(there, last, each.path))
            finally:
                file.close()
    return errors


async def _last_in(file: File, page_bytes: int) -> int | None:
    """As :func:`last_owned`; a page on the way that the file has not belongs to it all the same."""
    behind: list[int] = []

    async def page(pgno: int) -> PageEditor:
        data = await file.read_at(page_offset(pgno, page_bytes), page_bytes)
        if len(data) < page_bytes:
            behind.append(pgno)
            raise EseError(READ_FAILED, "the file ends before it", path=file.path, page=pgno)
        return judged_page(data, pgno, file.path)

    try:
        return await last_owned(page, file.path)
    except EseError:
        return behind[0] if behind else None
