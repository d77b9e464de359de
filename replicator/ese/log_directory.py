"""The files of a log set that is being written: the one underway, the next one, reserves, old ones.

Order at a roll (ese-format.md 7.2), each step a call of the storage port::

    E00tmp.log is ready: zeros or fill pattern, or an old log put to use again
    its header is written                       sync of the file
    E00.log    becomes E000000000g.log
    E00tmp.log becomes E00.log                  sync of the directory

Assumed of the real volume: NTFS keeps changes of names in their order, and a rename that returned
survives a power loss (the engine asks for that with the rename; here it is the directory's sync).
The port promises less, but every volume keeps the order of two changes of one name, ``E00.log``,
so one sync behind both is enough.  Between them there is no E00.log, and recovery goes on with the
closed logs.

A full volume is met when the next file is prepared.  Then a reserve log, which has its space
already, takes its place, and whoever owns the log has to shut down: there are but two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from replicator.errors import NoSpace, NotFound
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import LogFormat, Write
from replicator.ese.log_names import LogNames, LogRole, parse_log_name
from replicator.runtime.port import File, Volume, write_all

DISK_FULL: Final = -529
PREPARED_AT_ONCE_BYTES: Final = 256 << 10
"""Of the next file, between two looks at the volume's back-pressure."""


@dataclass(frozen=True, slots=True)
class LogSafeguards:
    """What keeps a log whole; all on but in tests, which show that each is needed."""

    order_of_writes: bool = True
    """A write that overwrites data is on disk before the next one."""
    sync_before_return: bool = True
    """A flush returns after the sync."""
    header_before_rename: bool = True
    """A new log has its header before it gets its name."""
    sync_header_before_rename: bool = True
    """And that header is on disk."""
    sync_after_renames: bool = True
    """Both names are on disk before records go into the new log."""
    repair_at_restart: bool = True
    """What a restarted engine found in the page cache is written again."""


ALL_SAFEGUARDS: Final = LogSafeguards()


class LogDirectory:
    """Names, creates, renames and deletes; says nothing about what records are.

    One task at a time may call what is ``async``, :meth:`sync_closed` excepted.  A call that was
    cancelled is made good by calling it again.

    Arguments
    ---------
    directory: absolute on the volume; it exists.
    recycle: whether a log to be deleted may become the next one (circular logging).
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        names: LogNames,
        log_format: LogFormat,
        *,
        recycle: bool = False,
        safeguards: LogSafeguards = ALL_SAFEGUARDS,
    ) -> None:
        self.volume = volume
        self.directory = directory
        self.names = names
        self.current: File | None = None
        self.generations: list[int] = []
        """Closed logs that are kept, oldest first."""
        self.reserve_used = False
        """A reserve log has been put to use: shut down."""
        self._format = log_format
        self._recycle = recycle
        self._safeguards = safeguards
        self._next: File | None = None
        self._prepared = 0
        self._step = 0
        self._recycled = False  # the next file still has its old name after a power loss
        self._unsynced: dict[int, File] = {}

    def path(self, name: str) -> str:
        return f"{self.directory.rstrip('/')}/{name}"

    # -- at the start --------------------------------------------------------------

    async def open(self) -> None:
        """Look at what is there: closed logs, the current one.

        A log in preparation is dropped, but not where the current one is missing: it is what tells
        a crash between the renames from a lost log, so it is used again.  Names that only the
        page cache knows are made durable.
        """
        closed: dict[int, str] = {}
        temporary = self.path(self.names.temporary)
        if self.volume.exists(self.path(self.names.current)):
            self.current = self.volume.open(self.path(self.names.current))
        for name in self.volume.list(self.directory):
            parsed = parse_log_name(name)
            if parsed is None or parsed.base != self.names.base.upper():
                continue
            if parsed.role is LogRole.CLOSED and parsed.generation is not None:
                closed[parsed.generation] = name
        self.generations = sorted(closed)
        if self.current is not None and self.volume.exists(temporary):
            self.volume.unlink(temporary)
        elif self.volume.exists(temporary):
            self._next = self.volume.open(temporary)
            if self._next.size_bytes == self._format.file_bytes:
                self._prepared = self._old_content_bytes
            else:
                self._next.truncate(0)
        await self.volume.sync_directory(self.directory)

    async def make_reserves(self) -> None:
        """Create the reserve logs that are missing, all zero; raises EseError -529."""
        size = self._format.file_bytes
        made = []
        for name in self.names.reserves:
            path = self.path(name)
            if self.volume.exists(path):
                if self.volume.stat(path).size_bytes == size:
                    continue
                self.volume.unlink(path)
            try:
                file = self.volume.create(path)
                made.append(file)
                for at in range(0, size, PREPARED_AT_ONCE_BYTES):
                    part = min(PREPARED_AT_ONCE_BYTES, size - at)
                    await self.volume.admit(part)
                    file.zero_range(at, part)
                await file.sync()
            except NoSpace as error:
                with suppress(NotFound):
                    self.volume.unlink(path)
                detail = "there is no room for the reserve logs"
                raise EseError(DISK_FULL, detail, path=path) from error
        for file in made:
            file.close()
        if made:
            await self.volume.sync_directory(self.directory)

    # -- the next file -------------------------------------------------------------

    async def prepare(self, most_bytes: int | None = None) -> None:
        """Go on preparing the next file, all of it or so many bytes more.

        Where logs are used again, none is made before it is needed.

        Where the volume is full, the part that was made is given back; whoever needs the whole
        file gets a reserve log then.  Raises EseError -529 when none is left.
        """
        if self._recycle and most_bytes is not None and self._next is None:
            return
        size = self._format.file_bytes
        end = size if most_bytes is None else min(size, self._prepared + most_bytes)
        try:
            if self._next is None:
                self._next = self._created()
            if self._prepared < end:
                await self._settle_recycled()
            await self._fill(self._next, end)
        except NoSpace as error:
            self._give_up_next()
            if most_bytes is None:
                await self._take_reserve(error)

    async def _settle_recycled(self) -> None:
        """Before a log that is used again is overwritten its new name is durable."""
        if self._recycled:
            await self.volume.sync_directory(self.directory)
            self._recycled = False

    async def _fill(self, file: File, end: int) -> None:
        """Unused space up to ``end``, from where it was left."""
        while self._prepared < end:
            part = min(PREPARED_AT_ONCE_BYTES, end - self._prepared)
            await self.volume.admit(part)
            content = self._format.prepared(self._prepared, part)
            if content.strip(b"\0"):
                write_all(file, self._prepared, content)
            else:
                file.zero_range(self._prepared, part)
            self._prepared += part

    @property
    def _old_content_bytes(self) -> int:
        """How much of a file that was used before, or is all zero, may stay as it is."""
        return self._format.file_bytes if self._format.tells_old_content else 0

    def _created(self) -> File:
        path = self.path(self.names.temporary)
        self._prepared = 0
        return self.volume.create(path)

    def _give_up_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None
        with suppress(NotFound):  # there may not have been room even for its name
            self.volume.unlink(self.path(self.names.temporary))

    async def _take_reserve(self, error: NoSpace) -> None:
        path = self.path(self.names.temporary)
        for name in self.names.reserves:
            if self.volume.exists(self.path(name)):
                self.volume.rename(self.path(name), path)
                self._next = self.volume.open(path)
                self._prepared = self._old_content_bytes
                self.reserve_used = True
                await self.volume.sync_directory(self.directory)
                await self._fill(self._next, self._format.file_bytes)
                return
        detail = "the volume is full and both reserve logs are used"
        raise EseError(DISK_FULL, detail, path=self.directory) from error

    # -- the roll ------------------------------------------------------------------

    @property
    def rolling(self) -> bool:
        """A roll was interrupted after it had changed a name: it has to be finished first."""
        return self._step > 0

    async def roll(
        self, generation: int, header: Callable[[], list[Write]], *, unsynced: bool = False
    ) -> None:
        """Close the current log, if there is one, and put the next one in its place.

        Arguments
        ---------
        generation: of the log to be closed.
        header: gives what the new log must hold; asked when its file is there.
        unsynced: what was written to the current log may be in the cache only (lazy flushes).
        """
        guards = self._safeguards
        current, temporary = self.path(self.names.current), self.path(self.names.temporary)
        if self._step == 0:
            await self.prepare()
            await self._settle_recycled()
            if guards.header_before_rename:
                await self._write_header(header())
            self._step = 1 if self.current is not None else 2
        if self._step == 1:
            self.volume.rename(current, self.path(self.names.closed(generation)))
            self.generations.append(generation)
            self._step = 2
        if self._step == 2:
            self.volume.rename(temporary, current)
            if self.current is not None and unsynced:
                self._unsynced[generation] = self.current
            elif self.current is not None:
                self.current.close()
            self.current, self._next, self._prepared = self._next, None, 0
            self._step = 3
        if guards.sync_after_renames:
            await self.volume.sync_directory(self.directory)
        if not guards.header_before_rename:
            await self._write_header(header())
        self._step = 0

    async def _write_header(self, writes: list[Write]) -> None:
        file = self._next or self.current
        assert file is not None
        for offset, data in writes:
            await self.volume.admit(len(data))
            write_all(file, offset, data)
        if self._safeguards.sync_header_before_rename:
            await file.sync()

    # -- closed logs ---------------------------------------------------------------

    @property
    def unsynced(self) -> list[int]:
        """Closed logs that may be in the cache only, oldest first."""
        return list(self._unsynced)

    async def sync_closed(self, last: int) -> None:
        """Make closed logs up to a generation durable."""
        for generation in [g for g in self._unsynced if g <= last]:
            await self._unsynced[generation].sync()
            file = self._unsynced.pop(generation, None)
            if file is not None:
                file.close()

    def delete_below(self, generation: int) -> int:
        """Delete closed logs below a generation, oldest first; returns how many.

        With circular logging one of them becomes the next log, which spares its space being
        allocated, and where its old content can be told from new one, its preparation too.
        """
        old = [each for each in self.generations if each < generation]
        for each in old:
            path = self.path(self.names.closed(each))
            file = self._unsynced.pop(each, None)
            if file is not None:
                file.close()
            if self._recycle and self._next is None and self._step == 0 and self._fits(path):
                self.volume.rename(path, self.path(self.names.temporary))
                self._next = self.volume.open(self.path(self.names.temporary))
                self._prepared, self._recycled = self._old_content_bytes, True
            else:
                self.volume.unlink(path)
            self.generations.remove(each)
        return len(old)

    def _fits(self, path: str) -> bool:
        return self.volume.stat(path).size_bytes == self._format.file_bytes

    def close(self) -> None:
        """Give all handles back."""
        for file in (self.current, self._next, *self._unsynced.values()):
            if file is not None:
                file.close()
        self.current = self._next = None
        self._unsynced.clear()
