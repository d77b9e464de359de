"""What opening and making the same few tables over and over has found out once.

A store is made or opened for each run and each examination of a campaign, with the same tables in
it.  Functions of their arguments alone, so one process keeps one table for each; nothing that is
given out is changed.  All are bounded: what was not used for longest goes first.

* What a catalog says, by the bytes of its pages.  One of several pages is walked each time; one
  page alone is known by its bytes.
* The rows that describe a table, by its definition and its place.
* The encoders of a table, by its definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import xxhash

from replicator.ese.btree import BTree
from replicator.ese.catalog import CATALOG_ROOT, Catalog
from replicator.ese.catalog import TableDefinition as CatalogTable
from replicator.ese.catalog_encoding import CatalogEncoder, CatalogEntry, TablePlaces, Tree
from replicator.ese.long_value_encoding import LongValueSeparator
from replicator.ese.page_source import PageSource
from replicator.ese.schema import TableDefinition
from simulator.remembered import Remembered

CATALOGS_MOST: Final = 64
"""A catalog of a mail store has some ninety rows: about 50 kB as objects."""
_TABLES_MOST: Final = 64

CatalogTables = Mapping[str, CatalogTable]

_catalogs: Final[Remembered[tuple[int, bytes], CatalogTables]] = Remembered(CATALOGS_MOST)


def tables_of(source: PageSource, root: bytes | None = None) -> CatalogTables:
    """The tables of a database by name, as its catalog has them.

    Arguments
    ---------
    source: the database's pages.
    root: the bytes of the catalog's root page where that is the whole tree.

    Raises what reading and walking the catalog raise.
    """
    content = xxhash.xxh3_128(root or b"")
    if root is None:
        for page in BTree(source, CATALOG_ROOT).leaves():
            content.update(page.data)
    key = source.page_size, content.digest()
    tables = _catalogs.get(key)
    if tables is None:
        # Of tables of one name the first counts, as in the catalog itself.
        tables = {each.name: each for each in reversed(Catalog(source).tables)}
        _catalogs.keep(key, tables)
    return tables


@lru_cache(maxsize=8)
def catalog_encoder(revision: int, page_size: int) -> CatalogEncoder:
    """The encoder of a format."""
    return CatalogEncoder(revision, page_size)


def catalog_rows(
    encoder: CatalogEncoder, table: TableDefinition, places: TablePlaces
) -> Iterable[CatalogEntry]:
    """As :meth:`CatalogEncoder.entries`, of an encoder of :func:`catalog_encoder`."""
    indices = tuple(places.indices.items())
    return _rows(encoder, table, places.rows, indices, places.long_values)


@lru_cache(maxsize=_TABLES_MOST)
def _rows(
    encoder: CatalogEncoder,
    table: TableDefinition,
    rows: Tree,
    indices: tuple[tuple[str, Tree], ...],
    long_values: Tree | None,
) -> tuple[CatalogEntry, ...]:
    return tuple(encoder.entries(table, TablePlaces(rows, dict(indices), long_values)))


@lru_cache(maxsize=8)
def own_rows(encoder: CatalogEncoder, shadow_pages: int) -> tuple[CatalogEntry, ...]:
    """As :meth:`CatalogEncoder.own_entries`."""
    return tuple(encoder.own_entries(shadow_pages))


@lru_cache(maxsize=_TABLES_MOST)
def separator_of(table: TableDefinition, page_bytes: int) -> LongValueSeparator:
    """What makes the records of a table, and takes long values out of them."""
    return LongValueSeparator(table.record_encoder(page_bytes), table.intrinsic_most_bytes)
