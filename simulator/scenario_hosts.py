"""The hosts of a scenario and their disks: named profiles, and figures that differ from one.

The profiles' figures come from the project's collection of published numbers (``exchange.md``,
section 5.3); its marks are repeated: [D] derived by arithmetic, [M] from memory, so a named
default and never a truth, [A] assumed for want of any source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from replicator.toml_keys import (
    Duration,
    PositiveDuration,
    PositiveSize,
    Table,
    key,
)
from simulator.device import DiskModel
from simulator.scenario_keys import ByteRate

# positioning = average seek + half a turn; the turn is [D], seeks and rates are the middle of
# ranges marked [M], sizes are [A].  Flash positions in the 0.02 to 0.1 ms quoted [M].
# "instant" is no device: it takes the disk out of a question.
DISK_PROFILES: Final[Mapping[str, Mapping[str, str | int]]] = {
    "sata-7200": {"size": "500GB", "sequential": "95MB/s", "positioning": "12.7ms", "sector": 512},
    "sas-10k": {"size": "300GB", "sequential": "110MB/s", "positioning": "7.5ms", "sector": 512},
    "sas-15k": {"size": "146GB", "sequential": "135MB/s", "positioning": "5.5ms", "sector": 512},
    "ssd": {"size": "480GB", "sequential": "400MB/s", "positioning": "100us", "sector": 4096},
    "nvme": {"size": "1TB", "sequential": "3GB/s", "positioning": "50us", "sector": 4096},
    "instant": {"size": "1TB", "sequential": "1PB/s", "positioning": "0ms", "sector": 512},
}
DEFAULT_DISK: Final = "sas-10k"


def _without_fixed_default(schema: dict[str, Any]) -> None:
    del schema["default"]
    schema["x-default"] = "by profile"


def by_profile(alias: str, meaning: str) -> Any:
    """A disk key whose default is the profile's figure."""
    return Field(
        DISK_PROFILES[DEFAULT_DISK][alias],
        alias=alias,
        description=meaning,
        json_schema_extra=_without_fixed_default,
    )


class Disk(Table):
    """A volume's disk: a named profile, and single figures that differ from it."""

    profile: Literal["sata-7200", "sas-10k", "sas-15k", "ssd", "nvme", "instant"] = key(
        None, "Named set of figures.", DEFAULT_DISK
    )
    size_bytes: PositiveSize = by_profile("size", "Capacity of the volume.")
    sector_bytes: Literal[512, 4096, 8192, 16384, 32768] = by_profile(
        "sector",
        "Bytes that a power loss keeps or loses whole; above 4096 for a controller that has power "
        "of its own to end a write that it has begun.",
    )
    bytes_per_second: ByteRate = by_profile("sequential", "Sequential transfer rate.")
    positioning_ns: Duration = by_profile("positioning", "Average seek and half a turn.")
    sync_overhead_ns: Duration = key("sync_overhead", "Added to each flush.", "0ms")
    dirty_limit_bytes: PositiveSize = key(
        "dirty_limit", "Unwritten bytes at which writers wait.", "256MiB"
    )
    metadata: Literal["ordered", "any"] = key(
        None,
        "Names after a power loss: a prefix of all their changes, or one for each directory.",
        "ordered",
    )

    @model_validator(mode="before")
    @classmethod
    def _start_from_the_profile(cls, given: Any) -> Any:
        profile = given.get("profile", DEFAULT_DISK) if isinstance(given, dict) else None
        if not isinstance(profile, str) or profile not in DISK_PROFILES:
            return given  # refused below, with the right names
        return {**DISK_PROFILES[profile], **given}

    @property
    def model(self) -> DiskModel:
        """The effective figures as the emulated device takes them."""
        return DiskModel(
            size_bytes=self.size_bytes,
            sector_bytes=self.sector_bytes,
            bytes_per_second=self.bytes_per_second,
            positioning_ns=self.positioning_ns,
            sync_overhead_ns=self.sync_overhead_ns,
            dirty_limit_bytes=self.dirty_limit_bytes,
            metadata=self.metadata,
        )


class SourceHost(Table):
    """The host whose programs write the protected set."""

    restart_ns: PositiveDuration = key("restart", "From power loss or crash to service.", "45s")
    disk: Disk = key(None, "The disk of the protected set.", {})
    spool_disk: Disk | None = key(None, "A separate disk of the spool.", None)


class ReplicaHost(Table):
    """The host that keeps the copy."""

    restart_ns: PositiveDuration = key("restart", "From power loss or crash to service.", "45s")
    disk: Disk = key(None, "The disk of the copy.", {})
    journal_disk: Disk | None = key(None, "A separate disk of the journal.", None)
