"""The models of a scenario: what each table of the TOML file may hold and means.

Attributes are plain numbers whose names carry the unit; keys in TOML have no unit suffix and
their values carry it.  ``docs/scenarios.md`` is made from these declarations.  Checks that span
several keys stand in :mod:`simulator.scenario_checks`.

Figures of failover come from the project's collection of published numbers (``exchange.md``);
its marks are repeated: [V] vendor, [T] third party, [M] from memory, so a named default and
never a truth, [A] assumed for want of any source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from replicator.toml_keys import (
    REQUIRED,
    BitRate,
    Duration,
    KeyProblem,
    PositiveDuration,
    PositiveSize,
    Ratio,
    SegmentSize,
    Size,
    Table,
    key,
)
from simulator.exchange.engine_config import WITHOUT_LOG_ROLL, DurabilityName, EngineStoreConfig
from simulator.exchange.load import LoadConfig
from simulator.exchange.small_store import SmallStoreConfig
from simulator.exchange.stores import StoreConfig
from simulator.link import LinkModel
from simulator.scenario_candidate import Candidate
from simulator.scenario_faults import Fault
from simulator.scenario_hosts import ReplicaHost, SourceHost
from simulator.scenario_keys import DAY_NS, PositiveFrequency, SamplingInterval, TimeOfDay
from simulator.scenario_log_shipping import LogShipping

# --- the write stream ---------------------------------------------------------------------


class StoreStream(Table):
    """A transactional store that receives messages: logs, checkpoint, databases."""

    kind: Literal["store"] = key(None, "The emulated store under message load.", REQUIRED)
    format: Literal["small", "exchange 2003", "exchange 2007", "exchange 2010"] = key(
        None,
        "Format of its files: that of a version of Exchange; or `small`, a test double of the "
        "bench with a format of its own, for tests that must be quick, and as a second store that "
        "shares no code with the first: a defect that the emulated store has in common with its "
        "judgement cannot hide from both.",
        "exchange 2007",
    )
    messages_per_second: PositiveFrequency = key(
        "messages", "Mean rate of arriving messages.", "2/s"
    )
    message_size_bytes: PositiveSize = key(
        "message_size", "Median size of a message; the mean is about 1.65 times that.", "48KiB"
    )
    compressible: Ratio = key(None, "Share of the payload bytes that compress away.", 0.5)
    mailboxes: int = key(None, "Number of mailboxes.", 50, ge=1, le=1_000_000)
    databases: int = key(
        None, "Databases of the storage group; the small store has one.", 1, ge=1, le=6
    )
    log_size_bytes: SegmentSize = key(
        "log_size",
        "Size at which a log generation is closed and renamed; Exchange 2003 has 5 MiB.",
        "1MiB",
    )
    checkpoint_depth_bytes: PositiveSize = key(
        "checkpoint_depth", "Log bytes that recovery may have to replay.", "8MiB"
    )
    database_size_bytes: PositiveSize = key(
        "database_size", "Capacity of each database file.", "256MiB"
    )
    circular: bool = key(
        None,
        "Delete logs that recovery does not need; without it they stay until the run ends.",
        True,
    )
    log_roll_ns: PositiveDuration = key(
        "log_roll",
        "After so long a log is closed, full or not, for whoever copies closed logs; Exchange 2007 "
        "and 2010.",
        "15m",
    )
    durability: DurabilityName = key(
        None,
        "How a commit becomes durable: each log write by itself, as Exchange does, or one flush "
        "behind them, which needs a disk that keeps the order of writes.",
        "write-through",
    )

    @property
    def retention_bytes(self) -> int:
        """Messages beyond so much are deleted, the oldest first."""
        if self.format == "small":
            return self.database_size_bytes // 2
        # Trees are full by half at worst, and rows have keys and indices beside their bytes.
        return self.databases * self.database_size_bytes // 3

    @property
    def largest_message_bytes(self) -> int:
        """No message is larger."""
        share = 4 if self.format == "small" else 12
        return max(min(4 << 20, self.database_size_bytes // share), self.message_size_bytes)

    @property
    def store(self) -> StoreConfig:
        """The effective figures of the store.

        Raises ValueError for those that :mod:`simulator.scenario_checks` refuses.
        """
        if self.format != "small":
            return EngineStoreConfig(
                format=self.format,
                log_size_bytes=self.log_size_bytes,
                checkpoint_depth_bytes=self.checkpoint_depth_bytes,
                database_size_bytes=self.database_size_bytes,
                mailboxes=self.mailboxes,
                databases=self.databases,
                circular=self.circular,
                durability=self.durability,
                log_roll_ns=0 if self.format in WITHOUT_LOG_ROLL else self.log_roll_ns,
            )
        return SmallStoreConfig(
            log_size_bytes=self.log_size_bytes,
            checkpoint_depth_bytes=self.checkpoint_depth_bytes,
            database_capacity_bytes=self.database_size_bytes,
            mailboxes=self.mailboxes,
        )

    @property
    def load(self) -> LoadConfig:
        """The effective figures of the load on it."""
        return LoadConfig(
            messages_per_second=self.messages_per_second,
            mailboxes=self.mailboxes,
            message_size_bytes=self.message_size_bytes,
            largest_bytes=self.largest_message_bytes,
            compressible_share=self.compressible,
            retention_bytes=self.retention_bytes,
            databases=self.databases,
        )


class TraceStream(Table):
    """The writes of a recorded block trace, played in order at their recorded times."""

    kind: Literal["trace"] = key(None, "A recorded block trace.", REQUIRED)
    path: Path = key(None, "The trace file, relative to the scenario file.", REQUIRED)
    format: Literal["vscsi"] = key(
        None, "Columns of the trace file (CloudPhysics vscsi as CSV).", "vscsi"
    )
    speed: float = key(
        None, "Time runs so many times as fast as recorded.", 1.0, gt=0, le=1e6, allow_inf_nan=False
    )
    compressible: Ratio = key(None, "Share of the payload bytes that compress away.", 0.5)
    limit_ns: PositiveDuration | None = key("limit", "Play only so much recorded time.", None)

    @field_validator("path", mode="before")
    @classmethod
    def _from_the_scenario(cls, given: object, info: ValidationInfo) -> object:
        """Absolute from here on, whatever directory the command runs in."""
        if not isinstance(given, str) or not given or "\0" in given:
            raise KeyProblem("must be a file name", 'Write for instance path = "data/trace.csv".')
        context = info.context or {}
        path = Path(context.get("directory", ".")).absolute() / given
        try:
            path, found = path.resolve(), path.is_file()
        except (OSError, RuntimeError) as error:  # name too long, loop of symbolic links
            raise KeyProblem(
                f"{given[:60]!r} cannot be looked up: {error.args[-1]}",
                "Give the trace a shorter name, or one that leads nowhere else.",
            ) from error
        if context.get("check_files", True) and not found:
            raise KeyProblem(
                f"there is no file {path}",
                "Write the trace's name as seen from the scenario's own directory.",
            )
        return path


Stream = Annotated[StoreStream | TraceStream, Field(discriminator="kind")]


# --- protection ---------------------------------------------------------------------------


class Protection(Table):
    """How the source is protected: the reference replicator and its limits."""

    kind: Literal["replicator", "log shipping"] = key(
        None,
        "The protection system: the reference replicator, or closed logs that are copied.",
        "replicator",
    )
    spool_limit_bytes: PositiveSize = key("spool_limit", "Hard limit of the spool.", "1GiB")
    spool_full: Literal["resynchronize", "hold"] = key(
        None,
        "At the limit: drop the spool and resynchronize later, or hold the writer.",
        "resynchronize",
    )
    segment_size_bytes: SegmentSize = key(
        "segment_size", "Size of one segment of spool and journal.", "8MiB"
    )
    batch_size_bytes: SegmentSize = key(
        "batch_size", "Operations sent as one batch, before compression.", "256KiB"
    )
    window_bytes: SegmentSize = key("window", "Wire bytes sent ahead of acknowledgement.", "4MiB")
    compression: Literal["zstd", "none"] = key(None, "Compression of batches.", "zstd")
    compression_level: int = key(None, "Level of zstd.", 1, ge=1, le=19)
    heartbeat_ns: PositiveDuration = key("heartbeat", "Interval of heartbeats.", "1s")
    heartbeat_misses: int = key(None, "Missed heartbeats that end a connection.", 5, ge=1, le=1_000)
    reconnect_ns: PositiveDuration = key("reconnect", "Wait between attempts to connect.", "2s")
    compare_after_power_loss: bool = key(
        None,
        "Compare the images once the replica's machine was started anew; resynchronize if needed.",
        True,
    )
    journal_limit_bytes: PositiveSize = key(
        "journal_limit", "Hard limit of the replica's journal.", "1GiB"
    )
    checkpoint_every_bytes: PositiveSize = key(
        "checkpoint_every", "Journal bytes between two checkpoints of the replica.", "32MiB"
    )
    checkpoint_interval_ns: PositiveDuration = key(
        "checkpoint_interval", "Longest time between two checkpoints.", "30s"
    )
    acknowledge_release: Literal["checkpoint", "durable"] = key(
        None, "What the replica must have done before the source frees spool.", "checkpoint"
    )
    log_shipping: LogShipping = key(None, "Of log shipping.", {})


# --- the link -----------------------------------------------------------------------------


class ScheduleEntry(Table):
    """Another bandwidth between two times of day; may run past midnight."""

    from_time_of_day_ns: TimeOfDay = key("from", "Begin, a time of day.", REQUIRED)
    to_time_of_day_ns: TimeOfDay = key("to", "End, a time of day.", REQUIRED)
    bits_per_second: BitRate = key("bandwidth", "Bandwidth meanwhile.", REQUIRED)

    @property
    def ranges_ns(self) -> tuple[tuple[int, int], ...]:
        """One or two ranges of the day, split at midnight; empty when begin and end are one."""
        begin, end = self.from_time_of_day_ns % DAY_NS, self.to_time_of_day_ns
        if begin < end:
            return ((begin, end),)
        pieces = ((begin, DAY_NS), (0, end)) if begin > end else ()
        return tuple(piece for piece in pieces if piece[0] < piece[1])


class Link(Table):
    """The duplex link between source and replica, and TCP over it."""

    bits_per_second: BitRate = key("bandwidth", "Bandwidth of each direction.", REQUIRED)
    rtt_ns: Duration = key("rtt", "Round-trip time.", REQUIRED)
    loss: Ratio = key(None, "Share of packets lost; bounds the rate of a TCP stream.", 0.0)
    tcp_window_bytes: PositiveSize = key("tcp_window", "Largest TCP window.", "16MiB")
    jitter_ns: Duration = key("jitter", "Largest addition to the one-way latency.", "0ms")
    mss_bytes: int = key("mss", "Payload bytes of one TCP segment.", 1460, ge=88, le=65_495)
    schedule: tuple[ScheduleEntry, ...] = key(None, "Other bandwidths by time of day.", ())
    initial_window_segments: int | None = key(
        "initial_window",
        "Segments that a new connection sends before its first acknowledgement; from there on its "
        "window grows with each round trip ([tcp.md](tcp.md)). Without it connections have their "
        "whole window from the start, as they have in live runs.",
        None,
        ge=1,
        le=1_000,
    )
    delayed_acknowledgements: bool = key(
        None, "That window grows by half with each round trip; else it doubles.", False
    )
    restart_when_idle: bool = key(
        None,
        "A connection that sent nothing for two round trips, or 200 ms if that is longer, begins "
        "with the initial window again.",
        True,
    )


# --- failover, objectives, the whole ------------------------------------------------------


class Failover(Table):
    """The parts of a recovery that are not computing: people, caches, mounting."""

    # [A], between published monitors: 30 s heartbeats with a time-out of 300 s [V], and five
    # misses of 5 s [M].
    detect_ns: Duration = key(
        "detect", "Silence of the source after which somebody is told.", "60s"
    )
    # [A]; "each manual step takes minutes, needs a named skill" [M].
    decide_ns: Duration = key("decide", "From being told to the decision to fail over.", "10m")
    # Log replay takes up to seconds a log on slow disks [T]; this is [A] for a sound one.
    mount_per_log_ns: Duration = key(
        "mount_per_log", "Replay of one log generation when the store mounts.", "500ms"
    )
    # Host records live 20 minutes when registered dynamically (60 by zone default), and a TTL
    # lowered after the event has no effect [likely].
    redirect_ns: Duration = key("redirect", "Until clients find the new host.", "20m")


class Objectives(Table):
    """What the run must achieve; missing one gives the verdict "objective"."""

    rpo_ns: Duration | None = key("rpo", "Most recent work that may be lost.", None)
    rto_ns: Duration | None = key("rto", "Longest time without service.", None)
    spool_peak_bytes: Size | None = key("spool_peak", "Largest spool.", None)
    copy_queue_peak_logs: int | None = key(
        "copy_queue_peak", "Of log shipping: most closed logs that the copy may lack.", None, ge=0
    )
    replay_queue_peak_logs: int | None = key(
        "replay_queue_peak", "Of log shipping: most logs that may wait for replay.", None, ge=0
    )
    catch_up_ns: Duration | None = key(
        "catch_up", "Longest time from the end of a fault until nothing waits.", None
    )


class Recorded(Table):
    """What a run of just this scenario gave; ``simulator replay`` holds a new run against it."""

    verdict: str = key(None, "Its verdict.", REQUIRED, max_length=40)
    trace_hash: str = key(None, "The hash of its events.", REQUIRED, max_length=100)
    reasons: tuple[str, ...] = key(None, "Why it was no pass.", ())
    release: str = key(None, "The release that ran it.", "", max_length=100)
    mutant: str = key(
        None,
        "Which rule was taken away from the replicator, to test the bench.",
        "",
        max_length=100,
    )


class Scenario(Table):
    """One scenario; times count from its start."""

    name: str = key(None, "Short name, shown everywhere.", REQUIRED, min_length=1, max_length=100)
    description: str = key(None, "One sentence for the report.", "", max_length=4_000)
    duration_ns: PositiveDuration = key("duration", "Simulated time of the stream.", REQUIRED)
    seed: int = key(None, "Names all random choices.", 1, ge=0, le=2**63 - 1)
    fault_seed: int | None = key(
        None,
        "Names what the faults leave open; without it the seed does, too.",
        None,
        ge=0,
        le=2**63 - 1,
    )
    settle_ns: PositiveDuration = key(
        "settle", "Time after the last fault and write in which the replica must converge.", "10m"
    )
    sample_ns: SamplingInterval = key("sample", "Interval of the curves.", "1s")
    starts_at_time_of_day_ns: TimeOfDay = key("starts_at", "Time of day at the start.", "00:00")
    stream: Stream = key(None, "What writes at the source.", REQUIRED)
    protection: Protection = key(None, "How it is protected.", {})
    candidate: Candidate | None = key(
        None, "Somebody else's replicator, in place of the reference one.", None
    )
    source: SourceHost = key(None, "The source.", {})
    replica: ReplicaHost = key(None, "The replica.", {})
    link: Link = key(None, "The link between them.", REQUIRED)
    faults: tuple[Fault, ...] = key(None, "What goes wrong, and when.", ())
    failover: Failover = key(None, "Recovery after the loss of the source.", {})
    objectives: Objectives = key(None, "What the run must achieve.", {})
    recorded: Recorded | None = key(None, "What a run of just this scenario gave.", None)

    @property
    def link_model(self) -> LinkModel:
        """The effective figures of the link as the emulated one takes them."""
        link = self.link
        return LinkModel(
            bits_per_second=link.bits_per_second,
            rtt_ns=link.rtt_ns,
            loss=link.loss,
            tcp_window_bytes=link.tcp_window_bytes,
            jitter_ns=link.jitter_ns,
            mss_bytes=link.mss_bytes,
            schedule=tuple(
                (start, end, entry.bits_per_second)
                for entry in link.schedule
                for start, end in entry.ranges_ns
            ),
            day_offset_ns=self.starts_at_time_of_day_ns,
            initial_window_segments=link.initial_window_segments,
            delayed_acknowledgements=link.delayed_acknowledgements,
            restart_when_idle=link.restart_when_idle,
        )
