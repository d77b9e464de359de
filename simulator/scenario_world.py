"""A scenario's world, ready to run: machines and disks, link, programs, replicator, oracle."""

from __future__ import annotations

from dataclasses import replace

from replicator.capture import SpoolPolicy
from replicator.logship_options import LogCopyOptions, LogServerOptions
from replicator.logship_queue import ReplayDelay
from replicator.replica_options import ReplicaOptions
from replicator.safeguards import Safeguards
from replicator.source import SourceOptions
from simulator.candidates.adapters import adapter_of
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.stores import StoreConfig, whole_bytes
from simulator.host import World
from simulator.known import Known, KnownImages
from simulator.link import Link
from simulator.oracle import Oracle
from simulator.scenario import Scenario, StoreStream, TraceStream
from simulator.scenario_log_shipping import KIND as LOG_SHIPPING
from simulator.systems.byte_level import (
    HOME_DISK,
    REPLICA,
    REPLICA_ADDRESS,
    SET_ID,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)
from simulator.systems.candidate import CandidateSystem
from simulator.systems.interface import ProtectionSystem
from simulator.systems.log_shipping import ADDRESS, LogShippingOptions, LogShippingSystem
from simulator.traces import TracePlayer, read_writes
from simulator.workload import StoreWorkload, TraceWorkload, Workload


class ScenarioWorld:
    """Everything that a run of a scenario stands on; nothing of it has started.

    Arguments
    ---------
    scenario: the figures.
    seed: names all random streams.
    safeguards: of the replica.
    known: what earlier runs of the scenario under other faults have found out.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        safeguards: Safeguards,
        known: Known | None = None,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.world = World(seed)
        self._fit_disks()
        self.link = self._lay_link()
        self.workload = self._workload(None if known is None else known.images)
        stream = scenario.stream
        self.whole_bytes = whole_bytes(stream.store) if isinstance(stream, StoreStream) else 0
        """What the source's programs need whole after a power loss of their disk."""
        self.system = self._system(safeguards, known)
        self.oracle = Oracle(
            self.system.truth, self.workload, self.system.recover, self.system.home
        )

    def _system(self, safeguards: Safeguards, known: Known | None) -> ProtectionSystem:
        until_ns = self.scenario.duration_ns
        if self.scenario.protection.kind == LOG_SHIPPING:
            return self._log_shipping()
        if self.scenario.candidate is not None:
            adapter = adapter_of(self.scenario.candidate)
            return CandidateSystem(self.world, self.workload, adapter, until_ns)
        options = self._options(safeguards, known)
        return ByteLevelSystem(self.world, self.workload, options, until_ns)

    def _store(self) -> StoreConfig | None:
        """The figures of the store, as its engine has them; None for another stream.

        Where logs are shipped the engine deletes none: that is for who ships them to decide.
        """
        stream = self.scenario.stream
        if not isinstance(stream, StoreStream):
            return None
        store, ships = stream.store, self.scenario.protection.kind == LOG_SHIPPING
        if ships and isinstance(store, EngineStoreConfig):
            return replace(store, circular=False)
        return store

    def _log_shipping(self) -> LogShippingSystem:
        store, stream = self._store(), self.scenario.stream
        if not (isinstance(store, EngineStoreConfig) and isinstance(stream, StoreStream)):
            raise ValueError("logs are shipped of a store in a format of Exchange only")
        p = self.scenario.protection.log_shipping
        options = LogShippingOptions(
            server=LogServerOptions(
                set_id=SET_ID,
                address=ADDRESS,
                truncate=stream.circular,
                patience_ns=p.patience_ns + p.poll_ns,
            ),
            copy=LogCopyOptions(
                set_id=SET_ID,
                source_address=ADDRESS,
                poll_ns=p.poll_ns,
                patience_ns=p.patience_ns,
                retry_ns=p.retry_ns,
                tries=p.tries,
                delay=ReplayDelay(lag_ns=p.replay_lag_ns, behind_logs=p.logs_behind),
                logs_a_run=p.logs_at_once,
                replay_per_log_ns=p.replay_per_log_ns,
            ),
        )
        until_ns = self.scenario.duration_ns
        return LogShippingSystem(self.world, self.workload, store, options, until_ns)

    def _fit_disks(self) -> None:
        scenario = self.scenario
        source, replica = self.world.machine(SOURCE), self.world.machine(REPLICA)
        source.add_disk("data", scenario.source.disk.model)
        replica.add_disk(HOME_DISK, scenario.replica.disk.model)
        if scenario.source.spool_disk is not None:
            source.add_disk("spool", scenario.source.spool_disk.model)
        if scenario.replica.journal_disk is not None:
            replica.add_disk("journal", scenario.replica.journal_disk.model)

    def _lay_link(self) -> Link:
        made = Link(
            self.world.clock, SOURCE, REPLICA, self.scenario.link_model, self.world.random("jitter")
        )
        assert self.world.network is not None
        return self.world.network.add_link(made)

    def _workload(self, known_images: KnownImages | None) -> Workload:
        stream = self.scenario.stream
        store = self._store()
        if store is not None and isinstance(stream, StoreStream):
            return StoreWorkload(store, stream.load, self.world.random("load"), known=known_images)
        assert isinstance(stream, TraceStream)
        writes = read_writes(stream.path)
        if stream.limit_ns is not None:
            limit_ns = stream.limit_ns
            writes = (write for write in writes if write.time_ns < limit_ns)
        player = TracePlayer(
            writes,
            speed=stream.speed,
            compressible_share=stream.compressible,
            path=f"{TraceWorkload.root}/disk0.img",
            seed=self.seed,
        )
        return TraceWorkload(player)

    def _options(self, safeguards: Safeguards, known: Known | None) -> ByteLevelOptions:
        p = self.scenario.protection
        return ByteLevelOptions(
            spool_limit_bytes=p.spool_limit_bytes,
            spool_segment_bytes=p.segment_size_bytes,
            spool_policy=SpoolPolicy(p.spool_full),
            source=SourceOptions(
                SET_ID,
                SOURCE,
                REPLICA_ADDRESS,
                batch_bytes=p.batch_size_bytes,
                window_bytes=p.window_bytes,
                compression_level=None if p.compression == "none" else p.compression_level,
                heartbeat_ns=p.heartbeat_ns,
                heartbeat_misses=p.heartbeat_misses,
                reconnect_ns=p.reconnect_ns,
                release_when_checkpointed=p.acknowledge_release == "checkpoint",
                compare_after_power_loss=p.compare_after_power_loss,
            ),
            replica=ReplicaOptions(
                SET_ID,
                REPLICA,
                journal_limit_bytes=p.journal_limit_bytes,
                segment_bytes=p.segment_size_bytes,
                checkpoint_bytes=p.checkpoint_every_bytes,
                checkpoint_interval_ns=p.checkpoint_interval_ns,
            ),
            safeguards=safeguards,
            pack=None if known is None else known.packs.packing(p.compression_level),
        )
