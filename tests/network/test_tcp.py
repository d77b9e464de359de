"""The formulas of TCP: numbers and arrays alike, limits, bad arguments, the link's own bounds."""

from __future__ import annotations

from math import inf, isnan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import tcp
from simulator.link import LinkModel
from tests.network.wires import MIB, SECOND_NS

RTT_S = np.array([0.0, 0.001, 0.05, 0.25])
LOSS = np.array([[0.0], [1e-5], [0.01], [0.0101], [0.3]])


def test_a_grid_is_its_numbers() -> None:
    grid = tcp.loss_bound(1460, RTT_S, LOSS)
    assert grid.shape == (5, 4)
    for i, loss in enumerate(LOSS[:, 0]):
        for j, rtt_s in enumerate(RTT_S):
            assert grid[i, j] == tcp.loss_bound(1460, float(rtt_s), float(loss))
    sizes, windows = np.array([[1.0], [5e5], [1e7]]), np.array([17_520, 65_535, inf])
    rounds = tcp.cold_round_trips(sizes, windows, 2920)
    seconds = tcp.cold_seconds(sizes, 0.1, windows / 0.1, 2920, tcp.DELAYED_GROWTH)
    for i, size in enumerate(sizes[:, 0]):
        for j, window in enumerate(windows):
            assert rounds[i, j] == tcp.cold_round_trips(size, float(window), 2920)
            assert seconds[i, j] == tcp.cold_seconds(size, 0.1, window / 0.1, 2920, 1.5)


def test_numbers_give_a_float() -> None:
    results = [
        tcp.window_bound(65_535, 0.1),
        tcp.mathis_bound(1460, 0.1, 0.01),
        tcp.padhye_bound(1460, 0.1, 0.05, 0.2),
        tcp.retransmission_timeout_s(0.1),
        tcp.loss_bound(1460, 0.1, 0.05),
        tcp.line_share(1e6, 2e6, 4),
        tcp.bandwidth_delay_product_bytes(1e6, 0.05),
        tcp.cold_round_trips(MIB, 65_535, 2920),
        tcp.cold_seconds(MIB, 0.1, 1e6, 2920),
    ]
    assert [type(result) for result in results] == [float] * len(results)


@given(
    rtt_ns=st.integers(0, 10**10),
    loss=st.floats(0, 0.99) | st.just(0.01),
    window=st.integers(1, 1 << 30),
    mss=st.integers(88, 65_495),
    rto_ns=st.none() | st.integers(0, 10**10),
)
def test_the_links_bounds_are_what_they_were_to_the_last_bit(
    rtt_ns: int, loss: float, window: int, mss: int, rto_ns: int | None
) -> None:
    """The trace of a kept plan depends on each bit: plain arithmetic, in the same order."""
    rtt_s = rtt_ns / SECOND_NS
    if loss == 0:
        bound = inf
    elif loss <= 0.01:
        bound = mss / rtt_s * 1.22 / sqrt(loss) if rtt_s else inf
    else:
        rto_s = max(0.2, 2 * rtt_s) if rto_ns is None else rto_ns / SECOND_NS
        lasting = rtt_s * sqrt(2 * 2 * loss / 3) + rto_s * min(
            1.0, 3 * sqrt(3 * 2 * loss / 8)
        ) * loss * (1 + 32 * loss * loss)
        bound = mss / lasting if lasting else inf
    wanted = min(window / rtt_s if rtt_s else inf, bound)
    model = LinkModel(
        1e6,
        rtt_ns,
        loss=loss,
        tcp_window_bytes=window,
        mss_bytes=mss,
        retransmission_timeout_ns=rto_ns,
    )
    assert model.stream_bytes_per_second() == wanted


def test_the_choice_between_mathis_and_padhye_is_a_parameter() -> None:
    few, many = tcp.mathis_bound(1460, 0.1, 0.02), tcp.padhye_bound(1460, 0.1, 0.02, 0.2)
    assert many < few
    assert tcp.loss_bound(1460, 0.1, 0.02) == many
    assert tcp.loss_bound(1460, 0.1, 0.02, mathis_limit=0.02) == few
    late = tcp.loss_bound(1460, 0.1, 0.02, timeout_s=1.0)
    assert late == tcp.padhye_bound(1460, 0.1, 0.02, 1.0) < many
    each_acknowledged = tcp.loss_bound(1460, 0.1, 0.02, segments_per_ack=1)
    assert each_acknowledged == tcp.padhye_bound(1460, 0.1, 0.02, 0.2, 1) > many
    assert tcp.loss_bound(1460, 0.1, 1e-3, mathis_factor=0.87) == pytest.approx(
        tcp.loss_bound(1460, 0.1, 1e-3) * 0.87 / 1.22
    )


def test_n_streams_share_a_line_and_none_exceeds_its_own_bound() -> None:
    streams = np.array([1, 2, 8, 9, 100])
    each = tcp.line_share(8e6, 1e6, streams)
    assert list(each[:3]) == [1e6, 1e6, 1e6]
    assert list((each * streams)[2:]) == pytest.approx([8e6, 8e6, 8e6])


def test_where_there_is_no_bound() -> None:
    assert tcp.window_bound(65_535, 0) == tcp.mathis_bound(1460, 0, 0.01) == inf
    assert tcp.mathis_bound(1460, 0.1, 0) == tcp.padhye_bound(1460, 0.1, 0, 0.2) == inf
    assert tcp.bandwidth_delay_product_bytes(inf, 0) == 0
    assert tcp.cold_seconds(0, 0.1, 0, 2920) == 0
    assert tcp.cold_seconds(1, 0.1, 0, 2920) == inf
    assert tcp.cold_seconds(1e6, 0, 1e6, 2920) == 1
    assert tcp.cold_seconds(MIB, 0.1, inf, 2920) == pytest.approx(0.9)
    assert tcp.cold_round_trips(0, 65_535, 2920) == 0
    assert tcp.cold_round_trips(65_535, 65_535, 10**6) == 1


@given(
    size=st.floats(0, 1e9),
    rtt_s=st.floats(1e-4, 1),
    rate=st.floats(1e3, 1e10),
    initial=st.floats(100, 1e6),
    growth=st.floats(1.1, 4),
)
def test_a_cold_stream_lies_between_a_warm_one_and_its_round_trips(
    size: float, rtt_s: float, rate: float, initial: float, growth: float
) -> None:
    seconds = tcp.cold_seconds(size, rtt_s, rate, initial, growth)
    assert not isnan(seconds)
    warm = size / rate + rtt_s if size else 0.0
    full = max(rate * rtt_s, 1e-300)
    rounds = tcp.cold_round_trips(size, full, min(initial, full), growth)
    assert warm * (1 - 1e-9) <= seconds <= (rounds + 1) * rtt_s * (1 + 1e-9)
    assert seconds <= tcp.cold_seconds(size + 1000, rtt_s, rate, initial, growth) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        (tcp.window_bound, (-1, 0.1), "window_bytes must not be negative or NaN, not -1"),
        (tcp.window_bound, (1, float("nan")), "rtt_s must not be negative or NaN"),
        (tcp.loss_bound, (1460, 0.1, 1.0), "loss must be below 1, not 1.0"),
        (tcp.loss_bound, (1460, 0.1, np.array([0.5, 1.5])), "loss must be below 1"),
        (tcp.line_share, (1e6, np.array([1.0, -1.0])), "stream_bytes_per_second must not be"),
        (tcp.cold_round_trips, (MIB, 65_535, 0), "windows of a cold stream must be above 0"),
        (tcp.cold_round_trips, (MIB, 0, 2920), "windows of a cold stream must be above 0"),
        (tcp.cold_round_trips, (MIB, 65_535, 2920, 1.0), "growth must be at least 1.1"),
        (tcp.cold_seconds, (inf, 0.1, 1e6, 2920), "size_bytes must be finite"),
        (tcp.cold_seconds, (MIB, 0.1, 1e6, 2920, float("nan")), "growth must be at least 1.1"),
    ],
)
def test_bad_arguments(call: Any, arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call(*arguments)
