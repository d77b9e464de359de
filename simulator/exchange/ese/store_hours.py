"""What a store did in each hour of its mail: logs filled, operations on its databases.

Counts are taken at the hours of the stream, when all that was due by then is done; so the mail of
an hour and what it makes the store do stand in the same row.  What is done to shut a store down, or
to fill it before its first day, is in no hour.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from simulator.exchange.diurnal import HOUR_NS
from simulator.exchange.ese.counted_volume import IoCounts
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.mail_views import MailViews, log_distance_bytes
from simulator.exchange.ese.mail_work import MailWork
from simulator.exchange.ese.older_mail import OlderMail
from simulator.exchange.ese.store_record import StoreHour
from simulator.exchange.mail_events import MailEvent


@dataclass(frozen=True, slots=True)
class _State:
    """Sums up to an instant, in the order of the fields of an hour."""

    log_bytes: int
    view_bytes: int
    log_writes: int
    database_reads: int
    database_writes: int
    database_read_bytes: int
    database_written_bytes: int
    stand_in_reads: int
    stand_in_writes: int


class StoreHours:
    """Follows a store through its hours.

    Arguments
    ---------
    work: that carries the mail out; its databases are made already.
    instance, counts: of the store; operations are counted on its volume.
    views, older: what is logged, read and written besides.
    from_ns: where the stream is entered; a full hour.

    Attributes
    ----------
    hours: those that have passed.

    Raises ValueError for a time within an hour.
    """

    def __init__(
        self,
        work: MailWork,
        instance: Instance,
        counts: IoCounts,
        views: MailViews | None = None,
        older: OlderMail | None = None,
        from_ns: int = 0,
    ) -> None:
        if from_ns % HOUR_NS:
            raise ValueError("hours are counted from a full hour on")
        self._work, self._instance, self._counts = work, instance, counts
        self._views, self._older = views, older
        self._begin = instance.log.tip
        self._next_ns = from_ns + HOUR_NS
        self._last = self._state()
        self.hours: list[StoreHour] = []

    async def carry_out(self, event: MailEvent) -> None:
        """Have an event carried out, behind the hours that have passed by then."""
        await self.until(event.time_ns)
        await self._work.carry_out(event)

    async def until(self, time_ns: int) -> None:
        """Let the hours pass that end by an instant."""
        while time_ns >= self._next_ns:
            await self._work.wait_until(self._next_ns)
            before, self._last = self._last, self._state()
            names = _State.__dataclass_fields__
            grown = (
                now - then for now, then in zip(astuple(self._last), astuple(before), strict=True)
            )
            hour = self._next_ns // HOUR_NS - 1
            self.hours.append(StoreHour(hour=hour, **dict(zip(names, grown, strict=True))))
            self._next_ns += HOUR_NS

    def _state(self) -> _State:
        instance, counts, older = self._instance, self._counts, self._older
        filled = log_distance_bytes(instance, self._begin, instance.log.tip)
        return _State(
            log_bytes=filled - self._work.idle_log_bytes,
            view_bytes=0 if self._views is None else self._views.view_bytes,
            log_writes=counts.log_writes,
            database_reads=counts.database_reads,
            database_writes=counts.database_writes,
            database_read_bytes=counts.database_read_bytes,
            database_written_bytes=counts.database_written_bytes,
            stand_in_reads=0 if older is None else older.stand_in_reads,
            stand_in_writes=0 if older is None else older.changed,
        )
