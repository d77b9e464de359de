"""The source's sender: brings what the spool holds to the replica.

It keeps a connection; over it a :mod:`session <replicator.source_session>` either streams what
the replica lacks or synchronizes the image.  Nothing here blocks the programs: another process
appends to the spool (:mod:`replicator.history`), and the sender reads from it at the link's
pace.
"""

from __future__ import annotations

from replicator.batch import Compressor
from replicator.block_frames import BlockTraffic
from replicator.comparison import Comparison
from replicator.connection import Connection
from replicator.errors import ConnectionLost, DamagedLog, ProtocolViolation
from replicator.lag import LagMarks
from replicator.protected_files import ProtectedFiles
from replicator.protocol import Role
from replicator.records import InvalidRecord
from replicator.runtime import TimedOut, deadline, sleep_ns
from replicator.runtime.channels import Signal
from replicator.runtime.port import Runtime, Stream
from replicator.source_options import SourceOptions, SourceState
from replicator.source_session import Refused, SourceSession
from replicator.spool_reader import HistoryEnded, SpoolReader


class Source:
    """The sender of one protected set.

    Arguments
    ---------
    runtime: the world.
    spool: the history, as it is read from beside.
    files: the protected files as they are now, for synchronizations.
    options: see :class:`SourceOptions`.
    """

    def __init__(
        self, runtime: Runtime, spool: SpoolReader, files: ProtectedFiles, options: SourceOptions
    ) -> None:
        self.runtime = runtime
        self.spool = spool
        self.options = options
        self.state = SourceState.STARTING
        self.cause = ""
        """Why the state is what it is, for people."""
        self.durable = 0
        self.durable_bytes = 0
        """Bytes of records up to there, from the beginning of the history."""
        self.applied = 0
        self.leaving = False
        """The process is about to end in good order: so does its connection."""
        self.replica_stalled = ""
        """Why the replica does not apply, in its own words; empty while it does."""
        self.wire_bytes = 0
        self.resynchronizations = 0
        self.files = files
        self.highest_epoch = 0
        """Highest epoch that the replica ever heard of: a new one must be greater."""
        self.committed = False
        """Whether the replica's image is of this history: what is acknowledged counts."""
        self.verify_spool = False
        """Whether what is read from the spool is verified before it is sent."""
        self.compress = Compressor(options.compression_level)
        self.marks = LagMarks()
        self.block_traffic = BlockTraffic()
        """Of all synchronizations since the start."""
        self.comparison: Comparison | None = None
        self.comparison_wanted = Signal()

    def request_comparison(self) -> Comparison:
        """Compare the two images and change neither, as soon as this source streams.

        One at a time: who asks while one is underway gets that one.
        """
        if self.comparison is None:
            self.comparison = Comparison()
            self.comparison_wanted.notify()
        return self.comparison

    # -- connection ----------------------------------------------------------------

    async def run(self) -> None:
        """Keep replicating until cancelled."""
        options = self.options
        patience_ns = options.heartbeat_ns * options.heartbeat_misses
        while self.state != SourceState.FENCED:
            if not self.turn_to_history():
                self.enter(SourceState.WAITING, self.spool.stop_reason)
                await self.spool.wait_for_notice(options.reconnect_ns)
                continue
            self.enter(SourceState.CONNECTING, self.cause)
            connection: Connection | None = None
            try:
                connection = Connection(await self._connect(patience_ns), Role.SOURCE)
                await SourceSession(self, connection).run(patience_ns)
            except TimedOut:
                self.enter(SourceState.DISCONNECTED, "the replica does not answer")
            except (ConnectionLost, ProtocolViolation, HistoryEnded) as error:
                self.enter(SourceState.DISCONNECTED, error.advice)
            except (DamagedLog, InvalidRecord) as error:
                # The spool cannot be read: what it held is brought over by blocks instead.
                reason = f"the spool is damaged: {error}"
                self.spool.end_epoch(self.highest_epoch, reason)
                self.enter(SourceState.DISCONNECTED, reason)
            except Refused as refusal:
                fenced = refusal.code == "promoted"
                # The replica found something wrong in what was sent.  The fault may lie in
                # the spool, so from here on what is read from it is verified first.
                self.verify_spool |= refusal.code == "ProtocolViolation"
                self.enter(
                    SourceState.FENCED if fenced else SourceState.DISCONNECTED, refusal.advice
                )
            finally:
                if connection is not None:
                    self.wire_bytes += connection.sent_bytes
                    if self.leaving:
                        connection.close()
                    else:
                        connection.abort()
            await sleep_ns(options.reconnect_ns)
        if self.comparison is not None:
            self.comparison.fail(
                Refused(self.cause, "promoted", "Compare from the source that replicates now.")
            )

    async def _connect(self, patience_ns: int) -> Stream:
        address = self.options.replica_address
        try:
            async with deadline(patience_ns):
                return await self.runtime.connect(address)
        except TimedOut:
            raise ConnectionLost(f"the replica does not answer at {address}") from None

    def turn_to_history(self) -> bool:
        """Look which history there is now; False while there is none."""
        before = (self.spool.epoch, self.spool.history)
        known = self.spool.pin()
        if (self.spool.epoch, self.spool.history) != before:
            self.has_nothing()
            self.marks.clear()
        return known

    def has_nothing(self) -> None:
        """The replica has no image of this history, or none any more: it counts from its start.

        It may have had one, and been put back from a copy that is older than this history.
        """
        self.committed = False
        self.durable = self.applied = self.durable_bytes = 0

    def enter(self, state: SourceState, cause: str) -> None:
        """Go over to a state, and say so if that is news."""
        if (state, cause) != (self.state, self.cause):
            self.runtime.emit("source_state", state.value, cause)
        self.state, self.cause = state, cause

    # -- telemetry -----------------------------------------------------------------

    def lag_ns(self) -> int | None:
        """Upper bound for the age of the oldest operation that is not durable; 0 for none.

        None while the replica's image is not of this history: then nobody here knows.
        Never under-reported: the time of the last heartbeat all of whose operations are
        durable is older than any operation that is not.
        """
        if not (self.committed and self.spool.capturing):
            return None
        completed, now_ns = self.spool.completed, self.runtime.now_ns()
        return self.marks.lag_ns(self.durable, completed, now_ns)


__all__ = ["HistoryEnded", "Refused", "Source", "SourceOptions", "SourceState"]
