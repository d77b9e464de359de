"""Thinning keeps what a reader looks for."""

import math
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.measures import FaultMark, Samples
from simulator.report.series import curve, decimate, fault_spans, rate, state_spans

finite = st.floats(-1e12, 1e12)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(finite, min_size=50, max_size=400), columns=st.integers(1, 12))
def test_decimation_keeps_peak_trough_and_both_ends(values, columns):
    full = curve([float(t) for t in range(len(values))], values)
    small = decimate(full, columns)
    assert len(small.seconds) <= max(4 * columns, 4)
    assert np.all(np.diff(small.seconds) > 0)
    assert small.values.max() == max(values)
    assert small.values.min() == min(values)
    assert (small.values[0], small.values[-1]) == (values[0], values[-1])
    assert set(zip(small.seconds, small.values, strict=True)) <= set(
        zip(full.seconds, full.values, strict=True)
    )


def test_one_sample_wide_peak_among_a_hundred_thousand_survives():
    values = [random.Random(1).random() for _ in range(100_000)]
    values[61_803] = 99.0
    small = decimate(curve(list(range(100_000)), values), 1000)
    assert len(small.seconds) <= 4000
    assert 99.0 in small.values


def test_gaps_and_odd_values_do_not_disturb():
    full = curve([0.0, 1.0, math.nan, 3.0], [1.0, math.inf, 2.0, math.nan])
    assert full.largest == 1.0
    assert len(full.seconds) == 3
    assert len(decimate(curve([5.0] * 100, [math.nan] * 100), 3).seconds) <= 12
    assert curve([], []).largest == 0.0


def test_rate_is_growth_over_time():
    used = rate([0.0, 1.0, 3.0, 3.0, 4.0], [0, 100, 500, 500, 450])
    assert used.seconds.tolist() == [1.0, 3.0, 4.0]
    assert used.values.tolist() == [100.0, 200.0, 0.0]
    assert len(rate([0.0], [5]).seconds) == 0


def test_states_become_stretches_up_to_the_end():
    samples = Samples(time_seconds=[0.0, 1.0, 2.0], source_state=["a", "a", "b"])
    spans = [(s.start_seconds, s.end_seconds, s.state) for s in state_spans(samples, 10.0)]
    assert spans == [(0.0, 2.0, "a"), (2.0, 10.0, "b")]
    assert state_spans(Samples(), 10.0) == []


def test_flapping_state_is_thinned_to_the_longest_of_a_column():
    states = ["long" if t % 4 else "short" for t in range(8000)]
    samples = Samples(time_seconds=[float(t) for t in range(8000)], source_state=states)
    spans = state_spans(samples, 8000.0, columns=50)
    assert {span.state for span in spans} == {"long"}
    assert (spans[0].start_seconds, spans[-1].end_seconds) == (0.0, 8000.0)


def test_overlapping_faults_melt_and_endless_ones_reach_the_end():
    faults = [
        FaultMark("c", "x", 50.0, None),
        FaultMark("a", "x", 0.0, 10.0),
        FaultMark("b", "x", 5.0, 20.0),
        FaultMark("i", "x", 30.0, 30.0),
    ]
    assert fault_spans(faults, 100.0, 0.5) == [(0.0, 20.0), (30.0, 30.0), (50.0, 100.0)]
