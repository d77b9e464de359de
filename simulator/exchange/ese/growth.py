"""How trees and the file grow: the figures of which the engine's own rules are made up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class GrowthPolicy:
    """How many pages are given at a time [I: the engine's own rules depend on more].

    Arguments
    ---------
    smallest_extent_pages: least that a tree gets from its parent.
    growth_percent: of what it owns, when that is more.
    largest_extent_pages: most that it gets at once.
    extension_pages: by so many pages the file grows.
    largest_file_pages: it does not grow beyond.
    split_buffer_pages: what a split buffer is filled up by.
    """

    smallest_extent_pages: int = 16
    growth_percent: int = 10
    largest_extent_pages: int = 128
    extension_pages: int = 256
    largest_file_pages: int = 0x7FFFFFFE
    split_buffer_pages: int = 8


DEFAULT_GROWTH: Final = GrowthPolicy()
