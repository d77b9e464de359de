"""The models of a plan's JSON record: what other programs may rely on.

:mod:`simulator.plan.plan_record` makes the record and its schema of them.  A figure that there is
not ("never") is null, and its row has a ``reason``; there is no infinity and no NaN.  Rows name the
figures of which this holds in :attr:`_Row.figures`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PLAN_SCHEMA: Final = "simulator-plan/1"

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(description="1 is all")]
Seconds = Annotated[Number, Field(description="seconds")]
Amount = Annotated[Number, Field(ge=0, description="bytes")]
Rate = Annotated[Number, Field(ge=0, description="bits per second")]
Days = Annotated[Number, Field(description="days")]
Hour = Annotated[int, Field(ge=0, le=23, description="of the day, local time")]
Count = Annotated[int, Field(ge=0)]
LocalTime = Annotated[str, Field(description="ISO 8601, the site's own time")]


class _Part(BaseModel):
    """Base: unknown and missing fields are errors, and a number is never text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Row(_Part):
    """A row in which a figure may be missing, and then says why."""

    figures: ClassVar[tuple[str, ...]] = ()
    reason: Annotated[str, Field(description="why a figure is null, or what it leaves open")]

    @model_validator(mode="after")
    def _says_why(self) -> _Row:
        missing = [name for name in self.figures if getattr(self, name) is None]
        if missing and not self.reason:
            raise ValueError(f"{', '.join(missing)}: null without a reason")
        return self


class OutcomeRecord(_Row):
    """One objective."""

    figures = ("found",)
    objective: str
    unit: str
    wanted: Annotated[Number | None, Field(description="null: any end will do")]
    found: Number | None
    met: bool


class NeedRecord(_Part):
    """Something to have."""

    item: str
    unit: str
    given: Annotated[Number | None, Field(description="null: the plan says nothing")]
    needed: Annotated[
        Number | None, Field(description="0: none; null: see reason, or a given time")
    ]
    advised: Annotated[Number | None, Field(description="with the margin")]
    enough: Annotated[bool | None, Field(description="null: nothing to compare")]
    what_for: str
    reason: str
    volume: Annotated[str, Field(description="that it is for; empty of a line")] = ""
    task: Annotated[str, Field(description="of that volume")] = ""


class SizeRecord(_Part):
    """A volume to buy: the largest of its tasks."""

    volume: str
    given_bytes: Annotated[Amount | None, Field(description="null: the plan says nothing")]
    size_bytes: Annotated[Amount | None, Field(description="null: none is enough, see reason")]
    task: Annotated[str, Field(description="what decides it")]
    others: Annotated[str, Field(description="what its other tasks alone would take")]
    reason: str


class ChangeRecord(_Part):
    """What is written."""

    written_bytes_per_day: Annotated[Amount, Field(description="bytes, logs and pages, mean")]
    log_bytes_per_day: Amount
    peak_to_mean: Annotated[Number, Field(description="of half an hour")]
    stored_bytes: Annotated[Amount | None, Field(description="null: nothing says it")]
    log_sets: Count
    origin: str
    remarks: list[str]


class LinkRecord(_Row):
    """The line, and how busy it is with the plan's own kind."""

    figures = ("mean_utilisation",)
    bits_per_second: Rate
    rtt_seconds: Seconds
    loss: Share
    streams: Count
    tcp_window_bytes: Count
    payload_share: Share
    room_bits_per_second: Annotated[Rate, Field(description="of data, that headers leave")]
    streams_bits_per_second: Annotated[Rate, Field(description="of that, what the streams carry")]
    usable_bits_per_second: Annotated[Rate, Field(description="of that, what the kind can use")]
    streams_to_fill: Annotated[Count, Field(description="that would carry all of the room")]
    catches_up: bool
    mean_utilisation: Share | None
    peak_hour_utilisation: Annotated[Share | None, Field(description="null: it is never up")]
    peak_hour_begins_at: LocalTime | None


class KindRecord(_Row):
    """One kind of protection."""

    figures = (
        "rpo_95_seconds",
        "rpo_100_seconds",
        "waiting_peak_bytes",
        "first_copy_seconds",
        "rto_seconds",
    )
    kind: str
    catches_up: bool
    mean_utilisation: Share | None
    rpo_50_seconds: Seconds | None
    rpo_95_seconds: Seconds | None
    rpo_99_seconds: Seconds | None
    rpo_100_seconds: Seconds | None
    waiting_peak_bytes: Amount | None
    carried_bytes_per_day: Amount
    spool_bytes: Annotated[
        Amount | None,
        Field(description="of the planned outage; null: it keeps none, or see reason"),
    ]
    first_copy_seconds: Annotated[
        Seconds | None, Field(description="on the planned way, until it is caught up")
    ]
    rto_seconds: Seconds | None
    catch_up_seconds: Annotated[
        Seconds | None, Field(description="of the planned outage's worst start; null: never")
    ] = None
    first_copy_spool_bytes: Annotated[
        Amount | None,
        Field(description="at the source meanwhile; null: it keeps no spool, or see reason"),
    ] = None
    missed: Annotated[
        str,
        Field(description="objectives missed on this line and the given volumes; empty: none"),
    ] = ""


class RateRecord(_Row):
    """The line rate that keeps the RPO for a share of the time."""

    figures = ("bits_per_second",)
    share_of_time: Share
    bits_per_second: Rate | None
    streams: Annotated[Count | None, Field(description="that would do; null: not what is missing")]
    window_bytes: Annotated[Count | None, Field(description="likewise")]
    without_bound_bits_per_second: Rate | None


class LagRecord(_Part):
    """The RPO that the planned line gives."""

    share_of_time: Share
    rpo_seconds: Seconds


class ViolationRecord(_Part):
    """A time during which the RPO is exceeded."""

    begins_at: LocalTime
    length_seconds: Seconds
    largest_lag_seconds: Seconds


class DayRecord(_Part):
    """One day."""

    date: str
    largest_lag_seconds: Seconds
    violated_seconds: Seconds


class SpoolRecord(_Part):
    """The spool that an outage needs, whenever it begins."""

    length_seconds: Seconds
    needed_bytes: Amount
    worst_begins_at: LocalTime
    worst_hour: Hour
    recommended_bytes: Amount
    rule_of_thumb_bytes: Annotated[
        Amount | None, Field(description="a tenth of the data set; null: its size is not known")
    ]
    remark: Annotated[str, Field(description="why no size is enough; empty: it is")]
    waiting_before_bytes: Annotated[
        Amount, Field(description="of what is needed, what waits already when it begins")
    ] = 0.0
    at_return_bytes: Annotated[
        Amount, Field(description="of what is needed, what waits when the line is back")
    ] = 0.0


class SurfaceRecord(_Part):
    """The spool by length and hour of the begin."""

    length_seconds: Seconds
    hour: Hour
    spool_bytes: Amount
    worst_begin_seconds: Seconds
    starts: Count
    not_caught_up: Count


class LastsRecord(_Row):
    """How long the given spool lasts, by the hour at which the line goes down."""

    figures = ("shortest_seconds", "median_seconds")
    hour: Hour
    shortest_seconds: Seconds | None
    median_seconds: Seconds | None
    never: Count
    starts: Count


class SpoolOutageRecord(_Row):
    """What the planned outage does to the given spool, by hour: its worst start."""

    figures = (
        "full_after_seconds",
        "compared_bytes",
        "differing_bytes",
        "unprotected_seconds",
        "behind_seconds",
    )
    hour: Hour
    begin_seconds: Seconds
    length_seconds: Seconds
    full_after_seconds: Seconds | None
    stands_still_seconds: Seconds
    compared_bytes: Annotated[Amount | None, Field(description="null: no database size is known")]
    differing_bytes: Annotated[Amount | None, Field(description="likewise")]
    unprotected_seconds: Seconds | None
    behind_seconds: Seconds | None


class ReturnRecord(_Row):
    """After the planned outage, by the hour of its begin: the worst of each figure."""

    figures = ("catch_up_seconds", "lag_at_return_seconds", "lag_peak_seconds")
    hour: Hour
    lag_at_return_seconds: Seconds | None
    lag_peak_seconds: Seconds | None
    catch_up_seconds: Seconds | None
    starts: Count
    not_caught_up: Count


class CatchUpRecord(_Row):
    """Catching up after the planned outage's worst begin, at another line rate."""

    figures = ("catch_up_seconds",)
    bits_per_second: Rate
    catch_up_seconds: Seconds | None


class ReplicaRecord(_Row):
    """What waits at the replica."""

    figures = ("spool_bytes",)
    cause: str
    seconds: Seconds
    spool_bytes: Amount | None
    begins_at: LocalTime | None


class LogVolumeRecord(_Row):
    """How long the log volume lasts when logs are not deleted."""

    figures = ("shortest_days", "median_days")
    free_bytes: Amount
    shortest_days: Days | None
    median_days: Days | None
    worst_begins_at: LocalTime | None


class FirstCopyRecord(_Row):
    """A way for the first copy."""

    figures = ("converges_after_seconds",)
    way: str
    begins_at: LocalTime
    read_seconds: Seconds | None
    way_seconds: Seconds | None
    load_seconds: Seconds | None
    catch_up_seconds: Seconds | None
    converges_after_seconds: Seconds | None
    spool_peak_bytes: Amount | None
    bound_by: Annotated[
        Literal["", "line", "seeding", "disk"],
        Field(description="what bounds it for most of its way over the line"),
    ] = ""


class RecoveryRecord(_Row):
    """The recovery time of a kind, by part."""

    figures = ("total_seconds",)
    protection: str
    detect_seconds: Seconds
    decide_seconds: Seconds
    restore_seconds: Seconds | None
    apply_seconds: Seconds | None
    replay_seconds: Seconds | None
    mount_seconds: Seconds
    redirect_seconds: Seconds
    replayed_logs: Number | None
    total_seconds: Seconds | None


class QuantileRecord(_Row):
    """A quantile of drawn outages or years, with its interval of 95 % confidence."""

    figures = ("estimate",)
    measure: str
    share: Share
    estimate: Number | None
    low: Annotated[Number | None, Field(description="null: open on this side")]
    high: Annotated[Number | None, Field(description="likewise")]
    draws: Count


class DrawnRecord(_Part):
    """What came of drawn outages."""

    seed: Count
    years: Count
    outages: Count
    overlapping_share: Share
    shortened: Count
    of_outages: list[QuantileRecord]
    of_years: list[QuantileRecord]


class TornadoRecord(_Row):
    """One input varied alone."""

    figures = ("swing",)
    output: str
    input: str
    base_input: Number
    low_input: Number
    high_input: Number
    base: Number | None
    at_low: Number | None
    at_high: Number | None
    swing: Number | None


class LimitRecord(_Part):
    """How far one input may go."""

    input: str
    direction: Literal["up", "down"]
    planned: Number
    holds_until: Annotated[Number | None, Field(description="null: it does not hold as planned")]
    breaks: str
    text: str
    would_hold_at: Annotated[
        Number | None,
        Field(description="of a plan that does not hold: where it would; null: not found"),
    ] = None
    together_at: Annotated[
        Number | None,
        Field(description="of such a plan: where it would with the two below; null: not found"),
    ] = None
    together_volume_bytes: Annotated[
        Amount | None, Field(description="a volume of that size; null: none larger")
    ] = None
    others_until: Annotated[
        Number | None,
        Field(description="of such a plan: how far what it meets goes; null: it meets nothing"),
    ] = None
    others_break: Annotated[str, Field(description="what breaks there; empty: nothing")] = ""
    together_streams: Annotated[
        Count | None, Field(description="so many TCP streams beside it; null: none more")
    ] = None


class TopicRecord(_Part):
    """A part of the answer."""

    name: str
    sentences: list[str]


class PlanRecord(_Part):
    """The capacity plan of an organisation."""

    schema_: Annotated[Literal["simulator-plan/1"], Field(alias="schema")]
    name: str
    description: str
    begins_at: LocalTime
    span_seconds: Seconds
    protection: str
    answer: Annotated[list[str], Field(description="in words")]
    topics: Annotated[list[TopicRecord], Field(description="the same sentences by topic")]
    holds: Annotated[bool, Field(description="whether all objectives are met")]
    objectives: list[OutcomeRecord]
    needs: list[NeedRecord]
    sizes: Annotated[
        list[SizeRecord], Field(description="what to buy: one for each volume, of these needs")
    ]
    change: ChangeRecord
    link: LinkRecord
    carried_bytes_per_second: Annotated[Number, Field(description="mean, over the line")]
    kinds: list[KindRecord]
    rates: list[RateRecord]
    lags: list[LagRecord]
    violations: list[ViolationRecord]
    days: list[DayRecord]
    spools: Annotated[list[SpoolRecord], Field(description="the planned outage first")]
    surface: list[SurfaceRecord]
    lasts: Annotated[list[LastsRecord], Field(description="of the volume given, or advised")]
    spool_outages: Annotated[list[SpoolOutageRecord], Field(description="likewise")]
    returns: list[ReturnRecord]
    catch_up_by_rate: list[CatchUpRecord]
    replica: Annotated[list[ReplicaRecord], Field(description="empty: it keeps nothing there")]
    log_volume: Annotated[
        LogVolumeRecord | None, Field(description="given, advised or by the rule of three days")
    ]
    first_copy: Annotated[list[FirstCopyRecord], Field(description="empty: no size is known")]
    copy_begins: Annotated[
        list[FirstCopyRecord],
        Field(description="the first copy on the planned way, begun at other times of the week"),
    ]
    recovery: list[RecoveryRecord]
    drawn: DrawnRecord
    tornado: list[TornadoRecord]
    validity: list[LimitRecord]
