"""Comparing the two images without changing either: which files differ, and where.

A comparison runs beside the stream, and programs go on writing.  A page that differs is
therefore not a difference yet: it may have been written meanwhile, at one end already and at
the other not.  The source sees every operation that it sends, and so it knows.  In rounds of
about 1 GiB:

1. Let k be the last operation that was sent.  The replica compares only when it has applied k.
2. From here on the source notes what each later operation touches.
3. Both digest; pages that differ are noted.
4. Let n be the last operation that was begun when the last answer came.  When n has been sent,
   all that could have come between is noted.

Whatever was read at either end shows all operations up to k and none after n.  So a page that
differs and that no operation of k+1 ... n touched is a *difference*; one that was touched is
reported as *changed meanwhile*, and nothing is claimed about it.  The same holds for names.

A comparison that is to leave nothing open goes over what it could claim nothing about once more,
and again, until nothing is left of it: pages that were changed in each of these *passes*, and
files whose names were.  What a page or a name held in one of them was the same at both ends at that
operation, and all later ones are applied to both.  There is a limit of passes: what was in
motion in each of them is for a synchronization to bring.

What is compared: names, kinds and targets, sizes, and the bytes of regular files in pages of
8 KiB; not attributes.  The replica's image is read as it is, so the report is also about its
disk.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from replicator.block_frames import BlockTraffic
from replicator.digests import PAGE_BYTES
from replicator.errors import ReplicatorError
from replicator.operation import CONTENT_KINDS, OperationKind, decode_operation
from replicator.records import RecordType, decode
from replicator.runtime.channels import Signal
from replicator.untrusted import json_object


@dataclass(slots=True)
class FileDifference:
    """One file that is at both ends; sizes and offsets in bytes, in steps of a page."""

    path: str
    source_bytes: int
    replica_bytes: int
    compared_bytes: int = 0
    different_bytes: int = 0
    changed_bytes: int = 0
    """Differ, and were written meanwhile: nothing is claimed about them."""
    first_different_offset: int | None = None
    sizes_differ: bool = False
    """Not because of anything that was written meanwhile."""

    @property
    def differs(self) -> bool:
        return self.sizes_differ or self.different_bytes > 0


@dataclass(slots=True)
class ComparisonReport:
    """What a comparison found.

    It refers to the images after operation ``from_operation`` of ``epoch``; what operations up
    to ``to_operation`` changed is left out.
    """

    epoch: int
    from_operation: int
    to_operation: int = 0
    began_ns: int = 0
    """The source's wall clock."""
    ended_ns: int = 0
    files: list[FileDifference] = field(default_factory=list)
    only_at_source: list[str] = field(default_factory=list)
    only_at_replica: list[str] = field(default_factory=list)
    """Names of one end, or of another kind or target than at the other."""
    changed_names: list[str] = field(default_factory=list)
    """Came, went or were renamed meanwhile."""
    complete: bool = False
    """Nothing is left of what was changed meanwhile."""
    passes: int = 0
    """So often it went over what it could claim nothing about before, the first time included."""
    traffic: BlockTraffic = field(default_factory=BlockTraffic)

    @property
    def identical(self) -> bool:
        """Whether no difference was found."""
        return not (
            self.only_at_source
            or self.only_at_replica
            or any(found.differs for found in self.files)
        )

    @property
    def different_bytes(self) -> int:
        """Of all files that are at both ends."""
        return sum(found.different_bytes for found in self.files)

    @property
    def changed_bytes(self) -> int:
        """Of all files: differ, but were written meanwhile."""
        return sum(found.changed_bytes for found in self.files)

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps({"schema": "comparison/1", "identical": self.identical} | asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ComparisonReport:
        """The inverse of :meth:`to_json`; raises ValueError."""
        document = json_object(text)
        if document.pop("schema", None) != "comparison/1":
            raise ValueError("this is no comparison of this version")
        document.pop("identical", None)
        try:
            files = [FileDifference(**each) for each in document.pop("files")]
            traffic = BlockTraffic(**document.pop("traffic"))
            return cls(files=files, traffic=traffic, **document)
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no comparison: {error}") from None

    def summary(self) -> dict[str, Any]:
        """What the replica is told."""
        return {
            "identical": self.identical,
            "complete": self.complete,
            "different_bytes": self.different_bytes,
            "changed_bytes": self.changed_bytes,
            "from_operation": self.from_operation,
            "to_operation": self.to_operation,
        }


class Comparison:
    """One that was asked for: begun when the replica streams, and anew when the session breaks."""

    def __init__(self) -> None:
        self.report: ComparisonReport | None = None
        self.error: ReplicatorError | None = None
        self.attempts = 0
        self._changed = Signal()

    @property
    def done(self) -> bool:
        return self.report is not None or self.error is not None

    def finish(self, report: ComparisonReport) -> None:
        """It came to its end."""
        self.report = report
        self._changed.notify()

    def fail(self, error: ReplicatorError) -> None:
        """It cannot be made."""
        self.error = error
        self._changed.notify()

    async def wait(self) -> ComparisonReport:
        """The report, as soon as there is one; for ever while the replica cannot be reached.

        Raises ReplicatorError when the source is not to replicate any more.
        """
        while self.report is None:
            if self.error is not None:
                raise self.error
            await self._changed
        return self.report


@dataclass(slots=True)
class _Watched:
    """Part of a file that a round compares."""

    first_page: int
    end_page: int


class ChangeLog:
    """What the operations that are being sent touch, as far as a comparison wants to know."""

    def __init__(self) -> None:
        self.sequence = 0
        """The last operation that was seen."""
        self.news = Signal()
        self.paths: set[str] = set()
        """Names that were touched since :meth:`begin`."""
        self._paths_wanted: set[str] | None = None
        self._active = False
        self._watched: dict[int, _Watched] | None = None
        self._whole: set[int] = set()
        self._touched: dict[tuple[int, int], None] = {}

    def reset(self, sequence: int) -> None:
        """A session begins: the operations behind ``sequence`` will be seen."""
        self.end()
        self.sequence = sequence
        self.news.notify()

    def begin(self) -> None:
        """Note all names and files that are touched from here on."""
        self.end()
        self._active = True

    def end(self) -> None:
        """Note nothing any more."""
        self._active, self._watched, self._paths_wanted = False, None, None
        self.paths = set()
        self._whole.clear()
        self._touched.clear()

    def keep_paths(self, wanted: set[str]) -> None:
        """From here on only these names matter."""
        self._paths_wanted = wanted
        self.paths = {path for path in self.paths if path in wanted} | {
            inner for path in self.paths for inner in wanted if inner.startswith(path + "/")
        }

    def watch(self, files: list[tuple[int, int, int]]) -> None:
        """A round begins: note the pages of these ranges, (file id, first page, pages) each."""
        self._whole.clear()
        self._touched.clear()
        self._watched = {}
        for file_id, first, pages in files:
            known = self._watched.get(file_id)
            if known is None:
                self._watched[file_id] = _Watched(first, first + pages)
            else:
                known.end_page = first + pages

    def touched(self, file_id: int, page: int | None = None) -> bool:
        """Whether a page, or anything of a file, was touched in this round."""
        return file_id in self._whole or (page is not None and (file_id, page) in self._touched)

    def note(self, raw: bytes, sequence: int) -> None:
        """Records that are about to be sent, up to operation ``sequence``."""
        if self._active:
            offset = 0
            while offset < len(raw):
                record = decode(raw, offset)
                offset += record.size_bytes
                if record.type == RecordType.OPERATION:
                    self._note(decode_operation(record))
        self.sequence = sequence
        self.news.notify()

    def _note(self, operation: Any) -> None:
        kind, file_id = operation.kind, operation.file_id
        if kind == OperationKind.SYNC:
            return
        if kind not in CONTENT_KINDS:
            for path in (operation.name, operation.name2):
                self._note_path(path)
            self._whole.add(file_id)
        elif self._watched is None or kind == OperationKind.TRUNCATE:
            self._whole.add(file_id)
        elif file_id in self._watched:
            watched = self._watched[file_id]
            first = operation.offset // PAGE_BYTES
            end = -(-(operation.offset + operation.length) // PAGE_BYTES)
            for page in range(max(first, watched.first_page), min(end, watched.end_page)):
                self._touched[file_id, page] = None

    def _note_path(self, path: str) -> None:
        wanted = self._paths_wanted
        if wanted is None:
            self.paths.add(path)
        elif path:
            self.paths.update(p for p in wanted if p == path or p.startswith(path + "/"))
