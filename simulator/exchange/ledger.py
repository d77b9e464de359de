"""The ledger: an independent record of what a store was asked and what it acknowledged.

Theory
------
The load notes every transaction before it hands it to the store, and again when the store
acknowledged it.  Transactions commit in the order of their numbers, so what a recovered
store may contain is exactly ``state(t)`` for some ``t``: all that transactions 1..t added,
less what they removed.  :meth:`Ledger.judge` finds that ``t`` and compares it with a floor:

* a store recovered on its own disk must have kept everything acknowledged (the default);
* a replica may lack the newest transactions (``floor=0``), but never one in the middle;
  what it lacks is its loss, see :meth:`Ledger.loss`.

When the load goes on with a recovered store (a restart or a failover), transactions after
``t`` have never happened for it: :meth:`Ledger.continue_from` forgets them.

Leaves out: the order among messages inside of one transaction; changes of a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from simulator.exchange.store import Message, payload_digest

_NAMED_AT_MOST: Final = 20
_TRIED_AT_MOST: Final = 32


@dataclass(slots=True)
class Entry:
    """One message in the ledger."""

    mailbox: int
    size_bytes: int
    digest: bytes
    added_by: int
    removed_by: int | None = None


@dataclass(slots=True)
class Transaction:
    """One transaction: what it changed, when it began, when it was acknowledged."""

    number: int
    message_ids: tuple[int, ...]
    removed_ids: tuple[int, ...]
    begun_ns: int
    acknowledged_ns: int | None = None


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """What :meth:`Ledger.judge` found."""

    ok: bool
    transactions: int
    """The ``t`` whose state the contents equal, or come nearest to."""
    floor: int
    missing: tuple[int, ...] = ()
    """Messages that state ``t`` has and the store has not (at most twenty are named)."""
    extra: tuple[int, ...] = ()
    """Messages that the store has and state ``t`` has not."""
    garbled: tuple[int, ...] = ()
    """Messages that are there with other bytes."""
    reason: str = ""
    error_number: int | None = None
    """The engine's own number, where the store did not mount and has such numbers."""
    replayed_logs: int | None = None
    """Generations that the mount's recovery went through; None where they are not counted."""
    is_prefix: bool = True
    """Whether the contents equal the state after any transaction at all, enough of them or not."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What is lost when a store continues from transaction ``t``."""

    transactions: int
    """Acknowledged transactions after ``t``."""
    messages: int
    mailboxes: int
    """That lack one of these messages."""
    payload_bytes: int
    oldest_acknowledged_ns: int | None
    """When the oldest of them was acknowledged: the loss reaches back to this instant."""


class Ledger:
    """See the module.  Transaction numbers begin at 1."""

    def __init__(self) -> None:
        self._transactions: list[Transaction] = []
        self._entries: dict[int, Entry] = {}
        self._last_acknowledged = 0
        self._acknowledged_messages = 0

    # -- what the load reports -----------------------------------------------------

    def begin(self, messages: Sequence[Message], removed_ids: Sequence[int], now_ns: int) -> int:
        """Note a transaction that is about to be handed to the store; returns its number."""
        number = len(self._transactions) + 1
        for message_id in removed_ids:
            entry = self._entries.get(message_id)
            if entry is None or entry.removed_by is not None:
                raise ValueError(f"message {message_id} to remove is not in the store")
        for message in messages:
            if message.message_id in self._entries:
                raise ValueError(f"message id {message.message_id} was used before")
        for message_id in removed_ids:
            self._entries[message_id].removed_by = number
        for message in messages:
            payload = message.payload
            self._entries[message.message_id] = Entry(
                message.mailbox, len(payload), payload_digest(payload), number
            )
        ids = tuple(message.message_id for message in messages)
        self._transactions.append(Transaction(number, ids, tuple(removed_ids), now_ns))
        return number

    def restore(self, transaction: Transaction, entries: Sequence[tuple[int, Entry]]) -> None:
        """Note a transaction as an earlier ledger had it: the next one, not acknowledged.

        ``entries`` are its messages by id.
        """
        for message_id in transaction.removed_ids:
            self._entries[message_id].removed_by = transaction.number
        self._entries.update(entries)
        self._transactions.append(transaction)

    def acknowledge(self, number: int, now_ns: int) -> None:
        """Note that the store acknowledged transaction ``number``."""
        transaction = self._transactions[number - 1]
        transaction.acknowledged_ns = now_ns
        self._last_acknowledged = max(self._last_acknowledged, number)
        self._acknowledged_messages += len(transaction.message_ids)

    def continue_from(self, transactions: int) -> None:
        """Forget the transactions after ``transactions``: the store that runs on lacks them.

        Their message ids stay used up by the load, which never gives an id twice.
        """
        while len(self._transactions) > transactions:
            transaction = self._transactions.pop()
            for message_id in transaction.message_ids:
                del self._entries[message_id]
            for message_id in transaction.removed_ids:
                self._entries[message_id].removed_by = None
            if transaction.acknowledged_ns is not None:
                self._acknowledged_messages -= len(transaction.message_ids)
        self._last_acknowledged = min(self._last_acknowledged, transactions)

    def copy(self) -> Ledger:
        """The ledger as it is now; later entries of this one do not show in it."""
        return deepcopy(self)

    # -- questions -----------------------------------------------------------------

    @property
    def begun(self) -> int:
        """Number of the last transaction begun."""
        return len(self._transactions)

    @property
    def last_acknowledged(self) -> int:
        """Number of the last transaction acknowledged; those before it are durable too."""
        return self._last_acknowledged

    def acknowledged_before(self, time_ns: int) -> int:
        """Number of the last transaction acknowledged before an instant; 0 for none."""
        for transaction in reversed(self._transactions):
            at_ns = transaction.acknowledged_ns
            if at_ns is not None and at_ns < time_ns:
                return transaction.number
        return 0

    @property
    def acknowledged_messages(self) -> int:
        return self._acknowledged_messages

    def live(self) -> list[tuple[int, int]]:
        """Message id and size of all messages after the last transaction, oldest first."""
        return [(message_id, size) for message_id, _mailbox, size in self.live_by_mailbox()]

    def live_by_mailbox(self) -> list[tuple[int, int, int]]:
        """As :meth:`live`, with the mailbox between the two."""
        return [
            (message_id, entry.mailbox, entry.size_bytes)
            for message_id, entry in self._entries.items()
            if entry.removed_by is None
        ]

    def loss(self, transactions: int, until_ns: int | None = None) -> Loss:
        """What was acknowledged after transaction ``transactions``.

        Arguments
        ---------
        until_ns: what was acknowledged later does not count.
        """
        lost = [
            t
            for t in self._transactions[transactions:]
            if t.acknowledged_ns is not None and (until_ns is None or t.acknowledged_ns <= until_ns)
        ]
        ids = [message_id for t in lost for message_id in t.message_ids]
        times = [t.acknowledged_ns for t in lost if t.acknowledged_ns is not None]
        return Loss(
            transactions=len(lost),
            messages=len(ids),
            mailboxes=len({self._entries[message_id].mailbox for message_id in ids}),
            payload_bytes=sum(self._entries[message_id].size_bytes for message_id in ids),
            oldest_acknowledged_ns=min(times, default=None),
        )

    def judge(self, contents: Mapping[int, bytes], floor: int | None = None) -> LedgerVerdict:
        """Compare the contents of a recovered store with the states it may have.

        Arguments
        ---------
        contents: message id -> payload digest, as the store tells it.
        floor: number of the last transaction that must be there; the last acknowledged
            one when not given.
        """
        floor = self._last_acknowledged if floor is None else floor
        first, last = self._candidates(contents)
        nearest, best = first, self._compare(contents, first)
        for candidate in range(first + 1, last + 1):
            if not any(best):
                break
            found = self._compare(contents, candidate)
            if sum(map(len, found)) < sum(map(len, best)):
                best, nearest = found, candidate
        missing, extra, garbled = best
        is_prefix = not any(best)
        nearest = self._last_equal(nearest) if is_prefix else nearest
        reason = ""
        if missing or extra or garbled:
            reason = (
                f"contents equal no prefix: nearest is transaction {nearest}, against which "
                f"{len(missing)} messages are missing, {len(extra)} extra, {len(garbled)} garbled"
            )
        elif nearest < floor:
            reason = f"only transactions up to {nearest} are there, {floor} must be"
            missing = [i for t in self._transactions[nearest:floor] for i in t.message_ids]
        return LedgerVerdict(
            ok=not reason,
            transactions=nearest,
            floor=floor,
            missing=tuple(missing[:_NAMED_AT_MOST]),
            extra=tuple(extra[:_NAMED_AT_MOST]),
            garbled=tuple(garbled[:_NAMED_AT_MOST]),
            reason=reason,
            is_prefix=is_prefix,
        )

    # -- comparison ----------------------------------------------------------------

    def _candidates(self, contents: Mapping[int, bytes]) -> tuple[int, int]:
        """The first and the last transaction whose state the contents may equal.

        No state before the youngest message that is there can match, and none from the
        removal of one of them on.  In between only transactions count that leave nothing
        behind, so few are tried.
        """
        if not contents:
            live, empty_after = 0, 0
            for transaction in self._transactions:
                live += len(transaction.message_ids) - len(transaction.removed_ids)
                if live == 0:
                    empty_after = transaction.number
            return empty_after, empty_after
        known = [self._entries[i] for i in contents if i in self._entries]
        first = max((entry.added_by for entry in known), default=0)
        removed = [entry.removed_by for entry in known if entry.removed_by is not None]
        last = min(removed, default=len(self._transactions) + 1) - 1
        return first, max(first, min(last, first + _TRIED_AT_MOST))

    def _last_equal(self, number: int) -> int:
        """The last transaction with the same state: those that change nothing leave no trace."""
        while number < len(self._transactions):
            following = self._transactions[number]
            if following.message_ids or following.removed_ids:
                break
            number += 1
        return number

    def _compare(
        self, contents: Mapping[int, bytes], number: int
    ) -> tuple[list[int], list[int], list[int]]:
        """Missing, extra and garbled message ids against the state after ``number``."""
        missing: list[int] = []
        garbled: list[int] = []
        matched = 0
        for message_id, entry in self._entries.items():
            removed_by = entry.removed_by
            if entry.added_by > number:
                break  # entries stand in the order of their transactions
            if removed_by is not None and removed_by <= number:
                continue
            digest = contents.get(message_id)
            if digest is None:
                missing.append(message_id)
                continue
            matched += 1
            if digest != entry.digest:
                garbled.append(message_id)
        if matched == len(contents):
            return missing, [], garbled
        extra = [i for i in contents if not self._expected(i, number)]
        return missing, extra, garbled

    def _expected(self, message_id: int, number: int) -> bool:
        entry = self._entries.get(message_id)
        if entry is None or entry.added_by > number:
            return False
        return entry.removed_by is None or entry.removed_by > number
