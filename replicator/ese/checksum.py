"""The two checksums of ESE: XOR of dwords, and ECC + XOR in 64 bits, over many blocks at once.

E src/checksum, src/ese/_osu/checksumu.cxx; V.

The ECC of a block is the XOR of the numbers of all its one bits (L), and the XOR of their
complements (H).  Bit b of the dword at index i has the number ``32 * i + b``.  So, for a block
seen as a table of rows and columns of dwords, the row part of L needs only the parity of each
row, the column part and the five bit-in-dword parts only the XOR of all rows.  Two passes over
the data and a little work on their sums give everything (docs/benchmarks.md has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

MAGIC: Final = 0x89ABCDEF
"""Seed of the plain XOR, and the magic number of a database header."""

NEW_CHECKSUM_FLAG: Final = 0x2000
"""Bit of the dword at byte 36 that selects ECC + XOR."""

FORMAT_FLAG_BIT: Final = 36 * 8 + 13
"""The same bit by its number in the block: the ECC never mends it."""

PAGE_SIZES: Final = (2048, 4096, 8192, 16384, 32768)
CHECKSUM_BYTES: Final = 8
_ONE_BLOCK: Final = (2048, 4096, 8192)
MORE_CHECKSUMS_AT: Final = 40
"""Pages above 8 KiB keep the checksums of blocks 1, 2 and 3 from here on."""

_ROW_BYTES: Final = 512

U32: TypeAlias = npt.NDArray[np.uint32]
U64: TypeAlias = npt.NDArray[np.uint64]


class Sums(NamedTuple):
    """What :func:`block_sums` finds, an entry a block."""

    xor: U32
    ecc: U32


def header_checksum(block: bytes | memoryview) -> int:
    """The XOR checksum of a header block: its first dword must be equal to it.

    Arguments
    ---------
    block: the whole block, a multiple of 4 bytes; what its first dword holds does not matter.
    """
    words = np.frombuffer(block, "<u4")
    return MAGIC ^ int(np.bitwise_xor.reduce(words[1:], initial=0))


def block_sizes(page_size: int) -> tuple[int, ...]:
    """The blocks that a page is summed in, in bytes; pages shrunk in memory included.

    Raises ValueError for a size that no page has.
    """
    if page_size in (2048, 4096, 8192):
        return (page_size,)
    if page_size == 16384:
        return (4096,) * 4
    if page_size in (20480, 24576, 28672, 32768):
        # A page shrunk in memory keeps a remainder of 4 KiB as its last block.
        whole, rest = divmod(page_size, 8192)
        sizes = (8192,) * whole + ((rest,) if rest else ())
        return sizes
    raise ValueError(f"no page has {page_size} bytes")


@dataclass(frozen=True, slots=True)
class _Masks:
    rows: U32
    columns: U32


@cache
def _masks(block_bytes: int) -> _Masks:
    """The numbers of rows and of columns, as their parts of L."""
    columns = _ROW_BYTES // 4
    rows = block_bytes // _ROW_BYTES
    row_shift = 5 + (columns - 1).bit_length()
    return _Masks(
        np.arange(rows, dtype=np.uint32) << np.uint32(row_shift),
        np.arange(columns, dtype=np.uint32) << np.uint32(5),
    )


def _parity(values: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.bool_]:
    odd: npt.NDArray[np.bool_] = (np.bitwise_count(values) & 1).astype(np.bool_)
    return odd


def block_sums(blocks: npt.NDArray[np.uint8], blocks_a_page: int) -> Sums:
    """XOR and ECC of many blocks of one size.

    Arguments
    ---------
    blocks: shape (count, bytes), bytes a power of two from 2048 to 8192; rows contiguous.
    blocks_a_page: the first of every so many blocks begins with its checksum, eight bytes that
        count as zero; 0 when none does.

    Returns
    -------
    The XOR of all dwords (still without the page number), and ``H << 16 | L``.
    """
    count, block_bytes = blocks.shape
    rows = block_bytes // _ROW_BYTES
    masks = _masks(block_bytes)
    words: U64 = blocks.view("<u8").reshape(count, rows, _ROW_BYTES // 8)
    row_sums = np.bitwise_xor.reduce(words, axis=2)
    column_sums = np.bitwise_xor.reduce(words, axis=1)
    if blocks_a_page:
        row_sums[::blocks_a_page, 0] ^= words[::blocks_a_page, 0, 0]
        column_sums[::blocks_a_page, 0] ^= words[::blocks_a_page, 0, 0]
    columns: U32 = column_sums.view("<u4")
    xor: U32 = np.bitwise_xor.reduce(columns, axis=1)
    low = np.bitwise_xor.reduce(np.where(_parity(row_sums), masks.rows, np.uint32(0)), axis=1)
    low ^= np.bitwise_xor.reduce(np.where(_parity(columns), masks.columns, np.uint32(0)), axis=1)
    for bit, mask in enumerate((0xAAAAAAAA, 0xCCCCCCCC, 0xF0F0F0F0, 0xFF00FF00, 0xFFFF0000)):
        low |= _parity(xor & np.uint32(mask)).astype(np.uint32) << np.uint32(bit)
    full = np.uint32(8 * block_bytes - 1)
    high = np.where(_parity(xor), low ^ full, low)
    return Sums(xor, (high << np.uint32(16)) | low)


_FIRST_BYTES: Final = (1 << 8 * CHECKSUM_BYTES) - 1
_DWORD_BITS: Final = 32


def sums_of_one(block: bytes | bytearray | memoryview, *, first_of_page: bool) -> tuple[int, int]:
    """The same as :func:`block_sums` of one block, in a tenth of the time.

    The block is one long number.  Bit by bit of the positions, from the highest on: the parity of
    the upper half, in which that bit is set, is this bit of L; then the halves are put together.
    What is left at last is the XOR of all dwords.

    Arguments
    ---------
    block: 2048, 4096 or 8192 bytes.
    first_of_page: the first eight bytes count as zero.
    """
    value = int.from_bytes(block, "little")
    if first_of_page:
        value ^= value & _FIRST_BYTES
    low, bits = 0, 8 * len(block)
    full = bits - 1
    xor = 0
    while bits > 1:
        if bits == _DWORD_BITS:
            xor = value
        bits >>= 1
        upper = value >> bits
        value ^= upper << bits ^ upper
        if upper.bit_count() & 1:
            low |= bits
    return xor, (low ^ full if value else low) << 16 | low


def block_checksum(block: bytes | memoryview, seed: int, *, first_of_page: bool = True) -> int:
    """The 64-bit ECC + XOR checksum of one block.

    Arguments
    ---------
    block: 2048, 4096 or 8192 bytes.
    seed: page number, map page number or segment number.
    first_of_page: the first eight bytes count as zero.
    """
    xor, ecc = sums_of_one(block, first_of_page=first_of_page)
    return ecc << 32 | (xor ^ seed & 0xFFFFFFFF)


def uses_new_checksum(page: bytes | memoryview) -> bool:
    """Whether the page says that its checksum is ECC + XOR."""
    return bool(int.from_bytes(page[36:40], "little") & NEW_CHECKSUM_FLAG)


def checksum_offsets(blocks: int) -> tuple[int, ...]:
    """Where in the page the checksum of each block stands."""
    return (0, *(MORE_CHECKSUMS_AT + 8 * number for number in range(blocks - 1)))


def page_checksums(page: bytes | memoryview, pgno: int) -> tuple[int, ...]:
    """What the checksum fields of a page must hold, by its own format flag.

    Blocks 1 to 3 come first when a page is written, because block 0 covers their checksums;
    the value for block 0 is therefore that of a page with the others stored.  The old format
    gives one number: XOR in the low dword, page number in the high.
    """
    if not uses_new_checksum(page):
        words = np.frombuffer(page, "<u4")
        xor = MAGIC ^ int(np.bitwise_xor.reduce(words[2:])) ^ pgno
        return (pgno << 32 | xor,)
    sizes = block_sizes(len(page))
    data = bytearray(page)
    sums = [0] * len(sizes)
    start = len(page)
    offsets = checksum_offsets(len(sizes))
    for number in reversed(range(len(sizes))):
        start -= sizes[number]
        block = memoryview(data)[start : start + sizes[number]]
        sums[number] = block_checksum(block, pgno, first_of_page=number == 0)
        data[offsets[number] : offsets[number] + 8] = sums[number].to_bytes(8, "little")
    return tuple(sums)


def is_as_summed(page: bytes | memoryview, pgno: int) -> bool:
    """Whether a page of one block has just the checksum of its bytes, in the new format.

    For True there is nothing more to judge; False says nothing: it may be of another format or
    size, or mendable.
    """
    if not _is_one_new_block(page):
        return False
    return block_checksum(page, pgno) == int.from_bytes(page[:CHECKSUM_BYTES], "little")


def _is_one_new_block(page: bytes | memoryview) -> bool:
    return len(page) in _ONE_BLOCK and uses_new_checksum(page)


def with_checksums(page: bytes | memoryview, pgno: int) -> bytes:
    """The page as it would be written: all checksum fields filled in."""
    if _is_one_new_block(page):
        return block_checksum(page, pgno).to_bytes(CHECKSUM_BYTES, "little") + page[CHECKSUM_BYTES:]
    data = bytearray(page)
    sums = page_checksums(page, pgno)
    for offset, value in zip(checksum_offsets(len(sums)), sums, strict=True):
        data[offset : offset + 8] = value.to_bytes(8, "little")
    return bytes(data)
