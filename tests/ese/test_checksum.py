"""Checksums: published vectors, a plain bit-by-bit reckoning, every flip of one and two bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replicator.ese.checksum import (
    FORMAT_FLAG_BIT,
    block_checksum,
    block_sizes,
    block_sums,
    header_checksum,
    page_checksums,
    sums_of_one,
    with_checksums,
)
from replicator.ese.verification import Verdict, judge_page, quick_verdicts
from tests.ese.samples import load

SIZES = (2048, 4096, 8192, 16384, 32768)
PUBLISHED = 0x98765431


def flagged(page: bytes) -> bytearray:
    """A page that says it has the new checksum."""
    data = bytearray(page)
    data[37] |= 0x20
    return data


def real_page(size: int) -> tuple[bytes, int]:
    """A page of a real database, with its number."""
    if size == 2048:  # no real one is known
        words = np.arange(1024, dtype=np.uint16) * np.uint16(40503)
        return with_checksums(flagged(words.tobytes()), 7), 7
    name, pgno = {
        4096: ("readers-4k/basic.edb", 4),
        8192: ("readers-8k/decompress_test.edb", 4),
        16384: ("bits-16k-dirty/qmgr.db", 4),
        32768: ("readers-32k/large-pages-1-to-16.bin", 4),
    }[size]
    at = (pgno - 1) * size if name.endswith(".bin") else (pgno + 1) * size
    return load(name)[at : at + size], pgno


def test_published_vector_of_8_kib() -> None:
    page = flagged(bytes(index & 0xFF for index in range(8192)))
    assert page_checksums(page, 9876) == (0x0000000004042290,)
    page[:8] = (0x1234567889123456).to_bytes(8, "little")
    assert header_checksum(page) == 0x9F9B9F93


def test_published_vectors_of_large_pages() -> None:
    page = flagged(bytes((index + index // 13) & 0xFF for index in range(32768)))
    expected = {
        32768: (0xF9CE063147B6B865, 0x69AF69AFCDD590E4, 0x770988F62EA1A9E2, 0x7CB77CB77B839A0E),
        16384: (0x7B807B80651E03FC, 0x7C347C34BC66A14B, 0x6C7E6C7ECB3A6C94, 0x05D105D19E99A841),
        28672: (0xF9D80627E9C2387E, 0x69AF69AFCDD590E4, 0x770988F62EA1A9E2, 0x1F311F31B6717993),
    }
    for size, sums in expected.items():  # each on the buffer as the one before left it
        assert page_checksums(page[:size], PUBLISHED) == sums
        page[:size] = with_checksums(page[:size], PUBLISHED)


@given(
    seed=st.binary(min_size=1, max_size=40),
    size=st.sampled_from([2048, 4096, 8192]),
    at=st.integers(0, 8191),
    first=st.booleans(),
)
def test_one_block_is_summed_as_many_are(seed: bytes, size: int, at: int, first: bool) -> None:
    block = bytearray((seed * (size // len(seed) + 1))[:size])
    block[at % size] ^= 0x5A
    sums = block_sums(np.frombuffer(block, np.uint8).reshape(1, -1), int(first))
    assert sums_of_one(block, first_of_page=first) == (int(sums.xor[0]), int(sums.ecc[0]))


def test_blocks_of_a_page() -> None:
    assert block_sizes(8192) == (8192,)
    assert block_sizes(16384) == (4096,) * 4
    assert block_sizes(20480) == (8192, 8192, 4096)
    assert block_sizes(28672) == (8192, 8192, 8192, 4096)
    with pytest.raises(ValueError, match="no page has 4095 bytes"):
        block_sizes(4095)


@given(st.integers(0, 3), st.binary(min_size=1, max_size=64), st.integers(0, (1 << 32) - 1))
def test_the_sums_are_those_of_the_definition(exponent: int, seed: bytes, pgno: int) -> None:
    size = (2048, 4096, 8192, 2048)[exponent]
    block = (seed * size)[:size]
    ones = [
        8 * index + bit
        for index, byte in enumerate(block)
        if index >= 8
        for bit in range(8)
        if byte >> bit & 1
    ]
    low = 0
    for number in ones:
        low ^= number
    high = low ^ (8 * size - 1) if len(ones) % 2 else low
    xor = pgno
    for at in range(8, size, 4):
        xor ^= int.from_bytes(block[at : at + 4], "little")
    assert block_checksum(block, pgno) == (high << 16 | low) << 32 | xor


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
def test_a_flipped_bit_is_found_and_mended(size: int, data: st.DataObject) -> None:
    page, pgno = real_page(size)
    assert judge_page(page, pgno).verdict is Verdict.GOOD
    bit = data.draw(st.integers(64, 8 * size - 1))
    assume(bit != FORMAT_FLAG_BIT)
    broken = bytearray(page)
    broken[bit // 8] ^= 1 << bit % 8
    judgement = judge_page(broken, pgno)
    assert judgement.verdict is Verdict.MENDED
    assert judgement.flipped_bits == (bit,)
    assert judgement.mended == page
    assert judgement.events == (399,)
    assert judgement.error is None
    assert not quick_verdicts(broken, size, pgno)[0]


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.full)])
def test_every_single_flip_of_a_page_is_mended(stride: int) -> None:
    page, pgno = real_page(2048)
    bits = range(64, 8 * 2048, stride)
    assert FORMAT_FLAG_BIT in bits
    for bit in bits:
        broken = bytearray(page)
        broken[bit // 8] ^= 1 << bit % 8
        judgement = judge_page(broken, pgno)
        if bit == FORMAT_FLAG_BIT:
            assert judgement.verdict is Verdict.DAMAGED
        else:
            assert (judgement.flipped_bits, judgement.mended) == ((bit,), page)


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
def test_a_flip_in_the_checksum_or_format_flag_is_found_and_not_mended(
    size: int, data: st.DataObject
) -> None:
    page, pgno = real_page(size)
    bit = data.draw(st.integers(0, 63) | st.just(FORMAT_FLAG_BIT))
    broken = bytearray(page)
    broken[bit // 8] ^= 1 << bit % 8
    judgement = judge_page(broken, pgno)
    if bit < 32:  # the ECC says that the contents are whole: it looks like another page's
        assert judgement.verdict in (Verdict.MISPLACED, Verdict.DAMAGED)
    else:
        assert judgement.verdict is Verdict.DAMAGED
    assert judgement.error is not None
    assert judgement.error.number == -1018
    assert not quick_verdicts(broken, size, pgno)[0]


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
def test_two_flips_are_always_found(size: int, data: st.DataObject) -> None:
    page, pgno = real_page(size)
    first, second = data.draw(
        st.lists(st.integers(0, 8 * size - 1), min_size=2, max_size=2, unique=True)
    )
    broken = bytearray(page)
    for bit in (first, second):
        broken[bit // 8] ^= 1 << bit % 8
    assert not quick_verdicts(broken, size, pgno)[0]
    judgement = judge_page(broken, pgno)
    block = block_sizes(size)[0]
    if first // 8 // block == second // 8 // block:
        assert judgement.verdict in (Verdict.DAMAGED, Verdict.MISPLACED)
    if judgement.verdict is Verdict.MENDED:  # one in each of two blocks
        assert judgement.mended == page


def test_a_bit_that_must_not_be_mended_is_left_alone() -> None:
    """Checksums that point at a single wrong bit where none may be turned."""
    page, pgno = real_page(4096)
    mask = 8 * 4096 - 1
    for bit in (0, 40, 63):  # in the checksum itself
        stored = int.from_bytes(page[:8], "little")
        wrong = (bit | (bit ^ mask) << 16) << 32 | 1 << bit % 32
        judgement = judge_page((stored ^ wrong).to_bytes(8, "little") + page[8:], pgno)
        assert (judgement.verdict, judgement.flipped_bits) == (Verdict.DAMAGED, ())
    clear = bytearray(page)
    clear[37] &= ~0x20
    summed = bytearray(block_checksum(clear, pgno).to_bytes(8, "little") + page[8:])
    judgement = judge_page(summed, pgno)  # only the format flag differs from what was summed
    assert (judgement.verdict, judgement.flipped_bits) == (Verdict.DAMAGED, ())


def test_three_flips_are_not_taken_for_one() -> None:
    page, pgno = real_page(4096)
    broken = bytearray(page)
    for bit in (8 * 1000, 8 * 2001 + 1, 8 * 3002 + 2):
        broken[bit // 8] ^= 1 << bit % 8
    judgement = judge_page(broken, pgno)
    assert (judgement.verdict, judgement.flipped_bits) == (Verdict.DAMAGED, ())
    assert judgement.events == (474,)


@pytest.mark.parametrize("size", [16384, 32768])
def test_one_bit_in_each_block_is_mended(size: int) -> None:
    page, pgno = real_page(size)
    block = block_sizes(size)[0]
    bits = [8 * (number * block + 1000) + number for number in range(4)]
    broken = bytearray(page)
    for bit in bits:
        broken[bit // 8] ^= 1 << bit % 8
    judgement = judge_page(broken, pgno)
    assert judgement.flipped_bits == tuple(bits)
    assert judgement.mended == page


@pytest.mark.parametrize("size", SIZES)
def test_a_misplaced_page_is_told_with_its_own_number(size: int) -> None:
    page, pgno = real_page(size)
    judgement = judge_page(page, pgno + 1)
    assert (judgement.verdict, judgement.probable_pgno) == (Verdict.MISPLACED, pgno)
    assert judgement.error is not None
    assert judgement.error.number == -1018
    assert not quick_verdicts(page, size, pgno + 1)[0]


@pytest.mark.parametrize("size", [16384, 32768])
def test_a_large_page_with_another_number_in_its_header(size: int) -> None:
    page, pgno = real_page(size)
    other = bytearray(page)
    other[64] ^= 3
    changed = with_checksums(other, pgno)
    judgement = judge_page(changed, pgno)
    assert (judgement.verdict, judgement.probable_pgno) == (Verdict.WRONG_NUMBER, pgno ^ 3)
    assert judgement.error is not None
    assert judgement.error.number == -1118
    assert not quick_verdicts(changed, size, pgno)[0]


@pytest.mark.parametrize("size", SIZES)
def test_a_page_of_zeros_is_no_damage(size: int) -> None:
    judgement = judge_page(bytes(size), 9)
    assert judgement.verdict is Verdict.ZERO
    assert judgement.error is not None
    assert judgement.error.number == -1019


@pytest.mark.parametrize(
    ("name", "pgno", "old"),
    [
        ("page-4k-xor-pgno1.bin", 1, True),
        ("page-8k-rev09-pgno4.bin", 4, True),
        ("page-8k-rev0c-pgno4.bin", 4, False),
    ],
)
@given(data=st.data())
def test_old_pages(name: str, pgno: int, old: bool, data: st.DataObject) -> None:
    page = load(f"old-format/{name}")
    assert judge_page(page, pgno).verdict is Verdict.GOOD
    assert quick_verdicts(page, len(page), pgno)[0]
    assert with_checksums(page, pgno) == page
    misplaced = judge_page(page, pgno + 5)
    assert (misplaced.verdict, misplaced.probable_pgno) == (Verdict.MISPLACED, pgno)
    assert misplaced.events == ((475,) if old else (474,))
    bit = data.draw(st.integers(0, 8 * len(page) - 1))
    broken = bytearray(page)
    broken[bit // 8] ^= 1 << bit % 8
    assert not quick_verdicts(broken, len(page), pgno)[0]
    if old:
        assert judge_page(broken, pgno).verdict is Verdict.DAMAGED


def test_the_header_of_an_old_file_is_summed_over_its_first_668_bytes() -> None:
    header = load("old-format/header-xp-rev09.bin")
    assert len(header) == 668
    assert header_checksum(header) == int.from_bytes(header[:4], "little")
    assert header_checksum(header + bytes(4096 - 668)) == int.from_bytes(header[:4], "little")


@given(st.lists(st.sampled_from(["good", "zero", "flip", "misplaced"]), max_size=90))
def test_many_pages_at_once_are_judged_as_one_by_one(kinds: list[str]) -> None:
    page, _ = real_page(4096)
    pages = bytearray()
    for index, kind in enumerate(kinds):
        made = bytearray(with_checksums(page, 10 + index + (kind == "misplaced")))
        if kind == "flip":
            made[100 + index] ^= 8
        pages += bytes(4096) if kind == "zero" else made
    found = quick_verdicts(pages, 4096, 10).tolist()
    assert found == [kind == "good" for kind in kinds]
