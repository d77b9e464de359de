"""The load on a store: messages that arrive at random, and old ones that are deleted.

Models: Poisson arrivals, sizes spread like a log-normal around a median and cut off at both
ends, a bounded number of deliveries at a time (arrivals beyond it wait, as in a transport
queue), a retention in bytes beyond which the oldest messages go.  Leaves out: the day's
rhythm, several recipients, reading, moving and changing of messages.  The shape was not
compared with a trace: rate and sizes are parameters of the scenario.

Each delivery is noted in the :class:`~simulator.exchange.ledger.Ledger` in the same breath
in which the store takes it, so that both see the same order.  The state that must outlive a
crash of the host (the next message id) is in the :class:`MailLoad`, which the world keeps;
what is alive in the store is asked from the ledger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, exp, log, pi, sqrt

from replicator.runtime import group, sleep_ns
from replicator.runtime.channels import Signal
from simulator.exchange.ledger import Ledger
from simulator.exchange.store import Message, Store
from simulator.payload import PayloadPool


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """The load's figures.

    Attributes
    ----------
    message_size_bytes: median size.
    size_spread: sigma of the logarithm of the sizes; 0 gives equal sizes.
    compressible_share: see :class:`simulator.payload.PayloadPool`.
    retention_bytes: payload kept in the store; the oldest messages beyond it are deleted.
        Give the store half as much again, since messages fill whole pages.
    deliveries_at_once: arrivals beyond so many deliveries wait.
    databases: mailbox ``m`` is in database ``m % databases``, which keeps its share of the
        retention: a transaction is about one database.
    """

    messages_per_second: float
    mailboxes: int = 100
    message_size_bytes: int = 24_000
    size_spread: float = 1.0
    smallest_bytes: int = 256
    largest_bytes: int = 4 << 20
    compressible_share: float = 0.6
    retention_bytes: int = 128 << 20
    deliveries_at_once: int = 32
    databases: int = 1

    def __post_init__(self) -> None:
        if self.messages_per_second <= 0 or self.mailboxes < 1 or self.deliveries_at_once < 1:
            raise ValueError("rate, mailboxes and deliveries at once must be positive")
        if not 0 <= self.smallest_bytes <= self.message_size_bytes <= self.largest_bytes:
            raise ValueError("the median size must lie between the smallest and the largest")
        if not 1 <= self.databases <= self.mailboxes:
            raise ValueError("each database must have a mailbox")
        if self.retention_bytes // self.databases < self.largest_bytes:
            raise ValueError("the retention must hold the largest message")


class MailLoad:
    """The load; outlives the hosts on which it runs.

    Arguments
    ---------
    random: numbers in [0, 1).
    ledger: where transactions are noted.
    seed: names the incompressible bytes of the payloads.
    first_message_id: no id below this is given.
    """

    def __init__(
        self,
        config: LoadConfig,
        ledger: Ledger,
        random: Callable[[], float],
        seed: int = 0,
        first_message_id: int = 1,
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.messages_begun = 0
        self.bytes_begun = 0
        self.most_underway = 0
        self._random = random
        self._pool = PayloadPool(config.compressible_share, seed)
        self._next_id = first_message_id
        self._live: list[deque[tuple[int, int]]] = []
        """Message id and size of what each database keeps, oldest first."""
        self._live_bytes: list[int] = []
        self._underway = 0

    async def run(
        self, store: Store, now_ns: Callable[[], int], until_ns: int | None = None
    ) -> None:
        """Deliver to a mounted store until ``until_ns``, or until cancelled.

        Returns when all that was begun is acknowledged.  After a crash or a failover, call
        it again with the new store, once the ledger was told what that store has
        (:meth:`Ledger.continue_from`).
        """
        self._live = [deque() for _ in range(self.config.databases)]
        for message_id, mailbox, size_bytes in self.ledger.live_by_mailbox():
            self._live[mailbox % self.config.databases].append((message_id, size_bytes))
        self._live_bytes = [sum(size for _id, size in live) for live in self._live]
        self._underway = 0
        room = Signal()
        due_ns = now_ns()
        async with group() as deliveries:
            while True:
                due_ns += self._pause_ns()
                if until_ns is not None and due_ns > until_ns:
                    break
                if due_ns > now_ns():
                    await sleep_ns(due_ns - now_ns())
                while self._underway >= self.config.deliveries_at_once:
                    await room
                self._underway += 1
                self.most_underway = max(self.most_underway, self._underway)
                deliveries.spawn(self._deliver(store, now_ns, room), "delivery")

    async def _deliver(self, store: Store, now_ns: Callable[[], int], room: Signal) -> None:
        # No await between the choice, the note in the ledger and the store's taking it.
        size_bytes = self._size_bytes()
        message = Message(
            self._next_id,
            int(self._random() * self.config.mailboxes),
            self._pool.take(self._next_id, size_bytes),
        )
        self._next_id += 1
        database = message.mailbox % self.config.databases
        remove = self._make_place(database, size_bytes)
        self._live[database].append((message.message_id, size_bytes))
        self._live_bytes[database] += size_bytes
        self.messages_begun += 1
        self.bytes_begun += size_bytes
        number = self.ledger.begin((message,), remove, now_ns())
        try:
            await store.deliver((message,), remove)
            self.ledger.acknowledge(number, now_ns())
        finally:
            self._underway -= 1
            room.notify()

    def _make_place(self, database: int, size_bytes: int) -> list[int]:
        """The oldest messages, to be deleted so that the new one fits the retention."""
        remove = []
        live = self._live[database]
        most_bytes = self.config.retention_bytes // self.config.databases
        while live and self._live_bytes[database] + size_bytes > most_bytes:
            message_id, old_bytes = live.popleft()
            self._live_bytes[database] -= old_bytes
            remove.append(message_id)
        return remove

    def _pause_ns(self) -> int:
        """Time to the next arrival."""
        return int(-log(1.0 - self._random()) / self.config.messages_per_second * 1e9)

    def _size_bytes(self) -> int:
        config = self.config
        normal = sqrt(-2.0 * log(1.0 - self._random())) * cos(2.0 * pi * self._random())
        size = config.message_size_bytes * exp(config.size_spread * normal)
        return int(min(max(size, config.smallest_bytes), config.largest_bytes))


async def run_load(
    store: Store,
    ledger: Ledger,
    config: LoadConfig,
    *,
    now_ns: Callable[[], int],
    random: Callable[[], float],
    until_ns: int,
) -> MailLoad:
    """Run one load from now to ``until_ns`` on one store that does not crash."""
    load = MailLoad(config, ledger, random)
    await load.run(store, now_ns, until_ns)
    return load
