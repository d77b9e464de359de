"""More names than fit into a segment of the spool: each segment opens with all of them."""

from __future__ import annotations

import pytest

from replicator.board import Board
from replicator.catalogue import Catalogue, Entry
from replicator.journal import LogFull
from replicator.runtime.port import EntryKind
from replicator.spool import Spool
from tests.tools.small_logs import DictVolume

KIB, MIB = 1 << 10, 1 << 20
SEGMENT = 256 * KIB
RECORD = 8 * KIB


def spool_with(files: int) -> Spool:
    volume = DictVolume()
    spool = Spool(volume, "/log", Board(volume, "/board", 1), "set", SEGMENT, 16 * MIB)
    names = Catalogue()
    for number in range(files):
        names.add(f"/mailbox/{number:050d}", Entry(EntryKind.FILE, number + 1))
    spool.begin_epoch(1, names)
    return spool


def operations_until_full(spool: Spool) -> int:
    number = 0
    try:
        while True:
            spool.append(b"x" * 40, bytes(RECORD))
            spool.complete()
            number += 1
    except LogFull:
        return number


@pytest.mark.parametrize("files", [10, 3000, 10_000])
def test_a_spool_holds_a_good_part_of_its_limit_in_operations(files: int) -> None:
    spool = spool_with(files)
    names_bytes = len(spool.catalogue.to_json(inodes=True).__repr__())
    share = operations_until_full(spool) * RECORD / (16 * MIB)
    # Half a segment at least for the records of each.
    assert share > 0.8 * (SEGMENT / 2) / (SEGMENT / 2 + max(SEGMENT / 2, names_bytes))


@pytest.mark.parametrize("files", [10, 3000, 10_000])
def test_what_fits_is_found_to_fit(files: int) -> None:
    """Or the policy ``hold`` would hold writers for ever."""
    spool = spool_with(files)
    promised = [RECORD + 800] * 4
    assert spool.log.fits(promised)
    admitted = 0
    while spool.log.fits(promised):
        for _ in promised:
            spool.append(b"x" * 40, bytes(RECORD))
            spool.complete()
        admitted += len(promised)
    assert admitted > 50
