"""Draws ``docs/quickstart.svg``, the picture in the README, from a run of the quickstart.

.venv/bin/python docs/draw_quickstart.py
"""

from __future__ import annotations

from pathlib import Path

from simulator.report.figure import run_picture
from simulator.run import run_scenario
from simulator.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    result = run_scenario(load_scenario(ROOT / "scenarios/quickstart.toml"))
    (ROOT / "docs/quickstart.svg").write_text(run_picture(result), encoding="utf-8")
