"""The small values that ESE headers are made of: log positions, times, signatures, backup marks.

Decoding never fails: headers of damaged or very old files hold nonsense here, and a display
has to show it.  E src/inc/log.hxx, src/inc/daedef.hxx, published/inc/jethdr.w; V.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timezone
from typing import ClassVar, Self

_LGPOS = struct.Struct("<HHi")
_BKINFO_LOGS = struct.Struct("<II")


@dataclass(frozen=True, slots=True, order=True)
class LogPosition:
    """LGPOS: where in the logs; compared by generation, then sector, then byte.

    Arguments
    ---------
    generation: number of the log file, signed on disk.
    sector: sector or segment in that file.
    byte: offset in the sector.
    """

    SIZE: ClassVar[int] = 8

    generation: int = 0
    sector: int = 0
    byte: int = 0

    @classmethod
    def decode(cls, data: bytes) -> Self:
        byte, sector, generation = _LGPOS.unpack(data)
        return cls(generation, sector, byte)

    def encode(self) -> bytes:
        return _LGPOS.pack(self.byte, self.sector, self.generation)

    @property
    def is_zero(self) -> bool:
        return not (self.generation or self.sector or self.byte)

    def __str__(self) -> str:
        """As the engine's tools print it: generation, sector, byte, in hex."""
        sign = "-" if self.generation < 0 else ""
        return f"({sign}{abs(self.generation):X},{self.sector:X},{self.byte:X})"


@dataclass(frozen=True, slots=True)
class LogTime:
    """LOGTIME: eight bytes of calendar fields, kept as they are.

    Arguments
    ---------
    raw: the eight bytes.
    """

    SIZE: ClassVar[int] = 8

    raw: bytes = bytes(8)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls(bytes(data))

    @classmethod
    def of(cls, moment: datetime, *, snapshot: bool = False) -> Self:
        """The encoded form; UTC is marked when ``moment`` is aware (then it is converted)."""
        utc = moment.tzinfo is not None
        if utc:
            moment = moment.astimezone(UTC)
        milliseconds = moment.microsecond // 1000
        return cls(
            bytes(
                (
                    moment.second,
                    moment.minute,
                    moment.hour,
                    moment.day,
                    moment.month,
                    moment.year - 1900,
                    utc | (milliseconds & 0x7F) << 1,
                    snapshot | (milliseconds >> 7) << 1,
                )
            )
        )

    def encode(self) -> bytes:
        return self.raw

    @property
    def is_zero(self) -> bool:
        return not any(self.raw)

    @property
    def is_utc(self) -> bool:
        """Engines before the flag wrote local time."""
        return bool(self.raw[6] & 1)

    @property
    def is_snapshot(self) -> bool:
        """Set with the time of an operating system's snapshot."""
        return bool(self.raw[7] & 1)

    @property
    def milliseconds(self) -> int:
        return self.raw[6] >> 1 | (self.raw[7] >> 1 & 7) << 7

    @property
    def moment(self) -> datetime | None:
        """The time, aware when it is UTC; None when zero or no time that exists."""
        second, minute, hour, day, month, year = self.raw[:6]
        zone: timezone | None = UTC if self.is_utc else None
        try:
            return datetime(
                year + 1900, month, day, hour, minute, second, self.milliseconds * 1000, zone
            )
        except ValueError:
            return None

    def __str__(self) -> str:
        if self.is_zero:
            return "-"
        moment = self.moment
        if moment is None:
            return f"no time ({self.raw.hex(' ')})"
        text = f"{moment:%Y-%m-%d %H:%M:%S}.{self.milliseconds:03d}"
        return f"{text}Z" if self.is_utc else text


@dataclass(frozen=True, slots=True)
class Signature:
    """SIGNATURE: identity of a database or a log set; two match only in all 28 bytes.

    Arguments
    ---------
    random: a random number.
    created: when it was drawn.
    computer: 16 bytes, a NetBIOS name or zero.
    """

    SIZE: ClassVar[int] = 28

    random: int = 0
    created: LogTime = LogTime()
    computer: bytes = bytes(16)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls(
            int.from_bytes(data[:4], "little"), LogTime.decode(data[4:12]), bytes(data[12:28])
        )

    def encode(self) -> bytes:
        return self.random.to_bytes(4, "little") + self.created.encode() + self.computer

    @property
    def is_zero(self) -> bool:
        return not any(self.encode())

    def __str__(self) -> str:
        if self.is_zero:
            return "-"
        name = self.computer.split(b"\0")[0].decode("ascii", "backslashreplace")
        return f"{self.random} created {self.created} computer '{name}'"


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """BKINFO: the mark that a backup leaves in a header.

    Arguments
    ---------
    position: where the logs stood.
    taken: when.
    first_generation, last_generation: the logs that belong to it.
    """

    SIZE: ClassVar[int] = 24

    position: LogPosition = LogPosition()
    taken: LogTime = LogTime()
    first_generation: int = 0
    last_generation: int = 0

    @classmethod
    def decode(cls, data: bytes) -> Self:
        first, last = _BKINFO_LOGS.unpack(data[16:24])
        return cls(LogPosition.decode(data[:8]), LogTime.decode(data[8:16]), first, last)

    def encode(self) -> bytes:
        logs = _BKINFO_LOGS.pack(self.first_generation, self.last_generation)
        return self.position.encode() + self.taken.encode() + logs

    @property
    def is_zero(self) -> bool:
        return not any(self.encode())

    def __str__(self) -> str:
        if self.is_zero:
            return "-"
        logs = f"0x{self.first_generation:X}-0x{self.last_generation:X}"
        return f"{self.position} {self.taken} logs {logs}"
