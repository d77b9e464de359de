"""The faults of a scenario: what each ``[[faults]]`` table may hold and means.

One model for each kind; :data:`Fault` is any of them.  What a fault does to the emulated world
is in :mod:`simulator.faults` and its parts, what must hold under it in
:mod:`simulator.expectations`.  Keys are written as in :mod:`simulator.scenario_model`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from replicator.toml_keys import (
    REQUIRED,
    BitRate,
    Duration,
    PositiveDuration,
    Ratio,
    Size,
    Table,
    key,
)
from simulator.scenario_keys import SignedDuration

HostName = Literal["source", "replica"]
Survival = Literal["seeded", "none", "all"]
VolumeName = Literal["all", "data", "spool", "journal"]
RottenPlace = Literal["spool", "journal", "checkpoint", "home", "staging"]


# --- the link -----------------------------------------------------------------------------


class LinkOutage(Table):
    """Nothing passes; connections stay up until a side gives them up."""

    kind: Literal["link_outage"] = key(None, "The link is down for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)
    direction: Literal["both", "to_replica", "to_source"] = key(
        None, "Which way nothing passes.", "both"
    )


class LinkReset(Table):
    """All connections are reset, with data in flight."""

    kind: Literal["link_reset"] = key(None, "Connections are reset.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)


class LinkBandwidth(Table):
    """The link has another bandwidth for a while."""

    kind: Literal["link_bandwidth"] = key(None, "The bandwidth changes for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    bits_per_second: BitRate = key("bandwidth", "Bandwidth meanwhile.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)


class LinkLatency(Table):
    """The link has another round-trip time for a while."""

    kind: Literal["link_latency"] = key(None, "The latency changes for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    rtt_ns: Duration = key("rtt", "Round-trip time meanwhile.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)


class LinkLoss(Table):
    """The link loses another share of its packets for a while."""

    kind: Literal["link_loss"] = key(None, "The packet loss changes for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    loss: Ratio = key(None, "Share of packets lost meanwhile.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)


class LinkCorruption(Table):
    """Bytes are flipped on their way, and the transport's checksum does not notice."""

    kind: Literal["link_corruption"] = key(None, "Bytes under way are flipped.", REQUIRED)
    at_ns: Duration = key("at", "From when on, after the start.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "Within how long.", REQUIRED)
    count: int = key(None, "So many bytes, each at an instant drawn by seed.", 1, ge=1, le=1_000)
    direction: Literal["both", "to_replica", "to_source"] = key(
        None, "Of which way; both: of whatever passes first.", "to_replica"
    )


# --- hosts --------------------------------------------------------------------------------


class PowerLoss(Table):
    """The machine stops at once; of its unsynced writes a legal subset survives."""

    kind: Literal["power_loss"] = key(None, "A host loses power and restarts.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    survive: Survival = key(
        None, "Unsynced writes that survive: a subset drawn by seed, none, all.", "seeded"
    )
    when: Literal["apply", "checkpoint", "resynchronize"] | None = key(
        None, "From `at` on, wait until the host is in this activity.", None
    )
    calls: int | None = key(
        None, "Inside of the so-manieth storage call from `at` on.", None, ge=1, le=100_000
    )
    restart_ns: PositiveDuration | None = key("restart", "Instead of the host's figure.", None)


class ProcessCrash(Table):
    """The process dies; what it wrote stays in the page cache."""

    kind: Literal["process_crash"] = key(None, "A process dies and restarts.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    calls: int | None = key(
        None, "Inside of the so-manieth storage call from `at` on.", None, ge=1, le=100_000
    )


class Pause(Table):
    """The host stands still and goes on as if nothing had been."""

    kind: Literal["pause"] = key(None, "A host stands still for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)


class Loss(Table):
    """The machine and its disks are gone; the loss of the source leads to failover."""

    kind: Literal["loss"] = key(None, "A host is gone for ever.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)


class SyncFailure(Table):
    """Syncs fail; a process that gives up because of it restarts, its host's page cache stays."""

    kind: Literal["sync_failure"] = key(None, "Syncs of a host's disks fail.", REQUIRED)
    at_ns: Duration = key("at", "From when on, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    count: int = key(None, "So many syncs, one after the other.", 1, ge=1, le=1_000)


class SlowProcessor(Table):
    """All that a host computes takes longer, as beside a greedy neighbour."""

    kind: Literal["slow_processor"] = key(None, "A host computes slowly.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)
    factor: int = key(None, "So many times as long.", 10, ge=2, le=1_000_000)


class ClockJump(Table):
    """A host's wall clock is set; its monotonic clock goes on."""

    kind: Literal["clock_jump"] = key(None, "A host's wall clock jumps.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    by_ns: SignedDuration = key("by", "Forward, or with a minus sign back.", REQUIRED)


# --- disks --------------------------------------------------------------------------------


class DiskFull(Table):
    """Somebody else's files fill a volume, and are gone again later."""

    kind: Literal["disk_full"] = key(None, "A volume is filled for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)
    free_bytes: Size = key("free", "Room that is left at first.", "0B")
    volume: VolumeName = key(
        None, "Where the set or copy, the spool, or the journal lies; or all of them.", "all"
    )


class DiskSlow(Table):
    """A host's disks serve more slowly for a while."""

    kind: Literal["disk_slow"] = key(None, "Disks are slow for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)
    factor: float = key(None, "So many times as long for each request.", 10.0, gt=1, le=1_000_000)
    volume: VolumeName = key(
        None, "Where the set or copy, the spool, or the journal lies; or all of them.", "all"
    )


class DiskStall(Table):
    """A host's disks serve no request for a while; those that wait are served after it."""

    kind: Literal["disk_stall"] = key(None, "Disks stand still for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)
    volume: VolumeName = key(
        None, "Where the set or copy, the spool, or the journal lies; or all of them.", "all"
    )


class LostFlush(Table):
    """Syncs return at once and make nothing durable; at the end the drives write their caches."""

    kind: Literal["lost_flush"] = key(None, "Disks lie about flushes for a while.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "How long.", REQUIRED)


class BitRot(Table):
    """Bits of what is on a medium flip, never of what is still unsynced."""

    kind: Literal["bit_rot"] = key(None, "Bits on the medium flip.", REQUIRED)
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    host: HostName = key(None, "Which host; only the source has a spool.", REQUIRED)
    where: RottenPlace = key(None, "In whose bytes; home is the copy itself.", REQUIRED)
    count: int = key(None, "So many bits, drawn by seed.", 1, ge=1, le=1_000)


class MisdirectedWrite(Table):
    """A write reaches the medium one block further: its own place stays as it was."""

    kind: Literal["misdirected_write"] = key(None, "A write lands in the wrong place.", REQUIRED)
    at_ns: Duration = key("at", "From when on, after the start.", REQUIRED)
    host: HostName = key(None, "Which host.", REQUIRED)
    volume: VolumeName = key(
        None, "Where the set or copy, the spool, or the journal lies; or all of them.", "all"
    )


# --- operators ----------------------------------------------------------------------------


class ReplicaRestored(Table):
    """The replica is down, and comes back with its disks as they were some time ago."""

    kind: Literal["replica_restored"] = key(
        None, "The replica's disks are put back from an old copy.", REQUIRED
    )
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    age_ns: PositiveDuration = key("age", "How old that copy is.", REQUIRED)

    @property
    def host(self) -> HostName:
        """Whose disks they are."""
        return "replica"


class SecondSource(Table):
    """Another machine with other files is set up as the source of the same protected set."""

    kind: Literal["second_source"] = key(
        None, "A second source comes to the replica's address.", REQUIRED
    )
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "Until somebody takes it away.", REQUIRED)

    @property
    def host(self) -> HostName:
        """Who has to do with it."""
        return "replica"


class WrongTarget(Table):
    """The sender is restarted with the address of another set's replica, and back later."""

    kind: Literal["wrong_target"] = key(
        None, "The source is set up for the replica of another set.", REQUIRED
    )
    at_ns: Duration = key("at", "When, after the start.", REQUIRED)
    duration_ns: PositiveDuration = key("duration", "Until somebody corrects it.", REQUIRED)

    @property
    def host(self) -> HostName:
        """Whose configuration it is."""
        return "source"


class OrderedFailover(Table):
    """The replica takes over at an operator's word, though the source may be alive."""

    kind: Literal["failover"] = key(
        None, "An operator fails over, whether the source lives or not.", REQUIRED
    )
    at_ns: Duration = key("at", "When it is ordered, after the start.", REQUIRED)

    @property
    def host(self) -> HostName:
        """Who takes over."""
        return "replica"


VolumeFault = DiskFull | DiskSlow | DiskStall | MisdirectedWrite
DiskFault = VolumeFault | LostFlush | BitRot | SyncFailure
MachineFault = PowerLoss | ProcessCrash | Pause | Loss | SlowProcessor | ClockJump
HostFault = MachineFault | DiskFault
LinkFault = LinkOutage | LinkReset | LinkBandwidth | LinkLatency | LinkLoss | LinkCorruption
OperatorFault = ReplicaRestored | SecondSource | WrongTarget | OrderedFailover
Fault = Annotated[LinkFault | HostFault | OperatorFault, Field(discriminator="kind")]
