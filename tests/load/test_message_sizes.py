"""How large messages are and what is in them."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from simulator.exchange.message_payload import BLOCK_BYTES, PayloadMaker
from simulator.exchange.message_sizes import (
    MOST_ATTACHMENTS,
    SAMPLED_SIZES,
    MessageSizes,
    cut_attachments,
)


@pytest.fixture(scope="module")
def drawn():
    """As sampled: with the mean of the sampled sizes nothing is stretched."""
    sizes = MessageSizes(52.97 * 1024)
    return sizes, sizes.draw(300_000, np.random.default_rng(1))


def test_sizes_are_those_that_were_sampled(drawn) -> None:
    size = drawn[1].size_bytes
    for limit, share in SAMPLED_SIZES[1:-1]:
        assert np.mean(size < limit) == pytest.approx(share, abs=0.004), limit
    assert size.min() >= 890 and size.max() <= drawn[0].largest_bytes
    # Derived from the table by others: the large carry most of the bytes.
    assert size[size > 64 << 10].sum() / size.sum() == pytest.approx(0.86, abs=0.02)
    assert size[size > 1 << 20].sum() / size.sum() == pytest.approx(0.44, abs=0.03)


@pytest.mark.parametrize("kib", [50, 53, 75])
def test_the_mean_is_the_profiles(kib) -> None:
    sizes = MessageSizes(kib * 1024).draw(300_000, np.random.default_rng(2))
    # The standard error of the mean of so many is 0.8 %.
    assert sizes.size_bytes.mean() / 1024 == pytest.approx(kib, rel=0.03)


def test_large_messages_have_attachments(drawn) -> None:
    sizes, one = drawn
    attached = one.attachments > 0
    assert (attached == (one.size_bytes > sizes.attached_above_bytes)).all()
    assert (one.attachment_bytes < one.size_bytes).all()
    assert (one.attachment_bytes[~attached] == 0).all()
    assert (one.size_bytes - one.attachment_bytes).max() <= sizes.attached_above_bytes
    assert attached.mean() == pytest.approx(sizes.attached_share, rel=0.02)
    in_attachments = one.attachment_bytes.sum() / one.size_bytes.sum()
    assert in_attachments == pytest.approx(sizes.attachment_byte_share, abs=0.005)
    count = np.bincount(one.attachments[attached], minlength=MOST_ATTACHMENTS + 1)
    assert count[2:4] / count[1:3] == pytest.approx([0.3, 0.3], rel=0.1)


@given(st.integers(1, 10 << 20), st.integers(0, MOST_ATTACHMENTS), st.integers(0, 1 << 62))
def test_attachments_add_up(total, count, message_id) -> None:
    parts = cut_attachments(total, count, message_id)
    assert len(parts) == count
    assert sum(parts) == (total if count else 0)
    assert min(parts, default=0) >= (1 if total >= count else 0) or not count


@pytest.mark.parametrize("mean", [0, 100, 11 << 20, float("nan")])
def test_a_mean_beyond_the_model_is_refused(mean) -> None:
    with pytest.raises(ValueError, match="mean size"):
        MessageSizes(mean)


# --- contents -----------------------------------------------------------------------------


def ratio(content: bytes) -> float:
    return len(content) / len(zstandard.ZstdCompressor(level=3).compress(content))


@pytest.mark.parametrize("wanted", [1.0, 1.05, 1.34, 2.0, 3.0, 4.0])
def test_contents_shrink_as_wanted(wanted) -> None:
    maker = PayloadMaker(wanted, wanted)
    assert ratio(maker.body(7, 256 << 10)) == pytest.approx(wanted, rel=0.06)
    # Many messages in one stream shrink no more than each: they have no noise in common.
    stream = b"".join(maker.attachment(name, 0, 16 << 10) for name in range(128))
    assert ratio(stream) == pytest.approx(wanted, rel=0.06)


def test_the_saving_of_the_planners() -> None:
    sizes = MessageSizes(50 << 10)
    maker = PayloadMaker.saving(0.3, sizes)
    drawn = sizes.draw(500, np.random.default_rng(3))
    columns = (drawn.size_bytes, drawn.attachment_bytes, drawn.attachments)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    content = [
        maker.message(name, size, cut_attachments(attached, count, name))
        for name, (size, attached, count) in enumerate(rows)
    ]
    assert [len(each) for each in content] == drawn.size_bytes.tolist()
    assert 1 - 1 / ratio(b"".join(content)) == pytest.approx(0.3, abs=0.03)
    with pytest.raises(ValueError, match="no way to 99%"):
        PayloadMaker.saving(0.99, sizes)
    with pytest.raises(ValueError, match="no way to 1%"):
        PayloadMaker.saving(0.01, sizes)


@given(st.integers(0, 1 << 62), st.integers(0, 70_000))
def test_contents_are_named_by_the_id_alone(message_id, size) -> None:
    first = PayloadMaker().body(message_id, size)
    assert len(first) == size
    assert first == PayloadMaker().body(message_id, size)
    assert first == PayloadMaker().body(message_id, size + 9)[:size]
    if size > 1_000:
        assert first != PayloadMaker().body(message_id + 1, size)
        assert first != PayloadMaker(seed=1).body(message_id, size)
        assert first != PayloadMaker(3.0, 3.0).attachment(message_id, 0, size)


def test_contents_longer_than_the_block_do_not_repeat() -> None:
    content = PayloadMaker(1.0, 1.0).body(3, 2 * BLOCK_BYTES + 5)
    assert len(content) == 2 * BLOCK_BYTES + 5
    assert content[:BLOCK_BYTES] != content[BLOCK_BYTES : 2 * BLOCK_BYTES]


@pytest.mark.parametrize("wrong", [0.5, 51, float("nan")])
def test_a_ratio_beyond_the_model_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="ratio"):
        PayloadMaker(body_ratio=wrong)
