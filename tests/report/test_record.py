"""The JSON record, its models, and the schema in docs/."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from simulator.measures import RESULT_SCHEMA, Verdict
from simulator.report.record import RunRecord, result_json_schema, result_text, schema_text
from tests.report import samples

DOCS = Path(__file__).parents[2] / "docs"


def test_schema_in_docs_is_the_generated_one():
    """To renew it: ``simulator schema --result > docs/run-result.schema.json``."""
    assert (DOCS / "run-result.schema.json").read_text() == schema_text(result_json_schema())


@pytest.mark.parametrize("name", samples.ALL)
def test_records_fit_the_schema(name):
    record = json.loads(result_text(samples.ALL[name]()))
    RunRecord.model_validate(record)
    assert record == samples.ALL[name]().to_json() or name == "enormous"
    schema = result_json_schema()
    assert set(record) == set(schema["properties"]) == set(schema["required"])


def test_record_names_what_the_issue_asks_for():
    wanted = (
        "schema scenario seed verdict rpo_seconds rto_seconds rpo_operations spool_peak_bytes "
        "wire_bytes captured_bytes operations prefix trace_hash wall_seconds simulated_seconds"
    )
    assert set(wanted.split()) <= set(json.loads(result_text(samples.passing(10))))


def test_models_know_every_verdict_and_the_version():
    properties = result_json_schema()["properties"]
    assert set(properties["verdict"]["enum"]) == {verdict.value for verdict in Verdict}
    assert properties["schema"]["const"] == RESULT_SCHEMA


def test_what_json_cannot_say_is_refused_rather_than_written():
    with pytest.raises(ValidationError):
        result_text(replace(samples.passing(10), wall_seconds=math.nan))
    with pytest.raises(ValidationError):
        result_text(replace(samples.passing(10), operations="many"))
