"""The truth: what the source's programs did, seen at their storage calls, above capture.

Programs write through :class:`simulator.witness.WitnessedVolume`.  It hands each call on and
then looks, by itself, at what the file system below shows: the bytes written must be there,
and the image digest after the call is noted, with its time, under the number that capture
gave the operation.  So a change that capture missed shows as two digests for one number,
and a wrong number as a digest that no replica will match.

Numbers: an *instant* counts all changes of the run; an operation (epoch, k) is an instant
too, and the first instant of an epoch is its operation 0.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from replicator.capture import Capture
from replicator.errors import StorageError
from replicator.runtime import Crashed
from replicator.runtime.port import Buffer, File, Scan
from simulator.blocks import BLOCK_BYTES, read_range
from simulator.digest import MASK, image_digest, refresh, size_term
from simulator.disk import Disk
from simulator.host import run_offline
from simulator.inode import Inode

DIGEST_BYTES = 16


class _Left(NamedTuple):
    """How a crash inside a call left the image."""

    digest: int
    refused: bool
    """Whether the call may have been refused, or cut short, for want of room."""


class Truth:
    """Digests, times and byte counts of everything that happened to the protected set.

    Arguments
    ---------
    disk, root: where the protected set is.
    """

    def __init__(self, disk: Disk, disk_name: str, root: str) -> None:
        self.disk = disk
        self.root = root.rstrip("/")
        self._disk_name = disk_name
        self.capture: Capture | None = None
        self.digest = image_digest(disk, self.root)
        self.times_ns = array("q", [0])
        """Simulated time of each instant."""
        self.written_bytes = array("Q", [0])
        """Bytes written by programs up to each instant."""
        self.epochs: dict[int, int] = {}
        """Epoch to the instant of its operation 0."""
        self._digests: dict[int, bytearray] = {}
        self.breaches: list[str] = []
        """What capture did wrong, in words."""
        self.watch: Callable[[int, int, int], None] | None = None
        """Called with epoch, operation and bytes when an operation was captured."""
        self._terms: dict[int, tuple[int, int]] = {}
        """Inode number to the file's term and the sum of its names' keys; see `image_digest`."""
        self._in_doubt: tuple[str, tuple[Any, ...]] | None = None
        self._left = _Left(0, False)
        self._medium_changed = False
        """The disk has changed something by itself since the last operation."""

    @property
    def instant(self) -> int:
        """Number of the last instant."""
        return len(self.times_ns) - 1

    # -- epochs --------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """Capture says that the image as it is now is operation 0 of an epoch.

        An epoch that begins a second time had not been durable, so nobody was told of it and its
        operations are nobody's to claim; a replica that has one of them matches nothing here.
        """
        self._survey()
        self.epochs[epoch] = self.instant
        self._digests[epoch] = bytearray(self.digest.to_bytes(DIGEST_BYTES, "little"))

    def digest_of(self, epoch: int, operation: int) -> int | None:
        """The image's digest after an operation; None when there is no such operation."""
        digests = self._digests.get(epoch)
        start = operation * DIGEST_BYTES
        if digests is None or operation < 0 or start >= len(digests):
            return None
        return int.from_bytes(digests[start : start + DIGEST_BYTES], "little")

    def operations_of(self, epoch: int) -> int:
        """Number of the last captured operation of an epoch."""
        return len(self._digests[epoch]) // DIGEST_BYTES - 1

    def instant_of(self, epoch: int, operation: int) -> int:
        """The instant of an operation; 0 for an epoch that never was (an empty replica)."""
        start = self.epochs.get(epoch)
        return 0 if start is None else min(self.instant, start + operation)

    def find(self, epoch: int, digest: int) -> list[int]:
        """All operations of an epoch after which the image had this digest."""
        wanted = digest.to_bytes(DIGEST_BYTES, "little")
        digests = self._digests.get(epoch, bytearray())
        found: list[int] = []
        at = digests.find(wanted)
        while at >= 0:
            if at % DIGEST_BYTES == 0:
                found.append(at // DIGEST_BYTES)
            at = digests.find(wanted, at + 1)
        return found

    def newest_with(self, digest: int) -> tuple[int, int] | None:
        """Epoch and operation of the newest image with this digest; None when there is none."""
        for epoch in sorted(self.epochs, reverse=True):
            found = self.find(epoch, digest)
            if found:
                return epoch, found[-1]
        return None

    def explain(self, disk: Disk, root: str) -> str:
        """Why an image below a directory is none that the source ever had, in words."""
        return "the image is none that the source ever had"

    def instant_at(self, time_ns: int) -> int:
        """The last instant at or before a time."""
        return max(0, bisect_left(self.times_ns, time_ns + 1) - 1)

    # -- what programs did ---------------------------------------------------------

    def wrote(self, inode: Inode, offset: int, data: bytes) -> None:
        """A write has returned: check it against the disk and note the new digest."""
        length = len(data)
        blocks = inode.blocks
        # A whole block that shows the very same object needs no comparison.
        if (
            length != BLOCK_BYTES
            or offset % BLOCK_BYTES
            or blocks.get(offset // BLOCK_BYTES) is not data
        ) and read_range(blocks, offset, length) != data:
            self.breaches.append(f"a write of {length} bytes at {offset} did not reach its file")
        self._content_changed(inode, length)

    def content_changed(self, inode: Inode) -> None:
        self._content_changed(inode, 0)

    def _content_changed(self, inode: Inode, length: int) -> None:
        known = self._terms.get(inode.number)
        if known is None:
            self._survey()
            self._terms.setdefault(inode.number, (0, 0))  # it has no name any more
        else:
            term, key = known
            new = size_term(inode.size) + refresh(inode)
            self.digest = (self.digest + key * (new - term)) & MASK
            self._terms[inode.number] = (new, key)
        self._note(length)

    def _survey(self) -> None:
        """Take the digest anew, and each file's part of it: one walk serves all files."""
        self._terms = {}
        self.digest = image_digest(self.disk, self.root, self._terms)

    def watched(self, file: File, path: str) -> TruthFile:
        """The file, with its changes noted here."""
        node = self.disk.names.node(path)
        assert isinstance(node, Inode)
        return TruthFile(self, file, node)

    def medium_changed(self, paths: Iterable[str]) -> None:
        """The disk has changed these files by itself: no program did, so it is no instant."""
        if not any(path.startswith(self.root + "/") for path in paths):
            return
        self._medium_changed = True
        if self._in_doubt is None:
            self._survey()

    def names_changed(self) -> None:
        self._survey()
        self._note(0)

    def nothing_changed(self) -> None:
        """A sync, or an operation that failed: the number moves, the image does not."""
        self._note(0)

    def _note(self, length: int) -> None:
        capture = self.capture
        self._medium_changed = False
        self.times_ns.append(self.disk.clock.now())
        self.written_bytes.append(self.written_bytes[-1] + length)
        if capture is None or not capture.capturing:
            return
        spool = capture.spool
        digests = self._digests[spool.epoch]
        expected = len(digests) // DIGEST_BYTES
        if spool.completed == expected:
            digests += self.digest.to_bytes(DIGEST_BYTES, "little")
            if self.watch is not None:
                self.watch(spool.epoch, expected, length)
        elif spool.completed == expected - 1:
            self.times_ns.pop()
            self.written_bytes.pop()
            if digests[-DIGEST_BYTES:] != self.digest.to_bytes(DIGEST_BYTES, "little"):
                self.breaches.append(f"capture missed the change after operation {expected - 1}")
        else:
            self.breaches.append(f"capture numbered a change {spool.completed}, {expected} was due")

    # -- crashes -------------------------------------------------------------------

    def crashed_in(self, call: str, *arguments: Any) -> None:
        """The host died inside this call: nobody knows yet whether it happened."""
        self._in_doubt = (call, arguments)
        self._left = _Left(image_digest(self.disk, self.root), self._was_refused(call, arguments))

    def _was_refused(self, call: str, arguments: tuple[Any, ...]) -> bool:
        """Whether the volume had no room for the call, or for all of it.

        Capture may have noted that before the host died, and the program never heard of it.
        """
        if call not in ("write_at", "truncate", "zero_range") or not arguments[0]:
            return False
        node = self.disk.names.node(arguments[0])
        return isinstance(node, Inode) and self.disk.refused == (
            node.number,
            self.disk.clock.now(),
        )

    def path_of(self, inode: Inode) -> str:
        """A present path of a file; empty when its last name is gone."""
        for path, node in self.disk.names.walk(self.root):
            if node is inode:
                return path
        return ""

    def power_lost(self) -> None:
        """The source's cache is gone: its image is whatever survived."""
        self._in_doubt = None
        self._terms.clear()
        self.digest = image_digest(self.disk, self.root)

    def before_restart(self) -> Callable[[Capture], None]:
        """Call after a process crash, before the source starts; returns the check for after.

        The image must be the one before, or the one after the call that was in doubt, as a
        whole; and capture must count the operation exactly when it happened.  On a full volume
        it may also have ended short, and count as what it did: then the image stays as the
        crash left it.
        """
        before, left = self.digest, self._left
        # Kept until it is judged: the process that is about to start may end before it has
        # finished what was under way, and the one after it finds that half done.
        doubt = self._in_doubt
        after = before if doubt is None else self._digest_after(doubt)
        known_epochs = set(self.epochs)
        self._terms.clear()

        def check(capture: Capture) -> None:
            self._in_doubt = None
            self.digest = image_digest(self.disk, self.root)
            epoch, completed = capture.spool.epoch, capture.spool.completed
            if epoch not in known_epochs:
                # The image as it is now, torn write and all, is operation 0 of a new epoch.
                return
            spoilt, self._medium_changed = self._medium_changed, False
            ended_short = doubt is not None and left.refused and self.digest == left.digest
            # What was under way is carried out over what the disk has changed, and nobody can
            # tell the two apart: then only how many operations there are can be said.
            if self.digest not in (before, after) and not (ended_short or spoilt):
                self.breaches.append(
                    "after a crash of the source its image is "
                    + (
                        f"neither that before nor that after the interrupted {doubt[0]}"
                        if doubt
                        else "not that before, and nothing had been interrupted"
                    )
                )
            known = len(self._digests[epoch]) // DIGEST_BYTES - 1
            could_happen = doubt is not None and (self.digest == after or ended_short or spoilt)
            if completed == known + 1 and could_happen:
                self._note(0)
            elif completed != known or (doubt and self.digest != before and not spoilt):
                happened = "did not happen" if self.digest == before else "happened"
                self.breaches.append(
                    f"after a crash of the source capture says operation {completed}, "
                    f"{known} had completed before, and "
                    + (f"the interrupted one {happened}" if doubt else "none was interrupted")
                )

        return check

    def _digest_after(self, doubt: tuple[str, tuple[Any, ...]]) -> int:
        call, arguments = doubt
        found: list[int] = []

        async def act(host: Any) -> None:
            volume = host.volume(self._disk_name)
            try:
                if call in ("write_at", "truncate", "zero_range"):
                    path, *rest = arguments
                    getattr(volume.open(path), call)(*rest)
                elif call != "sync":
                    made = getattr(volume, call)(*arguments)
                    if call == "create":
                        made.close()
            except StorageError:
                pass  # it had happened already, before the crash
            found.append(image_digest(volume.disk, self.root))

        run_offline({self._disk_name: self.disk}, act, "truth")
        return found[0]


class TruthFile:
    """A file whose changes are noted in the :class:`Truth`."""

    __slots__ = ("_file", "_inode", "_truth")

    def __init__(self, truth: Truth, file: File, inode: Inode) -> None:
        self._truth = truth
        self._file = file
        self._inode = inode

    @property
    def path(self) -> str:
        return self._file.path

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        if type(data) is not bytes:
            data = bytes(data)
        try:
            written = self._file.write_at(offset, data)
        except Crashed:
            self._truth.crashed_in("write_at", self._truth.path_of(self._inode), offset, data)
            raise
        except StorageError:
            self._truth.nothing_changed()
            raise
        self._truth.wrote(self._inode, offset, data if written == len(data) else data[:written])
        return written

    def truncate(self, size_bytes: int) -> None:
        self._content("truncate", size_bytes)

    def zero_range(self, offset: int, length: int) -> None:
        self._content("zero_range", offset, length)

    def _content(self, call: str, *arguments: int) -> None:
        try:
            getattr(self._file, call)(*arguments)
        except Crashed:
            self._truth.crashed_in(call, self._truth.path_of(self._inode), *arguments)
            raise
        except StorageError:
            self._truth.nothing_changed()
            raise
        self._truth.content_changed(self._inode)

    def allocate(self, offset: int, length: int) -> None:
        self._file.allocate(offset, length)

    async def read_at(self, offset: int, length: int) -> bytes:
        return await self._file.read_at(offset, length)

    async def scan(self, scan: Scan) -> list[bytes]:
        return await self._file.scan(scan)

    async def sync(self) -> None:
        try:
            await self._file.sync()
        except Crashed:
            self._truth.crashed_in("sync")
            raise
        self._truth.nothing_changed()

    def close(self) -> None:
        self._file.close()
