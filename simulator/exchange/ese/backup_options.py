"""What a backup copies, what makes its set usable, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class BackupKind(Enum):
    """What is copied, and what becomes of the store's logs.

    Full and incremental backups delete logs, copies and differential ones leave the store as it
    is, as the backup programs of Exchange offer them.
    """

    FULL = "full"
    COPY = "copy"
    INCREMENTAL = "incremental"
    """The logs since the last full or incremental one."""
    DIFFERENTIAL = "differential"
    """The logs since the last full one."""

    @property
    def has_databases(self) -> bool:
        """Whether pages are copied, not only logs."""
        return self in (BackupKind.FULL, BackupKind.COPY)

    @property
    def truncates(self) -> bool:
        """Whether logs that no backup needs any more are deleted in the end."""
        return self in (BackupKind.FULL, BackupKind.INCREMENTAL)


@dataclass(frozen=True, slots=True)
class BackupSafeguards:
    """What makes a set usable; all on but in tests, which show that each is needed."""

    mark_before_pages: bool = True
    """The first generation is that of the time before the first page."""
    hold_logs: bool = True
    """Nobody deletes the logs of the set before they are copied."""
    verify_pages: bool = True
    """A page that does not verify ends the backup."""
    roll_behind_pages: bool = True
    """The logs of the set reach behind the last page that was copied."""
    sync_before_truncation: bool = True
    """The set is durable before the store gives up logs for it."""


ALL_SAFEGUARDS: Final = BackupSafeguards()


@dataclass(frozen=True, kw_only=True)
class BackupResult:
    """What a backup made.

    Arguments
    ---------
    first_generation, last_generation: of its logs.
    names: of the files in its directory.
    page_count: pages copied; ``mended_pages`` of them had a bit turned, and are right in the copy.
    deleted_logs: of the store, because no backup needs them.
    """

    kind: BackupKind
    first_generation: int
    last_generation: int
    names: tuple[str, ...]
    page_count: int
    mended_pages: int
    deleted_logs: int
