"""An operator's wish that the replica takes over: noted, obeyed, withdrawn, or too old.

``replicator promote`` notes the wish beside the replica for the process that runs, so that it
counts even if that process hangs, or dies and is started again.  It is a name below the replica's
directory, ``promote.request``; whoever begins to carry it out renames that to ``promote.begun``.
A wish that nobody remembers must not fence a source that works: one that was
made before the present start of the machine is shown and not obeyed, until it is wished again or
withdrawn.

==========  ========  ==========  ==========================================================
state       event     then        what happens
==========  ========  ==========  ==========================================================
none        wish      pending     noted, with boot, process and time
pending     wish      pending     noted again
old         wish      pending     noted again; what an earlier boot had begun is forgotten
begun       wish      begun       it is being done
pending     obey      begun       renamed: exactly one of this and a withdrawal finds the name
begun       obey      begun       a process that died in the midst of it goes on
pending     refuse    none        there is no image to take over with
begun       done      none        the takeover is durable: the wish is of no use any more
pending     withdraw  none        removed
old         withdraw  none        removed
pending     reboot    old         by its boot it is known; nothing is written
begun       reboot    old         the takeover was not durable: nobody was given the image
old         reboot    old
==========  ========  ==========  ==========================================================

What is not in the table is refused, or there is nothing to do.

The name is a symbolic link that leads nowhere; what it says is its target.  So it is there as a
whole or not at all, needs no room on a full volume, and the replica's process can read it though
another user wished.  Whatever else has the name, the empty file of an earlier release for one, is
*old*: nobody knows when it was wished::

    1.BOOT.PROCESS.WALL.MONOTONIC        numbers in hexadecimal, clocks in nanoseconds
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from replicator.errors import BadInput, NotFound, StorageError
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.units import format_ns

if TYPE_CHECKING:
    from replicator.replica import Replica
    from replicator.replica_store import ReplicaStore

REQUEST_NAME: Final = "promote.request"
BEGUN_NAME: Final = "promote.begun"
_FORMAT: Final = "1"
_TARGET: Final = re.compile(_FORMAT + r"((?:\.[0-9a-f]{1,16}){4})")


class WishState(StrEnum):
    """Where a wish stands."""

    NONE = "none"
    PENDING = "pending"
    OLD = "old"
    BEGUN = "begun"


class WishEvent(StrEnum):
    """What befalls it."""

    WISH = "wish"
    OBEY = "obey"
    REFUSE = "refuse"
    DONE = "done"
    WITHDRAW = "withdraw"
    REBOOT = "reboot"


_S, _E = WishState, WishEvent
TRANSITIONS: Final[dict[tuple[WishState, WishEvent], WishState]] = {
    (_S.NONE, _E.WISH): _S.PENDING,
    (_S.PENDING, _E.WISH): _S.PENDING,
    (_S.OLD, _E.WISH): _S.PENDING,
    (_S.BEGUN, _E.WISH): _S.BEGUN,
    (_S.PENDING, _E.OBEY): _S.BEGUN,
    (_S.BEGUN, _E.OBEY): _S.BEGUN,
    (_S.PENDING, _E.REFUSE): _S.NONE,
    (_S.BEGUN, _E.DONE): _S.NONE,
    (_S.PENDING, _E.WITHDRAW): _S.NONE,
    (_S.OLD, _E.WITHDRAW): _S.NONE,
    (_S.PENDING, _E.REBOOT): _S.OLD,
    (_S.BEGUN, _E.REBOOT): _S.OLD,
    (_S.OLD, _E.REBOOT): _S.OLD,
}


class Wish(NamedTuple):
    """Who wished it, and when."""

    boot_id: int
    """Of the machine's start."""
    pid: int
    """Of the process, for people; 0 when nobody knows."""
    wall_ns: int
    now_ns: int
    """By that boot's monotonic clock."""


class NotedWish(NamedTuple):
    """What stands on the disk."""

    state: WishState
    wish: Wish | None
    """None when there is none, or when it cannot be read."""

    def age_ns(self, boot_id: int, now_ns: int, wall_ns: int) -> int | None:
        """How long ago it was wished, by this machine's clocks; None when that is not known."""
        wish = self.wish
        if wish is None:
            return None
        if wish.boot_id == boot_id:
            return max(0, now_ns - wish.now_ns)
        return max(0, wall_ns - wish.wall_ns)


def allows(state: WishState, event: WishEvent) -> bool:
    """Whether the event means anything in that state."""
    return (state, event) in TRANSITIONS


def judge_wish(request: str | None, begun: str | None, boot_id: int) -> NotedWish:
    """What the two names say.

    Arguments
    ---------
    request, begun: their targets; None for one that is not there, empty for what is no link.
    boot_id: of the machine's present start.
    """
    if request is None and begun is None:
        return NotedWish(WishState.NONE, None)
    asked, taken = decode_wish(request), decode_wish(begun)
    if taken is not None and taken.boot_id == boot_id:
        return NotedWish(WishState.BEGUN, taken)
    if asked is not None and asked.boot_id == boot_id:
        return NotedWish(WishState.PENDING, asked)
    return NotedWish(WishState.OLD, asked or taken)


def encode_wish(wish: Wish) -> str:
    """The target of the link; of less than 60 characters, which file systems keep in the inode."""
    return ".".join((_FORMAT, *(f"{number:x}" for number in wish)))


def decode_wish(target: str | None) -> Wish | None:
    """What a target says; None when it cannot be understood."""
    found = _TARGET.fullmatch(target or "")
    return None if found is None else Wish(*(int(n, 16) for n in found[1][1:].split(".")))


def wish_words(state: WishState, age_ns: int | None) -> str:
    """What an operator is told of it; empty when there is none."""
    since = "nobody knows when" if age_ns is None else f"{format_ns(age_ns)} ago"
    if state == WishState.PENDING:
        return (
            f"a takeover was wished ({since}) and is not carried out yet: it counts as soon as "
            "the replica works; 'replicator promote --withdraw' takes the wish back"
        )
    if state == WishState.OLD:
        return (
            f"a takeover was wished before the machine's present start ({since}) and is not "
            "obeyed: wish it again with 'replicator promote', or remove the wish with "
            "'replicator promote --withdraw'"
        )
    return "a takeover has begun and is not over yet" if state == WishState.BEGUN else ""


class TakeoverWish:
    """The wish beside one replica.

    Arguments
    ---------
    volume, root: the replica's directory.
    boot_id: of the machine's present start.
    """

    def __init__(self, volume: Volume, root: str, boot_id: int) -> None:
        self._volume = volume
        self._root = root
        self._boot_id = boot_id
        self._request = f"{root}/{REQUEST_NAME}"
        self._begun = f"{root}/{BEGUN_NAME}"

    def look(self) -> NotedWish:
        """What is noted now.  Plain calls only."""
        request, begun = self._target(self._request), self._target(self._begun)
        return judge_wish(request, begun, self._boot_id)

    def _target(self, path: str) -> str | None:
        try:
            return self._volume.stat(path).target or ""
        except NotFound:
            return None
        except StorageError:
            return ""  # something has the name that nobody can make anything of

    async def note(self, pid: int, wall_ns: int, now_ns: int) -> None:
        """Wish it; returns when that survives a power loss.  Raises StorageError.

        Arguments
        ---------
        pid: of the process that wishes, for people.
        wall_ns, now_ns: the clocks of this machine.
        """
        if self.look().state == WishState.BEGUN:
            return
        for path in (self._request, self._begun):
            self._remove(path)
        wish = Wish(self._boot_id, pid, wall_ns, now_ns)
        self._volume.symlink(encode_wish(wish), self._request)
        await self._volume.sync_directory(self._root)

    def begin(self, noted: NotedWish) -> bool:
        """Carry it out from here on; False when it was withdrawn since it was looked at."""
        if noted.state == WishState.BEGUN:
            return True
        try:
            self._volume.rename(self._request, self._begun)
        except NotFound:
            return False
        return True

    async def clear(self) -> None:
        """It is done, or refused; what cannot be removed, a directory for one, stays."""
        removed = False
        for path in (self._request, self._begun):
            with suppress(StorageError):
                removed |= self._remove(path)
        if removed:
            await self._volume.sync_directory(self._root)

    async def withdraw(self) -> bool:
        """Take it back, durably; False when there was none.

        Raises BadInput when the takeover has begun: then nothing is changed.
        """
        while True:
            noted = self.look()
            if noted.state == WishState.NONE:
                return False
            if not allows(noted.state, WishEvent.WITHDRAW):
                raise BadInput(
                    "the takeover has begun and cannot be taken back",
                    path=self._begun,
                    remedy="'replicator status' shows when it is over; docs/operating.md, "
                    "'After a takeover', has the ways on.",
                )
            paths = (
                (self._request, self._begun) if noted.state == WishState.OLD else (self._request,)
            )
            removed = [self._remove(path) for path in paths]
            if any(removed):
                await self._volume.sync_directory(self._root)
                return True

    def _remove(self, path: str) -> bool:
        try:
            self._volume.unlink(path)
        except NotFound:
            return False
        return True


async def heed_wishes(
    runtime: Runtime, store: ReplicaStore, replica: Replica, report: Callable[[], None]
) -> None:
    """Obey what is wished while the replica serves; until cancelled.

    ``report`` puts the status up.  It does when all is done and the wish still there: who wished
    waits for that to go, and may ask for the status next.
    """
    wish = wish_of(runtime, store)
    told = WishState.NONE
    while True:
        noted = wish.look()
        if store.promoted:
            await wish.clear()
        elif noted.state == WishState.OLD:
            if told != WishState.OLD:
                runtime.emit("promotion", "old")
        elif allows(noted.state, WishEvent.OBEY):
            if store.never_completed:
                runtime.emit("promotion", "refused")
                await wish.clear()
            elif wish.begin(noted):
                runtime.emit("promotion", "begin")
                await replica.promote()
                runtime.emit("promotion", "done")
                report()
                await wish.clear()
        told = noted.state
        await sleep_ns(replica.heartbeat_ns // 2)


async def withdraw_wish(runtime: Runtime, store: ReplicaStore) -> bool:
    """Take the wish back, durably, from beside the replica's process; False when there was none.

    Raises BadInput when the takeover has begun, or is done: then nothing is changed.
    """
    wish = wish_of(runtime, store)
    taken_over = await store.checkpoints.has_taken_over()
    withdrawn = not taken_over and await wish.withdraw()
    if not withdrawn and await store.checkpoints.has_taken_over():
        raise BadInput(
            "the replica has taken over already: there is nothing to withdraw any more",
            path=store.root,
            remedy="docs/operating.md, 'After a takeover', has the ways on.",
        )
    return withdrawn


def wish_of(runtime: Runtime, store: ReplicaStore) -> TakeoverWish:
    """The wish beside a replica's store, as this boot of its machine sees it."""
    return TakeoverWish(store.volume, store.root, runtime.boot_id)
