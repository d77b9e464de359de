"""Times of log headers, as the port tells times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from replicator.ese.values import LogTime

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_US: Final = 1_000
_US_PER_SECOND: Final = 1_000_000


def wall_ns_of(time: LogTime) -> int:
    """Nanoseconds since 1970-01-01 UTC; 0 for a time that does not exist.

    Local time, as engines before the flag wrote it, is taken for UTC.
    """
    moment = time.moment
    if moment is None:
        return 0
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    return max(0, (seconds * _US_PER_SECOND + since.microseconds) * _NS_PER_US)


__all__ = ["wall_ns_of"]
