"""How an instance of the store's engine is set up, and what may be switched off in tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from replicator.ese.log_options import Durability
from replicator.ese.streaming_file import PAGE_BYTES as STREAM_PAGE_BYTES
from simulator.exchange.ese.growth import DEFAULT_GROWTH, GrowthPolicy
from simulator.exchange.ese.store_format import STORE_FORMATS, StoreFormat


@dataclass(frozen=True, slots=True)
class EngineSafeguards:
    """What makes a crash harmless; all on but in tests, which show that each is needed."""

    log_before_pages: bool = True
    """A page is written when the log is durable up to its last change."""
    waypoint: bool = True
    """A generation is required by the header on disk before pages hold changes of it."""
    before_images: bool = True
    """What undo needs from a page is in the log before the page is written."""
    sync_before_checkpoint: bool = True
    """Pages are durable before headers and checkpoint say that older logs are not needed."""
    sync_before_clean: bool = True
    """All pages are durable before the header says CleanShutdown."""
    wait_for_pages: bool = True
    """The checkpoint does not pass changes that are in memory only."""
    wait_for_transactions: bool = True
    """The checkpoint does not pass where a transaction began that is open, or whose commit is not
    on disk."""
    flush_at_commit: bool = True
    """Commit returns when its record is as durable as the mode says."""
    write_before_eviction: bool = True
    """A changed page goes from memory only after it was written."""
    log_before_eviction: bool = True
    """Before a page is written to make room, too, the log is durable up to its last change."""
    stream_before_commit: bool = True
    """Content in the streaming file is durable before the commit of its row."""
    keep_deleted_clusters: bool = True
    """What was deleted keeps its clusters until that is durable."""


ALL_SAFEGUARDS: Final = EngineSafeguards()


@dataclass(frozen=True, kw_only=True)
class InstanceConfig:
    """How an instance (a storage group) runs.

    Arguments
    ---------
    store_format: of its databases; see ``STORE_FORMATS``.
    log_version: 7 (Exchange 2000 to 2010) or 8.
    log_file_bytes: of each log.
    base: the log set's three characters.
    durability: of a commit; see :class:`~replicator.ese.log_options.Durability`.
    waypoint_latency: generations that genMaxRequired stays behind the log; at least 1 in the lazy
        mode, because a log underway is not durable there.
    circular: circular logging: logs that no one needs are deleted at each checkpoint.
    checkpoint_depth_bytes: how much log may lie behind the checkpoint before pages are written.
    batch_pages: most pages that the lazy writer writes at a time.
    cache_pages: of each database, in memory; see :mod:`simulator.exchange.ese.page_buffer` for
        what comes on top.
    streaming_file: new databases get a streaming file (Exchange 2000 and 2003).
    limit_pages: most that each database may have.
    log_buffer_bytes: records that wait in memory; one statement may log half of it.
    policy: how trees grow.
    safeguards: for tests.

    Raises ValueError for values that do not go together.
    """

    store_format: StoreFormat = field(default_factory=lambda: STORE_FORMATS["exchange 2016"])
    log_version: int = 8
    log_file_bytes: int = 1 << 20
    base: str = "E00"
    durability: Durability = Durability.WRITE_THROUGH
    waypoint_latency: int = 0
    circular: bool = False
    checkpoint_depth_bytes: int = 20 << 20
    batch_pages: int = 64
    cache_pages: int = 1 << 14
    streaming_file: bool = False
    limit_pages: int = DEFAULT_GROWTH.largest_file_pages
    log_buffer_bytes: int = 32 << 20
    policy: GrowthPolicy = DEFAULT_GROWTH
    safeguards: EngineSafeguards = ALL_SAFEGUARDS

    def __post_init__(self) -> None:
        if self.log_version not in (7, 8):
            raise ValueError(f"there are logs of version 7 and 8, not {self.log_version}")
        if self.streaming_file and self.store_format.page_bytes != STREAM_PAGE_BYTES:
            raise ValueError("a streaming file goes with pages of 4 KiB")
        if self.durability is Durability.LAZY and self.waypoint_latency < 1:
            raise ValueError("the lazy mode needs a waypoint_latency of 1 at least")
        for name in ("batch_pages", "cache_pages", "limit_pages", "checkpoint_depth_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is positive, not {getattr(self, name)}")
