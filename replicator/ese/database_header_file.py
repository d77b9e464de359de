"""The header of a database that is in use: read once, then written with each change.

Both copies are written in order and made durable (:mod:`replicator.ese.header_copies`); a step
that no engine takes is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Self

from replicator.errors import ReplicatorError
from replicator.ese.checksum import PAGE_SIZES
from replicator.ese.database_header import ALLOWED_NEXT, DatabaseHeader, read_database_header
from replicator.ese.database_state import check_generations
from replicator.ese.errors import EseError
from replicator.ese.header_copies import ALL_SAFEGUARDS, HeaderCopies, HeaderSafeguards, sealed
from replicator.ese.values import Signature
from replicator.runtime.port import File, Volume


class DatabaseHeaderFile:
    """The header of one open database file; made by :meth:`create` or :meth:`open`.

    Attributes
    ----------
    header: as it is on disk.
    """

    def __init__(
        self, copies: HeaderCopies, header: DatabaseHeader, flush_signature: Callable[[], Signature]
    ) -> None:
        self._copies = copies
        self._flush_signature = flush_signature
        self._failure: ReplicatorError | None = None
        self.header = header

    @classmethod
    async def create(
        cls,
        volume: Volume,
        file: File,
        header: DatabaseHeader,
        flush_signature: Callable[[], Signature],
        safeguards: HeaderSafeguards = ALL_SAFEGUARDS,
    ) -> Self:
        """Write the header of a new database.

        Arguments
        ---------
        volume, file: the database, open; its pages may follow in any order.
        header: see :func:`replicator.ese.database_state.created`.
        flush_signature: draws a new signature for each write; the flush map pairs with it.
        """
        made = cls(HeaderCopies(volume, file, safeguards), header, flush_signature)
        await made._put(header)
        return made

    @classmethod
    async def open(
        cls,
        volume: Volume,
        file: File,
        flush_signature: Callable[[], Signature],
        safeguards: HeaderSafeguards = ALL_SAFEGUARDS,
    ) -> Self:
        """Read the header of a database that will be written, and mend a damaged copy.

        Raises EseError as :func:`replicator.ese.database_header.read_database_header` does.
        """
        copies = HeaderCopies(volume, file, safeguards)
        header, reading = read_database_header(await copies.start(max(PAGE_SIZES)))
        await copies.repair(reading)
        return cls(copies, header, flush_signature)

    async def write(self, header: DatabaseHeader) -> None:
        """Write the next header; it is durable when this returns.

        Raises ValueError for what is no next state of the one on disk: another identity or page
        size, a step between states that no engine takes, generations out of order.  After a
        failed write every later one raises EseError -1022 (event 439).
        """
        self._check_step(header)
        await self._put(header)

    def _check_step(self, header: DatabaseHeader) -> None:
        before = self.header
        if header.page_size != before.page_size:
            raise ValueError(f"the page size does not change to {header.page_size}")
        if header.database_signature != before.database_signature:
            raise ValueError("a database keeps its signature")
        if header.state is None or before.state is None:
            raise ValueError(f"{header.state_title} does not follow {before.state_title}")
        if header.state is not before.state and header.state not in ALLOWED_NEXT[before.state]:
            raise ValueError(f"no step leads from {before.state_title} to {header.state_title}")
        check_generations(header)

    async def _put(self, header: DatabaseHeader) -> None:
        if self._failure is not None:
            detail = f"the header was not written before: {self._failure}"
            path = self._copies.file.path
            raise EseError(-1022, detail, path=path, events=(439,)) from self._failure
        header = replace(header, header_flush_signature=self._flush_signature())
        block = sealed(header.encode(), header.page_size)
        try:
            await self._copies.write(block)
        except ReplicatorError as error:
            self._failure = error
            raise
        self.header = DatabaseHeader.decode(block)
