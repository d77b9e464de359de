"""What a directory of the replicator holds besides its records: parts, states, staging.

A directory is a log itself, or the parent of one::

    replica root:  journal/*.segment  checkpoint.a  checkpoint.b  staging/  damaged/
    spool root:    segments/*.segment  source.a  source.b

All of it is read only (:mod:`replicator.readonly`), and whether a state or a staging file is
valid is decided by the code that a start runs: :class:`~replicator.slots.StateSlots` and
:func:`~replicator.committed_pages.staged_pages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from replicator.committed_pages import check_staged, staged_pages
from replicator.errors import BadInput, DamagedLog, ReplicatorError
from replicator.readonly import ReadOnlyVolume, run_to_end
from replicator.replica_journal import lost_before
from replicator.segments import SUFFIX, Position, segment_name, segment_numbers
from replicator.slots import StateSlots, decode_slot, kind_of

_LOG_NAMES: Final = ("journal", "segments")
_STATE_NAMES: Final = ("checkpoint", "source")
WHAT_TO_NAME: Final = (
    "Name the directory that holds *.segment files, or its parent (of a replica: the one with "
    "'journal' and 'checkpoint.a'; of a source: the one with 'segments' and 'source.a')."
)


class FindingKind(StrEnum):
    """What a finding means for the log."""

    TORN = "torn tail"
    """The end of what was being written when the process or the machine stopped: normal."""
    DAMAGE = "damage"
    """What had been promised is not there."""
    SENSELESS = "inconsistent"
    """The checksums hold, but the content contradicts itself: a defect wrote it."""
    ELSEWHERE = "not here"
    """The state names a log that may be on another volume: nobody can tell from here."""
    NOTE = "note"
    """Good to know; nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a directory, and where it is."""

    kind: FindingKind
    message: str
    path: str
    offset: int | None = None
    last_good: str = ""
    """The last record before the place, in words; empty when that has no meaning."""
    remedy: str = ""

    @property
    def broken(self) -> bool:
        return self.kind in (FindingKind.DAMAGE, FindingKind.SENSELESS)


@dataclass(frozen=True, slots=True)
class SlotCopy:
    """One of the two copies of a state; ``generation`` 0 when it is not valid."""

    path: str
    generation: int
    newest: bool
    problem: str


@dataclass(frozen=True, slots=True)
class SlotPair:
    """A state of two copies (:mod:`replicator.slots`); ``state`` as a start would load it."""

    name: str
    copies: list[SlotCopy]
    state: dict[str, Any] | None
    findings: list[Finding]

    def number(self, key: str) -> int:
        """A number of the state; 0 when it is not there."""
        value = (self.state or {}).get(key)
        return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the parts of a spool or replica are."""

    directory: Path
    logs: list[Path]
    """Those that have segments."""
    states: list[Path]
    """Paths without the ``.a`` or ``.b``."""
    root: Path
    """Where the states are, and the directory of each log unless it is named alone."""
    staging: Path | None
    set_aside: list[Path]


# -- finding the parts -----------------------------------------------------------------


def locate(directory: Path) -> Place:
    """Which logs and states a directory holds; raises BadInput when it holds none."""
    volume = ReadOnlyVolume()
    try:
        is_directory = directory.is_dir()
    except OSError as error:
        raise BadInput(f"it cannot be read: {error.strerror}", path=str(directory)) from None
    if not is_directory:
        reason = "this is no directory" if directory.exists() else "there is no such directory"
        raise BadInput(reason, path=str(directory), remedy=WHAT_TO_NAME)
    if _has_segments(volume, directory):
        logs = [directory]
        root = directory.parent if directory.name in _LOG_NAMES else directory
    elif directory.name in _LOG_NAMES and _states(volume, directory.parent):
        logs, root = [], directory.parent
    else:
        logs = [directory / name for name in _LOG_NAMES if (directory / name).is_dir()]
        root = directory
    states = _states(volume, root)
    logs = [log for log in logs if _has_segments(volume, log)]
    if not logs and not states:
        raise BadInput(
            "no segments and no state beside them: there is nothing to verify",
            path=str(directory),
            remedy=WHAT_TO_NAME,
        )
    staging, aside = root / "staging", root / "damaged"
    return Place(
        directory,
        logs,
        states,
        root,
        staging if staging.is_dir() else None,
        sorted(aside.glob(f"*{SUFFIX}.damaged")) if aside.is_dir() else [],
    )


def _has_segments(volume: ReadOnlyVolume, directory: Path) -> bool:
    return bool(segment_numbers(volume, str(directory)))


def _states(volume: ReadOnlyVolume, root: Path) -> list[Path]:
    bases = [root / name for name in _STATE_NAMES]
    return [b for b in bases if any(volume.exists(f"{b}.{copy}") for copy in "ab")]


def read_slots(base: Path) -> SlotPair:
    """Both copies of a state, and which of them a start would take."""
    volume = ReadOnlyVolume()
    found: list[tuple[str, int, str]] = []
    for path in (f"{base}.a", f"{base}.b"):
        if not volume.exists(path):
            found.append((path, 0, "missing"))
            continue
        file = volume.open(path)
        data = run_to_end(file.read_at(0, file.size_bytes))
        decoded = decode_slot(data, kind_of(str(base)))
        if decoded is not None:
            found.append((path, decoded[0], ""))
        else:
            problem = "the checksum does not fit" if data.strip(b"\0") else "empty"
            found.append((path, 0, problem))
    findings: list[Finding] = []
    state: dict[str, Any] | None = None
    try:
        state = run_to_end(StateSlots(volume, str(base)).look())
    except DamagedLog as damaged:
        findings.append(
            Finding(
                FindingKind.DAMAGE,
                damaged.message,
                damaged.path or str(base),
                0,
                remedy="Start the replicator: it begins with a full synchronization, and uses "
                "what is in its files already.",
            )
        )
    best = max(generation for _, generation, _ in found)
    if state is not None:
        findings += [
            Finding(
                FindingKind.NOTE,
                f"{problem}; the other copy is valid and is used",
                path,
                0,
                remedy="Nothing: the next write of the state renews this copy.",
            )
            for path, generation, problem in found
            if not generation and problem not in ("missing", "empty")
        ]
    copies = [SlotCopy(p, g, g == best and g > 0, problem) for p, g, problem in found]
    return SlotPair(base.name, copies, state, findings)


# -- a state and the log beside it -----------------------------------------------------


def check_against_state(place: Place, pair: SlotPair, ends: dict[int, int] | None) -> list[Finding]:
    """What a state says that the log beside it must hold, and does not.

    ``ends``: where the valid records of each segment of the log end; None when it has no
    segments.
    """
    if pair.state is None:
        return []
    if pair.name == "source":
        return _check_against_source(place.root / "segments", pair, ends)
    return _check_against_checkpoint(place.root / "journal", pair, ends)


def _check_against_source(
    directory: Path, pair: SlotPair, ends: dict[int, int] | None
) -> list[Finding]:
    epoch = pair.number("epoch")
    if ends is not None or not epoch:
        return []
    return [
        Finding(
            FindingKind.DAMAGE,
            f"there is no segment, but the source's state says that epoch {epoch} was begun, "
            "which needs one at least",
            str(directory),
            None,
            "none",
            "Start the source: it begins a new epoch and synchronizes the replica. After a power "
            "loss right behind the beginning of the epoch that is all there is to it.",
        )
    ]


def _check_against_checkpoint(
    directory: Path, pair: SlotPair, ends: dict[int, int] | None
) -> list[Finding]:
    needed = Position(pair.number("segment"), pair.number("offset"))
    lost = lost_before(needed, ends or {})
    if not lost:
        if ends is None:
            message = "no segments, and the checkpoint needs none: there is nothing to verify"
            return [Finding(FindingKind.NOTE, message, str(directory))]
        return []
    epoch, operation = pair.number("epoch"), pair.number("operation")
    if not directory.is_dir():
        return [
            Finding(
                FindingKind.ELSEWHERE,
                f"the checkpoint names segment {needed.segment} of a journal that is not beside it",
                str(directory),
                remedy="If the journal is on a volume of its own, verify it there; if not, it "
                "is lost, and the start of the replica asks the source for what is missing.",
            )
        ]
    return [
        Finding(
            FindingKind.DAMAGE,
            lost,
            f"{directory}/{segment_name(needed.segment)}",
            0 if ends is None else ends.get(needed.segment, 0),
            f"the checkpoint, operation {operation:,} of epoch {epoch}",
            "Start the replica: it goes on from its checkpoint and asks the source for what "
            "came after, or synchronizes.",
        )
    ]


# -- staging ---------------------------------------------------------------------------


def check_staging(place: Place, commit: dict[str, Any]) -> tuple[int, list[Finding]]:
    """Verify the staged pages of a resynchronization that recovery would finish.

    Returns in how many pieces they were read.
    """
    directory = place.staging or place.directory / "staging"
    path = f"{directory}/{Path(commit['path']).name}"
    document = {**commit, "path": path}

    async def count(volume: ReadOnlyVolume) -> int:
        await check_staged(volume, document)
        number = 0
        async for _ in staged_pages(volume, document):
            number += 1
        return number

    try:
        return run_to_end(count(ReadOnlyVolume())), []
    except ReplicatorError as error:
        found = Finding(
            FindingKind.DAMAGE,
            f"{error.message}, but a commit in the journal needs it",
            error.path or path,
            error.offset,
            remedy="Keep the directory as it is and start the replica: it asks the source for "
            "a synchronization.",
        )
        return 0, [found]
