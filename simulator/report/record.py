"""The JSON record of a run: its shape as models, its schema, its text.

:meth:`simulator.measures.RunResult.to_json` makes the record; the models here say what
other programs may rely on.  ``docs/run-result.schema.json`` is generated from them
(``simulator schema --result``) and every record is held against them before it is written,
so that schema, models and records cannot drift apart.

Within one version of :data:`~simulator.measures.RESULT_SCHEMA` fields are only added.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from simulator.measures import RunResult

Seconds = Annotated[float, Field(description="seconds", allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
SizeBytes = Annotated[int, Field(ge=0, description="bytes")]


class _Part(BaseModel):
    """Base: unknown and missing fields are errors, and a number is never text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LossRecord(_Part):
    """What was, or would have been, lost at one failure."""

    failure: str
    at_seconds: Seconds
    seconds: Annotated[Seconds, Field(description="age of the oldest operation missing")]
    bytes: SizeBytes
    operations: Count
    messages: Annotated[Count | None, Field(description="null: the stream has no messages")]
    mailboxes: Annotated[
        Count | None, Field(description="that lack one of them; null: they are not counted")
    ]


class RecoveryRecord(_Part):
    """The recovery time by part."""

    detect: Seconds
    decide: Seconds
    recover: Seconds
    mount: Seconds
    redirect: Seconds


class ObjectiveRecord(_Part):
    """One objective; it is met when ``measured`` is not above ``wanted``."""

    wanted: Number
    measured: Annotated[Number | None, Field(description="null: could not be measured")]


class CheckRecord(_Part):
    """One judgement of an oracle."""

    invariant: str
    at_seconds: Seconds
    occasion: str
    holds: bool
    detail: str
    circumstances: list[str]
    error_number: Annotated[
        int | None,
        Field(description="the store engine's own number, such as -1018, where it is why"),
    ]


class FaultRecord(_Part):
    """A fault as it really happened."""

    kind: str
    where: str
    start_seconds: Seconds
    end_seconds: Annotated[Seconds | None, Field(description="null: it never ended")]
    note: str


class PrefixRecord(_Part):
    """The last operation that the replica's image is known to equal."""

    epoch: int
    operation: int


class LiveRecord(_Part):
    """What must be known of a run with real processes to read its figures."""

    without_counterpart: Annotated[
        list[str],
        Field(description="what the scenario has and the machine has not: faults and figures"),
    ]
    copies: Annotated[Count, Field(description="of the replica, made to be judged")]
    longest_copy_seconds: Annotated[Seconds, Field(description="the replica stood still so long")]
    mount_seconds: Annotated[
        Seconds | None, Field(description="measured alone; null: nothing was mounted")
    ]
    converged_seconds: Annotated[
        Seconds | None, Field(description="when image and source were compared and alike")
    ]


class QueuePeaksRecord(_Part):
    """The longest queues of log shipping."""

    copy_queue_logs: Annotated[Count, Field(description="closed and not inspected by the copy")]
    copy_queue_bytes: SizeBytes
    replay_queue_logs: Annotated[Count, Field(description="inspected and not replayed")]
    replay_queue_bytes: SizeBytes


class RunRecord(_Part):
    """The result of one run of a scenario."""

    schema_: Annotated[Literal["simulator-run/1"], Field(alias="schema")]
    scenario: str
    description: str
    world: Annotated[str, Field(description="simulated, plan or live")]
    seed: int
    verdict: Annotated[
        Literal["pass", "objective", "inconclusive", "unrecoverable", "liveness", "safety"],
        Field(description="docs/exit-codes.md tells the exit code of each"),
    ]
    reasons: Annotated[list[str], Field(description="worst first; empty for a pass")]
    rpo_seconds: Annotated[Seconds | None, Field(description="null: nothing failed")]
    rpo_operations: Count | None
    rpo_bytes: SizeBytes | None
    rpo_messages: Count | None
    rto_seconds: Annotated[Seconds | None, Field(description="null: no source was lost")]
    rto_parts_seconds: RecoveryRecord | None
    losses: list[LossRecord]
    objectives: dict[str, ObjectiveRecord]
    spool_peak_bytes: SizeBytes
    spool_limit_bytes: SizeBytes
    journal_peak_bytes: SizeBytes
    queue_peaks: Annotated[QueuePeaksRecord | None, Field(description="null: no logs are shipped")]
    wire_bytes: Annotated[SizeBytes, Field(description="from source to replica, framed")]
    reverse_wire_bytes: SizeBytes
    captured_bytes: Annotated[SizeBytes, Field(description="written by the source's programs")]
    operations: Count
    messages: Count | None
    resynchronizations: Count
    prefix: PrefixRecord
    checks: list[CheckRecord]
    faults: list[FaultRecord]
    trace_hash: Annotated[
        str, Field(description="equal for equal plans and releases; empty: not simulated")
    ]
    wall_seconds: Seconds
    simulated_seconds: Annotated[
        Seconds, Field(description="time that the run covers; real time when live")
    ]
    live: Annotated[LiveRecord | None, Field(description="null in other worlds than the live one")]
    not_judged: Annotated[
        dict[str, str],
        Field(description="invariants that there was no ground to judge, and why"),
    ]


def result_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the record."""
    schema = RunRecord.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Result of simulator run",
    }


def schema_text(schema: dict[str, Any]) -> str:
    """A schema as it is printed and kept in ``docs/``."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def result_text(result: RunResult) -> str:
    """The record of ``result`` as JSON text, after holding it against the models.

    A record that does not fit is a defect of ours, so the model's error passes through.
    """
    record = result.to_json()
    RunRecord.model_validate(record)
    return json.dumps(record, indent=2, allow_nan=False) + "\n"
