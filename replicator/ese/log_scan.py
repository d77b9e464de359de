"""What is asked of the verdict on a log's content, of whatever version the log is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from replicator.ese.errors import EseError


class LogScan(Protocol):
    """A log's content as it was judged; see ``SegmentScan`` (version 8), ``SectorScan`` (7)."""

    @property
    def unit(self) -> str:
        """What ``tally`` counts: ``segments`` or ``sectors``."""

    @property
    def tally(self) -> Mapping[str, int]:
        """How many units are what, by the word for it."""

    @property
    def accumulated_checksum(self) -> int | None:
        """What the next log names as the checksum of this one; None where none does."""

    def damage(self, path: str | None, *, closed: bool) -> EseError | None:
        """The error that the engine gives for this content, or None.

        Arguments
        ---------
        path: the file, for the error.
        closed: whether the log is complete, so that nothing in it may be torn.
        """

    def notes(self, path: str | None) -> Iterator[EseError]:
        """What is worth telling and no error."""
