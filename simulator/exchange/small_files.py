"""What the small store's modules share: the open files, the switches, careful writes.

:class:`Safeguards` lists what keeps the store whole.  All are on.  Tests switch them off one
by one to show that the bench notices: a safeguard that can be left out without any test
failing guards nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from replicator.errors import NoSpace, SpoolFull
from replicator.runtime.port import File, Volume
from simulator.exchange.small_checkpoint import CHECKPOINT_NAME
from simulator.exchange.small_pages import PAGE_BYTES, PageContent, encode_page

DATABASE_NAME: Final = "priv1.edb"
WRITTEN_AT_ONCE: Final = 32
"""Pages written between two looks at the volume's back-pressure."""


@dataclass(frozen=True, slots=True)
class Safeguards:
    """Switches for tests; see the module."""

    sync_log_before_commit: bool = True
    """A commit is acknowledged only after its log block was synced."""
    log_before_page: bool = True
    """A page is written only after the log block that changed it was synced."""
    page_checksums: bool = True
    """Pages are verified when they are read."""
    block_checksums: bool = True
    """Log blocks are verified when they are read."""
    sync_pages_before_checkpoint: bool = True
    """The checkpoint moves only past pages that were synced."""
    checkpoint_in_two_steps: bool = True
    """The second copy is written after the first was synced."""
    checkpoint_before_delete: bool = True
    """Generations are deleted only after the checkpoint that frees them was synced."""
    sync_directory_after_roll: bool = True
    """The new names are made durable before a block goes into the new generation."""
    write_again_after_recovery: bool = True
    """Recovery writes again what it has read: it may be in the cache only."""
    sync_after_recovery: bool = True
    """What recovery found in place is synced before the checkpoint moves past it."""
    whole_copy_last: bool = True
    """Recovery overwrites the copy of the checkpoint that it relied on after the other one."""


ALL_SAFEGUARDS: Final = Safeguards()


def join(directory: str, name: str) -> str:
    """The path of a file in the store's directory."""
    return f"{directory.rstrip('/')}/{name}"


@dataclass(frozen=True, slots=True)
class Paths:
    """The store's directory and the names in it that do not change."""

    directory: str

    @property
    def database(self) -> str:
        return join(self.directory, DATABASE_NAME)

    @property
    def checkpoint(self) -> str:
        return join(self.directory, CHECKPOINT_NAME)

    def of(self, name: str) -> str:
        return join(self.directory, name)


def write_fully(file: File, offset: int, data: bytes) -> None:
    """Write all of ``data``; a write cut short is an error."""
    written = file.write_at(offset, data)
    if written != len(data):
        raise NoSpace(
            f"only {written} of {len(data)} bytes could be written",
            path=file.path,
            offset=offset,
        )


def write_page(database: File, signature: int, page: int, content: PageContent) -> None:
    """Write one page with one call."""
    write_fully(database, page * PAGE_BYTES, encode_page(signature, page, content))


async def admit_pages(volume: Volume, most: int) -> int:
    """Wait until pages may be written, and return how many: fewer where there is never more room.

    Raises SpoolFull when there is never room for one.
    """
    while True:
        try:
            await volume.admit(most * PAGE_BYTES, most)
        except SpoolFull:
            if most == 1:
                raise
            most //= 2
        else:
            return most


async def write_pages(
    volume: Volume, database: File, signature: int, pages: dict[int, PageContent]
) -> None:
    """Write pages in batches, with the volume's leave; nothing is synced."""
    numbers = list(pages)
    while numbers:
        count = await admit_pages(volume, min(len(numbers), WRITTEN_AT_ONCE))
        for number in numbers[:count]:
            write_page(database, signature, number, pages[number])
        del numbers[:count]
