"""Space held against the trees: every page has exactly one use.  It reads pages, not the store."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping

from replicator.ese.page_source import PageSource
from replicator.ese.space import available_extents, owned_extents, space_header
from tests.store_ese.memory import tree_pages


def pages_of(extents: Iterable[object]) -> Iterable[int]:
    for each in extents:
        yield from range(each.first, each.last + 1)  # type: ignore[attr-defined]


def buffered(source: PageSource, root_pgno: int) -> Iterable[int]:
    """What lies in the split buffer of a space tree."""
    one, two, last_one, last_two = struct.unpack("<4I", source.page(root_pgno).tag_data(0)[:16])
    yield from range(last_one - one + 1, last_one + 1) if one else ()
    yield from range(last_two - two + 1, last_two + 1) if two else ()


def check_space(source: PageSource, parents: Mapping[int, int], last_pgno: int) -> None:
    """Raises AssertionError when a page has no use, or two.

    Arguments
    ---------
    source: the pages.
    parents: of each tree by its root, the root that its extents come from; 0 for page 1.
    last_pgno: the file's last page.
    """
    owned = {root: Counter(pages_of(owned_extents(source, root))) for root in parents}
    for root, pages in owned.items():
        uses: Counter[int] = Counter(tree_pages(source, root))
        uses.update(pages_of(available_extents(source, root)))
        header = space_header(source.page(root))
        assert header.parent_root == parents[root]
        if header.is_multiple:
            for space_root in (header.owned_root_or_map, header.owned_root_or_map + 1):
                uses.update(tree_pages(source, space_root))
                uses.update(buffered(source, space_root))
        for child, parent in parents.items():
            if parent == root:
                uses.update(owned[child])
        assert uses == pages, (root, sorted(uses - pages), sorted(pages - uses))
        assert max(pages.values()) == 1
    assert owned[1] == Counter(range(1, last_pgno + 1))
