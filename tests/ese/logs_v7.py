"""Version 7 logs in memory, and their checksums a second time, slowly.

The formulas here are written down from the description of the format, byte by byte, and share
nothing with the package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from replicator.ese.log_encoding import LogFileEncoder, Write
from replicator.ese.log_file import LogFile
from replicator.ese.log_v7_encoding import LogV7Format
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime

SECTOR = 512
FIRST = 8
"""The first sector behind the header."""
ROOM = SECTOR - 22
"""What the first sector has for records."""
GENERATION = 26
CREATED = LogTime(bytes((1, 2, 3, 4, 5, 104, 0, 0)))
SMALL = LogV7Format(file_bytes=40 * SECTOR)

Place = tuple[LogPosition, bytes]


def record(size: int, mark: int = 0) -> bytes:
    """A record of that many bytes: ShutDown, Begin, or text that holds the mark."""
    if size < 5:
        return {1: b"\x17", 4: b"\x05\x01\x00\x10"}[size]
    text = bytes(1 + (mark + at) % 251 for at in range(size - 5))
    return struct.pack("<BHH", 22, mark & 0xFFFF, size - 5) + text


def new_file(form: LogV7Format = SMALL, generation: int = GENERATION) -> bytearray:
    """A prepared file with its header."""
    content = bytearray(form.prepared(0, form.file_bytes))
    put(content, form.encoder(form.header(generation, CREATED)).header_writes())
    return content


def put(content: bytearray, writes: Iterable[Write]) -> None:
    for offset, data in writes:
        content[offset : offset + len(data)] = data


@dataclass
class Written:
    """A file that was written flush by flush.

    Arguments
    ---------
    before: the content before each flush.
    writes: those of each flush.
    counts: how many records there were before each flush.
    """

    encoder: LogFileEncoder
    content: bytearray
    places: list[Place] = field(default_factory=list)
    before: list[bytes] = field(default_factory=list)
    writes: list[list[Write]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def flush(self, records: Iterable[bytes]) -> None:
        self.counts.append(len(self.places))
        self.places += [(self.encoder.append(each), each) for each in records]
        self.before.append(bytes(self.content))
        self.writes.append(self.encoder.flush())
        put(self.content, self.writes[-1])


def written(flushes: Iterable[Sequence[bytes]], form: LogV7Format = SMALL) -> Written:
    """The log that these flushes leave; a record that does not fit ends its flush."""
    log = Written(form.encoder(form.header(GENERATION, CREATED)), new_file(form))
    for records in flushes:
        fitting: list[bytes] = []
        while len(fitting) < len(records) and log.encoder.fits(
            *map(len, fitting), len(records[len(fitting)])
        ):
            fitting.append(records[len(fitting)])
        log.flush(fitting)
    return log


def opened(content: bytes | bytearray, *, closed: bool = False) -> LogFile:
    return LogFile(BytesReader(content, "E00.log"), closed=closed)


def places(content: bytes | bytearray, *, closed: bool = False) -> list[Place]:
    """The records of a log."""
    return [(each.position, each.data) for each in opened(content, closed=closed).records()]


def sectors_that_change(content: bytes, writes: Sequence[Write]) -> list[list[Write]]:
    """Per write call, the sectors in which it would change something."""
    now = bytearray(content)
    found = []
    for offset, data in writes:
        parts = [(offset + at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]
        found.append([each for each in parts if now[each[0] : each[0] + SECTOR] != each[1]])
        put(now, [(offset, data)])
    return found


def torn_states(content: bytes, writes: Sequence[Write]) -> Iterator[bytes]:
    """What may be on disk when power fails during these writes: any sectors of the last one."""
    done = bytearray(content)
    for parts, write in zip(sectors_that_change(content, writes), writes, strict=True):
        for count in range(len(parts)):
            for some in combinations(parts, count):
                state = bytearray(done)
                put(state, some)
                yield bytes(state)
        put(done, [write])
    yield bytes(done)


# -- the sums, slowly ---------------------------------------------------------------------


def slow_xor(data: bytes) -> int:
    result = 0
    for at, value in enumerate(data):
        result ^= value << 8 * (at % 4)
    return result


def slow_sum(seed: int, log: bytes, at: int, backward: int, end: int, generation: int) -> int:
    """Over ``backward`` bytes before the record at ``at``, and those behind it up to ``end``."""
    result = seed
    result ^= slow_xor(log[at - backward : at])
    result ^= slow_xor(log[at + 22 : end])
    for offset in (1, 5, 9):  # backwards, forwards, next
        result ^= int.from_bytes(log[at + offset : at + offset + 4], "little")
    return result ^ log[at + 21] ^ generation


def slow_pattern() -> bytes:
    sector = bytearray([0xDA] * 512)
    for at in range(0, 512, 16):
        sector[at] = (0xDA + at) % 256
    return bytes(sector)


def slow_chain(log: bytes, generation: int = GENERATION) -> list[int]:
    """The offsets of all checksum records, each verified in every field; the last one's shadow."""
    at, chain = FIRST * SECTOR, []
    while True:
        number, backward, forward, following, checksum, short, flag = struct.unpack(
            "<BIIIIIB", log[at : at + 22]
        )
        start, end = at - at % SECTOR, at + 22 + forward
        assert number == 42
        assert backward in (0, at % SECTOR)
        assert checksum == slow_sum(0xFEEDBEAF, log, at, backward, end, generation)
        if end - start > SECTOR:
            assert (flag, end % SECTOR) == (0x9A, 0)
            assert short == slow_sum(0xDEADC0DE, log, at, backward, start + SECTOR, generation)
        else:
            assert (flag, short) == (0xD1, 0)
        chain.append(at)
        if not following:
            if flag == 0xD1:
                shadow = bytearray(log[start + SECTOR : start + 2 * SECTOR])
                byte = at % SECTOR + 13
                own = int.from_bytes(shadow[byte : byte + 4], "little") ^ 0x5AD05EC7
                shadow[byte : byte + 4] = own.to_bytes(4, "little")
                assert shadow == log[start : start + SECTOR]
            return chain
        at += 22 + following
        assert at // SECTOR == end // SECTOR
