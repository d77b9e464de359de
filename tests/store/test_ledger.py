"""The ledger finds the prefix that a store holds, and names what contradicts all prefixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.exchange.ledger import Ledger
from simulator.exchange.store import Message, payload_digest


def message(message_id: int) -> Message:
    return Message(message_id, message_id % 3, b"payload %d" % message_id)


def filled(transactions: int, kept: int = 4, acknowledged: int | None = None) -> Ledger:
    """One message each; the oldest beyond ``kept`` are removed."""
    ledger = Ledger()
    for number in range(1, transactions + 1):
        remove = [number - kept] if number > kept else []
        ledger.begin([message(number)], remove, number * 10)
    for number in range(1, (transactions if acknowledged is None else acknowledged) + 1):
        ledger.acknowledge(number, number * 10 + 5)
    return ledger


def state(number: int, kept: int = 4) -> dict[int, bytes]:
    ids = range(max(1, number - kept + 1), number + 1)
    return {i: payload_digest(message(i).payload) for i in ids}


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_every_prefix_is_known(begun: int, there: int, acknowledged: int) -> None:
    there, acknowledged = min(there, begun), min(acknowledged, begun)
    ledger = filled(begun, acknowledged=acknowledged)
    verdict = ledger.judge(state(there))
    assert verdict.transactions == there
    assert verdict.ok == (there >= acknowledged)
    assert ledger.judge(state(there), floor=0).ok
    assert ledger.loss(there).messages == max(0, acknowledged - there)


def test_missing_extra_and_garbled_messages_are_named() -> None:
    ledger = filled(10)
    without = state(9)
    del without[8]
    assert ledger.judge(without, floor=0).missing == (8,)
    stale = state(9) | {5: payload_digest(message(5).payload)}
    assert ledger.judge(stale, floor=0).extra == (5,)
    wrong = state(9) | {7: bytes(16)}
    assert ledger.judge(wrong, floor=0).garbled == (7,)
    assert ledger.judge(state(9) | {777: bytes(16)}, floor=0).extra == (777,)
    verdict = ledger.judge(without, floor=0)
    assert not verdict.ok and "transaction 9" in verdict.reason


def test_a_lost_acknowledged_transaction_is_named() -> None:
    verdict = filled(10).judge(state(8))
    assert not verdict.ok
    assert verdict.missing == (9, 10)
    assert "up to 8 are there, 10 must be" in verdict.reason


def test_a_store_emptied_by_deletion_is_not_an_empty_prefix() -> None:
    ledger = Ledger()
    for number, remove in ((1, []), (2, [1])):
        ledger.acknowledge(ledger.begin([message(number)], remove, 0), 0)
    ledger.acknowledge(ledger.begin([], [2], 0), 0)
    verdict = ledger.judge({})
    assert verdict.ok and verdict.transactions == 3


def test_removal_without_addition_moves_the_prefix() -> None:
    ledger = filled(3)
    ledger.begin([], [1], 0)
    assert ledger.judge({i: d for i, d in state(3).items() if i != 1}).transactions == 4
    assert ledger.judge(state(3)).transactions == 3


def test_continuing_forgets_what_the_store_lacks() -> None:
    ledger = filled(10)
    ledger.continue_from(7)
    assert (ledger.begun, ledger.last_acknowledged, ledger.acknowledged_messages) == (7, 7, 7)
    assert [i for i, _size in ledger.live()] == [4, 5, 6, 7]
    assert ledger.judge(state(7)).ok
    ledger.begin([message(100)], [4], 0)
    assert ledger.judge(state(7)).ok


def test_loss_reaches_back_to_the_first_acknowledgement_lost() -> None:
    loss = filled(10, acknowledged=9).loss(6)
    assert (loss.transactions, loss.messages, loss.oldest_acknowledged_ns) == (3, 3, 75)
    assert loss.payload_bytes == sum(len(message(i).payload) for i in (7, 8, 9))
    assert filled(10).loss(10).oldest_acknowledged_ns is None


def test_wrong_use_is_refused() -> None:
    ledger = filled(5)
    with pytest.raises(ValueError, match="used before"):
        ledger.begin([message(3)], [], 0)
    with pytest.raises(ValueError, match="not in the store"):
        ledger.begin([], [1], 0)
