"""What TCP makes of a line: the formulas that the emulated link and a capacity plan share.

Theory
------
A sender may have one window of bytes on their way, and an acknowledgement takes one round
trip.  So one stream on an empty line carries at most::

    window bound   W / RTT
    loss bound     MSS / RTT * C / sqrt(p)                       loss p up to 1 %
                   MSS / (RTT sqrt(2bp/3) + RTO min(1, 3 sqrt(3bp/8)) p (1 + 32 p^2))   above
    one stream     min(window bound, loss bound)
    n on a line    each min(one stream, line / n), together min(n * one stream, line)

The loss bound is that of a sender which halves its window at each loss and adds a segment per
round trip (Mathis, Semke, Mahdavi, Ott, ACM CCR 27(3), 1997): C = sqrt(3/2) when each segment
is acknowledged, sqrt(3/4) with delayed acknowledgements.  Above some loss it is timeouts that
count (Padhye, Firoiu, Towsley, Kurose, SIGCOMM 1998): b segments per acknowledgement, RTO the
retransmission timeout.  Beyond W = line * RTT, the bandwidth-delay product, a larger window
brings nothing.

A stream that is new, or was idle for longer than RTO, is *cold*: it sends its initial window
and waits for a round trip.  Each byte acknowledged opens the window by one more byte (doubling
each round trip), with delayed acknowledgements by half a byte (x 1.5), up to W (RFC 5681; after
idleness RFC 2861 too).  Initial windows: 2 segments in RFC 2581, 4 380 bytes in RFC 3390, 10
segments in RFC 6928.  While ``window < rate * RTT`` the line rests for a part of each round;
from then on it is never idle::

    after k round trips      cold window I g^k, sent before I (g^k - 1) / (g - 1)
    until the last byte is   k RTT + rest / rate + RTT, k the first with I g^k >= rate * RTT
      acknowledged           or with nothing left for a further round

All functions take numbers or numpy arrays, which are broadcast against each other: a column of
losses and a row of round trips give a grid.  Numbers alone give a ``float``.  Times are seconds,
rates bytes per second of payload; a round trip of nothing gives rates without bound (``inf``).

Leaves out: the window's saw-tooth (the rates are means), a loss during slow start, growth
beyond slow start, queues at the line, acknowledgements that wait for a timer.

Compared with: the reference tables ``exchange.md`` 2.8, 5.1 and 5.2, cell by cell, and each of
them with the emulated link (``docs/tcp.md``).
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Figure = TypeVar("Figure", float, Array)
"""A number, or an array of them: numbers alone give a number, an array among them an array."""

MATHIS_FACTOR = 1.22
"""sqrt(3/2): each segment acknowledged.  0.87 fits delayed acknowledgements."""
MATHIS_LIMIT = 0.01
"""Loss above which timeouts dominate and Padhye's formula is used."""
LEAST_TIMEOUT_S = 0.2
"""The usual lower bound of the retransmission timeout."""
TIMEOUT_ROUND_TRIPS = 2.0
"""The retransmission timeout in round trips where that is longer.  Assumed."""
GROWTH = 2.0
"""Of the congestion window per round trip in slow start, each segment acknowledged."""
DELAYED_GROWTH = 1.5
"""The same when every second segment is acknowledged."""
LEAST_GROWTH = 1.1
"""No TCP grows more slowly in slow start; rounds are counted one by one."""


def _arrays(**figures: object) -> list[Array]:
    """The arguments as arrays of one shape; raises ValueError for what is below 0 or NaN."""
    arrays = [np.asarray(figure, dtype=np.float64) for figure in figures.values()]
    for name, array in zip(figures, arrays, strict=True):
        if not bool(np.all(array >= 0)):
            raise ValueError(f"{name} must not be negative or NaN, not {figures[name]!r}")
    return [np.array(array) for array in np.broadcast_arrays(*arrays)]


def _figure(array: Array) -> float | Array:
    """A number where all arguments were numbers."""
    return array if array.ndim else float(array)


def _ratio(above: Array, below: Array) -> Array:
    """``above / below``; without bound where ``below`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(below == 0, np.inf, above / below)


def _product(one: Array, other: Array) -> Array:
    """``one * other``; nothing where either is 0, also if the other is without bound."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where((one == 0) | (other == 0), 0.0, one * other)


# --- warm streams -------------------------------------------------------------------------


def window_bound(window_bytes: Figure | float, rtt_s: Figure | float) -> Figure:
    """Bytes per second that a window lets through: W / RTT.

    Raises ValueError for a negative argument, as all functions of this module do.
    """
    window, rtt = _arrays(window_bytes=window_bytes, rtt_s=rtt_s)
    return cast(Figure, _figure(_ratio(window, rtt)))


def mathis_bound(
    mss_bytes: Figure | float,
    rtt_s: Figure | float,
    loss: Figure | float,
    mathis_factor: Figure | float = MATHIS_FACTOR,
) -> Figure:
    """Bytes per second where losses halve the window: MSS / RTT * C / sqrt(p).

    Arguments
    ---------
    mss_bytes: payload of a segment.
    loss: share of packets lost, p; without loss there is no bound.
    mathis_factor: C.

    Source: Mathis and others 1997.
    """
    mss, rtt, p, factor = _arrays(
        mss_bytes=mss_bytes, rtt_s=rtt_s, loss=loss, mathis_factor=mathis_factor
    )
    return cast(Figure, _figure(_ratio(_product(_ratio(mss, rtt), factor), np.sqrt(p))))


def padhye_bound(
    mss_bytes: Figure | float,
    rtt_s: Figure | float,
    loss: Figure | float,
    timeout_s: Figure | float,
    segments_per_ack: float = 2,
) -> Figure:
    """Bytes per second where losses also cost timeouts, without the window's bound.

    Arguments
    ---------
    mss_bytes: payload of a segment.
    loss: share of packets lost, p.
    timeout_s: RTO, as :func:`retransmission_timeout_s` has it for instance.
    segments_per_ack: b; 2 with delayed acknowledgements.

    Source: Padhye and others 1998, the approximation of the throughput.
    """
    mss, rtt, p, timeout = _arrays(mss_bytes=mss_bytes, rtt_s=rtt_s, loss=loss, timeout_s=timeout_s)
    b = segments_per_ack
    fast = rtt * np.sqrt(2 * b * p / 3)
    slow = timeout * np.minimum(1.0, 3 * np.sqrt(3 * b * p / 8)) * p * (1 + 32 * p * p)
    return cast(Figure, _figure(_ratio(mss, fast + slow)))


def retransmission_timeout_s(rtt_s: Figure | float) -> Figure:
    """A usual retransmission timeout: two round trips, 200 ms at least.  Assumed."""
    (rtt,) = _arrays(rtt_s=rtt_s)
    return cast(Figure, _figure(np.maximum(LEAST_TIMEOUT_S, TIMEOUT_ROUND_TRIPS * rtt)))


def loss_bound(
    mss_bytes: Figure | float,
    rtt_s: Figure | float,
    loss: Figure | float,
    *,
    mathis_factor: float = MATHIS_FACTOR,
    segments_per_ack: float = 2,
    timeout_s: Figure | float | None = None,
    mathis_limit: float = MATHIS_LIMIT,
) -> Figure:
    """Bytes per second: :func:`mathis_bound` up to ``mathis_limit``, above it Padhye's.

    ``timeout_s`` of None is :func:`retransmission_timeout_s`.  The choice is the reference's
    (``exchange.md`` 5.1).  Raises ValueError for a loss of 1 or more.
    """
    (p,) = _arrays(loss=loss)
    if bool(np.any(p >= 1)):
        raise ValueError(f"loss must be below 1, not {loss!r}")
    timeout = retransmission_timeout_s(np.asarray(rtt_s)) if timeout_s is None else timeout_s
    few = mathis_bound(mss_bytes, rtt_s, loss, mathis_factor)
    many = padhye_bound(mss_bytes, rtt_s, loss, timeout, segments_per_ack)
    return cast(Figure, _figure(np.where(p <= mathis_limit, few, many)))


def line_share(
    line_bytes_per_second: Figure | float,
    stream_bytes_per_second: Figure | float,
    streams: Figure | float = 1,
) -> Figure:
    """Bytes per second of each of ``streams`` equal streams on one line.

    ``stream_bytes_per_second`` is what one carries on an empty line without bound: the least
    of its bounds.  All of them together carry ``streams`` times the result.
    """
    line, stream, n = _arrays(
        line_bytes_per_second=line_bytes_per_second,
        stream_bytes_per_second=stream_bytes_per_second,
        streams=streams,
    )
    return cast(Figure, _figure(np.minimum(stream, _ratio(line, n))))


def bandwidth_delay_product_bytes(
    bytes_per_second: Figure | float, rtt_s: Figure | float
) -> Figure:
    """Bytes that fill a line for one round trip: the least window that does not bound it."""
    rate, rtt = _arrays(bytes_per_second=bytes_per_second, rtt_s=rtt_s)
    return cast(Figure, _figure(_product(rate, rtt)))


# --- cold streams -------------------------------------------------------------------------


def _check_cold(size: Array, initial: Array, growth: float) -> None:
    if not bool(np.all(np.isfinite(size))):
        raise ValueError("size_bytes must be finite")
    if not bool(np.all(initial > 0)):
        raise ValueError("the windows of a cold stream must be above 0 bytes")
    if not growth >= LEAST_GROWTH:
        raise ValueError(f"growth must be at least {LEAST_GROWTH} a round trip, not {growth!r}")


def cold_round_trips(
    size_bytes: Figure | float,
    window_bytes: Figure | float,
    initial_window_bytes: Figure | float,
    growth: float = GROWTH,
) -> Figure:
    """Whole round trips until a cold stream has all acknowledged, on a line that costs no time.

    Arguments
    ---------
    size_bytes: what it sends.
    window_bytes: the receive window; ``inf`` for none.
    initial_window_bytes: segments of the initial window times their payload.
    growth: of the window per round trip, :data:`GROWTH` or :data:`DELAYED_GROWTH`.

    Windows count in bytes, so one need not be a whole number of segments.  Raises ValueError
    also for a size without end, a window of 0, and a growth below :data:`LEAST_GROWTH`.
    """
    size, cap, initial = _arrays(
        size_bytes=size_bytes, window_bytes=window_bytes, initial_window_bytes=initial_window_bytes
    )
    window = np.minimum(initial, cap)
    _check_cold(size, window, growth)
    sent, rounds = np.zeros_like(size), np.zeros_like(size)
    while bool(np.any(growing := (sent < size) & (window < cap))):
        sent += np.where(growing, window, 0.0)
        rounds += growing
        window = np.where(growing, np.minimum(window * growth, cap), window)
    return cast(Figure, _figure(rounds + np.ceil(np.maximum(size - sent, 0.0) / cap)))


def cold_seconds(
    size_bytes: Figure | float,
    rtt_s: Figure | float,
    bytes_per_second: Figure | float,
    initial_window_bytes: Figure | float,
    growth: float = GROWTH,
) -> Figure:
    """Seconds until a cold stream has all acknowledged; half a round trip before, all is there.

    Arguments
    ---------
    size_bytes: what it sends; nothing takes no time.
    rtt_s: round trip of the empty line.
    bytes_per_second: what the stream carries when it is warm (:func:`line_share`); bounds by
        the receive window are in it.
    initial_window_bytes, growth: as in :func:`cold_round_trips`.

    With a rate of 0 it never ends (``inf``).  Raises ValueError as :func:`cold_round_trips`.
    """
    size, rtt, rate, initial = _arrays(
        size_bytes=size_bytes,
        rtt_s=rtt_s,
        bytes_per_second=bytes_per_second,
        initial_window_bytes=initial_window_bytes,
    )
    _check_cold(size, initial, growth)
    full = _product(rate, rtt)  # a window that keeps the line busy
    sent, waited, window = np.zeros_like(size), np.zeros_like(size), initial
    while bool(np.any(growing := (sent + window < size) & (window < full))):
        sent += np.where(growing, window, 0.0)
        waited += np.where(growing, rtt, 0.0)
        window = np.where(growing, window * growth, window)
    seconds = waited + _ratio(size - sent, rate) + rtt
    return cast(Figure, _figure(np.where(size == 0, 0.0, seconds)))
