"""Where a live run keeps its files, and the configurations that its processes are given.

Below a work directory::

    source/set, source/spool      the source machine; a disk of its own below source/, if small
    replica/                      the replica machine: image, journal, checkpoints
    journal/                      the replica's journal, where the scenario gives it a disk
    truth, ledger                 written by the programs, read by the judge
    *.toml, *.json, *.log         configurations, specifications, what the processes said
    copies/                       copies of the replica that are being judged

A disk of the scenario that is no larger than :data:`SMALL_DISK_BYTES` becomes a file system of
that size in memory (tmpfs), so that it can really be full; this needs root.  Larger ones are
directories of this machine's own disk.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from replicator.errors import BadInput
from replicator.units import spell_duration, spell_size
from simulator.live import mounts
from simulator.scenario import Scenario
from simulator.scenario_hosts import Disk
from simulator.systems.byte_level import SET_ID

SMALL_DISK_BYTES: Final = 1 << 30


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Layout:
    """The directories and files of one live run.

    Arguments
    ---------
    root: an empty directory that is the run's own.
    scenario: for the disks and the settings.
    """

    def __init__(self, root: Path, scenario: Scenario) -> None:
        self.root = root
        self.scenario = scenario
        self.source = root / "source"
        self.set = self.source / "set"
        self.spool = self.source / "spool"
        self.replica = root / "replica"
        self.journal: Path | None = None
        self.truth = root / "truth"
        self.ledger = root / "ledger"
        self.copies = root / "copies"
        self.replica_port = free_port()
        self.left_out: list[str] = []
        """What of the disks has no counterpart here, in words."""

    def prepare(self) -> None:
        """Make the directories; raises MountFailed."""
        scenario = self.scenario
        for directory in (self.source, self.replica, self.copies):
            directory.mkdir()
        self._fit(scenario.source.disk, self.source, "the source's disk")
        self.set.mkdir()
        self.spool.mkdir()
        if scenario.source.spool_disk is not None:
            self._fit(scenario.source.spool_disk, self.spool, "the spool's disk")
        self._fit(scenario.replica.disk, self.replica, "the replica's disk")
        if scenario.replica.journal_disk is not None:
            self.journal = self.root / "journal"
            self.journal.mkdir()
            self._fit(scenario.replica.journal_disk, self.journal, "the journal's disk")
        self.left_out.append(
            "the speed of the scenario's disks: the files are on this machine's own"
        )

    def _fit(self, disk: Disk, directory: Path, what: str) -> None:
        if disk.size_bytes > SMALL_DISK_BYTES:
            return
        size = spell_size(disk.size_bytes)
        if os.geteuid() != 0:
            self.left_out.append(f"{what} of {size}: only root can mount one of that size")
            return
        try:
            mounts.mount("tmpfs", directory, "tmpfs", options=f"size={disk.size_bytes},mode=700")
        except mounts.MountFailed as refused:
            self.left_out.append(f"{what} of {size}: it cannot be mounted ({refused})")

    # -- configurations --------------------------------------------------------------------

    def write_configurations(self, relay_port: int) -> None:
        """Write ``source.toml`` and ``replica.toml``."""
        self.source_configuration.write_text(self._source_text(relay_port))
        text = self.replica_text(self.replica, self.journal, self.replica_port)
        self.replica_configuration.write_text(text)

    @property
    def source_configuration(self) -> Path:
        return self.root / "source.toml"

    @property
    def replica_configuration(self) -> Path:
        return self.root / "replica.toml"

    def _source_text(self, relay_port: int) -> str:
        p = self.scenario.protection
        return f"""# The source of a live run of {quoted(self.scenario.name)}.
set = {quoted(SET_ID)}

[source]
directory = {quoted(self.set)}
replica = "127.0.0.1:{relay_port}"
heartbeat = "{spell_duration(p.heartbeat_ns)}"
heartbeat_misses = {p.heartbeat_misses}
reconnect = "{spell_duration(p.reconnect_ns)}"
batch_size = "{spell_size(p.batch_size_bytes)}"
window = "{spell_size(p.window_bytes)}"
compression = "{p.compression}"
release = "{p.acknowledge_release}"
compare_after_power_loss = {str(p.compare_after_power_loss).lower()}

[source.spool]
directory = {quoted(self.spool)}
limit = "{spell_size(p.spool_limit_bytes)}"
segment_size = "{spell_size(p.segment_size_bytes)}"
policy = "{p.spool_full}"
"""

    def replica_text(self, directory: Path, journal: Path | None, port: int) -> str:
        """The configuration of the replica, or of a copy of it elsewhere."""
        p = self.scenario.protection
        elsewhere = "" if journal is None else f"directory = {quoted(journal)}\n"
        return f"""# The replica of a live run of {quoted(self.scenario.name)}.
set = {quoted(SET_ID)}

[replica]
directory = {quoted(directory)}
listen = "127.0.0.1:{port}"
heartbeat = "{spell_duration(p.heartbeat_ns)}"
heartbeat_misses = {p.heartbeat_misses}
checkpoint_every = "{spell_size(p.checkpoint_every_bytes)}"
checkpoint_interval = "{spell_duration(p.checkpoint_interval_ns)}"

[replica.journal]
{elsewhere}limit = "{spell_size(p.journal_limit_bytes)}"
segment_size = "{spell_size(p.segment_size_bytes)}"
"""


def quoted(value: str | Path) -> str:
    """A basic string of TOML; raises BadInput for what none can hold on one line."""
    text = str(value)
    if not text.isprintable():
        raise BadInput("a path or name holds characters that cannot be printed", path=repr(text))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
