"""Who gets a message."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.exchange.recipients import RecipientCounts, choose_recipients, copies_and_kept


@given(
    st.integers(1, 30).flatmap(
        lambda mailboxes: st.tuples(
            st.just(mailboxes),
            st.lists(
                st.integers(-1, mailboxes - 1).flatmap(
                    lambda sender: st.tuples(
                        st.just(sender), st.integers(0, mailboxes - (sender >= 0))
                    )
                ),
                max_size=20,
            ),
        )
    ),
    st.integers(0, 999),
)
def test_recipients_are_different_and_never_the_sender(drawn, seed) -> None:
    mailboxes, messages = drawn
    senders = np.array([sender for sender, _ in messages], dtype=np.int64)
    numbers = np.array([number for _, number in messages], dtype=np.int64)
    random = np.random.default_rng(seed)
    message, mailbox = choose_recipients(numbers, senders, mailboxes, random)
    for index, (sender, number) in enumerate(messages):
        found = mailbox[message == index].tolist()
        assert len(found) == len(set(found)) == number
        assert all(0 <= each < mailboxes and each != sender for each in found)


def test_all_mailboxes_get_the_same() -> None:
    random = np.random.default_rng(1)
    senders = random.integers(-1, 10, 60_000)
    numbers = random.integers(1, 4, 60_000)
    _, mailbox = choose_recipients(numbers, senders, 10, random)
    share = np.bincount(mailbox, minlength=10) / len(mailbox)
    assert share == pytest.approx([0.1] * 10, rel=0.03)


@pytest.mark.parametrize(
    ("mean", "none", "possible"), [(3, 0.2, 999), (1.875, 0.2, 999), (0.4, 0.2, 999), (1.2, 0, 50)]
)
def test_the_mean_is_as_wanted(mean, none, possible) -> None:
    counts = RecipientCounts(mean, none, possible)
    assert counts.chances.sum() == pytest.approx(1)
    assert counts.mean_drawn == pytest.approx(mean, rel=1e-3)
    drawn = counts.draw(100_000, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(mean, rel=0.02)
    assert np.mean(drawn == 0) == pytest.approx(counts.chances[0], abs=0.005)


def test_there_are_never_more_recipients_than_mailboxes() -> None:
    counts = RecipientCounts(3, 0.2, 2)
    assert counts.draw(1_000, np.random.default_rng(1)).max() == 2
    assert counts.mean_drawn < 3
    assert RecipientCounts(3, 0.2, 0).draw(10, np.random.default_rng(1)).max() == 0


def test_a_database_keeps_a_message_once() -> None:
    counts = RecipientCounts(3, 0.2, 999)
    copies, kept = copies_and_kept(counts, 1, sender_keeps=True)
    assert (copies, kept) == pytest.approx((4, 1))
    copies, kept = copies_and_kept(counts, 1_000_000, sender_keeps=True)
    assert kept == pytest.approx(copies, rel=1e-4)
    number = counts.draw(20_000, np.random.default_rng(1))
    message, mailbox = choose_recipients(
        number, np.full(20_000, -1), 1_000, np.random.default_rng(2)
    )
    found = len(np.unique(message * 4 + mailbox % 4)) / 20_000
    assert found == pytest.approx(copies_and_kept(counts, 4, sender_keeps=False)[1], rel=0.02)


@pytest.mark.parametrize(
    ("mean", "none", "possible"), [(-1, 0, 5), (3, 1, 5), (99, 0, 5), (1, 0, -1)]
)
def test_what_cannot_be_is_refused(mean, none, possible) -> None:
    with pytest.raises(ValueError, match=r"share|mean"):
        RecipientCounts(mean, none, possible)
