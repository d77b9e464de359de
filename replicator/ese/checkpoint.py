"""The checkpoint file: where redo begins, in two copies of 4096 bytes.

E src/inc/log.hxx, src/ese/_log/log.cxx; V.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Self

from replicator.ese.attachments import (
    ATTACHMENTS_MAX_BYTES,
    Attachment,
    EngineParameters,
    decode_attachments,
    encode_attachments,
)
from replicator.ese.database_header import HeaderReading, read_header_copies
from replicator.ese.errors import EseError
from replicator.ese.layout import Structure, log_position, log_time, octets, signature, u8, u32
from replicator.ese.reader import Reader, name_of
from replicator.ese.values import LogPosition, LogTime, Signature

COPY_BYTES: Final = 4096
ATTACHMENTS_AT: Final = 679
ATTACHMENTS_VALID: Final = 1
CHECKPOINT_TYPES: Final = (0, 4)


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Structure, size_bytes=ATTACHMENTS_AT):
    """One copy; ``raw`` is all of its 4096 bytes."""

    checksum: int = u32(0)
    last_full_backup_checkpoint: LogPosition = log_position(4)
    position: LogPosition = log_position(12, "redo starts at this generation's beginning")
    log_signature: Signature = signature(20)
    parameter_bytes: bytes = octets(48, 567)
    last_full_backup: LogPosition = log_position(615)
    last_full_backup_time: LogTime = log_time(623)
    last_incremental_backup: LogPosition = log_position(631)
    last_incremental_backup_time: LogTime = log_time(639)
    version_bits: int = u8(647, "1: the attachment list is valid")
    consistency_position: LogPosition = log_position(648)
    file_type_number: int = u32(667)

    @property
    def parameters(self) -> EngineParameters:
        return EngineParameters.decode(self.parameter_bytes)

    @property
    def attachments(self) -> tuple[Attachment, ...] | None:
        """The databases attached; None when the file does not vouch for its list."""
        if not self.version_bits & ATTACHMENTS_VALID:
            return None
        end = ATTACHMENTS_AT + ATTACHMENTS_MAX_BYTES
        return decode_attachments(self.raw[ATTACHMENTS_AT:end])

    def with_attachments(self, attachments: Iterable[Attachment]) -> Self:
        """The same with these databases, and vouching for them (log format 8.4000.4 and later).

        Raises ValueError when they do not fit.
        """
        raw = self.encode().ljust(COPY_BYTES, b"\0")
        listed = encode_attachments(attachments)
        raw = raw[:ATTACHMENTS_AT] + listed + raw[ATTACHMENTS_AT + len(listed) :]
        return replace(self, raw=raw, version_bits=self.version_bits | ATTACHMENTS_VALID)


def new_checkpoint(
    position: LogPosition, log_signature: Signature, parameters: EngineParameters | None = None
) -> Checkpoint:
    """A checkpoint of a log set.

    Arguments
    ---------
    position: where redo starts; ``consistency_position`` gets the same.
    log_signature: of the set.
    parameters: how the engine is set up.
    """
    return Checkpoint(
        position=position,
        consistency_position=position,
        log_signature=log_signature,
        parameter_bytes=(parameters or EngineParameters()).encode(),
        file_type_number=4,
    )


def read_checkpoint(reader: Reader) -> tuple[Checkpoint, HeaderReading]:
    """The copy that counts, and both.

    Raises EseError -533 when both copies are damaged or the file is of another type.
    """
    reading = read_header_copies(reader, (COPY_BYTES,), -533)
    checkpoint = Checkpoint.decode(reading.used)
    if checkpoint.file_type_number not in CHECKPOINT_TYPES:
        detail = f"the file type is {checkpoint.file_type_number}, that of a checkpoint is 4"
        raise EseError(-533, detail, path=name_of(reader), offset=667)
    return checkpoint, reading
