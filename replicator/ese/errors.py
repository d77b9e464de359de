"""The engine's own error numbers, as data, and the one exception that carries them.

Numbers and names: E published/inc/jethdr.w; events: E src/_res/jetmsg.mc.  Windows shows a number
signed or as its 32-bit two's complement: -1018 is 0xFFFFFC06.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the engine's error table.

    Arguments
    ---------
    number: negative for errors, positive for warnings.
    symbol: the engine's name, ``JET_err...`` or ``JET_wrn...``.
    meaning: what it says about the store.
    events: numbers under which the event log tells of it; may be empty.
    remedy: what an administrator does.
    """

    number: int
    symbol: str
    meaning: str
    events: tuple[int, ...]
    remedy: str

    @property
    def hexadecimal(self) -> str:
        """The 32-bit two's complement, as Windows shows it."""
        return f"0x{self.number & 0xFFFFFFFF:08X}"


_RESTORE = "Restore the database from a backup or take another copy, then roll it forward."
_LOGS = "Bring back the missing or intact log file from the backup or from another copy."
_FOREIGN = "Bring together files of one set: database, logs and checkpoint of the same store."
_ROOM = "Free space on the volume, then recover or mount again."
_DISK = "Check the disk, its controller and drivers, then verify the database."
_RESEED = "Seed the copy anew from the active copy."
_RECOVER = "Run soft recovery with the logs that the database header requires."
_SEQUENCE = "Give the whole sequence of logs, from the first required to the last."
_SOFTWARE = "Read the file with a release that knows this format."
_NONE = "None: it is a state to know of, not a fault."
_SCHEMA = "Correct the definition of the table."
_VALUE = "Give a value that the column or index can take."
_UPDATE = "Stop the updates until the checkpoint has advanced, and find what holds it."

_ERRORS: Final = (
    (-255, "DatabaseBufferDependenciesCorrupted", "pages were written in the wrong order",
     (515,), _RESTORE),
    (-327, "BadPageLink", "a link between sibling pages is wrong", (447,), _RESTORE),
    (-338, "BadParentPageLink", "a link from a parent page is wrong", (447,), _RESTORE),
    (-344, "DbTimeCorrupted", "a page is newer than the database's counter", (559, 560), _RESTORE),
    (-346, "KeyTruncated", "a key is too long and may not be cut", (), _VALUE),
    (-500, "InvalidLoggedOperation", "a log record cannot be redone", (), _RESTORE),
    (-501, "LogFileCorrupt", "a log file is damaged", (440, 465, 552, 567), _LOGS),
    (-509, "MissingPreviousLogFile", "the log at the checkpoint is missing", (450, 518), _LOGS),
    (-504, "BackupDirectoryNotEmpty", "the directory for a backup is not empty", (),
     "Give an empty directory."),
    (-505, "BackupInProgress", "a backup is underway", (), "Wait until it is done."),
    (-510, "LogWriteFail", "the log volume failed; the log set is stopped", (408, 492), _DISK),
    (-513, "LogGenerationMismatch", "a log's file name and its header differ", (),
     "Give the file the name of the generation in its header."),
    (-514, "BadLogVersion", "a log was written by another version of the engine", (411,),
     _SOFTWARE),
    (-515, "InvalidLogSequence", "a log names another creation time for the one before it",
     (458,), _LOGS),
    (-519, "LogSequenceEnd", "there are no generation numbers left", (),
     "Shut the databases down cleanly and begin a new log set."),
    (-526, "InvalidBackup", "logs alone cannot be backed up with circular logging", (),
     "Take a full backup, or switch circular logging off."),
    (-527, "RecoveredWithErrors", "recovery ended with errors", (), _RESTORE),
    (-528, "MissingLogFile", "the current log is missing", (455,), _LOGS),
    (-529, "LogDiskFull", "the log volume is full", (428, 429, 413), _ROOM),
    (-530, "BadLogSignature", "a log belongs to another log set", (457,), _FOREIGN),
    (-531, "BadDbSignature", "the database is another one than the logs name", (425,), _FOREIGN),
    (-532, "BadCheckpointSignature", "the checkpoint belongs to another log set", (),
     "Remove the checkpoint file: recovery then begins at the oldest log."),
    (-533, "CheckpointCorrupt", "both copies in the checkpoint file are damaged", (),
     "Remove the checkpoint file: recovery then begins at the oldest log."),
    (-534, "MissingPatchPage", "a backup's copy has no trailer behind its last page", (645,),
     _RESTORE),
    (-535, "BadPatchPage", "the trailer of a backup's copy is damaged", (645,), _RESTORE),
    (-536, "RedoAbruptEnded", "the log ended in the middle of redo", (446,), _LOGS),
    (-539, "DatabaseLogSetMismatch", "the database belongs to another log set", (), _FOREIGN),
    (-540, "DatabaseStreamingFileMismatch", ".edb and .stm do not belong together", (), _FOREIGN),
    (-541, "LogFileSizeMismatch", "log files of one set differ in size", (), _FOREIGN),
    (-542, "CheckpointFileNotFound", "there is no checkpoint file", (),
     "Nothing has to be done: recovery then begins at the oldest log."),
    (-543, "RequiredLogFilesMissing", "a generation that the database requires is not there",
     (452, 453, 496), _LOGS),
    (-544, "SoftRecoveryOnBackupDatabase", "a copy from a streaming backup cannot be recovered "
     "as a crashed store", (619,), "Use hard recovery with the logs of the backup set."),
    (-545, "LogFileSizeMismatchDatabasesConsistent", "logs have another size; all databases are "
     "consistent", (), "Remove the old logs and begin a new log set."),
    (-546, "LogSectorSizeMismatch", "a log was written for another sector size", (), _FOREIGN),
    (-549, "StreamingDataNotLogged", "content of a streaming file is not in the logs, as with "
     "circular logging", (), "Restore the backup without later logs."),
    (-550, "DatabaseDirtyShutdown", "the database was not shut down cleanly", (), _RECOVER),
    (-551, "ConsistentTimeMismatch", "the database's last consistent point is not in these logs",
     (517,), _FOREIGN),
    (-552, "DatabasePatchFileMismatch", "the trailer belongs to another backup", (), _FOREIGN),
    (-553, "EndingRestoreLogTooLow", "the logs end before the backup's range does", (), _SEQUENCE),
    (-554, "StartingRestoreLogTooHigh", "the logs begin behind the backup's range", (), _SEQUENCE),
    (-555, "GivenLogFileHasBadSignature", "a restored log belongs to another log set",
     (457, 458), _FOREIGN),
    (-556, "GivenLogFileIsNotContiguous", "the restored logs have a gap", (457, 458), _SEQUENCE),
    (-557, "MissingRestoreLogFiles", "logs of the backup set are missing", (457, 458), _SEQUENCE),
    (-560, "MissingFullBackup", "there was no full backup that this one could follow", (),
     "Take a full backup first."),
    (-565, "MissingCurrentLogFiles", "current logs are missing", (), _LOGS),
    (-566, "DbTimeTooOld", "a page is older than the log expects: a write was lost",
     (516, 538, 539), _RESTORE),
    (-567, "DbTimeTooNew", "a page is newer than the log expects: it is of another history",
     (516, 538, 539), _RESTORE),
    (-570, "LogTornWriteDuringHardRestore", "a log of the backup set ends in a torn write",
     (460,), _LOGS),
    (-571, "LogTornWriteDuringHardRecovery", "a log ends in a torn write during hard recovery",
     (461,), _LOGS),
    (-573, "LogCorruptDuringHardRestore", "a log of the backup set is damaged", (463,), _LOGS),
    (-574, "LogCorruptDuringHardRecovery", "a log is damaged during hard recovery", (464,), _LOGS),
    (-579, "RecoveredWithoutUndo", "recovery stopped before undo, as asked", (), _NONE),
    (-581, "SoftRecoveryOnSnapshot", "a snapshot copy cannot be recovered as a crashed store", (),
     "Use the recovery of the snapshot's backup."),
    (-582, "CommittedLogFilesMissing", "committed logs that are not required are missing: data "
     "is lost, not consistency", (523, 528),
     "Bring the logs back, or allow their loss at recovery."),
    (-586, "CommittedLogFileCorrupt", "a committed log that is not required is damaged", (525,),
     "Bring the log back, or allow its loss at recovery."),
    (-590, "LogSequenceChecksumMismatch", "the log before is not the one this was continued from",
     (543,), _LOGS),
    (-596, "PageInitializedMismatch", "two copies have diverged", (541, 545), _RESEED),
    (-612, "LogReadVerifyFailure", "a backup found a damaged log", (477,), _LOGS),
    (-614, "CheckpointDepthTooDeep", "updates are refused: too much log behind the checkpoint",
     (), _UPDATE),
    (-615, "RestoreOfNonBackupDatabase", "the database is no copy from a backup", (),
     "Recover it as a crashed store, or give the copy that the backup made."),
    (-616, "LogFileNotCopied", "logs were not truncated: not all of them are copied", (),
     "Wait until all copies have the log, or resume the copying."),
    (-625, "DbTimeBeyondMaxRequired", "a page is newer than the highest required log allows",
     (516,), _RESTORE),
    (-801, "BackupAbortByServer", "a backup was ended from the store's side", (214,),
     "Take the backup again when the database stays attached."),
    (-1002, "InvalidName", "a name is empty, too long or has a character that none may have", (),
     _SCHEMA),
    (-1011, "OutOfMemory", "more is to be held in memory than may be", (), _NONE),
    (-1018, "ReadVerifyFailure", "a page's checksum is wrong", (474, 475), _RESTORE),
    (-1019, "PageNotInitialized", "a page in use is empty", (476,), _RESTORE),
    (-1021, "DiskReadVerificationFailure", "the operating system reported a bad sector", (481,),
     _DISK),
    (-1022, "DiskIO", "a read or write failed or was short", (481, 482), _DISK),
    (-1026, "RecordTooBig", "a record does not fit into a page", (), _VALUE),
    (-1032, "FileAccessDenied", "the file is in use or may not be read", (490,),
     "Stop what uses the file, or give the right to read it."),
    (-1040, "TooManyColumns", "a table has more columns of a kind than can be", (), _SCHEMA),
    (-1047, "InvalidBufferSize", "a value has another size than its column", (), _VALUE),
    (-1053, "NullKeyDisallowed", "a key has a null that its index does not allow", (), _VALUE),
    (-1076, "OutOfLongValueIDs", "a table has no identifiers for long values left", (),
     "Copy the rows into a new table, or defragment the database offline."),
    (-1102, "WriteConflict", "another transaction has changed the record", (),
     "Roll back, and try again."),
    (-1118, "ReadPgnoVerifyFailure", "a large page carries another page number", (475,), _RESTORE),
    (-1119, "ReadLostFlushVerifyFailure", "a write of this page never reached the disk",
     (530, 544), _RESTORE),
    (-1201, "DatabaseDuplicate", "the database is attached already", (), _NONE),
    (-1203, "DatabaseNotFound", "there is no such database", (), _NONE),
    (-1206, "DatabaseCorrupted", "the contents contradict themselves", (447, 467, 542), _RESTORE),
    (-1209, "InvalidDatabaseVersion", "the format version is unknown", (), _SOFTWARE),
    (-1213, "PageSizeMismatch", "another page size than expected", (), _FOREIGN),
    (-1216, "AttachedDatabaseMismatch", "a database named in the logs is missing or another one",
     (494, 495), _FOREIGN),
    (-1222, "DatabaseSignInUse", "two files have the signature of one database", (),
     "Put the copies aside, or name the one to recover with --database."),
    (-1226, "DatabaseIncompleteIncrementalReseed", "pages are still being patched", (), _RESEED),
    (-1227, "DatabaseInvalidIncrementalReseed", "the patched file cannot be used", (), _RESEED),
    (-1228, "DatabaseFailedIncrementalReseed", "patching failed", (), _RESEED),
    (-1229, "NoAttachmentsFailedIncrementalReseed", "the lowest log names no attachment", (),
     _RESEED),
    (-1303, "TableDuplicate", "there is a table of this name already", (), _SCHEMA),
    (-1402, "IndexHasPrimary", "a table has one primary index already", (), _SCHEMA),
    (-1403, "IndexDuplicate", "two indices have the same name", (), _SCHEMA),
    (-1406, "IndexInvalidDef", "the definition of an index is wrong", (), _SCHEMA),
    (-1414, "SecondaryIndexCorrupted", "a secondary index contradicts its table", (467,),
     "Rebuild the index, or restore the database."),
    (-1504, "NullInvalid", "null in a column that does not take it", (), _VALUE),
    (-1506, "ColumnTooBig", "a value is longer than its column may be", (), _VALUE),
    (-1507, "ColumnNotFound", "there is no such column", (), _SCHEMA),
    (-1508, "ColumnDuplicate", "two columns have the same name", (), _SCHEMA),
    (-1509, "MultiValuedColumnMustBeTagged", "several values in a column that is not tagged", (),
     _SCHEMA),
    (-1511, "InvalidColumnType", "the type does not go with the column", (), _SCHEMA),
    (-1526, "LVCorrupted", "the pieces of a long value are not what its size says", (), _RESTORE),
    (-1601, "RecordNotFound", "there is no record with this key", (), _NONE),
    (-1605, "KeyDuplicate", "the key is there already", (), _NONE),
    (-1805, "TooManyAttachedDatabases", "the log set takes no more databases", (), _NONE),
    (-1808, "DiskFull", "the volume is full", (424,), _ROOM),
    (-1811, "FileNotFound", "the file does not exist", (424,), "Correct the path."),
    (585, "CommittedLogFilesLost", "committed logs were given up", (), _NONE),
    (587, "CommittedLogFilesRemoved", "committed logs were removed", (), _NONE),
)  # fmt: skip

ERRORS: Final[dict[int, ErrorKind]] = {
    number: ErrorKind(
        number, f"JET_{'err' if number < 0 else 'wrn'}{name}", meaning, events, remedy
    )
    for number, name, meaning, events, remedy in _ERRORS
}
"""Every number that this package knows, by number."""


class EseError(Exception):
    """A finding about a store's file, told with the engine's number.

    Arguments
    ---------
    number: the engine's error number, one of :data:`ERRORS`.
    detail: what was found here, in one sentence.
    path: the file; filled in on the way up where a reader knows it.
    offset: byte in the file, if one is meant.
    page: page number (the first data page is 1), if one is meant.
    events: the event ids of this very case; those of the number when not given.
    remedy: what to do in this very case; that of the number when not given.
    """

    def __init__(
        self,
        number: int,
        detail: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        page: int | None = None,
        events: tuple[int, ...] | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = ERRORS[number]
        self.detail = detail
        self.path = path
        self.offset = offset
        self.page = page
        self.events = self.kind.events if events is None else events
        self.remedy = self.kind.remedy if remedy is None else remedy

    @property
    def number(self) -> int:
        return self.kind.number

    @property
    def symbol(self) -> str:
        return self.kind.symbol

    @property
    def meaning(self) -> str:
        return self.kind.meaning

    @property
    def place(self) -> str:
        """File, page and byte, as far as they are known."""
        parts = [] if self.path is None else [self.path]
        if self.page is not None:
            parts.append(f"page {self.page}")
        if self.offset is not None:
            parts.append(f"byte {self.offset}")
        return ", ".join(parts)

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return f"{place}{self.number} {self.symbol}: {self.detail}"

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process borders with their place."""
        state: dict[str, object] = {"path": self.path, "offset": self.offset, "page": self.page}
        state |= {"events": self.events, "remedy": self.remedy}
        return EseError, (self.number, self.detail), state
