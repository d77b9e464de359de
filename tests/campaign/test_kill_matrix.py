"""The kill matrix: its page is of the mutants that there are, and none of them is alive."""

from __future__ import annotations

import re
from pathlib import Path

from simulator.campaign.killmatrix import Fate, kill_matrix_document
from simulator.mutants import MUTANTS
from simulator.report.kill_matrix import kill_matrix_page

ROOT = Path(__file__).resolve().parents[2]
FATES = [
    Fate("one", "a rule", True, 3, "safety", "broken", ("power_loss", "sync_failure")),
    Fate("two", "in plain sight", True, 1, "safety", "broken", ()),
    Fate("three", "a line behind another", False, 50, "", "", ()),
]


def test_the_page_says_what_was_found_and_what_was_not() -> None:
    page = kill_matrix_page(kill_matrix_document(FATES, "campaign", 7, 50))
    assert "2 of 3 mutants were found; the slowest took 50 plans (`three`)." in page
    assert "(seed 7, default weights, at most 50 plans each)" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert rows[0].split("|")[3:6] == [" no fault ", " power loss ", " sync failure "]
    assert rows[2:] == [
        "| `one`: a rule | 3 |  | x | x | safety |",
        "| `two`: in plain sight | 1 | x |  |  | safety |",
        "| `three`: a line behind another | 50 |  |  |  | **alive** |",
    ]


def test_the_documented_matrix_is_of_all_mutants_and_none_is_alive() -> None:
    page = (ROOT / "docs/kill-matrix.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| `(\w+)`", page, re.MULTILINE)
    assert names == [mutant.name for mutant in MUTANTS]
    assert len(names) >= 25
    assert "alive" not in page.partition("|")[2]
    plans = [int(n) for n in re.findall(r"^\| `\w+`[^|]*\| (\d+) \|", page, re.MULTILINE)]
    assert len(plans) == len(names) and max(plans) <= 2_000
