"""The error family of the replicator: what happened, where, and what to do about it.

Each class carries the exit code that a command ends with and a remedy in one sentence.
``docs/exit-codes.md`` shows the table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a command's exit status says."""

    PASS = 0
    BROKEN = 1
    """An invariant or an objective is broken."""
    INCONCLUSIVE = 2
    """The run ended before the question could be answered."""
    NOT_DRAINED = 3
    """Stopped in good order, before everything had reached the other end; nothing is lost."""
    FENCED = 4
    """The replica has taken over: this source's history is over."""
    USAGE = 64
    """Wrong usage or bad input; nothing was changed."""
    INTERNAL = 70
    """A defect in this program: please report it."""
    NOT_YET = 75
    """Refused for now, by what may pass by itself: try again; nothing was changed."""
    INTERRUPTED = 130
    TERMINATED = 143
    """A campaign was stopped by SIGTERM."""


class ReplicatorError(Exception):
    """Base of all errors that a user can meet.

    Arguments
    ---------
    message: what happened, in one sentence.
    path, offset, line: where, as far as it is known.
    remedy: what to do; the class has a default.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    default_remedy: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.offset = offset
        self.line = line
        self.remedy = self.default_remedy if remedy is None else remedy

    @property
    def place(self) -> str:
        """``path:line`` or ``path at byte offset``; empty when unknown."""
        if self.path is None:
            return "" if self.offset is None else f"at byte {self.offset}"
        if self.line is not None:
            return f"{self.path}:{self.line}"
        if self.offset is not None:
            return f"{self.path} at byte {self.offset}"
        return self.path

    @property
    def advice(self) -> str:
        """What happened and, where somebody has to do something, what: for status and log."""
        if not self.remedy or self.remedy.startswith("Nothing"):
            return str(self)
        return f"{self}; what to do: {self.remedy}"

    def __str__(self) -> str:
        place = self.place
        return f"{place}: {self.message}" if place else self.message


class BadInput(ReplicatorError):
    """A file or option given by the user cannot be understood."""

    exit_code = ExitCode.USAGE
    default_remedy = "Correct the input and run the command again."


class DamagedLog(ReplicatorError):
    """A spool or journal segment holds bytes that its checksums refute."""

    exit_code = ExitCode.BROKEN
    default_remedy = (
        "Keep the directory as it is and let the replicator reconnect: it asks the source "
        "again for what is damaged, or resynchronizes."
    )


class DamagedStore(ReplicatorError):
    """A file of the protected store is damaged; the message carries the engine's number."""

    exit_code = ExitCode.BROKEN
    default_remedy = "Restore the file from a backup or take another copy."


class NoDirectory(BadInput):
    """A directory that the configuration names is not there: its volume may not be mounted yet."""

    exit_code = ExitCode.NOT_YET
    default_remedy = "Mount the volume that it is on, or correct the path, and start again."


class ForeignLog(ReplicatorError):
    """A spool or journal of another format version, kind or protected set."""

    exit_code = ExitCode.USAGE
    default_remedy = "Point the configuration at the directory that belongs to this protected set."


class EmptySet(ReplicatorError):
    """The protected set has no files any more, and its history would tell the replica so.

    Nothing was changed.  Its code is one that a supervisor starts again on: a volume that comes
    late is the common cause.
    """

    exit_code = ExitCode.NOT_YET
    default_remedy = (
        "Mount the volume that it is on and start again; if it is really meant to be empty, say "
        "so once, with 'replicator source --accept-empty' or protect(..., accept_empty=True)."
    )


class SpoolFull(ReplicatorError):
    """The spool's hard limit is reached and the policy holds the writer."""

    exit_code = ExitCode.BROKEN
    default_remedy = (
        "Wait for the link, give the spool a larger limit, or choose the policy 'resynchronize'."
    )


class ProtocolViolation(ReplicatorError):
    """The peer sent bytes or a message that the protocol does not allow here."""

    exit_code = ExitCode.BROKEN
    default_remedy = (
        "Check that both ends run the same release and that nothing else uses the port."
    )


class StorageError(ReplicatorError):
    """The storage below refused or failed an operation; carries path and offset."""

    exit_code = ExitCode.BROKEN
    default_remedy = "Check the volume named in the message."


class NotFound(StorageError):
    """The path does not exist."""


class AlreadyExists(StorageError):
    """The path exists already."""


class NotEmpty(StorageError):
    """The directory to remove still has entries."""


class NoSpace(StorageError):
    """The volume is full."""

    default_remedy = "Free space on the volume or give it more."


class AccessDenied(StorageError):
    """The mode of the entry, or of a directory above it, forbids this to the process's user."""

    default_remedy = "Run the replicator as a user that may read and write this directory."


class SyncFailed(StorageError):
    """A sync failed, so what was written before may be lost; the handle is of no use any more.

    Raised again by every later call on the handle: after a failed fsync the kernel may
    have dropped the dirty pages, and a second fsync would lie.
    """

    default_remedy = "Restart the process: it recovers from what is on disk."


class DamagedImage(StorageError):
    """The replica's files are not those of its checkpoint, nor can they become the next image's.

    One is gone, something is in its way, or what was staged for them is damaged.
    """

    default_remedy = (
        "Start the replica again: what it has counts as lost then, and the source brings it anew. "
        "Find out who else writes below its directory, or whether the disk lost what it had said "
        "that it had."
    )


class Locked(StorageError):
    """Another process holds the lock."""

    exit_code = ExitCode.USAGE
    default_remedy = "Stop the other process that uses this directory."


class ServiceRuns(Locked):
    """Another process works for this directory: a start before this one, most likely."""

    exit_code = ExitCode.NOT_YET


class ConnectionLost(ReplicatorError):
    """The stream to the peer ended; the message names the cause."""

    exit_code = ExitCode.BROKEN
    default_remedy = "Nothing: the replicator reconnects by itself."


class ListenerClosed(ConnectionLost):
    """Who listened has closed the listener: no connection will come any more."""


class CannotListen(ReplicatorError):
    """The replica's own address cannot be used; it may not be there yet, or still be taken."""

    exit_code = ExitCode.NOT_YET
    default_remedy = (
        "Give replica.listen an address of this machine (':7000' is all of them) that nothing "
        "else uses; source.replica must name it too."
    )


class SourceFenced(ReplicatorError):
    """The replica has taken over: nothing more may be written at this source."""

    exit_code = ExitCode.FENCED
    default_remedy = (
        "Write where the replica took over.  To use this source again, see 'After a takeover' in "
        "docs/operating.md."
    )


class PromotionUnanswered(ReplicatorError):
    """The replica's process was asked to take over and does not answer."""

    exit_code = ExitCode.INCONCLUSIVE
    default_remedy = (
        "Look at 'replicator status'; end the process (SIGKILL if it hangs) and promote again."
    )


class CaptureBroken(ReplicatorError):
    """The protected set cannot be written through this object any more."""

    exit_code = ExitCode.BROKEN
    default_remedy = "Close it and protect the set again: what was underway is carried out then."
