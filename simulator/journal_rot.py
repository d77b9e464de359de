"""What rot has made of a replica's journal, by the bench's own reading of it.

Recovery takes a record that does not fit for the torn end of what was never promised, unless one
behind it says that it had been safe.  Where rot looks like that nobody can tell, and the judge has
to know (:mod:`simulator.circumstances`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from replicator.records import InvalidRecord, RecordType, decode, find_valid
from replicator.segments import RECORD_TYPES, LogKind
from replicator.slots import newest_of
from simulator.disk_faults import files_of
from simulator.host import Machine
from simulator.inode import Inode
from simulator.medium import Flip


def segment_number(path: str) -> int:
    """Of a segment."""
    return int(path.rpartition("/")[2].partition(".")[0])


class Part(NamedTuple):
    """Of a segment, from a record's begin to its end."""

    data: bytes
    hit: list[int]
    """Offsets of what has changed there."""


def from_redo(machine: Machine, rotten: list[Flip]) -> tuple[bool, list[Part]]:
    """Whether the segment where redo begins has rotted before that, and the journal from there."""
    slots = [inode.read(0, inode.size) for _path, inode in files_of(machine, "checkpoint")]
    state = newest_of(slots, "checkpoint") or {"segment": 0, "offset": 0}
    first, rotted_before = int(state["segment"]), False
    parts: list[Part] = []
    for path, inode in sorted(files_of(machine, "journal")):
        number, data, place = segment_number(path), inode.read(0, inode.size), 0
        if number == first:
            place = _leads_to(data, int(state["offset"]))
            rotted_before = _whole_until(data) < place
        if number >= first:
            hit = [flip.offset - place for flip in rotten if flip.path == path]
            parts.append(Part(data[place:], [at for at in hit if at >= 0]))
    return rotted_before, parts


def goes_on(inode: Inode, place: int) -> bool:
    """Whether a whole record of a segment ends at a place, or begins there."""
    data = inode.read(0, inode.size)
    if _leads_to(data, place) < place:
        return True
    try:
        return decode(data, place).type in RECORD_TYPES[LogKind.JOURNAL]
    except InvalidRecord:
        return False


def _whole_until(data: bytes) -> int:
    """Where the records of a segment end that follow each other from its begin on."""
    end = 0
    with suppress(InvalidRecord):
        while end < len(data):
            end += decode(data, end).size_bytes
    return end


def _leads_to(data: bytes, place: int) -> int:
    """Where the whole record of a segment begins that ends at a place; the place for none."""
    at = end = 0
    while end < place and (found := find_valid(data[:place], end)) is not None:
        at = found[1]
        end = at + found[0].size_bytes
    return at if end == place else place


def looks_torn(parts: list[Part]) -> bool:
    """Whether there is a record that does not fit, and none behind it says that it was safe."""
    newest, invalid, chain = 0, False, None
    for index, (data, hit) in enumerate(parts):
        is_last, at = index + 1 == len(parts), 0
        while at < len(data):
            try:
                record = decode(data, at)
            except InvalidRecord:
                # Only the newest segment has space in reserve; what was to be written there, and
                # went astray, has left it as it was.
                invalid |= not is_last or data.count(0, at) < len(data) - at
                invalid |= any(each >= at for each in hit)
                found = find_valid(data, at + 1)
                if found is None:
                    break
                record, at = found
            invalid |= chain is not None and record.previous != chain
            if record.type in RECORD_TYPES[LogKind.JOURNAL]:
                if invalid and record.floor > newest:
                    return False
                newest = newest if invalid else max(newest, record.sequence)
                if record.type < RecordType.SEGMENT:
                    chain = record.checksum
            at += record.size_bytes
    return invalid
