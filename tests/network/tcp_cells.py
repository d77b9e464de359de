"""Each cell of the reference tables of TCP: the figure, the formula's, the emulated link's.

The figures stand in ``tcp_tables.toml``; formulas are :mod:`simulator.tcp`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from pathlib import Path

from simulator import tcp
from simulator.link import LinkModel
from tests.network.tcp_measures import Exchange, steady_rate
from tests.network.wires import MIB, MILLISECOND_NS

MSS = 1460
FAST_LINE = 1e10
"""Bits per second: no bound where a table has none."""
SHARED_LINE = 1e9
"""Bits per second of the line that bounds the cells which say "link-bound"."""
COLD_RTT_MS = 100
LINK_RTT_MS = 50
DAY_S = 86_400
TABLES = tomllib.loads(Path(__file__).with_name("tcp_tables.toml").read_text(encoding="utf-8"))
TITLES = {
    "window": "Logs of 1 MiB a second through one stream, by receive window and round trip",
    "cold": "Round trips of a cold 1 MiB log, by initial window (segments) and receive window",
    "loss": "Mbit/s of one stream, by loss and round trip",
    "bandwidth_delay": "Bandwidth-delay product at 50 ms, kB",
    "links": "A line's logs of 1 MiB",
}


@dataclass(frozen=True)
class Cell:
    """One figure of a table: as published, as the formula has it, and how to measure it."""

    table: str
    row: str
    column: str
    reference: float
    formula: float
    measure: Callable[[], float]
    words: str = ""
    """What the reference says in place of a figure."""

    @property
    def name(self) -> str:
        return f"{self.table}, {self.row}, {self.column}"


def _seconds_worth(bytes_per_second: float) -> int:
    """Bytes that make a rate: some chunks of a slow stream, and not too many of a fast one."""
    return int(min(max(1.5 * bytes_per_second, MIB // 2), 8 * MIB))


@cache
def _rate(model: LinkModel, size_bytes: int) -> float:
    return steady_rate(model, size_bytes)


def _logs_per_second(model: LinkModel, size_bytes: int) -> float:
    return _rate(model, size_bytes) / MIB


def _megabits(model: LinkModel, size_bytes: int) -> float:
    return _rate(model, size_bytes) * 8 / 1e6


def _window_cells() -> Iterator[Cell]:
    table = dict(TABLES["window"])
    rtts = table.pop("rtt_ms")
    for window, row in table.items():
        for rtt_ms, published in zip(rtts, row, strict=True):
            bound = published == "link-bound"
            line = SHARED_LINE if bound else FAST_LINE
            formula = tcp.line_share(line / 8, tcp.window_bound(float(window), rtt_ms / 1000))
            model = LinkModel(line, rtt_ms * MILLISECOND_NS, tcp_window_bytes=int(window))
            yield Cell(
                "window",
                f"{int(window):,} B",
                f"{rtt_ms} ms",
                line / 8 / MIB if bound else published,
                formula / MIB,
                partial(_logs_per_second, model, _seconds_worth(formula)),
                "link-bound" if bound else "",
            )


def _cold_cells() -> Iterator[Cell]:
    table = dict(TABLES["cold"])
    names = table.pop("windows")
    for segments, row in table.items():
        for name, published in zip(names, row, strict=False):  # the second row is shorter
            delayed = "delayed" in name
            known = {"17 520 B": 17_520, "65 535 B": 65_535}
            window = known.get(name, inf)
            model = LinkModel(
                FAST_LINE,
                COLD_RTT_MS * MILLISECOND_NS,
                tcp_window_bytes=known.get(name, 16 * MIB),
                initial_window_segments=int(segments),
                delayed_acknowledgements=delayed,
            )
            growth = tcp.DELAYED_GROWTH if delayed else tcp.GROWTH
            yield Cell(
                "cold",
                segments,
                name,
                published,
                tcp.cold_round_trips(MIB, window, int(segments) * MSS, growth),
                lambda model=model: Exchange(model).seconds(MIB) / (COLD_RTT_MS / 1000),
            )


def _loss_cells() -> Iterator[Cell]:
    table = dict(TABLES["loss"])
    rtts = table.pop("rtt_ms")
    for percent, row in table.items():
        loss = float(percent) / 100
        for rtt_ms, published in zip(rtts, row, strict=True):
            formula = tcp.loss_bound(MSS, rtt_ms / 1000, loss)
            model = LinkModel(
                FAST_LINE, rtt_ms * MILLISECOND_NS, loss=loss, tcp_window_bytes=64 * MIB
            )
            yield Cell(
                "loss",
                f"{percent} %",
                f"{rtt_ms} ms",
                published,
                formula * 8 / 1e6,
                partial(_megabits, model, _seconds_worth(formula)),
            )


def _link_rate(megabits: float, window_bytes: int = 16 * MIB) -> float:
    model = LinkModel(megabits * 1e6, LINK_RTT_MS * MILLISECOND_NS, tcp_window_bytes=window_bytes)
    return _rate(model, _seconds_worth(megabits * 1e6 / 8))


def _measured_product(megabits: float, product_bytes: float) -> float:
    """The window at which it stops being the bound: where the two branches of the rate meet."""
    half = int(product_bytes / 2)
    return half * _link_rate(megabits) / _link_rate(megabits, half)


def _bandwidth_delay_cells() -> Iterator[Cell]:
    for link, published in TABLES["bandwidth_delay"].items():
        megabits = TABLES["links"][link][0]
        product = tcp.bandwidth_delay_product_bytes(megabits * 1e6 / 8, LINK_RTT_MS / 1000)
        yield Cell(
            "bandwidth_delay",
            link,
            "kB",
            published,
            product / 1000,
            lambda m=megabits, p=product: _measured_product(m, p) / 1000,
        )


def _link_cells() -> Iterator[Cell]:
    for link, (megabits, *published) in TABLES["links"].items():
        figures: dict[str, Callable[[float], float]] = {
            "s per log": lambda rate: MIB / rate,
            "logs per hour": lambda rate: 3600 * rate / MIB,
            "GB per day": lambda rate: DAY_S * rate / 1e9,
        }
        line = tcp.line_share(megabits * 1e6 / 8, tcp.window_bound(16 * MIB, LINK_RTT_MS / 1000))
        for (column, figure), reference in zip(figures.items(), published, strict=True):
            yield Cell(
                "links",
                link,
                column,
                reference,
                figure(line),
                lambda figure=figure, m=megabits: figure(_link_rate(m)),
            )


CELLS: tuple[Cell, ...] = (
    *_window_cells(),
    *_cold_cells(),
    *_loss_cells(),
    *_bandwidth_delay_cells(),
    *_link_cells(),
)


@cache
def measured(cell: Cell) -> float:
    """What the emulated link gave, once for all who ask."""
    return cell.measure()
