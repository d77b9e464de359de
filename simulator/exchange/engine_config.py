"""The figures of a store in the format of Exchange, as a scenario has them.

What follows from the version stands here: the layout of its logs, page size, and whether a message
that several mailboxes get is kept once, and whether contents that came from the Internet lie in a
streaming file (2003).  How trees grow is the engine's own matter; a database
that is small on purpose, for campaigns, grows in small steps, or a few tables would fill it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from replicator.ese.log_options import Durability
from replicator.ese.page_source import HEADER_PAGES
from simulator.exchange.ese.database import LAST_SYSTEM_PAGE
from simulator.exchange.ese.growth import DEFAULT_GROWTH, GrowthPolicy
from simulator.exchange.ese.instance_options import (
    ALL_SAFEGUARDS,
    EngineSafeguards,
    InstanceConfig,
)
from simulator.exchange.ese.mail_schema import SINGLE_INSTANCE_VERSIONS, STREAMING_VERSIONS
from simulator.exchange.ese.store_format import STORE_FORMATS, StoreFormat

EngineFormat = Literal["exchange 2003", "exchange 2007", "exchange 2010"]
DurabilityName = Literal["write-through", "flush"]
"""A lazy commit is not durable when it returns, which the interface of a store promises."""

LOG_VERSION: Final = 7
"""Of the logs of Exchange 2000 to 2010."""
LOG_SECTOR_BYTES: Final = 512
WITHOUT_LOG_ROLL: Final = frozenset({"exchange 2003"})
"""Log roll came with the copies of 2007."""
_LEAST_LOG_BYTES: Final = 64 << 10
LEAST_DATABASE_PAGES: Final = 192
"""About what the tables take before there is a message in them, twice."""
_SMALL_DATABASE_PAGES: Final = 1 << 14
_INITIAL_PAGES: Final = 256


@dataclass(frozen=True, slots=True)
class EngineStoreConfig:
    """Sizes and habits of one storage group.

    Arguments
    ---------
    format: the version of Exchange.
    log_size_bytes: of each log; a multiple of 512.
    checkpoint_depth_bytes: how much log may lie behind the checkpoint.
    database_size_bytes: most that each database file may take.
    mailboxes: numbered from 0; mailbox ``m`` is in database ``m % databases``.
    databases: of the storage group, 1 to 6.
    circular: whether logs that recovery does not need are deleted.
    durability: how commits become durable.
    log_buffer_bytes: log records that wait in memory.
    log_roll_ns: after so long a log is closed, full or not; 0 for never, as before 2007.
    mime_share: of the messages came from the Internet, 0 to 1 [A]: where the version has a
        streaming file, their content lies in it.

    Raises ValueError for figures that no store can have.
    """

    format: EngineFormat = "exchange 2007"
    log_size_bytes: int = 1 << 20
    checkpoint_depth_bytes: int = 20 << 20
    database_size_bytes: int = 256 << 20
    mailboxes: int = 100
    databases: int = 1
    circular: bool = True
    durability: DurabilityName = "write-through"
    log_buffer_bytes: int = 32 << 20
    log_roll_ns: int = 0
    mime_share: float = 0.5

    def __post_init__(self) -> None:
        if self.format not in STORE_FORMATS:
            raise ValueError(f"{self.format!r} is no format of a store")
        if self.durability not in get_args(DurabilityName):
            raise ValueError(f"{self.durability!r} is no durability")
        if not 1 <= self.databases <= 6 or self.mailboxes < self.databases:
            raise ValueError("a storage group has 1 to 6 databases, each with a mailbox")
        if self.log_roll_ns < 0:
            raise ValueError(f"no log is open for {self.log_roll_ns} ns")
        if not 0 <= self.mime_share <= 1:
            raise ValueError(f"mime_share is a share, 0 to 1, not {self.mime_share}")
        least = least_log_bytes(self.format)
        if self.log_size_bytes % LOG_SECTOR_BYTES or self.log_size_bytes < least:
            raise ValueError(f"a log of {self.format} has whole sectors and {least} bytes or more")
        if self.limit_pages < LEAST_DATABASE_PAGES:
            least = least_database_bytes(self.format)
            raise ValueError(f"a database of {self.format} takes {least} bytes or more")

    @property
    def store_format(self) -> StoreFormat:
        """Page size and revision."""
        return STORE_FORMATS[self.format]

    @property
    def limit_pages(self) -> int:
        """Most pages of each database."""
        return self.database_size_bytes // self.store_format.page_bytes - HEADER_PAGES

    @property
    def single_instance(self) -> bool:
        """Whether a body is kept once for all mailboxes of a database."""
        return self.format.removeprefix("exchange ") in SINGLE_INSTANCE_VERSIONS

    @property
    def streaming_file(self) -> bool:
        """Whether each database has a streaming file beside it."""
        return self.format.removeprefix("exchange ") in STREAMING_VERSIONS

    @property
    def database_names(self) -> tuple[str, ...]:
        """File names, in the order of their making."""
        return tuple(f"priv{number}.edb" for number in range(1, self.databases + 1))

    @property
    def initial_pages(self) -> int:
        """How long a new file is."""
        return min(_INITIAL_PAGES, max(LAST_SYSTEM_PAGE, self.limit_pages // 8))

    def mailboxes_of(self, database: int) -> range:
        """The mailboxes of the database at a place, 0 for the first."""
        return range(database, self.mailboxes, self.databases)

    def instance(self, safeguards: EngineSafeguards = ALL_SAFEGUARDS) -> InstanceConfig:
        """As the engine takes them.

        Arguments
        ---------
        safeguards: for tests that switch one off.
        """
        return InstanceConfig(
            store_format=self.store_format,
            log_version=LOG_VERSION,
            log_file_bytes=self.log_size_bytes,
            durability=Durability(self.durability),
            circular=self.circular,
            checkpoint_depth_bytes=self.checkpoint_depth_bytes,
            streaming_file=self.streaming_file,
            limit_pages=self.limit_pages,
            log_buffer_bytes=self.log_buffer_bytes,
            policy=_growth(self.limit_pages),
            safeguards=safeguards,
        )


def least_log_bytes(name: EngineFormat) -> int:
    """The smallest log of a version: below it some records of a page's size have no room."""
    return max(_LEAST_LOG_BYTES, 4 * STORE_FORMATS[name].page_bytes)


def least_database_bytes(name: EngineFormat) -> int:
    """The smallest database of a version."""
    return (LEAST_DATABASE_PAGES + HEADER_PAGES) * STORE_FORMATS[name].page_bytes


def _growth(limit_pages: int) -> GrowthPolicy:
    if limit_pages >= _SMALL_DATABASE_PAGES:
        return DEFAULT_GROWTH
    steps = max(1, _SMALL_DATABASE_PAGES // limit_pages)
    return GrowthPolicy(
        smallest_extent_pages=max(2, DEFAULT_GROWTH.smallest_extent_pages // steps),
        largest_extent_pages=max(4, DEFAULT_GROWTH.largest_extent_pages // steps),
        extension_pages=max(8, DEFAULT_GROWTH.extension_pages // steps),
        split_buffer_pages=4,
    )
