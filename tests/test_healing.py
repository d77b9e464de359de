"""What an image would be without what media have changed: each part of that, in its order."""

from __future__ import annotations

import pytest

from simulator import healing
from simulator.digest import image_digest
from simulator.disk import Disk
from simulator.healing import healed_digests
from simulator.medium import SECTOR_BYTES, Flip
from simulator.runtime import SimClock
from tests.failures.worlds import FAST, put_file

ROOT, THEIRS = "/image", "/store"
A, B, C = (bytes([each]) * SECTOR_BYTES for each in b"abc")
BESIDE = b"z" * SECTOR_BYTES


def disk_with(**files: bytes) -> Disk:
    disk = Disk(SimClock(), FAST, "replica data")
    for name, data in files.items():
        put_file(disk, f"{ROOT}/{name}", data)
    return disk


def digest(**files: bytes) -> int:
    return image_digest(disk_with(**files), ROOT)


def flip_of(disk: Disk, name: str, sector: int, was: bytes, now: bytes) -> Flip:
    node = disk.names.node(f"{ROOT}/{name}")
    return Flip(f"{ROOT}/{name}", sector * SECTOR_BYTES, node.number, was, now)


def at_source(name: str, was: bytes, now: bytes, inode_number: int = 7) -> Flip:
    return Flip(f"{THEIRS}/{name}", 0, inode_number, was, now)


def test_what_has_changed_is_taken_back_and_the_image_stays_as_it_is() -> None:
    disk = disk_with(f=B + BESIDE)
    before = image_digest(disk, ROOT)
    found = list(healed_digests(disk, ROOT, [flip_of(disk, "f", 0, A, B)], [], THEIRS))
    assert digest(f=A + BESIDE) in found
    assert image_digest(disk, ROOT) == before


def test_each_part_is_tried_for_a_later_write_may_have_brought_the_rest() -> None:
    disk = disk_with(f=B, g=B)
    flips = [flip_of(disk, "f", 0, A, B), flip_of(disk, "g", 0, A, B)]
    found = set(healed_digests(disk, ROOT, flips, [], THEIRS))
    assert {digest(f=A, g=A), digest(f=A, g=B), digest(f=B, g=A)} <= found
    assert digest(f=C, g=A) not in found


def test_what_the_source_s_files_have_is_done_to_the_image_in_its_order() -> None:
    disk = disk_with(f=A)
    theirs = [at_source("f", A, B), at_source("other", C, A, 8), at_source("f", B, C)]
    found = set(healed_digests(disk, ROOT, [], theirs, THEIRS))
    assert {digest(f=B), digest(f=C)} <= found


def test_a_file_that_has_another_name_by_now_is_found_by_its_bytes() -> None:
    disk = disk_with(rolled=A, f=C)
    assert digest(rolled=B, f=C) in set(
        healed_digests(disk, ROOT, [], [at_source("f", A, B)], THEIRS)
    )


def test_what_is_not_in_the_protected_set_is_nobody_s_image() -> None:
    disk = disk_with(f=A)
    elsewhere = Flip("/spool/source.a", 0, 9, A, B)
    assert digest(f=B) not in set(healed_digests(disk, ROOT, [], [elsewhere], THEIRS))


def test_of_many_changes_all_alone_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healing, "CHANGES_AT_MOST", 1)
    disk = disk_with(f=B, g=B)
    flips = [flip_of(disk, "f", 0, A, B), flip_of(disk, "g", 0, A, B)]
    found = list(healed_digests(disk, ROOT, flips, [], THEIRS))
    assert digest(f=A, g=A) in found and digest(f=A, g=B) not in found
    assert len(found) == 3


def test_where_somebody_has_written_since_nothing_is_done_nor_in_another_file() -> None:
    """A log goes on behind the place; one that is made for later has the same bytes there."""
    disk = disk_with(log=B + A, later=A + A)
    theirs = [Flip(f"{THEIRS}/log", each * SECTOR_BYTES, 7, A, C) for each in range(2)]
    found = set(healed_digests(disk, ROOT, [], theirs, THEIRS))
    assert digest(log=B + C, later=A + A) in found
    assert digest(log=B + C, later=C + A) not in found
