"""A database: its context, its space, its catalog and its tables, changed through log records.

Page numbers and objects of the catalog's trees are the engine's own (ese-format.md 14.1):

    1 the file's space (OE 2, AE 3)   4 MSysObjects (5, 6)   24 its shadow (25, 26)
    7 index Name (8, 9)   10 index RootObjects (11, 12)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from replicator.ese.catalog import TableDefinition as CatalogTable
from replicator.ese.catalog_encoding import (
    CATALOG,
    CATALOG_NAMES,
    CATALOG_PAGES,
    CATALOG_ROOT_OBJECTS,
    ROOT_OBJECTS_INDEX,
    SHADOW,
    CatalogEntry,
    TablePlaces,
)
from replicator.ese.catalog_encoding import Tree as TreePlace
from replicator.ese.columns import LONG_TYPES
from replicator.ese.errors import EseError
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import CreateDB, DatabaseRecord, SetDbVersion
from replicator.ese.page import Page, PageFlag
from replicator.ese.page_source import PageSource
from replicator.ese.reader import BytesReader
from replicator.ese.schema import TableDefinition
from replicator.ese.space import SpaceHeader
from replicator.ese.values import LogPosition, Signature
from simulator.exchange.ese.change import ChangeContext, Log, Pages
from simulator.exchange.ese.growth import DEFAULT_GROWTH, GrowthPolicy
from simulator.exchange.ese.known_catalogs import (
    CatalogTables,
    catalog_encoder,
    catalog_rows,
    own_rows,
    tables_of,
)
from simulator.exchange.ese.preparation import Steps, have_pages, prepared
from simulator.exchange.ese.record_building import build
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.space import Space, open_system_space
from simulator.exchange.ese.store_format import StoreFormat
from simulator.exchange.ese.table import Table
from simulator.exchange.ese.transactions import Transactions
from simulator.exchange.ese.tree import Tree
from simulator.exchange.ese.versions import VersionStore

FORMAT_VERSION: Final = 0x620
UNICODE_PATH: Final = 8
SHADOW_PAGES: Final = 9
INDEX_PAGES: Final = 3
SYSTEM_OBJID: Final = 1
TABLE_DUPLICATE: Final = -1303
LAST_SYSTEM_OBJID: Final = 5
IN_USE: Final = "the database in use"
"""How errors call it."""
_SYSTEM_PAGES: Final = tuple(
    root + at
    for root in (
        SYSTEM_OBJID,
        CATALOG.root_pgno,
        CATALOG_NAMES.root_pgno,
        CATALOG_ROOT_OBJECTS.root_pgno,
        SHADOW.root_pgno,
    )
    for at in (0, 1, 2)
)
"""The roots of the trees that every database has, each with those that keep its space."""
LAST_SYSTEM_PAGE: Final = SHADOW.root_pgno + SHADOW_PAGES - 1


class Database:
    """One database.

    Arguments
    ---------
    pages: its pages.
    log: where its records go.
    store_format: its version.
    policy: how its trees grow.
    dbid: its number in records.
    dbtime, last_objid: the highest that it has, from its header.
    """

    def __init__(
        self,
        pages: Pages,
        log: Log,
        store_format: StoreFormat,
        policy: GrowthPolicy = DEFAULT_GROWTH,
        *,
        dbid: int = 1,
        dbtime: int = 0,
        last_objid: int = LAST_SYSTEM_OBJID,
    ) -> None:
        self.format = store_format
        self.policy = policy
        self.context = ChangeContext(pages, log, store_format, dbid=dbid, dbtime=dbtime)
        self.versions = VersionStore()
        self.transactions = Transactions(self.context, self.versions)
        self.last_objid = last_objid
        self.catalog = catalog_encoder(store_format.revision, store_format.page_bytes)
        self.tables: dict[str, Table] = {}
        if not pages.page(SYSTEM_OBJID).is_zero:
            self._open()

    def _open(self) -> None:
        have_pages(self.context.page, _SYSTEM_PAGES)
        self.system = open_system_space(self.context, self.versions, self.policy)
        objects = self._space(CATALOG, self.system)
        self._objects = self.tree(CATALOG, objects)
        self._shadow = self.tree(SHADOW, self._space(SHADOW, self.system))
        self._names = self.tree(CATALOG_NAMES, self._space(CATALOG_NAMES, objects))
        self._roots = self.tree(CATALOG_ROOT_OBJECTS, self._space(CATALOG_ROOT_OBJECTS, objects))

    def _space(self, place: TreePlace, parent: Space, *, unique: bool = True) -> Space:
        return Space(
            self.context,
            self.versions,
            place.root_pgno,
            place.objid,
            parent,
            self.policy,
            unique=unique,
        )

    def tree(self, place: TreePlace, space: Space, *, unique: bool = True) -> Tree:
        """A tree that is there."""
        return Tree(self.context, self.versions, space, place.objid, place.root_pgno, unique=unique)

    # -- a new one ----------------------------------------------------------------------

    def create(
        self, session: Session, path: str, signature: Signature, initial_pages: int = 256
    ) -> None:
        """Make it, in pages that are all zero, as the first log of a real database shows it.

        Arguments
        ---------
        session: one that has no transaction open.
        path: of the file, for the log.
        signature: of the database.
        initial_pages: how long the file is at first.
        """
        self.log_creation(session, path, signature)
        self.make(session, initial_pages)

    def log_creation(self, session: Session, path: str, signature: Signature) -> LogPosition:
        """Log that it is created, and attached: from here on its header requires the log.

        Returns where the record stands.
        """
        name = (path + "\0").encode("utf-16-le")
        created = CreateDB(
            number=Kind.CREATE_DB,
            session=session.procid,
            dbid=self.context.dbid,
            database_signature=signature,
            path_bytes=len(name),
            name_flags=UNICODE_PATH,
        )
        return self.context.log(created.encode() + name)

    def make(self, session: Session, initial_pages: int = 256) -> None:
        """Make its trees and its catalog, behind :meth:`log_creation`; arguments as there."""
        initial_pages = max(initial_pages, LAST_SYSTEM_PAGE)
        self._make_trees(session, initial_pages)
        self._open()
        transactions = self.transactions
        transactions.begin(session)
        for entry in own_rows(self.catalog, SHADOW_PAGES):
            self._add_to_catalog(session, entry)
        transactions.commit(session)
        version = {
            "number": Kind.SET_DB_VERSION,
            "dbid": self.context.dbid,
            "version": FORMAT_VERSION,
            "revision": self.format.revision,
        }
        self.context.log(build(SetDbVersion, version).raw)
        finish = {
            "number": Kind.CREATE_DB_FINISH,
            "session": session.procid,
            "dbid": self.context.dbid,
        }
        self.context.log(build(DatabaseRecord, finish).raw)

    def _make_trees(self, session: Session, initial_pages: int) -> None:
        transactions = self.transactions
        transactions.begin(session)
        self.context.extend_file(initial_pages)
        context, versions, policy = self.context, self.versions, self.policy
        system = Space.create(
            context, versions, session, SYSTEM_OBJID, SYSTEM_OBJID, initial_pages, policy=policy
        )
        transactions.commit(session)
        transactions.begin(session)

        def make(parent: Space, place: TreePlace, pages: int, flags: int = 0) -> Space:
            last, count = parent.take_extent(session, pages)
            first = last - count + 1
            if first != place.root_pgno:
                raise AssertionError(f"tree {place.objid} would begin at page {first}")
            return Space.create(
                context,
                versions,
                session,
                first,
                place.objid,
                count,
                page_flags=flags,
                parent=parent,
                policy=policy,
            )

        objects = make(system, CATALOG, CATALOG_PAGES)
        make(system, SHADOW, SHADOW_PAGES)
        make(objects, CATALOG_NAMES, INDEX_PAGES, int(PageFlag.INDEX))
        make(objects, CATALOG_ROOT_OBJECTS, INDEX_PAGES, int(PageFlag.INDEX))
        transactions.commit(session)

    def _add_to_catalog(self, session: Session, entry: CatalogEntry) -> None:
        self._objects.insert(session, entry.key, entry.record)
        self._names.insert(session, entry.name_key, entry.key)
        if entry.root_key is not None:
            self._roots.insert(session, entry.root_key, entry.key)
        self._shadow.insert(session, entry.key, entry.record)

    # -- tables -------------------------------------------------------------------------

    def next_objid(self) -> int:
        self.last_objid += 1
        return self.last_objid

    @prepared
    def create_table(self, session: Session, definition: TableDefinition) -> Steps[Table]:
        """Make a table, its indices, and a tree for long values where a column may need it.

        It is undone with the transaction that the session has open, or stands alone without
        one; its pages stay allocated then.

        Raises EseError: -1303 when there is one of this name, -1808 when the file may not grow.
        """
        encoder = self.catalog.catalog.key_encoder(ROOT_OBJECTS_INDEX)
        name = encoder.encode_values(True, definition.name).data
        yield partial(self._look_at_catalog, name)
        if self._roots.get(name) is not None:
            raise EseError(TABLE_DUPLICATE, f"table {definition.name!r}")
        self.transactions.begin(session)
        try:
            table = self._create_table(session, definition)
        except Exception:
            self.transactions.rollback(session)
            raise
        self.transactions.commit(session)
        self.tables[definition.name] = table
        return table

    def _look_at_catalog(self, root_key: bytes) -> None:
        """Visit what entries of a new table need: objects ascend, so they come at the ends."""
        for tree in (self._objects, self._shadow, self._names):
            tree.last_leaf()
        leaf = self._roots.seek(root_key).page
        if leaf.next_pgno:
            self.context.page(leaf.next_pgno)

    def _create_table(self, session: Session, definition: TableDefinition) -> Table:
        with self.context.in_one_go():
            rows = self._new_tree(session, self.system, 0, pages=definition.pages)
            indices = {
                index.name: self._new_tree(session, rows, PageFlag.INDEX, unique=index.unique)
                for index in definition.indices
                if not index.primary
            }
            columns = definition.layout.columns.values()
            long_values = None
            if any(column.type in LONG_TYPES for column in columns):
                long_values = self._new_tree(session, rows, PageFlag.LONG_VALUE)
        places = TablePlaces(
            _place(rows),
            {name: _place(space) for name, space in indices.items()},
            _place(long_values) if long_values is not None else None,
        )
        for entry in catalog_rows(self.catalog, definition, places):
            self._add_to_catalog(session, entry)
        return self._table(definition, rows, indices, long_values)

    def open_table(self, definition: TableDefinition) -> Table:
        """A table that is there already; the catalog says where.

        Arguments
        ---------
        definition: as it was created.

        Raises EseError -1601 when the catalog has no such table, or one without an index that the
        definition has.
        """
        found = self._tables_in_catalog().get(definition.name)
        if found is None:
            raise EseError(-1601, f"there is no table {definition.name!r}", path=IN_USE)
        rows = self._space(TreePlace(found.objid, found.root_pgno), self.system)
        indices = {}
        for index in definition.indices:
            if index.primary:
                continue
            place = next((each for each in found.indices if each.name == index.name), None)
            if place is None:
                raise EseError(-1601, f"table {definition.name!r} has no index {index.name!r}")
            tree = TreePlace(place.objid, place.root_pgno)
            indices[index.name] = self._space(tree, rows, unique=index.unique)
        long_values = None
        if found.long_value_root is not None:
            objid = self.context.page(found.long_value_root).objid
            long_values = self._space(TreePlace(objid, found.long_value_root), rows)
        table = self._table(definition, rows, indices, long_values)
        self.tables[definition.name] = table
        return table

    def _tables_in_catalog(self) -> CatalogTables:
        pages = EditedPages(self.context.pages, self.format.page_bytes)
        root = self.context.page(CATALOG.root_pgno)
        return tables_of(pages, root.plain_bytes() if root.is_root and root.is_leaf else None)

    def look_at_tables(self, names: Iterable[str]) -> None:
        """Visit the roots that :meth:`open_table` will need, so that they are read together.

        Arguments
        ---------
        names: of the tables; one that is not there is left out.

        Raises PageNotInMemory, and what reading the catalog raises.
        """
        tables = self._tables_in_catalog()
        roots = [root for name in names if name in tables for root in _roots(tables[name])]
        have_pages(self.context.page, roots)
        headers = [self.context.page(root).external_header for root in roots]
        spaces = [SpaceHeader.decode(each) for each in headers if len(each) == SpaceHeader.SIZE]
        firsts = [each.owned_root_or_map for each in spaces if each.is_multiple]
        have_pages(self.context.page, [first + at for first in firsts for at in (0, 1)])

    def _new_tree(
        self,
        session: Session,
        parent: Space,
        page_flags: int,
        *,
        pages: int = 1,
        unique: bool = True,
    ) -> Space:
        return parent.create_child(
            session, self.next_objid(), pages, int(page_flags), unique=unique
        )

    def _table(
        self,
        definition: TableDefinition,
        rows: Space,
        indices: dict[str, Space],
        long_values: Space | None,
    ) -> Table:
        trees = {
            name: self.tree(_place(space), space, unique=definition.index(name).unique)
            for name, space in indices.items()
        }
        return Table(
            definition,
            self.format,
            self.transactions,
            self.tree(_place(rows), rows),
            trees,
            None if long_values is None else self.tree(_place(long_values), long_values),
        )


class EditedPages(PageSource):
    """The pages of a database that is in use, for the reader.

    Arguments
    ---------
    pages: of the database.
    page_size: bytes a page.
    """

    def __init__(self, pages: Pages, page_size: int) -> None:
        super().__init__(BytesReader(b"", IN_USE), page_size)
        self._pages = pages

    def __contains__(self, pgno: int) -> bool:
        return not self._pages.page(pgno).is_zero

    def page(self, pgno: int) -> Page:
        """A page as it is now; raises EseError -1206 for its tags."""
        return Page(self._pages.page(pgno).plain_bytes(), pgno)


def _roots(table: CatalogTable) -> list[int]:
    """Where the trees of a table begin."""
    roots = [table.root_pgno, *(index.root_pgno for index in table.indices)]
    if table.long_value_root is not None:
        roots.append(table.long_value_root)
    return list(dict.fromkeys(roots))


def _place(space: Space) -> TreePlace:
    return TreePlace(space.objid, space.root_pgno)
