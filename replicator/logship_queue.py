"""How far each step of log shipping has come with the generations of one log set: pure state.

Four marks, each the highest generation of which a step is done::

    generated >= copied >= inspected >= replayed

``generated`` is what the source was *heard* to have closed, with the time that this was true;
``copied`` has arrived in the inspection directory; ``inspected`` was found good and is durable in
the log directory; ``replayed`` is in the database, redo up to its end.

* copy queue = generated - inspected
* replay queue = inspected - replayed

as Exchange counts them.  Neither is ever told smaller than it was at the time that it is "as of":
what is heard later only makes the copy queue longer, and a log that is thrown away is back in it.

A generation that is inspected has an *as of* of its own: all that the source had written before
that time, by its clock, is in this generation or an earlier one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayDelay:
    """How far replay stays behind on purpose.

    Arguments
    ---------
    lag_ns: so long after its inspection a log is replayed (ReplayLagTime); the clock starts when
        the log passes inspection, and starts again with the process, so that a restart makes
        replay later and never earlier.
    behind_logs: so many inspected logs are always kept back; 50 for a target of SCR.
    """

    lag_ns: int = 0
    behind_logs: int = 0


@dataclass(frozen=True, slots=True)
class QueueReport:
    """The queues as a copy tells them.

    Arguments
    ---------
    generated, copied, inspected, replayed: the marks; 0 before the first log.
    copy_queue, replay_queue: in logs.
    log_bytes: of one log of the set; 0 as long as it is not known.
    heard_as_of_ns: by the source's wall clock, when ``generated`` was true; None when the source
        was not heard yet, and then the copy queue is not known.
    inspected_as_of_ns, replayed_as_of_ns: by the source's wall clock; what was written before is
        in the logs, or in the database; None when that is not known.
    """

    generated: int
    copied: int
    inspected: int
    replayed: int
    copy_queue: int
    replay_queue: int
    log_bytes: int
    heard_as_of_ns: int | None
    inspected_as_of_ns: int | None
    replayed_as_of_ns: int | None

    @property
    def copy_queue_bytes(self) -> int:
        """Bytes that are to be copied."""
        return self.copy_queue * self.log_bytes

    @property
    def replay_queue_bytes(self) -> int:
        """Bytes of logs that are to be replayed."""
        return self.replay_queue * self.log_bytes


class LogQueue:
    """The marks of one copy.

    Arguments
    ---------
    first: the first generation that the database needs.
    """

    def __init__(self, first: int) -> None:
        if first < 1:
            raise ValueError(f"generations count from 1, not from {first}")
        self.first = first
        self.generated = self.copied = self.inspected = self.replayed = first - 1
        self.log_bytes = 0
        self.heard_as_of_ns: int | None = None
        self.replayed_as_of_ns: int | None = None
        self._inspected: OrderedDict[int, tuple[int, int | None]] = OrderedDict()
        """Of logs that wait for replay, and the newest one: when inspected, and as of when."""
        self._inspected_as_of_ns: int | None = None

    def heard(self, generated: int, as_of_ns: int, log_bytes: int) -> None:
        """The source says which generation it closed last.

        Arguments
        ---------
        as_of_ns: when that was true, by its wall clock.
        log_bytes: of one log; 0 where the source has none at the moment.

        A source that says less than before says nothing new: what was closed stays closed.
        """
        self.generated = max(self.generated, generated)
        self.heard_as_of_ns = as_of_ns
        self.log_bytes = log_bytes or self.log_bytes

    def heard_before(self, earlier: LogQueue) -> None:
        """What the same process heard of the source before it looked at its files anew."""
        if earlier.heard_as_of_ns is not None:
            self.heard(earlier.generated, earlier.heard_as_of_ns, earlier.log_bytes)

    def has_copied(self, generation: int) -> None:
        """The next generation has arrived; raises ValueError for any other."""
        self._next("copied", self.inspected, generation)
        self.copied = generation
        self.generated = max(self.generated, generation)

    def has_inspected(self, generation: int, now_ns: int, as_of_ns: int | None) -> None:
        """The next generation is good, and durable in its place.

        Arguments
        ---------
        now_ns: by the own monotonic clock: the replay lag counts from here.
        as_of_ns: see the module; None when it is not known.

        Raises ValueError for any other than the next one, and for one that was not copied.
        """
        self._next("inspected", self.inspected, generation)
        if generation > self.copied:
            raise ValueError(f"generation 0x{generation:X} was inspected before it was copied")
        self.inspected = generation
        self._inspected[generation] = now_ns, as_of_ns
        self._inspected_as_of_ns = as_of_ns

    def found(self, generation: int, now_ns: int, as_of_ns: int | None) -> None:
        """At the start a generation is there that was inspected before."""
        self.has_copied(generation)
        self.has_inspected(generation, now_ns, as_of_ns)

    def has_replayed(self, generation: int) -> None:
        """Replay has come to the end of a generation; raises ValueError beyond the inspected."""
        if not self.replayed <= generation <= self.inspected:
            detail = f"0x{self.replayed:X} to 0x{self.inspected:X} could be replayed"
            raise ValueError(f"generation 0x{generation:X} was replayed, {detail}")
        self.replayed = generation
        while self._inspected and next(iter(self._inspected)) <= generation:
            _generation, (_at_ns, as_of_ns) = self._inspected.popitem(last=False)
            self.replayed_as_of_ns = as_of_ns

    def discard_from(self, generation: int) -> None:
        """This generation and later ones are thrown away: they have to be copied again.

        Raises ValueError for one that was replayed.
        """
        if generation <= self.replayed:
            raise ValueError(f"generation 0x{generation:X} was replayed: it stays")
        self.copied = min(self.copied, generation - 1)
        if self.inspected < generation:
            return
        self.inspected = generation - 1
        while self._inspected and next(reversed(self._inspected)) >= generation:
            self._inspected.popitem()
        newest = next(reversed(self._inspected.values()), (0, self.replayed_as_of_ns))
        self._inspected_as_of_ns = newest[1]

    def _next(self, step: str, done: int, generation: int) -> None:
        if generation != done + 1:
            due = f"0x{done + 1:X} is due"
            raise ValueError(f"generation 0x{generation:X} was {step}, {due}")

    # -- questions -----------------------------------------------------------------

    @property
    def wanted(self) -> int:
        """The generation to copy next."""
        return self.inspected + 1

    def due(self, now_ns: int, delay: ReplayDelay) -> int:
        """The last generation that may be replayed now; ``replayed`` when none may."""
        last = self.replayed
        for generation, (at_ns, _as_of_ns) in self._inspected.items():
            if generation > self.inspected - delay.behind_logs or at_ns + delay.lag_ns > now_ns:
                break
            last = generation
        return last

    def next_due_ns(self, delay: ReplayDelay) -> int | None:
        """When the lag of the oldest waiting log is over; None when none waits for its lag only."""
        generation, inspected = next(iter(self._inspected.items()), (0, (0, None)))
        if not generation or generation > self.inspected - delay.behind_logs:
            return None
        return inspected[0] + delay.lag_ns

    def report(self) -> QueueReport:
        """The queues now."""
        copies, replays = self.generated - self.inspected, self.inspected - self.replayed
        return QueueReport(
            self.generated,
            self.copied,
            self.inspected,
            self.replayed,
            copies,
            replays,
            self.log_bytes,
            self.heard_as_of_ns,
            self._inspected_as_of_ns,
            self.replayed_as_of_ns,
        )


__all__ = ["LogQueue", "QueueReport", "ReplayDelay"]
