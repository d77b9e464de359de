"""The marks of log shipping, against a model that remembers everything."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from replicator.logship_queue import LogQueue, ReplayDelay


class Marks(RuleBasedStateMachine):
    """The source closes, the copy hears, copies, inspects, replays, throws away."""

    @initialize(first=st.integers(1, 5))
    def begin(self, first: int) -> None:
        self.queue = LogQueue(first)
        self.first = first
        self.closed = first - 1
        self.heard = first - 1
        self.good: list[tuple[int, int]] = []
        """Generation and time of inspection of what is there."""
        self.replayed = first - 1
        self.now = 0

    @rule(logs=st.integers(1, 4))
    def closes(self, logs: int) -> None:
        self.closed += logs

    @rule()
    def hears(self) -> None:
        self.heard = self.closed
        self.queue.heard(self.closed, self.now, 64)

    @rule()
    def hears_less(self) -> None:
        """Its logs are deleted, or it was started anew: what was closed stays closed."""
        self.queue.heard(0, self.now, 0)

    @rule(time=st.integers(0, 50))
    def time_passes(self, time: int) -> None:
        self.now += time

    @precondition(lambda self: self.queue.inspected < self.heard)
    @rule()
    def copies_and_inspects(self) -> None:
        generation = self.queue.wanted
        self.queue.has_copied(generation)
        self.queue.has_inspected(generation, self.now, 1000 + self.now)
        self.good.append((generation, self.now))

    @precondition(lambda self: self.queue.inspected < self.heard)
    @rule()
    def copies_a_bad_one(self) -> None:
        generation = self.queue.wanted
        self.queue.has_copied(generation)
        self.queue.discard_from(generation)

    @rule(lag=st.integers(0, 60), behind=st.integers(0, 3), most=st.integers(1, 3))
    def replays(self, lag: int, behind: int, most: int) -> None:
        due = self.queue.due(self.now, ReplayDelay(lag_ns=lag, behind_logs=behind))
        newest = self.good[-1][0] if self.good else self.first - 1
        model = self.replayed
        for generation, at in self.good:
            if generation <= self.replayed:
                continue
            if at + lag > self.now or generation > newest - behind:
                break
            model = generation
        assert due == model
        self.replayed = min(due, self.replayed + most)
        self.queue.has_replayed(self.replayed)

    @precondition(lambda self: self.queue.inspected > self.replayed)
    @rule(back=st.integers(1, 3))
    def throws_away(self, back: int) -> None:
        generation = max(self.replayed + 1, self.queue.inspected + 1 - back)
        self.queue.discard_from(generation)
        self.good = [each for each in self.good if each[0] < generation]

    @invariant()
    def tells_no_less_than_is_true(self) -> None:
        if not hasattr(self, "queue"):
            return
        report = self.queue.report()
        inspected = self.good[-1][0] if self.good else self.first - 1
        assert (report.inspected, report.replayed) == (inspected, self.replayed)
        assert report.copy_queue == max(self.heard, report.generated) - inspected
        assert report.copy_queue >= self.heard - inspected
        assert report.replay_queue == inspected - self.replayed >= 0
        assert report.generated >= report.copied >= report.inspected >= report.replayed
        if self.good:
            assert report.inspected_as_of_ns == 1000 + self.good[-1][1]


TestMarks = Marks.TestCase
TestMarks.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_steps_out_of_order_are_refused() -> None:
    queue = LogQueue(3)
    with pytest.raises(ValueError, match="0x3 is due"):
        queue.has_copied(4)
    with pytest.raises(ValueError, match="before it was copied"):
        queue.has_inspected(3, 0, None)
    queue.found(3, 0, None)
    with pytest.raises(ValueError, match="0x2 to 0x3 could be replayed"):
        queue.has_replayed(4)
    queue.has_replayed(3)
    with pytest.raises(ValueError, match="it stays"):
        queue.discard_from(3)
    with pytest.raises(ValueError, match="count from 1"):
        LogQueue(0)


def test_a_target_of_scr_keeps_fifty_logs_back_even_without_a_lag() -> None:
    queue, delay = LogQueue(1), ReplayDelay(behind_logs=50)
    for generation in range(1, 53):
        queue.found(generation, generation, None)
    assert queue.due(10**9, delay) == 2
    assert queue.next_due_ns(delay) == 1


def test_the_lag_counts_from_the_inspection() -> None:
    queue, delay = LogQueue(1), ReplayDelay(lag_ns=100)
    queue.found(1, 40, None)
    queue.found(2, 90, None)
    assert queue.due(139, delay) == 0
    assert queue.due(140, delay) == 1
    assert queue.due(190, delay) == 2
    assert queue.next_due_ns(delay) == 140
