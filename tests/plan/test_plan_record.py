"""The JSON record of a plan: its models, its schema, and that "never" says why."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from simulator.plan import plan_rows
from simulator.plan.plan_record import plan_json_schema, plan_text, record_of
from simulator.plan.plan_record_models import PLAN_SCHEMA, PlanRecord
from simulator.plan.planner import Plan
from simulator.report.record import schema_text
from tests.plan import plans

ALL = {"usual": plans.plan, "never": plans.never, "nightly": plans.nightly, "sound": plans.sound}


def numbers(node: object) -> list[float]:
    if isinstance(node, dict):
        return [each for part in node.values() for each in numbers(part)]
    if isinstance(node, list):
        return [each for part in node for each in numbers(part)]
    return [float(node)] if isinstance(node, int | float) and not isinstance(node, bool) else []


def test_schema_in_docs_is_the_generated_one() -> None:
    """To renew it: ``simulator schema --capacity > docs/plan-record.schema.json``."""
    page = plans.ROOT / "docs" / "plan-record.schema.json"
    assert page.read_text(encoding="utf-8") == schema_text(plan_json_schema())


@pytest.mark.parametrize("name", ALL)
def test_records_fit_the_schema_and_hold_finite_numbers(name: str) -> None:
    text = plan_text(record_of(ALL[name](), plans.told("Buy a faster line.")))
    document = json.loads(text)
    PlanRecord.model_validate(document)
    schema = plan_json_schema()
    assert document["schema"] == PLAN_SCHEMA == schema["properties"]["schema"]["const"]
    assert set(document) == set(schema["properties"]) == set(schema["required"])
    assert document["answer"] == ["Buy a faster line."]
    assert document["topics"] == [{"name": "Spool", "sentences": ["Buy a faster line."]}]
    found = numbers(document)
    assert len(found) > 300
    assert np.isfinite(found).all()
    assert "NaN" not in text and "Infinity" not in text


def test_every_frame_of_a_plan_is_in_the_record() -> None:
    frames = {name for name, kind in Plan.__annotations__.items() if kind == "pd.DataFrame"}
    assert frames == set(plan_rows.FRAMES)
    record, plan = record_of(plans.plan()), plans.plan()
    for name in frames:
        frame = getattr(plan, name)
        rows = [each.model_dump() for each in getattr(record, name)]
        assert len(rows) == len(frame) > 0, name
        assert set(frame.columns) <= set(rows[0]), name


def test_figures_are_those_of_the_frames() -> None:
    plan = plans.plan()
    record = record_of(plan)
    assert [each.bits_per_second for each in record.rates] == list(plan.rates["bits_per_second"])
    assert record.spools[0].needed_bytes == plan.spools[0].needed_bytes
    assert record.link.mean_utilisation == plan.use.mean_utilisation


def test_never_is_null_with_a_reason() -> None:
    record = record_of(plans.never())
    assert not record.holds and not record.link.catches_up
    assert "never catch up" in record.link.reason
    missing = [each for each in record.returns if each.catch_up_seconds is None]
    assert missing and all("not caught up" in each.reason for each in missing)
    rates = [each for each in record.catch_up_by_rate if each.catch_up_seconds is None]
    assert rates and all(each.reason.startswith("never") for each in rates)


def test_null_without_a_reason_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The safeguard: with the reasons taken away the models notice."""
    reasons = dict(plan_rows._REASONS)
    monkeypatch.setattr(plan_rows, "_REASONS", {})
    with pytest.raises(ValidationError):
        record_of(plans.never())
    monkeypatch.setattr(plan_rows, "_REASONS", dict.fromkeys(reasons, lambda row: ""))
    with pytest.raises(ValidationError, match="null without a reason"):
        record_of(plans.never())


def test_infinity_becomes_null_and_is_never_written() -> None:
    plan = plans.plan()
    wrong = plan.lags.assign(rpo_seconds=np.inf)
    with pytest.raises(ValidationError):  # a lag has no reason, so it may not be missing
        record_of(replace(plan, lags=wrong))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.float64("nan"), None),
        (float("inf"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (None, None),
        (pd.NaT, None),
        (pd.Timestamp("2007-01-02 03:04"), "2007-01-02T03:04:00"),
        (datetime.date(2007, 1, 2), "2007-01-02"),
        ("text", "text"),
    ],
)
def test_plain_values(value: object, told: object) -> None:
    found = plan_rows.plain(value)
    assert found == told and type(found) is type(told)
