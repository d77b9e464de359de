"""Reading from a block map in which the last block of a run of writes is kept short."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from simulator.blocks import BLOCK_BYTES, read_range


@given(
    st.integers(0, BLOCK_BYTES), st.integers(0, 3 * BLOCK_BYTES), st.integers(0, 2 * BLOCK_BYTES)
)
@example(BLOCK_BYTES - 2752, 2752, 2 * BLOCK_BYTES)
def test_a_short_block_reads_like_one_that_is_filled_with_zeros(held, offset, length):
    block = bytes(range(1, 256)) * (BLOCK_BYTES // 255 + 1)
    blocks = {0: block[:held], 1: block[:held], 2: block[:BLOCK_BYTES]}
    whole = b"".join(blocks[n].ljust(BLOCK_BYTES, b"\0") for n in range(3)).ljust(
        6 * BLOCK_BYTES, b"\0"
    )
    assert read_range(blocks, offset, length) == whole[offset : offset + length]
