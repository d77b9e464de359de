"""The table of states of a copy."""

from __future__ import annotations

import pytest

from replicator.logship_status import (
    ACTIVE,
    AT_REST,
    TRANSITIONS,
    CopyEvent,
    CopyState,
    CopyStatus,
)


def reached_from(start: CopyState, without: frozenset[CopyEvent] = frozenset()) -> set[CopyState]:
    found = {start}
    while True:
        more = {
            after
            for (before, event), after in TRANSITIONS.items()
            if before in found and event not in without
        }
        if more <= found:
            return found
        found |= more


def test_every_state_is_reached_and_every_event_counts_somewhere() -> None:
    assert reached_from(CopyState.INITIALIZING) == set(CopyState)
    assert {event for _state, event in TRANSITIONS} == set(CopyEvent)


def test_a_copy_at_rest_stays_there_until_somebody_does_something() -> None:
    somebody = frozenset({CopyEvent.RESUMED, CopyEvent.SEEDED, CopyEvent.ACTIVATED})
    for state in AT_REST:
        assert reached_from(state, somebody) <= AT_REST
        assert CopyState.INITIALIZING in reached_from(state)


def test_an_activated_copy_is_no_copy_any_more() -> None:
    for state in ACTIVE:
        assert reached_from(state) <= ACTIVE


def test_every_copy_that_has_a_database_can_be_activated_suspended_and_beyond_repair() -> None:
    for state in set(CopyState) - ACTIVE - {CopyState.SEEDING}:
        assert TRANSITIONS[state, CopyEvent.ACTIVATED] is CopyState.MOUNTING
        assert TRANSITIONS[state, CopyEvent.SUSPENDED] in AT_REST
        if state not in AT_REST:
            after = TRANSITIONS[state, CopyEvent.BEYOND_REPAIR]
            assert after is CopyState.FAILED_AND_SUSPENDED


def test_what_the_table_does_not_know_is_a_defect() -> None:
    status = CopyStatus()
    with pytest.raises(ValueError, match="Initializing cannot meet: its store may be mounted"):
        status.on(CopyEvent.OPENED)
    assert status.on(CopyEvent.CONNECTED)
    assert status.on(CopyEvent.AGREES, "why")
    assert (status.state, status.cause) == (CopyState.HEALTHY, "why")
    assert status.on(CopyEvent.FAILS, "again")
    assert not status.on(CopyEvent.FAILS, "again"), "the same once more is no news"
