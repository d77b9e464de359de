"""What a mail store looks like to the bench: mount, deliver, dismount, contents.

A store keeps messages in files of one directory and changes them in transactions.  It is
plain ``async`` code over the storage port, so the same code runs on an emulated disk, under
a capture layer, and on real files.  :class:`~simulator.exchange.small_store.SmallStore`
implements the interface in a small format of its own,
:class:`~simulator.exchange.engine_store.EngineStore` in the format of Exchange.

Rules of the interface
----------------------
* :meth:`Store.deliver` enters its transaction into the store's order *before its first
  await that blocks*.  So a caller that notes the transaction in a
  :class:`~simulator.exchange.ledger.Ledger` and calls ``deliver`` in one breath knows the
  order in which transactions commit.
* The return of ``deliver`` is the acknowledgement: the transaction survives a power loss.
* A transaction that did not return may be there after recovery or not, never in part, and
  never without all those before it.
* One task spawns :meth:`Store.run` after :meth:`Store.mount`; it returns after
  :meth:`Store.dismount`.

Leaves out: reading of single messages, folders, views, single-instance storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import xxhash

from replicator.errors import ExitCode, ReplicatorError


class StoreError(ReplicatorError):
    """Base of what a store refuses."""

    exit_code: ClassVar[ExitCode] = ExitCode.BROKEN


class StoreUnmountable(StoreError):
    """The files do not make up a store that recovery can bring to a consistent state.

    Arguments
    ---------
    message, path, offset: as of every error.
    number: the engine's own number; None for a store that has none.
    remedy: what to do, where the engine knows more than the default.
    """

    default_remedy = "Mount another copy, or rewind the replica to an earlier point."

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        number: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, path=path, offset=offset, remedy=remedy)
        self.number = number


class StoreFull(StoreError):
    """A transaction does not fit into the database."""

    default_remedy = "Delete more messages in the transaction or give the database more room."


class StoreClosed(StoreError):
    """The store is not mounted, or failed earlier."""

    default_remedy = "Mount the store first."


@dataclass(frozen=True, slots=True)
class Message:
    """One message for one mailbox.  Ids are never used twice, not even after a crash."""

    message_id: int
    mailbox: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class MountReport:
    """What a mount found and did."""

    created: bool = False
    """The directory was empty: a new store was made."""
    recovered: bool = False
    """The store had not been dismounted: its log was replayed."""
    transactions: int = 0
    """Number of the last committed transaction that is there; 0 where nothing numbers them."""
    messages: int = 0
    """0 where a mount does not count them."""
    replayed_transactions: int = 0
    replayed_logs: int | None = None
    """Generations that recovery went through; None where they are not counted."""
    rewritten_pages: int = 0
    log_bytes_read: int = 0
    torn_tail_bytes: int = 0
    """Bytes behind the last whole block of the newest log, dropped."""
    duration_ns: int = 0


class Store(Protocol):
    """A transactional store of messages; see the rules of the module."""

    async def mount(self) -> MountReport:
        """Open the store: create it when the directory is empty, recover it when dirty.

        Raises StoreUnmountable with a plain reason; then nothing was changed.
        """

    async def run(self) -> None:
        """Write pages and checkpoints in the background until the store is dismounted."""

    async def deliver(self, messages: Sequence[Message], delete: Sequence[int] = ()) -> None:
        """Remove the messages ``delete`` and add ``messages``, as one transaction.

        Returns when the transaction is durable.  Raises StoreFull, before anything was
        changed, when it does not fit.
        """

    async def dismount(self) -> None:
        """Write everything down and mark the store clean."""

    async def contents(self) -> dict[int, bytes]:
        """Message id -> :func:`payload_digest` of all committed messages."""


def payload_digest(payload: bytes | memoryview) -> bytes:
    """The 16 bytes by which the contents of a message are compared."""
    return xxhash.xxh3_128_digest(payload)
