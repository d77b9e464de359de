"""The port: what a world offers to our coroutines.

The simulator implements it over emulated disks and links, ``replicator/host`` over real
ones.  ``tests/conformance`` holds one suite that runs on every implementation.

Storage rules
-------------
* Plain calls (``write_at``, ``truncate``, ``rename`` ...) change what later reads see at
  once and promise nothing about a power loss.  Each is one crash step: a crash inside it
  may keep a part of it.
* ``await file.sync()`` returns when all that was written to the file before the call
  survives a power loss, its size included; its *name* only after
  ``await volume.sync_directory(parent)``.
* A failed sync poisons the handle: every later call raises :class:`SyncFailed`.
* One ``write_at`` may carry at most :data:`MAX_WRITE_BYTES`; larger ones may be refused.
* ``await volume.admit(n)`` before writing ``n`` bytes is where back-pressure acts.
* Paths are absolute within their volume, written with ``/``; ``"/"`` is its root.
* Errors are :class:`replicator.errors.StorageError` with path and offset.

Streams are TCP-like: ordered bytes, no message boundaries, a send that returns promises
nothing about delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, TypeVar, runtime_checkable

from replicator.errors import NoSpace
from replicator.runtime.channels import Signal

T = TypeVar("T")

MAX_WRITE_BYTES = 16 << 20
"""What every implementation takes in one write."""

Buffer = bytes | bytearray | memoryview


class EntryKind(IntEnum):
    """What a name stands for."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3


@dataclass(frozen=True, slots=True)
class Stat:
    """One directory entry: ``inode`` tells two names of one file from two files."""

    kind: EntryKind
    size_bytes: int
    inode: int
    attributes: int = 0
    target: str | None = None
    """Where a symbolic link points."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A range of a file that is read to be digested.

    Arguments
    ---------
    piece_bytes: of each piece but the last.
    fn: a pure function, which is called in any thread.
    cost_ns_per_byte: its processor time, for a world where time is counted.
    """

    offset: int
    length: int
    piece_bytes: int
    fn: Callable[[bytes], bytes]
    cost_ns_per_byte: float

    def pieces(self) -> list[tuple[int, int]]:
        """(offset, length) of each."""
        end = self.offset + self.length
        return [
            (at, min(self.piece_bytes, end - at))
            for at in range(self.offset, end, self.piece_bytes)
        ]


@runtime_checkable
class File(Protocol):
    """An open regular file; offsets and sizes in bytes."""

    @property
    def path(self) -> str:
        """The path it was opened by (it may have been renamed since)."""

    @property
    def size_bytes(self) -> int: ...

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        """Write the buffers one after the other from ``offset``; returns the bytes written.

        The file grows as needed; a gap reads as zeros.  A write cut short by a full volume
        returns fewer bytes, or raises NoSpace when none was written.
        """

    def truncate(self, size_bytes: int) -> None:
        """Set the size; what is gained reads as zeros."""

    def zero_range(self, offset: int, length: int) -> None:
        """Make the range read as zeros; the file grows as needed."""

    def allocate(self, offset: int, length: int) -> None:
        """Reserve space for the range without changing the size; raises NoSpace."""

    async def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end of the file."""

    async def scan(self, scan: Scan) -> list[bytes]:
        """What the function says of each piece of the range, in order.

        It is read and digested beside all other tasks, without a way to the loop and back for
        each piece.  What the file does not have is missing: its last piece is shorter, those
        behind it are empty.
        """

    async def sync(self) -> None:
        """Make all that was written before this call survive a power loss."""

    def close(self) -> None:
        """Give the handle back; promises nothing about durability."""


def write_all(file: File, offset: int, *buffers: Buffer) -> int:
    """Write the buffers whole; returns their bytes.

    Raises NoSpace when the volume takes only a part.  A part may have been written: the
    caller must be able to write it again.
    """
    size = len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
    written = file.write_at(offset, *buffers)
    if written != size:
        raise NoSpace(f"the volume took {written} of {size} bytes", path=file.path, offset=offset)
    return size


@runtime_checkable
class Lock(Protocol):
    """An exclusive lock between processes; gone when its process is gone."""

    def release(self) -> None: ...


@runtime_checkable
class SharedPage(Protocol):
    """A few bytes that the processes of one machine share, and bells between them.

    A store is seen by the other processes at once and outlives the process that made it.
    After a power loss the bytes are zeros, or anything that once stood there: what is kept
    in a page says to which boot it belongs.
    """

    @property
    def memory(self) -> bytearray | memoryview:
        """The bytes; another process may see a store into several of them half done."""

    @property
    def words(self) -> memoryview:
        """The same as unsigned 64-bit words: each is stored and loaded in one piece.

        ``struct.pack_into`` would not do: it clears the place before it stores.
        """

    def ring(self, bell: int) -> None:
        """Wake whoever waits on this bell (0 to 7), in any process."""

    def bell(self, bell: int) -> Signal:
        """Notified, in this process, at each ring.  One object per bell and page."""

    def close(self) -> None: ...


@runtime_checkable
class Volume(Protocol):
    """One mounted file system."""

    @property
    def name(self) -> str: ...

    @property
    def root(self) -> str:
        """The path of its root directory: what is above is no business of this volume."""

    def create(self, path: str) -> File:
        """Create an empty regular file and open it; raises AlreadyExists."""

    def open(self, path: str, read_only: bool = False) -> File:
        """Open an existing regular file; raises NotFound, and AccessDenied where its mode forbids.

        ``read_only``: needs no more than the right to read; what would change the content is
        refused with StorageError.  It can be synced: that vouches for what others wrote.
        """

    def rename(self, old: str, new: str) -> None:
        """Give the entry another name, in one step; an existing file at ``new`` is replaced."""

    def unlink(self, path: str) -> None:
        """Remove a name of a file or symbolic link."""

    def link(self, old: str, new: str) -> None:
        """Give an existing file a second name."""

    def symlink(self, target: str, path: str) -> None:
        """Create a symbolic link at ``path`` that points to ``target``."""

    def mkdir(self, path: str) -> None: ...

    def rmdir(self, path: str) -> None: ...

    def set_attributes(self, path: str, attributes: int) -> None:
        """Set the entry's attribute bits (mode or DOS attributes, opaque here)."""

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""

    def stat(self, path: str) -> Stat:
        """Raises NotFound; does not follow symbolic links."""

    def exists(self, path: str) -> bool: ...

    def free_bytes(self) -> int: ...

    def lock(self, path: str) -> Lock:
        """Take the exclusive lock named ``path``; raises Locked at once when it is held.

        A directory that is there is locked itself, and nothing is made in it; a name that is
        free becomes an empty file.
        """

    def shared_page(self, path: str, size_bytes: int) -> SharedPage:
        """The page named ``path``, made of zeros at its first use; the same one for all."""

    async def sync_directory(self, path: str) -> None:
        """Make the names in the directory survive a power loss."""

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        """Wait until ``size_bytes`` may be written without overrunning the volume's limits.

        ``writes``: in at most so many calls, each of an equal share or of several shares together.
        What one admission of several does not use has lapsed when the next one of several is
        asked for.  Changes without data are not admitted; between two admissions there is room
        for a few.
        """


@runtime_checkable
class Stream(Protocol):
    """One connection."""

    async def send(self, *buffers: Buffer) -> None:
        """Hand over bytes in order; waits while too much is underway.  Raises ConnectionLost."""

    async def receive(self, max_bytes: int) -> bytes:
        """At least one byte, at most ``max_bytes``; ``b""`` after the peer closed."""

    async def receive_exactly(self, size_bytes: int) -> bytes:
        """Exactly so many bytes; raises ConnectionLost when the peer closes before."""

    def close(self) -> None:
        """End in good order: what was sent still arrives."""

    def abort(self) -> None:
        """Drop the connection at once; the peer sees a reset."""


@runtime_checkable
class Listener(Protocol):
    """Accepts connections on one address."""

    async def accept(self) -> Stream:
        """The next connection, in the order of their arrival.

        Raises ListenerClosed, and ConnectionLost when none can be taken at the moment.
        """

    def close(self) -> None: ...


@runtime_checkable
class Runtime(Protocol):
    """The world as one host incarnation sees it, storage apart (volumes are handed over)."""

    @property
    def boot_id(self) -> int:
        """Another number after each start of the machine: tells a power loss from a crash."""

    @property
    def incarnation(self) -> int:
        """Counts the starts of this process on this host."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds since some instant of this boot."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC by the host's clock; may jump."""

    def random(self, name: str) -> Callable[[], float]:
        """A stream of numbers in [0, 1) for one concern; the same name, the same stream."""

    def charge_ns(self, time_ns: int) -> None:
        """Book processor time (the simulator's hosts have one processor each)."""

    async def compute(self, fn: Callable[[], T], cost_ns: int) -> T:
        """Run a pure function: in a thread on hosts, inline and charged when simulated."""

    def emit(self, event: str, *values: int | str) -> None:
        """Report something that happened, for logs, metrics and the bench's oracles."""

    async def connect(self, address: str) -> Stream:
        """Open a connection to ``host:port``; raises ConnectionLost."""

    async def listen(self, address: str) -> Listener: ...
