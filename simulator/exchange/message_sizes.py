"""How large messages are, and what of it is attachments.

Models: the distribution of sizes sampled on mail servers in 2002 [T], stretched so that its
mean is the profile's.  It has a tail that no log-normal fitted to its middle would have: one
message in ten is larger than 64 KB, and those carry 86 % of the bytes.  Between the sampled
points sizes are spread evenly in the logarithm; before stretching, the smallest has 900 bytes
[D], the largest 10 MB, the limit in the vendor's examples [V].  Messages above 32 KB have
attachments [A]: the body is drawn anew from the sizes below that, the rest is cut into a few
attachments.

Leaves out: the kinds of contents, and that a person's messages resemble each other.

Sizes are drawn from a table of whole bytes with nothing but multiplication and addition, so
that they do not depend on how a processor rounds logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLED_SIZES: Final = (
    (900, 0.0),
    (2 << 10, 0.235),
    (4 << 10, 0.492),
    (8 << 10, 0.676),
    (16 << 10, 0.796),
    (32 << 10, 0.854),
    (64 << 10, 0.905),
    (128 << 10, 0.933),
    (256 << 10, 0.957),
    (512 << 10, 0.972),
    (1 << 20, 0.985),
    (2 << 20, 0.9996),
    (10 << 20, 1.0),
)
"""Size in bytes, and share of the messages below it."""

_POINTS_IN_BIN: Final = 32
MOST_ATTACHMENTS: Final = 8


@dataclass(frozen=True, slots=True)
class DrawnSizes:
    """Sizes of some messages: body and attachments, in bytes, and how many attachments."""

    size_bytes: NDArray[np.int64]
    attachment_bytes: NDArray[np.int64]
    attachments: NDArray[np.int64]


@dataclass(frozen=True)
class MessageSizes:
    """The distribution.

    Arguments
    ---------
    mean_bytes: of whole messages.
    attached_above_bytes: larger messages have attachments.
    more_attachments: chance that one more attachment follows, up to eight in all [A].
    """

    mean_bytes: float
    attached_above_bytes: int = 32 << 10
    more_attachments: float = 0.3

    def __post_init__(self) -> None:
        if not 1 << 10 <= self.mean_bytes <= 10 << 20:
            raise ValueError("a mean size lies between 1 KiB and 10 MiB")
        if self.attached_above_bytes < 1 or not 0 <= self.more_attachments < 1:
            raise ValueError("a size must be positive, a chance at least 0 and below 1")

    @cached_property
    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares and sizes, so fine that straight lines between them will do."""
        shares, sizes = [0.0], [float(SAMPLED_SIZES[0][0])]
        for (low, share_low), (high, share_high) in pairwise(SAMPLED_SIZES):
            for point in range(1, _POINTS_IN_BIN + 1):
                part = point / _POINTS_IN_BIN
                shares.append(share_low + part * (share_high - share_low))
                sizes.append(float(round(low * (high / low) ** part)))
        at, size = np.array(shares), np.array(sizes)
        mean = float(np.sum(np.diff(at) * (size[1:] + size[:-1]) / 2))
        return at, size * (self.mean_bytes / mean)

    @property
    def largest_bytes(self) -> int:
        return int(self._table[1][-1])

    @property
    def attached_share(self) -> float:
        """Share of the messages that have attachments."""
        at, size = self._table
        return 1.0 - float(np.interp(self.attached_above_bytes, size, at))

    @cached_property
    def attachment_byte_share(self) -> float:
        """Share of all bytes that lies in attachments."""
        at, size = self._table
        plain = 1.0 - self.attached_share
        grid = np.append(at[at < plain], plain)
        bodies = float(np.trapezoid(np.interp(grid, at, size), grid))
        # Bodies of messages with attachments are drawn from the same sizes.
        return 1.0 - (bodies / plain if plain > 0 else 0.0) / self.mean_bytes

    def draw(self, count: int, random: np.random.Generator) -> DrawnSizes:
        """Sizes of so many messages."""
        at, size = self._table
        drawn, body, more = random.random((3, count))
        sizes = np.interp(drawn, at, size).astype(np.int64)
        bodies = np.interp(body * (1.0 - self.attached_share), at, size).astype(np.int64)
        attached = sizes > self.attached_above_bytes
        attachment_bytes = np.where(attached, sizes - np.minimum(bodies, sizes - 1), 0)
        chances = self.more_attachments ** np.arange(1, MOST_ATTACHMENTS)
        number = 1 + np.sum(more[:, None] < chances, axis=1)
        return DrawnSizes(sizes, attachment_bytes, np.where(attached, number, 0))


def cut_attachments(total_bytes: int, count: int, message_id: int) -> tuple[int, ...]:
    """Sizes of the attachments of one message, which add up to ``total_bytes``.

    The first is the largest; by how much is a function of the message's id.
    """
    sizes = []
    for left in range(count, 1, -1):
        share = 256 + (message_id * 2_654_435_761 + left * 40_503 >> 7) % 256
        part = max(total_bytes // left, total_bytes * share // 512)
        part = min(part, total_bytes - (left - 1))
        sizes.append(max(part, 0))
        total_bytes -= sizes[-1]
    return (*sizes, total_bytes) if count else ()
