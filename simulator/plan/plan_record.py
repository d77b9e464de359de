"""The JSON record of a plan: its schema, its text, and how it is made.

As for the record of a run (:mod:`simulator.report.record`): each record is held against its models
(:mod:`simulator.plan.plan_record_models`) before it is written, the schema is made from them
(``simulator schema --capacity``), and within one version of
:data:`~simulator.plan.plan_record_models.PLAN_SCHEMA` fields are only added.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from simulator.plan.link_use import stream_use
from simulator.plan.plan_answer import Topic, sentences_of
from simulator.plan.plan_objectives import needs_of, outcomes_of
from simulator.plan.plan_record_models import (
    PLAN_SCHEMA,
    CatchUpRecord,
    DayRecord,
    FirstCopyRecord,
    KindRecord,
    LagRecord,
    LastsRecord,
    LimitRecord,
    NeedRecord,
    OutcomeRecord,
    PlanRecord,
    QuantileRecord,
    RateRecord,
    RecoveryRecord,
    ReplicaRecord,
    ReturnRecord,
    SizeRecord,
    SpoolOutageRecord,
    SpoolRecord,
    SurfaceRecord,
    TornadoRecord,
    ViolationRecord,
)
from simulator.plan.plan_rows import frame_rows, with_reason
from simulator.plan.planner import Plan
from simulator.plan.sizes_to_buy import sizes_to_buy

Row = TypeVar("Row", bound=BaseModel)


def _rows(model: type[Row], rows: Sequence[dict[str, Any]]) -> list[Row]:
    return [model.model_validate(row) for row in rows]


def record_of(plan: Plan, topics: Sequence[Topic] = ()) -> PlanRecord:
    """The record of a plan.

    Arguments
    ---------
    topics: the answer in words.

    A plan that does not fit the models is a defect of ours, so the model's error passes through.
    """
    outcomes = outcomes_of(plan)
    rows = with_reason(plan)
    drawn = plan.drawn
    return PlanRecord.model_validate(
        {
            "schema": PLAN_SCHEMA,
            "name": plan.organisation.name,
            "description": plan.organisation.description,
            "begins_at": plan.change.grid.begins_at.isoformat(),
            "span_seconds": float(plan.change.grid.span_seconds),
            "protection": plan.protection.name,
            "answer": sentences_of(topics),
            "topics": [{"name": each.name, "sentences": list(each.sentences)} for each in topics],
            "holds": all(each.met for each in outcomes),
            "objectives": [OutcomeRecord.model_validate(vars(each)) for each in outcomes],
            "needs": [NeedRecord.model_validate(vars(each)) for each in needs_of(plan)],
            "sizes": [SizeRecord.model_validate(vars(each)) for each in sizes_to_buy(plan)],
            "change": {
                "written_bytes_per_day": plan.change.written_bytes_per_day,
                "log_bytes_per_day": plan.change.log_bytes_per_day,
                "peak_to_mean": float(plan.change.peak_to_mean()),
                "stored_bytes": plan.change.stored_bytes,
                "log_sets": plan.change.log_sets,
                "origin": plan.change.origin,
                "remarks": list(plan.change.remarks),
            },
            "link": {
                "bits_per_second": float(plan.link.bits_per_second),
                "rtt_seconds": plan.link.rtt_seconds,
                "loss": float(plan.link.loss),
                "streams": plan.link.streams,
                "tcp_window_bytes": plan.link.tcp_window_bytes,
                "payload_share": float(plan.link.payload_share),
                **vars(stream_use(plan.link, plan.protection, plan.change)),
                **vars(plan.use),
            },
            "carried_bytes_per_second": plan.carried_bytes_per_second,
            "kinds": _rows(KindRecord, rows["kinds"]),
            "rates": _rows(RateRecord, rows["rates"]),
            "lags": _rows(LagRecord, rows["lags"]),
            "violations": _rows(ViolationRecord, rows["violations"]),
            "days": _rows(DayRecord, rows["days"]),
            "spools": [SpoolRecord.model_validate(vars(each)) for each in plan.spools],
            "surface": _rows(SurfaceRecord, rows["surface"]),
            "lasts": _rows(LastsRecord, rows["lasts"]),
            "spool_outages": _rows(SpoolOutageRecord, rows["spool_outages"]),
            "returns": _rows(ReturnRecord, rows["returns"]),
            "catch_up_by_rate": _rows(CatchUpRecord, rows["catch_up_by_rate"]),
            "replica": _rows(ReplicaRecord, rows["replica"]),
            "log_volume": {
                **vars(plan.log_volume),
                "free_bytes": float(plan.log_volume.free_bytes),
            },
            "first_copy": _rows(FirstCopyRecord, rows["first_copy"]),
            "copy_begins": _rows(FirstCopyRecord, rows["copy_begins"]),
            "recovery": _rows(RecoveryRecord, rows["recovery"]),
            "drawn": {
                "seed": drawn.seed,
                "years": drawn.years,
                "outages": len(drawn.outages),
                "overlapping_share": drawn.overlapping_share,
                "shortened": drawn.shortened,
                "of_outages": _rows(QuantileRecord, frame_rows(drawn.of_outages())),
                "of_years": _rows(QuantileRecord, frame_rows(drawn.of_years())),
            },
            "tornado": _rows(TornadoRecord, rows["tornado"]),
            "validity": _rows(LimitRecord, rows["validity"]),
        }
    )


def plan_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the record."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PlanRecord.model_json_schema(by_alias=True),
        "title": "Result of simulator plan",
    }


def plan_text(record: PlanRecord) -> str:
    """The record as JSON text."""
    document = record.model_dump(by_alias=True)
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
