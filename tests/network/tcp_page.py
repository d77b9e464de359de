"""The page ``docs/tcp.md``: what TCP makes of a link, and the comparison with published figures.

Its tables are measured while it is made.  To renew it::

    .venv/bin/python -m tests.network.tcp_page > docs/tcp.md
"""

from __future__ import annotations

import sys

from tests.network.tcp_cells import CELLS, COLD_RTT_MS, TITLES, Cell, measured

TOLERANCE = 0.05
"""Largest difference of a formula or of the emulated link from a published figure."""

_TEXT = """\
# What TCP makes of a link

A connection rarely carries what the line could. Three things bound it, and the least counts: its
share of the line; the window, of which one goes out per round trip (W / RTT); and losses, each of
which halves the sender's window. A 16 MiB window over 100 ms carries 160 logs of 1 MiB a second,
the 17,520 bytes of Windows 2003 a sixth of one. The window that just fills a line is its
bandwidth-delay product.

The formulas stand in `simulator/tcp.py`, with their sources and units, and take numbers and
arrays alike:

```python
import numpy as np
from simulator import tcp

rtt_s = np.array([0.01, 0.05, 0.25])
loss = np.array([[0.0], [0.001], [0.03]])
stream = np.minimum(tcp.window_bound(65_535, rtt_s), tcp.loss_bound(1460, rtt_s, loss))
each = tcp.line_share(10e6 / 8, stream, streams=4)  # four streams on a line of 10 Mbit/s
assert stream.shape == (3, 3) and (4 * each <= 10e6 / 8).all()
log_s = tcp.cold_seconds(2**20, 0.1, tcp.window_bound(65_535, 0.1), 2 * 1460)
assert 2.0 < log_s < 2.1
```

## The emulated link

Over the emulated link go real bytes. Each connection is paced by the window bound
(`link.tcp_window`) and the loss bound (`link.loss`; Mathis up to 1 %, Padhye above), and
connections that have data take turns on the line.

Without more a connection is *warm*: it has its whole window from the start. With

```toml
[link]
bandwidth = "100Mbit/s"
rtt = "100ms"
tcp_window = "64KiB"
initial_window = 2                # segments; 2 in RFC 2581, 10 in RFC 6928
delayed_acknowledgements = true   # the window grows by half with each round trip, else it doubles
restart_when_idle = true          # as RFC 5681 and 2861 have it
```

it begins *cold*. It sends its initial window, and acknowledgements, which travel back over the
link, open the window until it is the receive window. A new connection is cold again, and so is
one that has sent nothing for the longer of two round trips and 200 ms, be it idle, stopped by its
reader, or cut off. This is what makes shipping log by log slow over a long way: each log that
comes after a pause begins with round trips in which the line rests.

Left out are a loss during slow start, the window of one segment after a timeout, and
acknowledgements that wait for a timer; the live world has no slow start at all.

## Published, formula, emulated

Each cell has three figures: the published one; what `simulator/tcp.py` gives; what the emulated
link gave, for bytes sent over it on the virtual clock. Tests hold each within 5 %. Published
figures are rounded; where they say "link-bound", the line has 1 Gbit/s. To measure all again, in
some seconds:

```sh
.venv/bin/python -m tests.network.tcp_page > docs/tcp.md
```
"""

_NOTES = {
    "cold": f"""\
Counted from the first byte sent to an answer of one byte, in round trips of {COLD_RTT_MS} ms on a
line of 10 Gbit/s. Published figures and the formula count whole round trips. On the link the
last, partly used one takes only as long as its bytes, but what a full window holds is spread over
its round trip.""",
    "bandwidth_delay": """\
On the link: the window at which it stops to be the bound, from the rates with half of it and with
16 MiB.""",
    "links": """\
Raw line rates, without headers, with a window of 16 MiB at 50 ms: seconds for one log, logs in an
hour, GB in a day.""",
}


def _number(figure: float) -> str:
    """Four significant digits."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"


def _cell(cell: Cell) -> str:
    published = cell.words or _number(cell.reference)
    return f"{published} / {_number(cell.formula)} / {_number(measured(cell))}"


def _grid(cells: list[Cell]) -> list[str]:
    columns = list(dict.fromkeys(cell.column for cell in cells))
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        rows.setdefault(cell.row, {})[cell.column] = _cell(cell)
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for row, found in rows.items():
        lines.append(f"| {row} | {' | '.join(found.get(column, '') for column in columns)} |")
    return lines


def tcp_page() -> str:
    """The text of ``docs/tcp.md``; sends some tens of MiB over emulated links."""
    lines = [_TEXT.rstrip("\n")]
    for table, title in TITLES.items():
        lines += ["", f"### {title}", ""]
        if table in _NOTES:
            lines += [_NOTES[table], ""]
        lines += _grid([cell for cell in CELLS if cell.table == table])
    formula = max(abs(cell.formula / cell.reference - 1) for cell in CELLS)
    link = max(abs(measured(cell) / cell.formula - 1) for cell in CELLS)
    lines += [
        "",
        f"Largest differences: formula from published figure {formula:.1%} (0.07 for 0.0668), "
        f"link from formula {link:.1%} (the partly used round trip).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(tcp_page())
