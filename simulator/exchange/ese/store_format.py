"""What differs between the versions of Exchange whose stores are emulated.

Page sizes and revisions are those of
:data:`~replicator.ese.database_state.DATABASE_FORMATS`, with their sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from replicator.ese.database_state import DATABASE_FORMATS, DatabaseFormat
from replicator.ese.page import LARGE_HEADER_BYTES, SMALL_HEADER_BYTES, PageFlag
from replicator.ese.verification import LARGEST_SMALL_PAGE

ECC_REVISION: Final = 0xB
"""The revision from which pages carry the 64-bit checksum."""


@dataclass(frozen=True, kw_only=True)
class StoreFormat:
    """The format of one version's databases, and what it logs.

    Arguments
    ---------
    database: revision and page size.
    new_page_records: a NewPage record goes before the first use of a page (2022 does so, 2012
        does not: V).
    macro_info: MacroInfo goes behind each change of several pages (V from 2012 on).
    dehydrated_images: before-images are logged without the free middle of the page.
    differences: a replacement that changes few bytes is logged as ReplaceD.

    Attributes
    ----------
    page_bytes, revision: of the database.
    page_flags: those that every new page gets.
    large_pages: node flags stand in the nodes, and differences are wide.
    data_bytes: of a page behind its header.
    """

    database: DatabaseFormat
    new_page_records: bool = False
    macro_info: bool = False
    dehydrated_images: bool = False
    differences: bool = True
    page_bytes: int = field(init=False)
    revision: int = field(init=False)
    page_flags: int = field(init=False)
    large_pages: bool = field(init=False)
    data_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        size, revision = self.database.page_size, self.database.revision
        large = size > LARGEST_SMALL_PAGE
        flags = int(PageFlag.NEW_CHECKSUM) if revision >= ECC_REVISION else 0
        header = LARGE_HEADER_BYTES if large else SMALL_HEADER_BYTES
        derived = {
            "page_bytes": size,
            "revision": revision,
            "page_flags": flags,
            "large_pages": large,
            "data_bytes": size - header,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


STORE_FORMATS: Final[dict[str, StoreFormat]] = {
    "exchange 2003 rtm": StoreFormat(database=DATABASE_FORMATS["exchange 2003 rtm"]),
    "exchange 2003": StoreFormat(database=DATABASE_FORMATS["exchange 2003"]),
    "exchange 2007": StoreFormat(database=DATABASE_FORMATS["exchange 2007"]),
    "exchange 2010": StoreFormat(
        database=DATABASE_FORMATS["exchange 2010"], dehydrated_images=True
    ),
    "exchange 2016": StoreFormat(
        database=DATABASE_FORMATS["exchange 2016"], macro_info=True, dehydrated_images=True
    ),
}
"""By name."""
