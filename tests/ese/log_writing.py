"""Runs a log stream on a volume in memory, and judges what is left by the independent reader."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random

from replicator.ese.attachments import attachment
from replicator.ese.errors import EseError
from replicator.ese.log_directory import ALL_SAFEGUARDS, LogSafeguards
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import SEGMENT_BYTES, LogHeader
from replicator.ese.log_names import LogRole
from replicator.ese.log_options import Durability, LogOwner, LogStreamOptions
from replicator.ese.log_record_types import Kind
from replicator.ese.log_stream import LogStream
from replicator.ese.log_v8_encoding import LogV8Format, is_filler
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import Kernel, group
from replicator.runtime.port import Volume
from simulator.runtime import SimClock
from tests.ese.logs import log_set
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium, MemoryVolume

DIRECTORY = "/logs"
SIGNATURE = Signature(4711, log_time_at(10**18))
UNDO = bytes((Kind.RECOVERY_UNDO2,)) + bytes(8)
OPTIONS = LogStreamOptions(buffer_bytes=64 << 10)
Logged = list[tuple[LogPosition, bytes]]


def skippable(size: int, stamp: int = 0) -> bytes:
    """A record of any size from 5 bytes on that fills no segment.

    Its body has no pattern: some patterns, torn, give the checksum that they had whole.
    """
    body = Random(stamp).randbytes(size - 5)
    return bytes((Kind.MACRO_INFO,)) + (size - 5).to_bytes(4, "little") + body


@dataclass
class Diary:
    """What was given to a log, kept outside of it.

    Attributes
    ----------
    logged: every record with its position, in order.
    confirmed: how many of them are known to be durable.
    began: generations announced to the owner.
    required: how many of the records lie in generations that a database header requires.
    """

    logged: Logged = field(default_factory=list)
    confirmed: int = 0
    began: list[int] = field(default_factory=list)
    required: int = 0


class Logger:
    """A stream with its diary."""

    first_place = (1, 40)
    """Segment and byte of a log's first record."""

    def __init__(self, volume: Volume, diary: Diary, clock: SimClock, **options: object) -> None:
        self.volume, self.diary, self._clock = volume, diary, clock
        self.options = replace(OPTIONS, **options)  # type: ignore[arg-type]
        self.stream: LogStream
        self.segments: int = 7
        self.segments_a_write: int | None = 1
        self.shadows = True
        self._stamp = 0

    def now(self) -> LogTime:
        # Times differ, so that a header which names the wrong one is found.
        self._stamp += 1
        return log_time_at(10**18 + self._clock.now() + self._stamp * 1_000_000)

    @property
    def format(self) -> LogV8Format:
        return LogV8Format(
            now=self.now,
            file_bytes=self.segments * SEGMENT_BYTES,
            page_size=8192,
            segments_a_write=self.segments_a_write,
            shadows=self.shadows,
        )

    def _describe(self, header: LogHeader) -> LogHeader:
        return header.with_attachments([attachment("C:\\store\\priv1.edb", dbid=1)])

    async def _began(self, generation: int, created: LogTime) -> None:
        assert not created.is_zero
        self.diary.began.append(generation)

    @property
    def owner(self) -> LogOwner:
        return LogOwner(self._describe, self._began)

    async def create(self) -> None:
        self.stream = await LogStream.create(
            self.volume,
            DIRECTORY,
            self.format,
            self.owner,
            now=self.now,
            signature=SIGNATURE,
            options=self.options,
        )

    async def resume(self) -> None:
        self.stream = await LogStream.resume(
            self.volume, DIRECTORY, self.format, self.owner, now=self.now, options=self.options
        )

    def append(self, size: int, *, new_segment: bool = False) -> int:
        """Number of the record in the diary."""
        record = skippable(size, len(self.diary.logged) + 1)
        return self.append_record(record, new_segment=new_segment)

    def append_record(self, record: bytes, *, new_segment: bool = False) -> int:
        position = self.stream.append(record, new_segment=new_segment)
        self.diary.logged.append((position, record))
        return len(self.diary.logged)

    async def confirm(self, number: int) -> None:
        await self.stream.flush(self.diary.logged[number - 1][0])
        self.diary.confirmed = max(self.diary.confirmed, number)

    async def roll(self) -> None:
        """Close the current log early; the record that says so is in the diary before."""
        start = LogPosition(self.stream.tip.generation, *self.first_place)
        if self.stream.tip > start:
            record = bytes((Kind.FORCE_LOG_ROLLOVER, 0, 0, 5, 0)) + b"idle\0"
            self.diary.logged.append((replace(start, generation=start.generation + 1), record))
        await self.stream.room(100)
        await self.stream.roll("idle")

    async def commit(self, *sizes: int) -> None:
        number = 0
        for size in sizes:
            await self.stream.room(size)
            number = self.append(size)
        await self.confirm(number)


Script = Callable[[Logger], Awaitable[None]]


@dataclass
class Life:
    medium: Medium
    diary: Diary
    steps: list[str]
    died: bool
    error: BaseException | None


def run(
    medium: Medium,
    script: Script,
    *,
    diary: Diary | None = None,
    crash_at: int | None = None,
    sync_fails: bool = False,
    setup: Callable[[Logger], None] = lambda logger: None,
    **options: object,
) -> Life:
    """Run ``script`` to its end or its crash."""
    diary = diary if diary is not None else Diary()
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(medium, crash_at, sync_fails=sync_fails)
    if not volume.exists(DIRECTORY):
        medium.names[DIRECTORY] = medium.durable_names[DIRECTORY] = None
    logger = Logger(volume, diary, clock, **options)  # type: ignore[arg-type]
    setup(logger)

    async def body() -> None:
        await script(logger)

    task = kernel.run_task(body(), "script")
    clock.run_until_idle()
    died, error = kernel.dead, task.error if task.done else None
    assert died or task.done, "the script hangs"
    kernel.close()
    return Life(medium, diary, volume.steps, died, error)


async def short_life(logger: Logger) -> None:
    """All kinds of flushes, four rolls, one of them forced, two tasks that commit together."""
    await logger.create()
    await logger.commit(100)
    await logger.commit(200, 300)
    await logger.commit(3900, 600)
    await logger.commit(9000)
    async with group() as pair:
        pair.spawn(logger.commit(2000, 700), "one")
        pair.spawn(logger.commit(5000), "two")
    await logger.commit(11_000, 50)
    await logger.confirm(logger.append(26, new_segment=True))
    await logger.commit(4031, 4040)
    await logger.roll()
    await logger.commit(6000)
    logger.stream.delete_below(2)
    await logger.commit(18_000)
    await logger.commit(70)
    await logger.stream.close()


async def second_life(logger: Logger) -> None:
    """Go on behind what was left, as recovery does."""
    await logger.resume()
    logger.append_record(UNDO, new_segment=True)
    await logger.commit(500)
    await logger.commit(7000, 300)
    await logger.commit(12_000, 9000)
    await logger.stream.close()


def files_of(medium: Medium) -> dict[str, bytes]:
    return {
        path.removeprefix(f"{DIRECTORY}/"): data
        for path, data in medium.digest(f"{DIRECTORY}/").items()
    }


def read_back(files: dict[str, bytes]) -> tuple[Logged, list[EseError]]:
    """All records of a log set, fillers left out, and what its reader objects to."""
    records, errors = _read_back(tuple(sorted(files.items())))
    return [*records], [*errors]


@lru_cache(maxsize=64)
def _read_back(items: tuple[tuple[str, bytes], ...]) -> tuple[Logged, list[EseError]]:
    """Many crashes leave the same files."""
    files = dict(items)
    found = log_set(files)
    records: Logged = []
    errors = list(found.errors)
    for log in found.logs:
        if log.error is None:
            closed = log.name.role is LogRole.CLOSED
            there, error = _records_of(files[log.name.name], closed)
            records += there
            errors += [] if error is None else [error]
    return [each for each in records if not is_filler(each[1])], errors


@lru_cache(maxsize=256)
def _records_of(data: bytes, closed: bool) -> tuple[Logged, EseError | None]:
    """The records of a log up to its end or the first error; most logs are as they were before."""
    records: Logged = []
    try:
        for each in LogFile(BytesReader(data), closed=closed).records():
            records.append((each.position, each.data))
    except EseError as error:
        return records, error
    return records, None


def unseen(
    states: Iterable[tuple[str, Medium, Diary]],
) -> Iterator[tuple[str, Medium, Diary]]:
    """The states without those that are the same on disk as one before, nothing being unsynced.

    For what goes on with the files alone and does not ask how they came about.
    """
    seen = set()
    for name, medium, diary in states:
        inodes = [inode for inode in medium.names.values() if inode is not None]
        if not medium.name_log and not any(inode.unsynced for inode in inodes):
            content = frozenset(files_of(medium).items())
            if content in seen:
                continue
            seen.add(content)
        yield name, medium, diary


def breach(medium: Medium, diary: Diary) -> str:
    """Why what is on the medium is not what it must be; empty if it is."""
    return breach_of(files_of(medium), diary)


def breach_of(files: dict[str, bytes], diary: Diary) -> str:
    """The same for files by name."""
    roles = {name for name in files if name.upper().startswith("E00") and name.endswith(".log")}
    if roles <= {"E00tmp.log"}:
        return "no log is there" if diary.confirmed else ""
    records, errors = read_back(files)
    if errors:
        return f"the reader objects: {errors[0]}"
    first = records[0][0] if records else LogPosition()
    expected = [each for each in diary.logged if each[0] >= first]
    deleted = len(diary.logged) - len(expected)
    if records != expected[: len(records)]:
        return "records differ from those logged"
    if deleted + len(records) < diary.confirmed:
        return f"{deleted + len(records)} records are there, {diary.confirmed} were confirmed"
    return ""


def crash_states(
    *,
    script: Script = short_life,
    stride: int = 1,
    first: int = 1,
    power_losses: tuple[str, ...] = tuple(POWER_LOSSES),
    setup: Callable[[Logger], None] = lambda logger: None,
    safeguards: LogSafeguards = ALL_SAFEGUARDS,
    durability: Durability = Durability.WRITE_THROUGH,
    **options: object,
) -> Iterator[tuple[str, Medium, Diary]]:
    """Every state that a crash in any storage step can leave, each on a medium of its own."""
    options = {**options, "safeguards": safeguards, "durability": durability}
    whole = run(Medium(), script, setup=setup, **options)  # type: ignore[arg-type]
    assert whole.error is None, whole.error
    for crash_at in range(first, len(whole.steps) + 1, stride):
        life = run(Medium(), script, crash_at=crash_at, setup=setup, **options)  # type: ignore[arg-type]
        assert life.died
        where = f"crash in step {crash_at} ({life.steps[-1]})"
        yield f"{where}, power stays", life.medium.copy(), life.diary
        for name in power_losses:
            medium = life.medium.copy()
            medium.lose_power(POWER_LOSSES[name])
            yield f"{where}, {name}", medium, life.diary
