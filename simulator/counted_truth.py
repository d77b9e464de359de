"""The truth of a source whose protection system does not number operations: it counts itself.

An *epoch* is a boot of the source's machine, and operation *k* of it the k-th call of its
programs that changed, or tried to change, the protected set.  After a power loss the source's
image is whatever survived: that is operation 0 of the next epoch.  It also keeps which bytes each
operation wrote (:mod:`simulator.versions`), so that an image that is none of the source's can be
explained.
"""

from __future__ import annotations

from simulator.disk import Disk
from simulator.inode import Inode
from simulator.truth import DIGEST_BYTES, Truth
from simulator.versions import Stretch, Versions


class CountedTruth(Truth):
    """As :class:`Truth`, without a capture that numbers what happens."""

    def __init__(self, disk: Disk, disk_name: str, root: str) -> None:
        super().__init__(disk, disk_name, root)
        self._epoch = 0
        self._versions = Versions(self.root)
        self._changed_ns: dict[int, int] = {}
        self._may_be: frozenset[int] | None = None
        """The images that a tap may let the programs find; None for any, as after a power loss."""

    @property
    def newest(self) -> tuple[int, int]:
        """Epoch and number of the last operation."""
        return self._epoch, self.operations_of(self._epoch)

    def changed_ns(self, inode: Inode) -> int:
        """When a file's content was changed last, in ns since the start of the run."""
        return self._changed_ns.get(inode.number, 0)

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        self._epoch, self._may_be = epoch, None
        self._versions.names(self.disk, self.instant, content_too=True)

    def resumed(self) -> None:
        """The programs' process starts again on a machine that kept its power."""
        before, doubt = self.digest, self._in_doubt
        after = before if doubt is None else self._digest_after(doubt)
        self._in_doubt = None
        self._take_over_what_is_there()
        self._may_be = frozenset((before, after, self.digest))

    def tapped(self) -> None:
        """A tap lets the programs in: what they find now is the source's image.

        A call that a crash cut short may be carried out by then, or taken back, and nothing else:
        what programs have written is not a replicator's to change.
        """
        self._take_over_what_is_there()
        spoilt, self._medium_changed = self._medium_changed, False
        if self._may_be is not None and self.digest not in self._may_be and not spoilt:
            self.breaches.append(
                "before it let the programs in again, the tap changed more of their files than the "
                "call that a crash had cut short"
            )

    def _take_over_what_is_there(self) -> None:
        before = self.digest
        self._survey()
        if self.digest != before:
            self._note(0)
            self._versions.names(self.disk, self.instant, content_too=True)

    def wrote(self, inode: Inode, offset: int, data: bytes) -> None:
        super().wrote(inode, offset, data)
        self._versions.content(inode, offset, len(data), self.instant)
        self._changed_ns[inode.number] = self.times_ns[-1]

    def content_changed(self, inode: Inode) -> None:
        super().content_changed(inode)
        self._versions.whole(inode, self.instant)
        self._changed_ns[inode.number] = self.times_ns[-1]

    def names_changed(self) -> None:
        super().names_changed()
        self._versions.names(self.disk, self.instant)

    def _note(self, length: int) -> None:
        self.times_ns.append(self.disk.clock.now())
        self.written_bytes.append(self.written_bytes[-1] + length)
        digests = self._digests[self._epoch]
        operation = len(digests) // DIGEST_BYTES
        digests += self.digest.to_bytes(DIGEST_BYTES, "little")
        if self.watch is not None:
            self.watch(self._epoch, operation, length)

    # -- images that are none of the source's --------------------------------------------

    def explain(self, disk: Disk, root: str) -> str:
        """What an image is a mixture of: which file is newer than which, or was never there."""
        parts = list(self._versions.stretches(disk, root, self.instant))
        none = "the image is none that the source ever had: "
        unknown = [part for part in parts if part.first < 0]
        known = [part for part in parts if part.first >= 0]
        pair = _telling_pair(known)
        if pair is not None:
            return none + self._conflict(*pair)
        if unknown:
            return none + self._never_had(unknown)
        return none + "its parts are of different operations"

    def _conflict(self, newer: Stretch, older: Stretch) -> str:
        since, until = self._words(newer.first), self._words(older.last)
        ahead = {
            "bytes": f"has bytes of {since} at {newer.offset}",
            "size": f"has the size that {since} gave it",
            "name": f"is there since {since}",
            "no name": f"is gone since {since}",
        }[newer.what]
        behind = {
            "bytes": f"is as of {until} at {older.offset}",
            "size": f"has its size of {until}",
            "name": f"is still there, as at {until}",
            "no name": f"is not there, as at {until}",
        }[older.what]
        lacking = f"lacks {self._words(older.last + 1)}"
        meaning = _meaning(newer.path, older.path)
        return f"{newer.path} {ahead} while {older.path} {behind} and {lacking}{meaning}"

    def _never_had(self, parts: list[Stretch]) -> str:
        first = parts[0]
        more = f", and {len(parts) - 1} more such places" if len(parts) > 1 else ""
        if not self._versions.ever_named(first.path):
            return f"{first.path} is no file that the source ever had (a copy cut short?){more}"
        if first.what != "bytes":
            return f"{first.path} never had this size{more}"
        return (
            f"{first.path} has bytes at {first.offset} that the source never had there (a write "
            f"that was cut short or lost?){more}"
        )

    def _words(self, instant: int) -> str:
        epoch = max((e for e, start in self.epochs.items() if start <= instant), default=1)
        number = f"operation {instant - self.epochs.get(epoch, 0)}"
        return number if len(self.epochs) < 2 else f"{number} of epoch {epoch}"


def _telling_pair(parts: list[Stretch]) -> tuple[Stretch, Stretch] | None:
    """Two parts that no instant had together, the newer one first; None when there are none.

    The most telling ones: a page that is ahead of a log, else bytes of two files, else any.
    """
    content = [part for part in parts if part.what == "bytes"]
    pages = [part for part in content if part.path.endswith(".edb")]
    logs = [part for part in parts if part.path.endswith(".log")]
    for ahead, behind, apart in (
        (pages, logs, True),
        (content, content, True),
        (parts, parts, False),
    ):
        newer = max(ahead, key=lambda part: (part.first, part.what == "bytes"), default=None)
        if newer is None:
            continue
        rest = [part for part in behind if not apart or part.path != newer.path]
        older = min(rest, key=lambda part: (part.last, part.what != "bytes"), default=None)
        if older is not None and newer.first > older.last:
            return newer, older
    return None


def _meaning(newer: str, older: str) -> str:
    """What it means for a store that one kind of its files is ahead of another."""
    kinds = newer.rpartition(".")[2], older.rpartition(".")[2]
    if kinds == ("edb", "log"):
        return ": the log that describes the pages is missing"
    if kinds == ("chk", "edb"):
        return ": the checkpoint speaks of pages that the database does not have"
    if kinds == ("chk", "log"):
        return ": the checkpoint speaks of a log that is not there"
    return ""
