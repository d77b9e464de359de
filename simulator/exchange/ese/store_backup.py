"""A streaming backup in the life of a store that is generated.

It is taken by the one task that carries the mail out: some pages between one event and the next,
from an instant of the stream on.  So the store changes while it is copied, and yet the same
options make the same bytes.  Beside the set lies a ledger of the messages that were committed
when it was finished: what a restore of the set has to give.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from replicator.ese.recovery_files import joined
from replicator.ese.values import LogTime
from replicator.runtime.port import Volume
from simulator.exchange.ese.backup_options import BackupKind
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.mail_ledger import MailLedger
from simulator.exchange.ese.mail_work import MailWork
from simulator.exchange.ese.put_off_syncs import put_off_syncs, sync_everything
from simulator.exchange.ese.store_record import BackupRecord
from simulator.exchange.ese.streaming_backup import StreamingBackup

PAGES_BETWEEN_EVENTS: Final = 16
"""So many are copied while one transaction is carried out [A]: the slower the disk is, the
fewer."""

WriteLedger = Callable[[Volume, str, MailLedger], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """Where a backup goes, and when it begins.

    Arguments
    ---------
    volume, directory: the directory is there and empty.
    at_ns: instant of the stream.
    kind: full, or a copy that leaves the store's logs alone.
    """

    volume: Volume
    directory: str
    at_ns: int
    kind: BackupKind = BackupKind.FULL


class StoreBackup:
    """See the module.

    Arguments
    ---------
    order: see there.
    instance, work, ledger: of the store.
    now: the time, for the mark.
    write_ledger: writes a ledger's lines to a path.

    Attributes
    ----------
    record: None until the set is finished.
    """

    def __init__(
        self,
        order: BackupOrder,
        instance: Instance,
        work: MailWork,
        ledger: MailLedger,
        *,
        now: Callable[[], LogTime],
        write_ledger: tuple[WriteLedger, str],
    ) -> None:
        self._order, self._instance, self._work, self._ledger = order, instance, work, ledger
        self._now = now
        self._write_ledger, self._ledger_name = write_ledger
        self._backup: StreamingBackup | None = None
        self.record: BackupRecord | None = None

    async def before(self, time_ns: int) -> None:
        """Do the next part, before an event of the stream is carried out.

        Raises what :class:`~simulator.exchange.ese.streaming_backup.StreamingBackup` does.
        """
        if self.record is not None or time_ns < self._order.at_ns:
            return
        backup = await self._begun()
        if not await backup.copy_pages(PAGES_BETWEEN_EVENTS):
            await self._finish(backup, time_ns)

    async def end(self, time_ns: int) -> None:
        """Finish it before the store ends."""
        if self.record is None:
            await self._finish(await self._begun(), time_ns)

    async def _begun(self) -> StreamingBackup:
        if self._backup is None:
            order = self._order
            # A young store has everything in its log and nothing in its files yet.
            await self._instance.write_old_pages()
            await self._instance.move_checkpoint()
            self._backup = await StreamingBackup.begin(
                self._instance,
                put_off_syncs(order.volume),
                order.directory,
                kind=order.kind,
                now=self._now,
            )
        return self._backup

    async def _finish(self, backup: StreamingBackup, time_ns: int) -> None:
        """What the ledger has of committed mail is what the log has up to there."""
        await self._work.settle()
        result = await backup.finish()
        volume, directory = self._order.volume, self._order.directory
        await self._write_ledger(volume, joined(directory, self._ledger_name), self._ledger)
        await sync_everything(volume, directory)
        self.record = BackupRecord(
            begun_at_ns=self._order.at_ns,
            finished_at_ns=time_ns,
            first_generation=result.first_generation,
            last_generation=result.last_generation,
            pages=result.page_count,
            messages=self._ledger.count(committed=True)[0],
            deleted_logs=result.deleted_logs,
            files=[*result.names, self._ledger_name],
        )
