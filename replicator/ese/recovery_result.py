"""How soft recovery runs, and what it tells afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.ese.errors import EseError
from replicator.ese.page_cache import CACHED_PAGES
from replicator.ese.recovered_database import ALL_SAFEGUARDS, RecoverySafeguards
from replicator.ese.values import LogPosition


@dataclass(frozen=True, kw_only=True)
class RecoverySettings:
    """How recovery runs.

    Arguments
    ---------
    undo: False to stop before it (eseutil's /u): the databases stay dirty, and later logs can
        still be redone.
    limit_pages: of each database, kept in memory.
    vouched: whether this process has written and synced what earlier records changed; else pages
        that have their changes already are written again.
    safeguards: for tests.
    """

    undo: bool = True
    limit_pages: int = CACHED_PAGES
    vouched: bool = False
    safeguards: RecoverySafeguards = ALL_SAFEGUARDS


@dataclass(frozen=True, slots=True)
class RecoveredFile:
    """What became of one database.

    Arguments
    ---------
    path: on the volume.
    state_before, state: by its header.
    dbtime: highest change in it.
    read_pages, written_pages: how many, each as often as that was done.
    pages: of the file now.
    unread_pages: of these, that were not looked at: no log names them.  What is wrong with them is
        met by whoever reads them.
    streaming_file: beside it, into which recovery never looks; empty for none.
    """

    path: str
    state_before: str
    state: str
    dbtime: int
    read_pages: int
    written_pages: int
    pages: int
    unread_pages: int
    streaming_file: str = ""


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """What a recovery did.

    Arguments
    ---------
    base: of the logs.
    first_generation, last_generation: that were redone.
    redone_pages, skipped_pages: page changes carried out, and found on the pages already.
    undone: changes taken back.
    transactions: that were rolled back.
    clean_log: the logs ended with a clean shutdown: nothing was appended.
    stopped_before_undo: as asked (-579).
    lost: committed generations that were given up, as allowed (585); ``removed`` those whose
        files were removed (587).
    databases: one each.
    cut_at: where the last log was cut, as allowed, because its records made no sense any more.
    notes: what is worth telling.
    """

    base: str
    first_generation: int
    last_generation: int
    redone_pages: int
    skipped_pages: int
    undone: int
    transactions: int
    clean_log: bool
    stopped_before_undo: bool
    lost: range
    removed: tuple[int, ...]
    databases: tuple[RecoveredFile, ...]
    cut_at: LogPosition | None = None
    notes: tuple[EseError, ...] = field(default=())
