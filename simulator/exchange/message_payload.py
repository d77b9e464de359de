"""What is in a message: bytes that shrink as mail does, named by the message's id.

A payload is a pure function of id, size and seed: it need not be kept to be known again, and
all recipients of a message get the same bytes.  It is cut from a prepared block of cells; in
each cell some text, which repeats, is followed by noise, which does not shrink; their shares
give the wanted ratio.  The noise of a message is its slice of the block's, exclusive-or a word
made of its id: two messages never have noise in common, so a compressor that sees many of them
finds no more in the stream than in each.

Body and attachments shrink differently: text 2.5 to 4 times [M], attachments (office
documents, pictures, archives) hardly at all, 1.0 to 1.1 times [M].

Leaves out: the words of a language, HTML, duplicates among attachments of different messages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.exchange.message_sizes import MessageSizes

BLOCK_BYTES: Final = 4 << 20
CELL_BYTES: Final = 512
_WORD_BYTES: Final = 8
_CELL_COST_BYTES: Final = 5
"""What zstd writes for the text of one cell: a reference to the cell before."""
_TEXT: Final = (
    b"Received: from gateway by mailhub with SMTP; the quarterly figures are attached. "
    b"Please let me know before Thursday whether the meeting can be moved, and whether the "
    b"people in the branch offices have been told about the new mailboxes. -- Kind regards "
)
_MIX: Final = 0x9E37_79B9_7F4A_7C15
_WORD: Final = (1 << 64) - 1

LARGEST_RATIO: Final = 50.0


@dataclass(frozen=True, slots=True)
class _Block:
    """Bytes, and which of them are noise (all bits set); as words."""

    content: NDArray[np.uint64]
    noise: NDArray[np.uint64]


@lru_cache(maxsize=8)
def _block(ratio: float, seed: int) -> _Block:
    wanted = CELL_BYTES / ratio - _CELL_COST_BYTES if ratio > 1 else CELL_BYTES
    noise_words = round(min(max(wanted, 0), CELL_BYTES) / _WORD_BYTES)
    words = CELL_BYTES // _WORD_BYTES
    cells = BLOCK_BYTES // CELL_BYTES
    text = (_TEXT * (CELL_BYTES // len(_TEXT) + 1))[: (words - noise_words) * _WORD_BYTES]
    bits = hashlib.shake_128(b"message %d" % seed).digest(cells * noise_words * _WORD_BYTES)
    content = np.empty((cells, words), dtype="<u8")
    content[:, : words - noise_words] = np.frombuffer(text, dtype="<u8")
    content[:, words - noise_words :] = np.frombuffer(bits, dtype="<u8").reshape(cells, noise_words)
    noise = np.zeros_like(content)
    noise[:, words - noise_words :] = _WORD
    # A payload may begin in any cell and run over the end once.
    return _Block(np.tile(content.reshape(-1), 2), np.tile(noise.reshape(-1), 2))


@dataclass(frozen=True)
class PayloadMaker:
    """Makes the bytes of messages.

    Arguments
    ---------
    body_ratio, attachment_ratio: how many times smaller zstd makes them; 1 is not at all.
    seed: names the noise.
    """

    body_ratio: float = 3.0
    attachment_ratio: float = 1.05
    seed: int = 0

    def __post_init__(self) -> None:
        for ratio in (self.body_ratio, self.attachment_ratio):
            if not 1.0 <= ratio <= LARGEST_RATIO:
                raise ValueError(f"a ratio lies between 1 and {LARGEST_RATIO:g}, not {ratio}")

    @classmethod
    def saving(
        cls, share: float, sizes: MessageSizes, body_ratio: float = 3.0, seed: int = 0
    ) -> PayloadMaker:
        """The maker whose messages, over all bytes, shrink by ``share``.

        The planners count on 30 % for logs [M].  The attachments' ratio is chosen so that it
        comes out.  Raises ValueError where no ratio gives it.
        """
        attached = sizes.attachment_byte_share
        left = 1.0 - share - (1.0 - attached) / body_ratio
        if not attached / LARGEST_RATIO <= left <= attached:
            raise ValueError(f"bodies that shrink {body_ratio:g} times leave no way to {share:.0%}")
        return cls(body_ratio, attached / left, seed)

    def body(self, message_id: int, size_bytes: int) -> bytes:
        """The body: headers and text."""
        return self._take(self.body_ratio, message_id * 16, size_bytes)

    def attachment(self, message_id: int, number: int, size_bytes: int) -> bytes:
        """Attachment ``number`` of the message, from 0; at most eight."""
        return self._take(self.attachment_ratio, message_id * 16 + 1 + number, size_bytes)

    def message(self, message_id: int, size_bytes: int, attachments: tuple[int, ...]) -> bytes:
        """Body and attachments in one, ``size_bytes`` long."""
        parts = [self.body(message_id, size_bytes - sum(attachments))]
        parts += [self.attachment(message_id, at, size) for at, size in enumerate(attachments)]
        return b"".join(parts)

    def _take(self, ratio: float, name: int, size_bytes: int) -> bytes:
        block = _block(ratio, self.seed)
        word = (name + 1) * _MIX & _WORD
        word = (word ^ word >> 29) * _MIX & _WORD
        key = np.uint64(word)
        begin = (word >> 40) % (BLOCK_BYTES // CELL_BYTES) * (CELL_BYTES // _WORD_BYTES)
        parts = []
        left = size_bytes
        while left > 0:
            # Longer ones go round, each time with another word.
            words = min(-(-left // _WORD_BYTES), BLOCK_BYTES // _WORD_BYTES)
            place = slice(begin, begin + words)
            mixed = np.bitwise_and(block.noise[place], key)
            np.bitwise_xor(mixed, block.content[place], out=mixed)
            parts.append(mixed.tobytes()[:left] if words * _WORD_BYTES > left else mixed.tobytes())
            left -= words * _WORD_BYTES
            key = np.uint64(int(key) * _MIX & _WORD)
        return parts[0] if len(parts) == 1 else b"".join(parts)
