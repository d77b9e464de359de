"""What earlier runs of one scenario found out and later ones may take from them.

A campaign runs one scenario under thousands of fault plans.  Four things come out the same in
each of them, and are found once:

* **What a store's mount finds in an image.**  It is a function of the image's bytes and names,
  and the image digest stands for those.  Whether that is what *should* be there depends on the
  run, and is judged anew each time.
* **What an examination finds before the plan's first fault.**  Until then runs with one seed
  are one and the same run, event by event.
* **What zstd makes of a batch.**  As long as the source is not hit it captures the same records
  at the same times, and most of them go in the same batches.
* **What reading a store's files makes of pages and logs** in a format of Exchange, in the many
  images that are not quite the same (:mod:`replicator.ese.recall`,
  :mod:`simulator.exchange.ese.known_messages`).

All tables are bounded; what was not used for longest goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import xxhash

from replicator.compression import contexts
from replicator.ese.page_editor import PageEditor
from replicator.ese.recall import Key, KnownLog, Recall
from replicator.safeguards import Safeguards
from simulator.exchange.ese.known_messages import KnownMessages
from simulator.remembered import Remembered

if TYPE_CHECKING:
    from simulator.oracle import ImageVerdict

LIMIT_MESSAGES: Final = 100_000
"""So many messages of mounted images are remembered, each of some 200 bytes."""
LIMIT_VERDICTS: Final = 4096
LIMIT_PACKED_BYTES: Final = 16 << 20
LIMIT_PAGES_BYTES: Final = 24 << 20
LIMIT_LOGS_BYTES: Final = 32 << 20
"""Of pages and logs of stores in memory; most mounts of a small store find theirs in less."""


@dataclass(frozen=True, slots=True)
class ImageContents:
    """What the store's own recovery made of an image."""

    messages: dict[int, bytes]
    """Message id to digest of its payload."""
    never_made: bool = False
    """Nothing is there: the store had not been created at that operation."""
    refusal: str = ""
    """Why the store does not mount; empty when it does."""
    error_number: int | None = None
    """The engine's own number of that, where it has one."""
    replayed_logs: int | None = None
    """Generations that its recovery went through; None where they are not counted."""


class KnownImages(Remembered[int, ImageContents]):
    """Contents of images by their digest; of one configuration of one kind of store."""

    def __init__(self, limit_messages: int = LIMIT_MESSAGES) -> None:
        super().__init__(limit_messages)

    def note(self, digest: int, contents: ImageContents) -> None:
        """Remember what a mount found."""
        self.keep(digest, contents, 1 + len(contents.messages))


class KnownPacks(Remembered[tuple[int, bytes], bytes]):
    """Compressed batches by level and xxh3_128 of what is in them."""

    def __init__(self, limit_bytes: int = LIMIT_PACKED_BYTES) -> None:
        super().__init__(limit_bytes)

    def packing(self, level: int) -> Callable[[bytes], bytes]:
        """A function that compresses at a level."""
        return partial(self.pack, level)

    def pack(self, level: int, data: bytes) -> bytes:
        """One zstd frame that holds ``data``."""
        key = level, xxhash.xxh3_128_digest(data)
        packed = self.get(key)
        if packed is None:
            packed = contexts(level).compress(data)
            self.keep(key, packed, len(packed))
        return packed


class Known:
    """All of it, for the runs of one scenario."""

    def __init__(self) -> None:
        self.images = KnownImages()
        self.packs = KnownPacks()
        self.verdicts: Remembered[tuple[int, Safeguards, str, int], ImageVerdict] = Remembered(
            LIMIT_VERDICTS
        )
        """Before the first fault: by seed, safeguards, occasion and instant."""
        self.pages: Remembered[Key, PageEditor] = Remembered(LIMIT_PAGES_BYTES)
        self.logs: Remembered[Key, KnownLog] = Remembered(LIMIT_LOGS_BYTES)
        self.recall = Recall(self.pages, self.logs)
        self.messages = KnownMessages()
