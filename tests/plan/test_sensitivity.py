"""Tornado and limits on a plan whose answers are known in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from simulator.plan.sensitivity import (
    COLUMNS,
    DOCUMENTED_RANGES,
    numeric_inputs,
    range_of,
    tornado,
    with_input,
)
from simulator.plan.validity import holds_from, limit_of, limits_frame, limits_of


@dataclass(frozen=True)
class Line:
    mbit: float = 10.0
    payload_share: float = 0.92
    name: str = "line"
    active: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.payload_share <= 1:
            raise ValueError("payload_share lies within 0 and 1")


@dataclass(frozen=True)
class Site:
    mailboxes: int = 100
    megabytes: float = 2.0
    lines: tuple[Line, ...] = (Line(), Line(mbit=5.0))
    unused: float = 0.0
    derived: float = field(init=False, default=3.0)


def outputs(site: Site) -> Mapping[str, float | None]:
    load = site.mailboxes * site.megabytes
    could = sum(line.mbit * line.payload_share for line in site.lines)
    spare = could * 20 - load
    return {"load": load, "hours": load / spare if spare > 0 else None}


def test_numbers_are_found_and_changed_by_their_path() -> None:
    site = Site()
    assert numeric_inputs(site) == {
        "mailboxes": 100,
        "megabytes": 2.0,
        "lines.0.mbit": 10.0,
        "lines.0.payload_share": 0.92,
        "lines.1.mbit": 5.0,
        "lines.1.payload_share": 0.92,
        "unused": 0.0,
    }
    changed = with_input(site, "lines.1.mbit", 7.5)
    assert (changed.lines[1].mbit, changed.lines[0], site.lines[1].mbit) == (7.5, Line(), 5.0)
    whole = with_input(site, "mailboxes", 119.6)
    assert (whole.mailboxes, type(whole.mailboxes)) == (120, int)
    for wrong in ("mailbox", "lines.2.mbit", "lines.0.active", "lines", "derived", "lines.x.mbit"):
        with pytest.raises(KeyError, match=wrong.replace(".", r"\.")):
            with_input(site, wrong, 1.0)


def test_ranges_are_given_documented_or_a_fifth() -> None:
    assert range_of("a.mbit", 10.0) == (8.0, 12.0)
    assert range_of("a.loss", -10.0) == (-12.0, -8.0)
    assert range_of("lines.0.payload_share", 0.92) == DOCUMENTED_RANGES["payload_share"]
    assert range_of("lines.0.payload_share", 0.5) == (0.4, 0.6)
    assert range_of("x", 1.0, {"x": (0.0, 5.0)}) == (0.0, 5.0)


def test_a_tornado_has_the_largest_swing_first() -> None:
    table = tornado(Site(), outputs)
    assert tuple(table.columns) == COLUMNS
    load = table[table["output"] == "load"].set_index("input")
    assert load.loc["mailboxes", ["at_low", "base", "at_high"]].tolist() == [160.0, 200.0, 240.0]
    assert load.loc["mailboxes", "swing"] == 80.0
    assert load.loc["lines.0.mbit", "swing"] == 0.0
    assert "unused" not in load.index
    hours = table[table["output"] == "hours"]
    # At the low rate of the first line still spare, little: the largest swing.
    swings = [each for each in hours["swing"] if each is not None]
    assert swings == sorted(swings, reverse=True)
    for row in hours.itertuples():
        for value, result in ((row.low_input, row.at_low), (row.high_input, row.at_high)):
            assert result == outputs(with_input(Site(), row.input, value))["hours"]


def test_never_and_refused_stand_first_with_their_reason() -> None:
    ranges = {"lines.0.mbit": (1.0, 12.0), "lines.1.payload_share": (0.9, 1.5)}
    table = tornado(Site(), outputs, ranges)
    hours = table[table["output"] == "hours"]
    assert set(hours["input"].iloc[:2]) == set(ranges)
    by_input = hours.set_index("input")
    assert by_input.loc["lines.0.mbit", "reason"] == "never at the low value"
    assert by_input.loc["lines.0.mbit", "swing"] is None
    assert by_input.loc["lines.1.payload_share", "reason"].startswith("1.5: payload_share lies")
    with pytest.raises(KeyError, match="nothing"):
        tornado(Site(), outputs, {"nothing": (0.0, 1.0)})
    only = tornado(Site(), outputs, inputs=["megabytes"])
    assert only["input"].tolist() == ["megabytes"] * 2


# -- how far inputs may go -------------------------------------------------------------------


def broken(site: Site) -> Mapping[str, str]:
    hours = outputs(site)["hours"]
    if hours is None:
        return {"catch-up": "never"}
    return {"catch-up": f"{hours:.2f} h"} if hours > 4.0 else {}


def test_limits_are_those_of_the_closed_form() -> None:
    # load / (276 - load) <= 4: load <= 220.8; could * 20 >= 250.
    ends = {"megabytes": 10.0, "mailboxes": 1_000, "lines.0.mbit": 0.0, "unused": 9.0}
    table = limits_frame(limits_of(Site(), broken, ends)).set_index("input")
    assert table.loc["megabytes", "holds_until"] == pytest.approx(2.208, rel=2e-3)
    assert table.loc["megabytes", "holds_until"] <= 2.208
    assert table.loc["mailboxes", "holds_until"] == 110
    assert table.loc["lines.0.mbit", "holds_until"] == pytest.approx(12.5 / 0.92 - 5, rel=2e-3)
    assert table.loc["lines.0.mbit", "direction"] == "down"
    assert "holds while lines.0.mbit >= 8.5" in table.loc["lines.0.mbit", "text"]
    assert table.loc["megabytes", "breaks"].startswith("catch-up: 4.")
    assert table.loc["unused", "holds_until"] == 9.0
    assert table.loc["unused", "breaks"] == ""
    assert "maybe beyond" in table.loc["unused", "text"]


def test_a_plan_that_does_not_hold_has_no_limit() -> None:
    found = limit_of(Site(megabytes=2.5), broken, "mailboxes", 1_000)
    assert found.holds_until is None
    assert "does not hold as planned (catch-up: " in found.text


def test_where_it_would_hold_is_found_as_finely_as_it_is_large() -> None:
    """However far was looked: a share of the furthest value would be many of the nearest."""
    slow = Site(lines=(Line(mbit=1.0), Line(mbit=5.0)))
    rate = holds_from(slow, broken, "lines.0.mbit", 1_000.0, 0.01)
    assert rate is not None and 12.5 / 0.92 - 5 <= rate < 1.011 * (12.5 / 0.92 - 5)
    # Whole numbers stay whole, and the nearest one is found.
    few = Site(mailboxes=500)
    assert holds_from(few, broken, "mailboxes", 1, 0.01) == 110


def test_what_the_plan_refuses_is_a_limit() -> None:
    found = limit_of(Site(), broken, "lines.0.payload_share", 3.0)
    assert found.holds_until == pytest.approx(1.0, rel=2e-3)
    assert "refused: payload_share lies within" in found.breaks
    with pytest.raises(KeyError, match="nothing"):
        limit_of(Site(), broken, "nothing", 1.0)


def test_a_gap_on_the_way_is_found_when_a_look_falls_into_it() -> None:
    def gap(site: Site) -> Mapping[str, str]:
        return {"gap": ""} if 4.0 < site.megabytes < 7.0 else {}

    found = limit_of(Site(), gap, "megabytes", 10.0)
    assert found.holds_until == pytest.approx(4.0, rel=2e-3)
    # Looked at only at the far end, it is missed: what the looks on the way are for.
    assert limit_of(Site(), gap, "megabytes", 10.0, looks=1).holds_until == 10.0
