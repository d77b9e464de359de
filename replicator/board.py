"""The board: what the two processes of a source tell each other without a word.

On a source machine one process *keeps the history*: it holds the capture lock, appends to
the spool and changes the protected files (the store's own process, through the client
library).  Another one *sends*: it reads the spool and talks to the replica.  Either may be
killed at any moment; the other goes on.  They share the spool's segments and one page of
memory::

    0     u64  completed mark: the last operation whose outcome is known
    8     u64  intended mark: the last operation that was appended
    16    u64  bytes of records appended in this history
    24    u64  most bytes that ever waited
    32    u64  version of the keeper's notice        40  u64  version of the sender's
    48    u8   the sender waits at its bell          49  u8   a program wants to capture
    50    u8   the caretaker has seen that, and gives way
    56    u64  disk space of the spool's segments
    64         keeper's notice: length u32, checksum u64, JSON
    2048       sender's notice: likewise

Marks are stored at each operation and cost nanoseconds; notices change rarely.  A mark is
one aligned word in the machine's own byte order, stored and loaded whole, so it is never seen
half; a notice is, and its checksum tells.

Who rings whom: the keeper rings ``SENDER`` when there is something to send, and ``NOTICE``
too when its notice changed; the sender rings ``KEEPER`` when it has released operations or
wants a new epoch; ``LOCK`` rings when the capture lock is free again.  A ring may be missed
by a hair (a store may overtake a load on its way to memory), so all look again by
themselves now and then.

What stands on the board counts only if it was written in this boot.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, NamedTuple

import xxhash

from replicator.runtime import TimedOut, deadline
from replicator.runtime.channels import Signal
from replicator.runtime.port import Volume
from replicator.untrusted import json_object

PAGE_BYTES: Final = 4096
SENDER, KEEPER, NOTICE, LOCK = 0, 1, 2, 3
"""The bells."""
REASON_CHARACTERS: Final = 400
_NOTICE: Final = struct.Struct("<IQ")
# Numbers of 64-bit words; then offsets of bytes.
_COMPLETED, _INTENDED, _APPENDED, _PEAK = 0, 1, 2, 3
_KEEPER_VERSION, _SENDER_VERSION = 4, 5
_SENDER_WAITS, _CAPTURE_WANTED, _GIVES_WAY = 48, 49, 50
_USED = 7
_KEEPER_NOTICE, _SENDER_NOTICE = 64, 2048
_KEEPER_BYTES, _SENDER_BYTES = _SENDER_NOTICE - _KEEPER_NOTICE, PAGE_BYTES - _SENDER_NOTICE


class KeeperNotice(NamedTuple):
    """What the process that keeps the history says about it."""

    boot: int = -1
    incarnation: int = 0
    epoch: int = 0
    """0 while nobody has begun one, and while the next one is being begun."""
    history: str = ""
    capturing: bool = False
    stop_reason: str = "no program has opened the protected set yet"


class SenderNotice(NamedTuple):
    """What the sender wants of the keeper."""

    boot: int = -1
    end_epoch: int = 0
    """Begin a new epoch if this one is still running; 0 for none."""
    floor: int = 0
    """The new epoch must be greater than this."""
    reason: str = ""
    epoch: int = 0
    """What follows is about this epoch."""
    released: int = 0
    """The replica will never ask again for operations up to this one."""
    released_bytes: int = 0
    """Bytes of records up to there, from the beginning of the history."""


class Board:
    """One board; see the module.

    Arguments
    ---------
    volume, path: where the page is; the parent directory must exist.
    boot_id: of this machine's boot; notices of another one are not seen.
    """

    def __init__(self, volume: Volume, path: str, boot_id: int) -> None:
        self._page = volume.shared_page(path, PAGE_BYTES)
        self._memory = self._page.memory
        self._words = self._page.words
        self._boot_id = boot_id
        self._keeper_seen: tuple[int, KeeperNotice] = (-1, KeeperNotice())
        self._sender_seen: tuple[int, SenderNotice] = (-1, SenderNotice())

    # -- the keeper's side ---------------------------------------------------------

    def intend(self, sequence: int) -> None:
        """An operation was appended, and is about to be carried out."""
        self._words[_INTENDED] = sequence

    def complete(self, sequence: int, appended_bytes: int, peak_bytes: int) -> None:
        """The outcome of an operation is known: it may be sent."""
        memory, words = self._memory, self._words
        words[_APPENDED] = appended_bytes
        words[_PEAK] = peak_bytes
        words[_INTENDED] = sequence
        words[_COMPLETED] = sequence
        if memory[_SENDER_WAITS]:
            memory[_SENDER_WAITS] = 0
            self._page.ring(SENDER)

    def occupy(self, used_bytes: int) -> None:
        """How much disk space the spool's segments take now."""
        self._words[_USED] = used_bytes

    def tell_sender(self, notice: KeeperNotice) -> None:
        """Put up the keeper's notice."""
        shortened = notice.stop_reason[:REASON_CHARACTERS]
        document = notice._asdict() | {"stop_reason": shortened}
        self._put(document, _KEEPER_NOTICE, _KEEPER_BYTES, _KEEPER_VERSION)
        self._page.ring(SENDER)
        self._page.ring(NOTICE)

    def sender_notice(self) -> SenderNotice:
        """What the sender says; an empty notice if it said nothing in this boot."""
        version = self._words[_SENDER_VERSION]
        if self._sender_seen[0] != version:
            document = self._get(_SENDER_NOTICE, _SENDER_BYTES)
            if document is None:
                return self._sender_seen[1]  # being written just now: the next look will do
            notice = SenderNotice(**_known(SenderNotice._fields, document))
            known = notice if notice.boot == self._boot_id else SenderNotice()
            self._sender_seen = (version, known)
        return self._sender_seen[1]

    # -- the sender's side ---------------------------------------------------------

    @property
    def completed(self) -> int:
        """Number of the last operation whose outcome is known."""
        return self._words[_COMPLETED]

    @property
    def intended(self) -> int:
        """Number of the last operation that was begun."""
        return self._words[_INTENDED]

    @property
    def statistics(self) -> tuple[int, int]:
        """Bytes appended in this history, and the most that ever waited."""
        return self._words[_APPENDED], self._words[_PEAK]

    @property
    def used_bytes(self) -> int:
        """Disk space of the spool's segments."""
        return self._words[_USED]

    def keeper_notice(self) -> KeeperNotice:
        """What the keeper says; an empty notice if none did in this boot."""
        version = self._words[_KEEPER_VERSION]
        if self._keeper_seen[0] != version:
            document = self._get(_KEEPER_NOTICE, _KEEPER_BYTES)
            if document is None:
                return self._keeper_seen[1]
            notice = KeeperNotice(**_known(KeeperNotice._fields, document))
            known = notice if notice.boot == self._boot_id else KeeperNotice()
            self._keeper_seen = (version, known)
        return self._keeper_seen[1]

    def tell_keeper(self, notice: SenderNotice) -> None:
        """Put up the sender's notice."""
        document = notice._asdict() | {"reason": notice.reason[:REASON_CHARACTERS]}
        self._put(document, _SENDER_NOTICE, _SENDER_BYTES, _SENDER_VERSION)
        self._page.ring(KEEPER)

    def await_completion(self) -> None:
        """Ask for a ring at the next completed operation; look again after this call."""
        self._memory[_SENDER_WAITS] = 1

    # -- who may capture -----------------------------------------------------------

    @property
    def capture_wanted(self) -> bool:
        """Whether a program waits for the capture lock."""
        return bool(self._memory[_CAPTURE_WANTED])

    def want_capture(self, wanted: bool) -> None:
        """A program wants the capture lock, or has it."""
        self._memory[_CAPTURE_WANTED] = int(wanted)
        self._page.ring(KEEPER)

    @property
    def gives_way(self) -> bool:
        """Whether the capture lock is held by a caretaker that is about to let it go."""
        return bool(self._memory[_GIVES_WAY])

    def give_way(self, gives_way: bool) -> None:
        """The caretaker has seen a program's wish; whoever has the lock next takes that back."""
        self._memory[_GIVES_WAY] = int(gives_way)

    def capture_released(self) -> None:
        """The capture lock is free: whoever waits for it may look."""
        self._page.ring(LOCK)

    # -- bells ---------------------------------------------------------------------

    def bell(self, bell: int) -> Signal:
        """Notified at each ring of one of the bells."""
        return self._page.bell(bell)

    async def wait_for(self, bell: int, at_most_ns: int) -> None:
        """Return at the next ring, or late: a ring may be lost, so who waits looks again."""
        try:
            async with deadline(at_most_ns):
                await self.bell(bell)
        except TimedOut:
            return

    def close(self) -> None:
        """Give the page back."""
        self._page.close()

    # -- notices -------------------------------------------------------------------

    def _put(self, document: dict[str, Any], offset: int, room: int, version_at: int) -> None:
        body = json.dumps(document).encode()
        assert _NOTICE.size + len(body) <= room
        head = _NOTICE.pack(len(body), xxhash.xxh3_64_intdigest(body))
        self._memory[offset : offset + len(head) + len(body)] = head + body
        self._words[version_at] += 1

    def _get(self, offset: int, room: int) -> dict[str, Any] | None:
        """None while it is being written, or when nothing was ever written."""
        length, checksum = _NOTICE.unpack_from(self._memory, offset)
        if not 0 < length <= room - _NOTICE.size:
            return None
        start = offset + _NOTICE.size
        body = bytes(self._memory[start : start + length])
        if xxhash.xxh3_64_intdigest(body) != checksum:
            return None
        try:
            return json_object(body)
        except ValueError:
            return None


def _known(names: tuple[str, ...], document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key in names}
