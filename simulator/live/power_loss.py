"""States that a power loss may leave on a disk, chosen from the log of its requests.

Models a disk with a volatile cache.  When the power goes at a *cut* of the log, all writes are
there that a completed flush covers.  Of the other writes that had arrived any subset is there,
in any order but for writes to the same place, of which the later one wins; each of them
may be torn, so that only some of its sectors are there.

Leaves out: bytes mixed within a sector, damage to what was durable, drives that lie about
flushes (drop the flushes from the log for that).

A state is explicit data: it prints as Python, and can be pasted into a test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from simulator.live.block_log import SECTOR_BYTES, BlockLog, Entry

SUPERBLOCKS = {"ext4": (1024, 2048), "btrfs": (65536, 69632)}
"""Where tearing makes a disk that no kernel mounts: the superblock has several sectors and one
checksum, and the journal or tree that would repair it is found through it.  Tools repair it
from a copy.  Disks with sectors of 4 KiB never leave that."""


@dataclass(frozen=True, slots=True, order=True)
class Tear:
    """A surviving write of which only some sectors are there."""

    write: int
    """The number of its entry in the log."""
    kept: tuple[tuple[int, int], ...]
    """Runs of sectors of 512 B, as (first, end) counted from the write's first."""


@dataclass(frozen=True, slots=True, order=True)
class PowerLoss:
    """One state of the disk after a power loss.

    Arguments
    ---------
    cut: stamps below it have happened.
    survivors: the numbers of the pending writes that are there, ascending.
    torn: those of them that are there in part.
    """

    cut: int
    survivors: tuple[int, ...] = ()
    torn: tuple[Tear, ...] = ()


def surviving_parts(log: BlockLog, state: PowerLoss) -> list[tuple[int, bytes]]:
    """What the state has beyond the durable writes: (offset, bytes), in order.

    Raises ValueError when the state is not one of this log: a survivor had not arrived at the
    cut or was durable already.
    """
    pending = {write.number: write for write in log.pending(state.cut)}
    tears = {tear.write: tear for tear in state.torn}
    strange = [n for n in (*state.survivors, *tears) if n not in pending]
    if strange or not tears.keys() <= set(state.survivors):
        raise ValueError(f"not a state of this log: {state}")
    parts = []
    for number in sorted(state.survivors):
        write = pending[number]
        data = log.data(write)
        if number not in tears:
            parts.append((write.offset_bytes, data))
            continue
        for first, end in tears[number].kept:
            piece = data[first * SECTOR_BYTES : end * SECTOR_BYTES]
            parts.append((write.offset_bytes + first * SECTOR_BYTES, piece))
    return parts


# -- choosing ----------------------------------------------------------------------------


def states(
    log: BlockLog,
    count: int,
    *,
    seed: int = 0,
    first_cut: int | None = None,
    last_cut: int | None = None,
    exhaustive_up_to: int = 3,
    tear_bytes: int = SECTOR_BYTES,
    never_torn: tuple[int, int] | None = None,
) -> list[PowerLoss]:
    """Choose states, in the order of their cuts.

    For each stretch between completed flushes: nothing pending survives, all of it does, and
    where no more than ``exhaustive_up_to`` writes are pending every subset.  All at the end of
    the stretch, where most has been promised.  The rest of ``count`` is drawn: a stretch, a
    cut in it, a subset of what is pending there (few, many, all but one, only one), tears.

    Arguments
    ---------
    count: how many, at most; where the fixed ones are too many, some of them are drawn.
    seed: names the drawing; equal arguments choose equal states.
    first_cut, last_cut: bounds; by default from the mark ``mounted`` to ``unmounting``.
    exhaustive_up_to: subsets of so many pending writes are all tried.
    tear_bytes: what the disk writes atomically, 512 or 4096.
    never_torn: writes that touch this range of bytes, (first, end), survive whole or not at
        all; :data:`SUPERBLOCKS` by default.
    """
    whole = SUPERBLOCKS.get(log.kind, (0, 0)) if never_torn is None else never_torn
    first = log.marked("mounted") if first_cut is None else first_cut
    last = log.marked("unmounting") if last_cut is None else last_cut
    choice = random.Random(f"power loss {seed}")
    stretches = _stretches(log, first, last)
    fixed: dict[PowerLoss, None] = {}
    for _begin, end in stretches:
        pending = [write.number for write in log.pending(end)]
        sizes: Sequence[int] = range(len(pending) + 1)
        if len(pending) > exhaustive_up_to:
            sizes = (0, len(pending))
        for size in sizes:
            fixed.update((PowerLoss(end, kept), None) for kept in combinations(pending, size))
    if len(fixed) > count:
        return sorted(choice.sample(list(fixed), count))
    chosen = fixed
    weights = [1 + len(log.pending(end)) for _begin, end in stretches]
    # Bounded: of a short log there may be fewer states than are wanted.
    for _attempt in range(20 * count):
        if len(chosen) == count:
            break
        [(begin, end)] = choice.choices(stretches, weights)
        cut = end if choice.random() < 0.5 else choice.randint(begin, end)
        chosen[_drawn(log.pending(cut), cut, choice, tear_bytes // SECTOR_BYTES, whole)] = None
    return sorted(chosen)


def _stretches(log: BlockLog, first: int, last: int) -> list[tuple[int, int]]:
    """First and last cut of each stretch in which no flush is completed."""
    ends = [flush.end for flush in log.flushes if first <= flush.end < last]
    return list(zip([first, *(end + 1 for end in ends)], [*ends, last], strict=True))


def _drawn(
    pending: list[Entry],
    cut: int,
    choice: random.Random,
    tear_sectors: int,
    never_torn: tuple[int, int],
) -> PowerLoss:
    kind = choice.choice(("few", "half", "many", "one", "all but one", "all"))
    if kind == "one":
        kept = choice.sample(pending, min(1, len(pending)))
    elif kind == "all but one":
        kept = choice.sample(pending, max(0, len(pending) - 1))
    else:
        share = {"few": 0.2, "half": 0.5, "many": 0.8, "all": 1.0}[kind]
        kept = [write for write in pending if choice.random() < share]
    kept.sort()
    torn = []
    tear_share = choice.choice((0.0, 0.2, 0.7))
    for write in kept:
        end = write.offset_bytes + write.length_bytes
        if write.offset_bytes < never_torn[1] and end > never_torn[0]:
            continue
        units = -(-write.length_bytes // (tear_sectors * SECTOR_BYTES))
        if units > 1 and choice.random() < tear_share:
            torn.append(Tear(write.number, tuple(_runs(units, tear_sectors, choice))))
    return PowerLoss(cut, tuple(write.number for write in kept), tuple(torn))


def _runs(units: int, unit_sectors: int, choice: random.Random) -> Iterator[tuple[int, int]]:
    """Some runs of units, neither all nor none of them: a head, a tail or scattered ones."""
    point = choice.randint(1, units - 1)
    kind = choice.choice(("head", "tail", "scattered"))
    if kind == "head":
        kept = list(range(point))
    elif kind == "tail":
        kept = list(range(point, units))
    else:
        kept = sorted(choice.sample(range(units), point))
    start = previous = kept[0]
    for unit in [*kept[1:], units + 1]:
        if unit != previous + 1:
            yield start * unit_sectors, (previous + 1) * unit_sectors
            start = unit
        previous = unit


# -- telling -----------------------------------------------------------------------------


def story(log: BlockLog, state: PowerLoss, last_marks: int = 3) -> str:
    """Tell a state in words, for failure messages; it ends with the state as Python.

    Arguments
    ---------
    last_marks: how many of the marks before the cut are shown.
    """
    pending = log.pending(state.cut)
    marks = log.marks_before(state.cut)
    lines = [
        f"power lost at stamp {state.cut} of {log.end}, after write"
        f" {log.arrived(state.cut)} of {len(log.writes)};"
        f" {len(state.survivors)} of {len(pending)} pending writes survive,"
        f" {len(state.torn)} of them torn",
        *(f"  said before: {mark.text!r} at {mark.stamp}" for mark in marks[-last_marks:]),
    ]
    tears = {tear.write: tear for tear in state.torn}
    for write in pending:
        fate = "lost"
        if write.number in tears:
            kept = ", ".join(f"{first}-{end - 1}" for first, end in tears[write.number].kept)
            fate = f"torn, kept sectors {kept}"
        elif write.number in state.survivors:
            fate = "survives"
        lines.append(
            f"  {write.kind.name.lower()} {write.number} at stamp {write.begin}:"
            f" {write.length_bytes} B at {write.offset_bytes}: {fate}"
        )
    lines.append(f"  {state!r}")
    return "\n".join(lines)
