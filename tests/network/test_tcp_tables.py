"""Every cell of the published tables: by the formulas, and by bytes sent over the emulated link."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from simulator.link import LinkModel
from simulator.scenario import parse_scenario
from tests.network.tcp_cells import CELLS, Cell, measured
from tests.network.tcp_page import TOLERANCE, tcp_page
from tests.network.wires import MILLISECOND_NS

PAGE = Path(__file__).resolve().parents[2] / "docs/tcp.md"


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_formula_and_link_give_the_published_figure(cell: Cell) -> None:
    assert cell.formula == pytest.approx(cell.reference, rel=TOLERANCE)
    assert measured(cell) == pytest.approx(cell.reference, rel=TOLERANCE)


def test_no_cell_is_missing() -> None:
    assert Counter(cell.table for cell in CELLS) == {
        "window": 18,
        "cold": 7,
        "loss": 20,
        "bandwidth_delay": 6,
        "links": 18,
    }
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def test_the_page_is_what_is_measured() -> None:
    assert PAGE.read_text(encoding="utf-8") == tcp_page(), (
        "renew it: .venv/bin/python -m tests.network.tcp_page > docs/tcp.md"
    )


def test_the_examples_of_the_page_run() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    assert "assert" in example
    exec(compile(example, str(PAGE), "exec"), {})
    (link,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    scenario = parse_scenario(f'name = "page"\nduration = "1s"\nstream.kind = "store"\n{link}')
    assert scenario.link_model == LinkModel(
        bits_per_second=100e6,
        rtt_ns=100 * MILLISECOND_NS,
        tcp_window_bytes=65_536,
        initial_window_segments=2,
        delayed_acknowledgements=True,
    )
