"""Pictures and tables of distributions: what is kept how often, and what a campaign found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from replicator.errors import BadInput
from simulator.campaign.summary import quantiles
from simulator.report import ink
from simulator.report.campaign_figure import (
    MOST_ROWS,
    draw_campaign,
    quantile_table,
    verdict_table,
)
from simulator.report.plan_chances import (
    MOST_CASES,
    chances_table,
    draw_chances,
    promise_sentence,
    share_within,
    share_words,
)

HOURS = np.arange(1.0, 101.0) * 3_600


def texts(figure) -> str:
    figure.draw_without_rendering()  # ticks are spelled only now
    return "\n".join(each.get_text() for each in figure.findobj(lambda a: hasattr(a, "get_text")))


# -- chances -----------------------------------------------------------------------------------


def test_what_is_kept_is_counted() -> None:
    assert share_within(HOURS, 25 * 3_600) == 0.25
    sentence = promise_sentence(HOURS, 25 * 3_600.0, "RTO", "recoveries")
    assert sentence == "The RTO of 1 d 1 h is kept in 25 % of all recoveries."


def test_hardly_any_is_not_none_and_nearly_all_is_not_all() -> None:
    assert [share_words(each) for each in (0.0, 1e-6, 0.5, 1 - 1e-6, 1.0)] == [
        "0 %",
        "< 0.1 %",
        "50 %",
        "> 99.9 %",
        "100 %",
    ]


def test_quantiles_of_a_table() -> None:
    never = np.where(HOURS > 90 * 3_600, np.inf, HOURS)
    table = chances_table({"all": HOURS, "some": never}, 3_600.0, "RPO", drawn=True)
    first, second = table.rows
    assert [first[f"at_{share}"] / 3_600 for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert first["low"] < 95 * 3_600 < first["high"]
    assert second["at_0.5"] == 50 * 3_600
    assert second["at_0.95"] is None
    assert table.columns[-1].name == "RPO of 1 h kept"
    assert first["kept"] == 0.01
    cells = list(table.spelled())
    assert cells[1][2] == "never"


def test_a_line_rises_to_what_ever_ends() -> None:
    never = np.where(HOURS > 60 * 3_600, np.inf, HOURS)
    with ink.drawing():
        figure = draw_chances({"some": never}, 30 * 3_600.0, "RPO")
    line = next(each for each in figure.axes[0].lines if "some" in str(each.get_label()))
    x, y = line.get_xdata(), line.get_ydata()
    assert (np.diff(y) >= 0).all()
    assert (np.diff(x) >= 0).all()
    assert y[-1] == pytest.approx(0.6)
    assert np.interp(30 * 3_600, x, y) == pytest.approx(0.3, abs=0.02)
    assert "30 %: some" in texts(figure)


def test_what_takes_no_time_lies_at_the_left_end() -> None:
    with ink.drawing():
        figure = draw_chances({"none": np.zeros(5), "never": np.full(5, np.inf)}, 60.0, "RPO")
    assert "100 %: none" in texts(figure)
    assert "0 %: never" in texts(figure)
    assert "1 s or less" in texts(figure)


@pytest.mark.parametrize(
    "values",
    [{}, {"none": np.array([])}, {str(each): HOURS for each in range(MOST_CASES + 1)}],
)
def test_what_cannot_be_shown_is_refused(values) -> None:
    with pytest.raises(BadInput):
        draw_chances(values, 60.0, "RPO")
    with pytest.raises(BadInput):
        chances_table(values, 60.0, "RPO")


def test_as_many_as_can_be_told_apart_look_different() -> None:
    values = {str(each): HOURS for each in range(MOST_CASES)}
    with ink.drawing():
        lines = draw_chances(values, 60.0, "RPO").axes[0].get_legend().get_lines()
    assert len({(each.get_color(), each.get_linestyle()) for each in lines}) == len(
        {(each.get_color()) for each in lines}
    )
    assert len({each.get_color() for each in lines}) == MOST_CASES


# -- campaigns ---------------------------------------------------------------------------------


def campaign(kinds: int, plans: int = 60) -> pd.DataFrame:
    """Plan n has fault n modulo the kinds (0: none), and a lag of n seconds."""
    number = np.arange(plans)
    return pd.DataFrame(
        {
            "number": number,
            "verdict": ["pass"] * (plans - 1) + ["safety"],
            "happened": [(f"kind_{n % kinds}",) if n % kinds else () for n in number],
            "rpo_seconds": np.where(number % 2 == 0, number / 10, np.nan),
            "rto_seconds": np.nan,
            "spool_peak_bytes": number * 1_000,
            "lag_peak_seconds": number.astype(float),
        }
    )


def test_verdicts_have_shares() -> None:
    rows = {row["verdict"]: row for row in verdict_table(campaign(3)).rows}
    assert rows["safety"]["plans"] == 1
    assert rows["pass"]["share"] == pytest.approx(59 / 60)
    assert next(iter(rows)) == "safety"
    assert verdict_table(campaign(3).iloc[:0]).rows[0]["share"] == 0


def test_the_table_has_the_summarys_quantiles() -> None:
    frame = campaign(3)
    found = {row["fault"]: row for row in quantile_table(frame, "lag_peak_seconds").rows}
    expected = {
        (each.fault, each.quantile): each
        for each in quantiles(frame)
        if each.measure == "lag_peak_seconds"
    }
    assert list(found) == ["all plans", "no fault happened", "kind 1", "kind 2"]
    assert found["kind 1"]["median"] == expected["kind_1", 0.5].value
    assert found["kind 1"]["high"] == expected["kind_1", 0.95].value
    assert found["kind 1"]["to"] is None
    assert [each[-1] for each in quantile_table(frame, "lag_peak_seconds").spelled()][2] == (
        "too few"
    )
    assert quantile_table(frame, "rto_seconds").rows == ()


def test_rows_are_in_the_order_of_their_lag_and_count_their_plans() -> None:
    with ink.drawing():
        figure = draw_campaign(campaign(3))
    labels = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert labels == ["all plans (60)", "no fault happened (20)", "kind 2 (20)", "kind 1 (20)"]


def test_kinds_that_are_left_out_are_told() -> None:
    with ink.drawing():
        said = texts(draw_campaign(campaign(MOST_ROWS + 4)))
    assert "5 kinds with smaller lags are left out" in said
    with ink.drawing():
        assert "left out" not in texts(draw_campaign(campaign(3)))


def test_a_campaign_without_plans_says_so() -> None:
    with ink.drawing():
        assert "no plan was run" in texts(draw_campaign(campaign(3).iloc[:0]))
