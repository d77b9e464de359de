"""Space of a tree: giving it pages, taking them back, and letting the file grow.

A small tree keeps a map of the pages behind its root (*single extent*).  When that is used up it
gets a second extent, and two trees: OE with the extents that it owns, AE with those of them that
nothing uses.  Extents come from the parent, at last from page 1, whose extents are the file.

A space tree that splits needs pages itself.  They come from its *split buffer*, 16 bytes in
its root, which is filled while there is still room; so an operation on space never needs
another one in the middle of it.  Nothing of this is versioned: what a transaction has got, its
tree keeps when it is taken back.

E src/ese/space.cxx.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.log_page_records import (
    ConvertFDP2,
    CreateMultipleExtentFDP,
    CreateSingleExtentFDP,
    PageRecord,
)
from replicator.ese.log_record_types import Kind
from replicator.ese.page import PageFlag
from replicator.ese.space import SYSTEM_ROOT, SpaceHeader
from simulator.exchange.ese.change import UNIQUE, ChangeContext
from simulator.exchange.ese.growth import DEFAULT_GROWTH, GrowthPolicy
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.split_buffer import SplitBuffer
from simulator.exchange.ese.tree import Tree
from simulator.exchange.ese.versions import VersionStore

DISK_FULL: Final = -1808
SINGLE_EXTENT_MOST: Final = 33
"""The root, and the 32 pages that its map can tell of."""


def extent_key(last_pgno: int) -> bytes:
    """The key of an extent: its last page, big-endian."""
    return last_pgno.to_bytes(4, "big")


class Space:
    """The space of one tree: its page supply.

    Arguments
    ---------
    context, versions: of the database.
    root_pgno: of the tree.
    objid: its object.
    parent: whose extents it gets; None for page 1.
    policy: how much at a time.
    unique: of the tree; its space header says it.
    """

    def __init__(
        self,
        context: ChangeContext,
        versions: VersionStore,
        root_pgno: int,
        objid: int,
        parent: Space | None,
        policy: GrowthPolicy = DEFAULT_GROWTH,
        *,
        unique: bool = True,
    ) -> None:
        self._context = context
        self._versions = versions
        self.root_pgno = root_pgno
        self.objid = objid
        self.record_flags = UNIQUE if unique else 0
        self.parent = parent
        self.policy = policy
        self._root_tree = Tree(context, versions, self, objid, root_pgno, unique=unique)
        self._owned: Tree | None = None
        self._available: Tree | None = None
        self._owned_pages = 0
        if self._header_bytes():
            header = self._header()
            if header.is_multiple:
                self._open(header.owned_root_or_map)

    # -- what there is ------------------------------------------------------------------

    def _header_bytes(self) -> bytes:
        return self._context.page(self.root_pgno).external_header

    def _header(self) -> SpaceHeader:
        return SpaceHeader.decode(self._header_bytes())

    def _open(self, owned_root: int) -> None:
        self._owned, self._available = (self._space_tree(owned_root + at) for at in (0, 1))
        # From now on they are in memory: no change has to look at them.
        self._owned.look_at_all_pages()
        self._available.look_at_all_pages()
        self._owned_pages = sum(count for _, count in self._extents(self._owned))

    def _space_tree(self, top_pgno: int) -> Tree:
        buffer = SplitBuffer()
        tree = Tree(
            self._context, self._versions, buffer, self.objid, top_pgno, owner_pgno=self.root_pgno
        )
        buffer.tree = tree
        return tree

    @staticmethod
    def _extents(tree: Tree, from_pgno: int = 0) -> Iterator[tuple[int, int]]:
        """Last page and number of pages of each extent, from one that ends at a page or behind."""
        for node in tree.from_key(extent_key(from_pgno)):
            yield int.from_bytes(node.key, "big"), int.from_bytes(node.data, "little")

    # -- new trees ----------------------------------------------------------------------

    def create_child(
        self, session: Session, objid: int, pages: int, page_flags: int, *, unique: bool
    ) -> Space:
        """A new tree that gets its pages from this one; single extent where its map is enough.

        Arguments
        ---------
        objid: its object.
        pages: how many it gets at first.
        page_flags: of its pages, besides root and leaf.
        """
        last, count = self.take_extent(session, pages)
        return Space.create(
            self._context,
            self._versions,
            session,
            last - count + 1,
            objid,
            count,
            page_flags=page_flags,
            parent=self,
            policy=self.policy,
            unique=unique,
            multiple=count > SINGLE_EXTENT_MOST,
        )

    @classmethod
    def create(
        cls,
        context: ChangeContext,
        versions: VersionStore,
        session: Session,
        root_pgno: int,
        objid: int,
        pages: int,
        *,
        page_flags: int = 0,
        parent: Space | None = None,
        policy: GrowthPolicy = DEFAULT_GROWTH,
        unique: bool = True,
        multiple: bool = True,
    ) -> Space:
        """A new tree whose pages are already taken from the parent.

        Arguments
        ---------
        root_pgno: the first of its pages.
        pages: how many they are.
        multiple: with OE and AE, in the two pages behind, from the beginning.
        """
        page_flags |= context.format.page_flags
        if not unique:
            page_flags |= int(PageFlag.NON_UNIQUE_KEYS)
        of_space = {"owned_pgno": root_pgno + 1, "available_pgno": root_pgno + 2}
        new_pgnos = [root_pgno, *of_space.values()] if multiple else [root_pgno]
        for pgno in new_pgnos:
            context.announce_new_page(session, pgno, objid)
        kind: type[PageRecord] = CreateSingleExtentFDP
        number = Kind.CREATE_SINGLE_EXTENT_FDP
        if multiple:
            kind, number = CreateMultipleExtentFDP, Kind.CREATE_MULTIPLE_EXTENT_FDP
        context.page_record(
            session,
            kind,
            number,
            root_pgno,
            UNIQUE if unique else 0,
            objid=objid,
            parent_pgno=parent.root_pgno if parent is not None else 0,
            pages=pages,
            page_flags=page_flags,
            **(of_space if multiple else {}),
        )
        return cls(context, versions, root_pgno, objid, parent, policy, unique=unique)

    # -- pages --------------------------------------------------------------------------

    def allocate(self, session: Session, near_pgno: int) -> int:
        """A page for this tree.

        Arguments
        ---------
        near_pgno: a page behind this one is preferred.

        Raises EseError -1808 when the file may not grow.
        """
        return self.allocate_run(session, near_pgno, 1)[0]

    def allocate_run(self, session: Session, near_pgno: int, most: int) -> tuple[int, int]:
        """Pages in a row, from the beginning of an extent: by one change of its entry.

        Arguments
        ---------
        near_pgno: as of :meth:`allocate`.
        most: pages that are wanted.

        Returns the first, and how many: at least one.  Raises as :meth:`allocate` does.
        """
        if self._available is None:
            header = self._header()
            if header.owned_root_or_map:
                return self._from_map(session, header), 1
            self._convert(session, header)
        self._prepare(session)
        assert self._available is not None
        found = next(self._extents(self._available, near_pgno), None) or next(
            self._extents(self._available), None
        )
        if found is None:
            self._grow(session)
            found = next(self._extents(self._available))
        last, count = found
        pages = min(count, most)
        self._take_from(session, last, count, pages)
        return last - count + 1, pages

    def free(self, session: Session, last_pgno: int, pages: int = 1) -> None:
        """Take pages in a row back; they join the extents that they touch.

        Arguments
        ---------
        last_pgno, pages: the last of them, and how many.

        That needs no page, so it goes on where the file may not grow, on what the split buffer has.
        """
        if self._available is None:
            header = self._header()
            bits = ((1 << pages) - 1) << (last_pgno - pages - self.root_pgno)
            header = replace(header, owned_root_or_map=header.owned_root_or_map | bits)
            self._root_tree.set_external_header(session, header.encode())
            return
        with suppress(EseError):
            self._prepare(session)
        self._give(session, last_pgno, pages)

    def take_extent(self, session: Session, pages: int) -> tuple[int, int]:
        """Pages for a child: last page, and how many, as many as asked for.

        Raises EseError -1808 when the file may not grow.
        """
        if self._available is None:
            self._convert(session, self._header(), pages)
        self._prepare(session)
        found = self._find(pages)
        if found is None:
            self._grow(session, pages)
            found = self._find(pages)
        if found is None:
            raise RuntimeError(f"tree {self.objid} has grown and has no {pages} pages in a row")
        last, count = found
        self._take_from(session, last, count, pages)
        return last - count + pages, pages

    def _find(self, pages: int) -> tuple[int, int] | None:
        assert self._available is not None
        return next((each for each in self._extents(self._available) if each[1] >= pages), None)

    # -- parts --------------------------------------------------------------------------

    def _from_map(self, session: Session, header: SpaceHeader) -> int:
        free = header.owned_root_or_map
        bit = (free & -free).bit_length() - 1
        header = replace(header, owned_root_or_map=free & ~(1 << bit))
        self._root_tree.set_external_header(session, header.encode())
        return self.root_pgno + 1 + bit

    def _convert(self, session: Session, header: SpaceHeader, at_least: int = 1) -> None:
        """From a map to extents: the second one holds the trees that tell of all."""
        if self.parent is None:
            raise RuntimeError("page 1 has extents from the beginning")
        wanted = max(self.policy.smallest_extent_pages, at_least + 2)
        last, count = self.parent.take_extent(session, wanted)
        first = last - count + 1
        context = self._context
        for pgno in (first, first + 1):
            context.announce_new_page(session, pgno, self.objid)
        root = context.page(self.root_pgno)
        kept = PageFlag.ROOT | PageFlag.LEAF | PageFlag.PARENT_OF_LEAF | PageFlag.NON_UNIQUE_KEYS
        context.page_record(
            session,
            ConvertFDP2,
            Kind.CONVERT_FDP2,
            self.root_pgno,
            self.record_flags,
            objid=self.objid,
            owned_pgno=first,
            available_pgno=first + 1,
            parent_pgno=header.parent_root,
            second_pgno=first,
            primary_pages=header.primary_pages,
            second_pages=count,
            available_map=header.owned_root_or_map,
            page_flags=int(root.flags & ~kept),
        )
        self._open(first)

    def _take_from(self, session: Session, last: int, count: int, pages: int) -> None:
        """Take pages from the beginning of an available extent.

        An entry that is used up is removed, but on line 0 it is only flagged, as the engine does.
        """
        tree = self._available
        assert tree is not None
        key = extent_key(last)
        if count > pages:
            left = (count - pages).to_bytes(4, "little")
            tree.replace(session, key, left, versioned=False)
            return
        place = tree.seek(key)
        if place.line:
            tree.remove(session, place)
        else:
            tree.flag_delete(session, key, versioned=False)

    def _give(self, session: Session, last: int, count: int) -> None:
        """Make a run of pages available."""
        tree = self._available
        assert tree is not None
        first = last - count + 1
        before = next(self._extents(tree, first - 1), None)
        if before is not None and before[0] == first - 1:
            self._take_from(session, *before, before[1])
            count += before[1]
        behind = next(self._extents(tree, last + 1), None)
        if behind is not None and behind[0] - behind[1] == last:
            data = (behind[1] + count).to_bytes(4, "little")
            tree.replace(session, extent_key(behind[0]), data, versioned=False)
            return
        tree.insert(session, extent_key(last), count.to_bytes(4, "little"), versioned=False)

    def _grow(self, session: Session, at_least: int = 1) -> None:
        """Own another extent, all of it available."""
        last, count = self._new_extent(session, at_least)
        self._give(session, last, count)

    def _new_extent(self, session: Session, at_least: int) -> tuple[int, int]:
        """Own another extent: from the parent, or by letting the file grow."""
        assert self._owned is not None
        policy = self.policy
        if self.parent is None:
            count = max(at_least, policy.extension_pages)
            last = self._owned_pages + count
            if last > policy.largest_file_pages:
                count -= last - policy.largest_file_pages
                last = policy.largest_file_pages
            if count < at_least:
                raise EseError(DISK_FULL, f"the file may not have more than {last:,} pages")
            self._context.extend_file(last)
        else:
            growth = self._owned_pages * policy.growth_percent // 100
            wanted = min(max(growth, policy.smallest_extent_pages), policy.largest_extent_pages)
            try:
                last, count = self.parent.take_extent(session, max(at_least, wanted))
            except EseError:
                if at_least >= wanted:
                    raise
                last, count = self.parent.take_extent(session, at_least)  # the last pages
        data = count.to_bytes(4, "little")
        self._owned.insert(session, extent_key(last), data, versioned=False)
        self._owned_pages += count
        return last, count

    def _prepare(self, session: Session) -> None:
        """Fill split buffers while the space trees still have room for what that needs."""
        for tree in (self._owned, self._available):
            assert tree is not None
            buffer = tree.supply
            assert isinstance(buffer, SplitBuffer)
            root = self._context.page(tree.top_pgno)
            if root.is_leaf and root.free_bytes > self._context.format.data_bytes // 4:
                continue
            runs = buffer.runs()
            if all(count for count, _ in runs) or buffer.pages >= self.policy.split_buffer_pages:
                continue
            last, count = self._new_extent(session, self.policy.split_buffer_pages)
            kept = self.policy.split_buffer_pages
            if count > kept:
                self._give(session, last, count - kept)
            buffer.fill(session, kept, last - count + kept)


def open_system_space(
    context: ChangeContext, versions: VersionStore, policy: GrowthPolicy = DEFAULT_GROWTH
) -> Space:
    """The space of page 1, which is the whole file."""
    return Space(context, versions, SYSTEM_ROOT, 1, None, policy)
