"""The kinds of stores that a bench can have, chosen by the type of their figures.

The engine of Exchange is what scenarios have unless they say otherwise; the small store is a test
double, quick, and shares no code with the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from replicator.runtime.port import Runtime, Volume
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.engine_store import EngineStore
from simulator.exchange.small_store import SmallStore, SmallStoreConfig
from simulator.exchange.store import Store

StoreConfig = SmallStoreConfig | EngineStoreConfig
"""The figures of any kind of store."""


def make_store(config: StoreConfig, runtime: Runtime, volume: Volume, directory: str) -> Store:
    """A store that is not mounted yet.

    Arguments
    ---------
    config: its figures; their type says which kind.
    runtime: clocks, and the signatures of new files.
    volume, directory: where its files are.
    """
    if isinstance(config, SmallStoreConfig):
        return SmallStore(volume, directory, now_ns=runtime.now_ns, config=config)
    # Another stream in each process: what was drawn before a crash may be in files.
    name = f"store signatures {runtime.boot_id} {runtime.incarnation}"
    return EngineStore(
        volume,
        directory,
        now_ns=runtime.now_ns,
        wall_ns=runtime.wall_ns,
        random=runtime.random(name),
        config=config,
    )


def whole_bytes(config: StoreConfig) -> int:
    """What a power loss must leave whole, old or new, for the store to recover by itself.

    The small store mends torn pages from its log.  Exchange finds them by their checksum (-1018)
    and cannot, so its disks have to write a page whole.
    """
    return 0 if isinstance(config, SmallStoreConfig) else config.store_format.page_bytes


def store_figures(config: StoreConfig) -> dict[str, Any]:
    """The figures as a document has them; :func:`store_config` reads them."""
    return asdict(config)


def store_config(figures: Mapping[str, Any]) -> StoreConfig:
    """The figures of a document: those of the small store name no format."""
    return EngineStoreConfig(**figures) if "format" in figures else SmallStoreConfig(**figures)
