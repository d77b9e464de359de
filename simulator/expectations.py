"""Fault by invariant, as data: what holds, what is detected, what no design can give.

A run's verdict is driven by it (:mod:`simulator.objectives`), and the table of
``docs/invariants.md`` is made from it (:mod:`simulator.expectations_page`).

**holds** is the rule, and needs no entry here.  **detected**: the promise itself cannot be
kept, and the replicator says so: it names the damage, or claims no more than it has, and the
source repairs it.  **by design**: not even that; a run that meets it is *unrecoverable* and
names what was lost.  Each weaker cell has its reason, and where it can be seen, the circumstance
that it is *given* under: elsewhere the rule holds.  Of several faults the weakest cell counts,
from the instant on at which each really happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from simulator.measures import FaultMark
from simulator.scenario_faults import Fault

PREFIX: Final = "prefix"
DURABLE: Final = "durable means durable"
MOUNTABLE: Final = "mountable"
USABLE: Final = "usable copy"
ONE_SOURCE: Final = "one source"
BOUNDS: Final = "bounds"
TELEMETRY: Final = "honest telemetry"
LIVENESS: Final = "liveness"
INVARIANTS: Final = (
    PREFIX,
    DURABLE,
    MOUNTABLE,
    USABLE,
    ONE_SOURCE,
    BOUNDS,
    TELEMETRY,
    LIVENESS,
)


class Expectation(IntEnum):
    """How far an invariant can be kept under a fault; the weakest is the largest."""

    HOLDS = 0
    DETECTED = 1
    BY_DESIGN = 2

    @property
    def words(self) -> str:
        return self.name.lower().replace("_", " ")


NAMED: Final = "the replica names the damage"
ROTTEN: Final = "the replica names the damage, and rot is in what its start needs"
ROT_ALONE: Final = "the image is right but for the bits that have rotted"
ANOTHERS: Final = "the source has not reached the replica since the other one was taken away"
UNVERIFIED: Final = "the replica says that its image is not verified"
LAST_RECORD: Final = "rot is in the newest record of the journal"
OWN_DISK: Final = "the source's own store found less than it had acknowledged"
SOURCE_LIED: Final = "the source's disk lied when its power failed, and the image is of after that"
SOURCE_SPOILT: Final = (
    "the source's disk has written to the wrong place, and the image was brought over after that"
)
STATE_SPOILT: Final = "the source's disk has written over the state of its history"
WHILE_IT_LASTS: Final = "the fault is not over"
TORN: Final = "the source's disk tears pages of its store, and the image is of after its power loss"
TORN_AFTER_TAKEOVER: Final = (
    "the replica's disk tears pages of the store that was opened there, in a power loss since"
)
SPOILT_AFTER_TAKEOVER: Final = (
    "the replica's disk has changed what the store wrote that was opened there"
)
TORN_PAGES: Final = frozenset({TORN, TORN_AFTER_TAKEOVER})
"""Reasons why a store does not mount that count only where it says just this: the number below."""
TORN_PAGE: Final = -1018
"""The number under which a store finds that a page's checksum is wrong."""
CIRCUMSTANCES: Final = (
    NAMED,
    ROTTEN,
    ROT_ALONE,
    ANOTHERS,
    UNVERIFIED,
    LAST_RECORD,
    OWN_DISK,
    SOURCE_LIED,
    SOURCE_SPOILT,
    STATE_SPOILT,
    TORN,
    TORN_AFTER_TAKEOVER,
    SPOILT_AFTER_TAKEOVER,
    WHILE_IT_LASTS,
)
"""What can be seen at an instant, and may be the reason: :mod:`simulator.circumstances`."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the table."""

    expectation: Expectation
    why: str
    """Why it is no better, as half a sentence."""
    given: tuple[str, ...] = ()
    """Under one of these circumstances only; empty: under all."""


HOLDS: Final = Cell(Expectation.HOLDS, "")


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault, or one place of it."""

    kind: str
    of: str = ""
    """Of which host, or in whose bytes; empty for all."""
    weaker: Mapping[str, Cell] = field(default_factory=dict)
    """By invariant: the cells that do not simply hold."""
    shown_by: tuple[str, ...] = ()
    """Test files, without ``tests/`` and ``.py``."""

    @property
    def words(self) -> str:
        what = self.kind.replace("_", " ")
        return f"{what} ({self.of})" if self.of else what

    def cell(self, invariant: str) -> Cell:
        """What holds of an invariant under this fault."""
        return self.weaker.get(invariant, HOLDS)


def _detected(why: str, *given: str) -> Cell:
    return Cell(Expectation.DETECTED, why, given)


def _by_design(why: str, *given: str) -> Cell:
    return Cell(Expectation.BY_DESIGN, why, given)


_NAMED: Final = "it is named as damage and fetched from the source again"
_UNREAD: Final = (
    "pages of the copy carry no checksum of the replicator's own: until a comparison reads them "
    "nobody can know"
)
_UNCOMPARED: Final = (
    "the disk had said that it had what a checkpoint rests on: after a power loss the image counts "
    "as not verified, until a comparison with the source has found no difference"
)
_IN_DOUBT: Final = "what the replica itself calls doubtful may not mount until it is repaired"
_LAST_RECORD: Final = (
    "rot in the newest record looks like a write that a power loss has cut off: home is ahead of "
    "the journal then, until the source has sent that record again"
)

_OLDER: Final = "an image of an epoch that is over may be back"
_FORGOTTEN: Final = f"{_OLDER}, or a takeover forgotten: the disk had said that it had them"

ROWS: Final = (
    Row("link_outage", shown_by=("test_run", "test_faults")),
    Row("link_reset", shown_by=("test_faults", "network/test_faults")),
    Row("link_bandwidth", shown_by=("test_faults",)),
    Row("link_latency", shown_by=("test_link_faults",)),
    Row("link_loss", shown_by=("test_link_faults",)),
    Row("link_corruption", shown_by=("test_link_faults", "bad_input/test_frames")),
    Row(
        "power_loss",
        "source",
        {
            MOUNTABLE: _by_design(
                "a store of Exchange finds torn pages and cannot mend them (-1018): its disk has "
                "to write a page whole, or the source's own files mount no more than their copy",
                TORN,
            ),
        },
        ("crash/test_source_crashes", "test_exchange_runs"),
    ),
    Row(
        "power_loss",
        "replica",
        {
            MOUNTABLE: _by_design(
                "once it has taken over the store writes there itself, and a disk that tears "
                "pages is none for a store of Exchange (-1018)",
                TORN_AFTER_TAKEOVER,
            ),
        },
        ("crash/test_replica_crashes", "campaign/test_found_with_exchange"),
    ),
    Row("process_crash", shown_by=("crash/test_process_crashes",)),
    Row("pause", shown_by=("test_faults",)),
    Row("loss", "source", shown_by=("test_run",)),
    Row(
        "loss",
        "replica",
        {
            USABLE: _by_design("the copy is gone with its machine"),
            LIVENESS: _by_design("nobody builds another replica in a run"),
        },
        ("test_faults",),
    ),
    Row("sync_failure", shown_by=("crash/test_failed_syncs", "test_faults")),
    Row("slow_processor", shown_by=("test_host_faults",)),
    Row(
        "clock_jump",
        shown_by=("test_host_faults", "failures/test_clock_of_the_source_jumps"),
    ),
    Row(
        "disk_full",
        "source",
        {LIVENESS: _detected("programs that find no room stop, and are started again later")},
        ("test_disk_faults",),
    ),
    Row("disk_full", "replica", {}, ("test_disk_faults", "failures/test_replica_volume_is_full")),
    Row("disk_slow", shown_by=("test_disk_faults",)),
    Row("disk_stall", shown_by=("test_disk_faults",)),
    Row(
        "lost_flush",
        "source",
        {
            DURABLE: _by_design(
                "the source's own disk had said that it had what its programs acknowledged",
                OWN_DISK,
            ),
            MOUNTABLE: _by_design(
                "the source's own files mount no more than their copy: what they rest on was gone "
                "with the power",
                SOURCE_LIED,
            ),
        },
        ("test_lying_media", "campaign/test_found_harsh"),
    ),
    Row(
        "lost_flush",
        "replica",
        {
            PREFIX: _detected(_UNCOMPARED, UNVERIFIED),
            DURABLE: _detected(
                "the disk had said that it had them; " + _NAMED, NAMED, WHILE_IT_LASTS
            ),
            MOUNTABLE: _detected(f"{_UNCOMPARED}; {_IN_DOUBT}", UNVERIFIED, NAMED),
            ONE_SOURCE: _detected(_FORGOTTEN, UNVERIFIED, NAMED, WHILE_IT_LASTS),
        },
        ("test_lying_media", "crash/test_lying_disk"),
    ),
    Row("bit_rot", "spool", {}, ("test_lying_media", "crash/test_lying_disk")),
    Row(
        "bit_rot",
        "journal",
        {
            PREFIX: _by_design(_LAST_RECORD, LAST_RECORD),
            DURABLE: _detected(_NAMED, ROTTEN, LAST_RECORD),
            MOUNTABLE: _by_design(f"{_LAST_RECORD}; {_IN_DOUBT}", LAST_RECORD, ROTTEN),
            ONE_SOURCE: _detected(
                f"{_OLDER} until the source has sent the newer one again", LAST_RECORD
            ),
        },
        ("test_lying_media", "crash/test_lying_disk"),
    ),
    Row(
        "bit_rot",
        "checkpoint",
        {
            DURABLE: _detected(
                "without a valid slot the image is in doubt, and is sent anew", ROTTEN
            ),
            MOUNTABLE: _detected(_IN_DOUBT, ROTTEN),
        },
        ("test_lying_media", "crash/test_lying_disk"),
    ),
    Row(
        "bit_rot",
        "home",
        {
            PREFIX: _by_design(_UNREAD, ROT_ALONE),
            MOUNTABLE: _by_design(_UNREAD, ROT_ALONE, SPOILT_AFTER_TAKEOVER),
        },
        ("test_lying_media", "campaign/test_found_harsh"),
    ),
    Row(
        "bit_rot",
        "staging",
        {
            DURABLE: _detected(
                "of an image that was committed and is not in its place yet: " + _NAMED, ROTTEN
            ),
            MOUNTABLE: _detected(_IN_DOUBT, ROTTEN),
        },
        ("test_lying_media",),
    ),
    Row(
        "misdirected_write",
        "source",
        {
            PREFIX: _by_design(
                "the source's own files are damaged, and the copy has what its programs wrote; or "
                "the state of its history, and a number of an epoch is used twice",
                ROT_ALONE,
                STATE_SPOILT,
            ),
            DURABLE: _by_design("the source's own store reads what no program wrote", OWN_DISK),
            MOUNTABLE: _by_design(
                "the source's own store does not find what it wrote, nor does its copy; or a "
                "number of an epoch is used twice",
                SOURCE_SPOILT,
                STATE_SPOILT,
            ),
        },
        ("test_lying_media",),
    ),
    Row(
        "misdirected_write",
        "replica",
        {
            PREFIX: _by_design(f"{_UNREAD}; and {_LAST_RECORD}", ROT_ALONE, LAST_RECORD),
            DURABLE: _detected(_NAMED, ROTTEN, LAST_RECORD),
            MOUNTABLE: _by_design(
                f"{_UNREAD}; {_LAST_RECORD}; {_IN_DOUBT}",
                ROT_ALONE,
                LAST_RECORD,
                ROTTEN,
                SPOILT_AFTER_TAKEOVER,
            ),
            ONE_SOURCE: _detected(
                f"{_OLDER} until the source has sent the newer one again", LAST_RECORD
            ),
        },
        ("test_lying_media", "campaign/test_found_harsh"),
    ),
    Row(
        "replica_restored",
        "",
        {
            DURABLE: _detected(
                "an old copy is older; the source notices, and sends what it lacks",
                WHILE_IT_LASTS,
            ),
            ONE_SOURCE: _detected(
                f"{_OLDER}; the source notices, and sends its image anew", WHILE_IT_LASTS
            ),
        },
        ("test_host_faults",),
    ),
    Row(
        "second_source",
        "",
        {
            name: _by_design(
                "who has the set's name and the replica's address is its source: for a while the "
                "copy is that one's",
                ANOTHERS,
            )
            for name in (PREFIX, DURABLE, MOUNTABLE, USABLE)
        },
        ("test_host_faults", "failures/test_two_histories_of_one_epoch"),
    ),
    Row("wrong_target", shown_by=("test_host_faults", "processes/test_refusals")),
    Row("failover", shown_by=("test_one_source", "processes/test_promotion")),
)


def row_of(fault: Fault) -> Row:
    """The row that speaks of a fault of a scenario."""
    return _row(fault.kind, getattr(fault, "where", ""), getattr(fault, "host", ""))


def _row(kind: str, *places: str) -> Row:
    for place in (*places, ""):
        for row in ROWS:
            if (row.kind, row.of) == (kind, place):
                return row
    raise ValueError(f"no row says what holds under a {kind}")


def row_of_mark(mark: FaultMark) -> Row:
    """The row that speaks of a fault that has happened."""
    return _row(mark.kind, mark.note.partition(":")[0], mark.where)


class Expectations:
    """What may be expected of a run.

    Arguments
    ---------
    faults: the scenario's.
    marks: of those that really happened.
    """

    def __init__(self, faults: Iterable[Fault], marks: Iterable[FaultMark]) -> None:
        drawn = {(row.kind, row.of) for row in map(row_of, faults)}
        self._rows = [(mark, row_of_mark(mark)) for mark in marks]
        self._rows = [each for each in self._rows if (each[1].kind, each[1].of) in drawn]
        self._rows.sort(key=lambda each: each[0].start_seconds)

    def cell(self, invariant: str, at_seconds: float, circumstances: Iterable[str] = ()) -> Cell:
        """The weakest of all that had happened by then, under what was so just then."""
        return self._weakest(invariant, at_seconds, circumstances)[0]

    def because_of(
        self, invariant: str, at_seconds: float, circumstances: Iterable[str] = ()
    ) -> str:
        """The fault whose cell that is, and what is known of it."""
        mark = self._weakest(invariant, at_seconds, circumstances)[1]
        if mark is None:
            return "no fault"
        what = f"{mark.kind.replace('_', ' ')} of the {mark.where} at {mark.start_seconds:.1f} s"
        return f"{what} ({mark.note})" if mark.note else what

    def _weakest(
        self, invariant: str, at_seconds: float, circumstances: Iterable[str]
    ) -> tuple[Cell, FaultMark | None]:
        found: tuple[Cell, FaultMark | None] = (HOLDS, None)
        for mark, row in self._rows:
            cell = row.cell(invariant)
            if mark.start_seconds > at_seconds or cell.expectation <= found[0].expectation:
                continue
            so = set(circumstances)
            if mark.end_seconds is None or at_seconds <= mark.end_seconds:
                so.add(WHILE_IT_LASTS)
            if not cell.given or so.intersection(cell.given):
                found = cell, mark
        return found


__all__ = [
    "INVARIANTS",
    "ROWS",
    "Cell",
    "Expectation",
    "Expectations",
    "Row",
    "row_of",
]
