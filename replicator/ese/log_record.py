"""A record of a log, of whatever version, and the place where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.ese.log_page_records import Record
from replicator.ese.log_record_types import title_of
from replicator.ese.log_records import decode_record
from replicator.ese.values import LogPosition


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record and where it stands; of a record in pieces, where its first piece does.

    Arguments
    ---------
    position: its LGPOS.
    data: all of its bytes.
    """

    position: LogPosition
    data: bytes
    _content: Record | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def number(self) -> int:
        return self.data[0]

    @property
    def title(self) -> str:
        """The name of its type, as the engine's tools print it."""
        return title_of(self.data[0])

    @property
    def content(self) -> Record:
        """What it says; decoded when it is first asked for."""
        if self._content is None:
            object.__setattr__(self, "_content", decode_record(self.data))
        assert self._content is not None
        return self._content
