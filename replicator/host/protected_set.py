"""The protected set for any Python program: plain calls, from any of its threads.

::

    from replicator.capture import protect

    with protect("first.toml") as files:
        with files.create("/database") as database:
            database.write_at(0, page)
            database.sync()

What a call costs: the intent is appended to the spool and the file is written, both in the
caller's thread (:mod:`replicator.host.shared_loop`); a thread in the background frees what the
replica has, begins new epochs and writes back.  Nothing need be closed: when the program dies,
whoever opens the set next carries out what was underway.

* With the policy ``hold`` a call waits for room, for at most ``source.spool.patience``, then
  SpoolFull is raised and nothing was changed.
* When the replica has taken over, every call raises SourceFenced.
* A child made by fork must open the set anew, when its parent has closed it: CaptureBroken.
* A call that was broken off by an exception from outside (Ctrl-C) leaves it open whether it
  was carried out; then all further calls raise CaptureBroken, and opening the set anew settles
  it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from replicator.captured_volume import CapturedVolume, path_below
from replicator.config import load_configuration
from replicator.errors import CaptureBroken, ReplicatorError, SourceFenced, SpoolFull
from replicator.host.captured_volume import CapturedSet, captured_volume
from replicator.host.clock import AsyncioClock
from replicator.host.event_log import EventLog
from replicator.host.protected_file import ProtectedFile
from replicator.host.shared_loop import SharedLoop
from replicator.host.volume import HostVolume
from replicator.host.world import HostRuntime
from replicator.runtime import Completion, Kernel, Task, TimedOut, deadline
from replicator.runtime.port import Stat
from replicator.units import format_ns

T = TypeVar("T")
_CLOSE_SECONDS: Final = 30.0
_open_sets: weakref.WeakSet[ProtectedSet] = weakref.WeakSet()


class ProtectedSet:
    """A protected set, open for one program; made by :func:`replicator.capture.protect`.

    Paths begin with ``/`` and are relative to the protected set.  Errors are
    :class:`~replicator.errors.StorageError` and its kin, with the real path.

    Arguments
    ---------
    config: the configuration file of the source.
    patience_ns: how long to wait while another program has the set.
    accept_empty: see :func:`replicator.capture.protect`.
    """

    def __init__(
        self, config: str | Path, patience_ns: int | None = None, accept_empty: bool = False
    ) -> None:
        self._loaded = load_configuration(config)
        self._hold_patience_ns = self._loaded.source().spool.patience_ns
        self._lock_patience_ns = patience_ns
        self._accept_empty = accept_empty
        self._loop = SharedLoop()
        self.turn = self._loop.turn
        self._kernel = Kernel(AsyncioClock(self._loop))
        log = EventLog("program", self._loaded.configuration.log)
        self._runtime = HostRuntime(self._loop, 0, log.emit)
        self._closing: Completion[None] = Completion()
        self._ready = threading.Event()
        self._waiting: set[threading.Event] = set()
        self._held_since_ns = 0
        self.refusal: ReplicatorError | None = CaptureBroken("the protected set is not open")
        """Why no call is served any more; None while they are."""
        self._set: CapturedSet | None = None
        self._task: Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="protected-set", daemon=True)
        self._thread.start()
        self._ready.wait()
        self._raise_what_kept_it_shut()
        _open_sets.add(self)

    def _raise_what_kept_it_shut(self) -> None:
        if self._set is None and self._task is not None:
            self._thread.join()
            self._task.result()

    # -- the thread in the background ------------------------------------------------------

    def _run(self) -> None:
        with self.turn:
            self._task = self._kernel.run_task(
                self._keep(), "protected set", lambda _task: self._loop.stop()
            )
        self._loop.run()
        try:
            self._end()
        finally:
            self._ready.set()  # whatever happened: nobody waits for a thread that has ended

    def _end(self) -> None:
        assert self._task is not None
        with self.turn:
            failure = self._task.error
            if isinstance(failure, SourceFenced):
                self.refusal = failure
            elif isinstance(failure, Exception):
                self.refusal = CaptureBroken(f"the protected set was given up: {failure}")
            elif self.refusal is None:
                self.refusal = CaptureBroken("the protected set is closed", remedy="")
            self._runtime.close()
            self._kernel.close()
            self._loop.close()
            for waiting in self._waiting:
                waiting.set()

    async def _keep(self) -> None:
        opening = captured_volume(
            self._runtime,
            self._loaded,
            self._lock_patience_ns,
            self._held_ns,
            self._accept_empty,
        )
        async with opening as opened:
            self._set, self.refusal = opened, None
            self.capture = opened.capture
            self.captured: CapturedVolume = opened.volume
            self.below = _host_volume(opened.capture.volume)
            self.spool_below = _host_volume(opened.capture.spool.volume)
            self.root = opened.root
            self._ready.set()
            await self._closing

    def _held_ns(self) -> int:
        return self._runtime.now_ns() - self._held_since_ns if self._held_since_ns else 0

    # -- how calls are made ----------------------------------------------------------------

    def admits(self, size_bytes: int) -> bool:
        """Whether an operation may be made now; for who has the turn.  Raises the refusal."""
        if self.refusal is not None:
            raise self.refusal
        return (
            self.capture.has_room(size_bytes)
            and self.below.admits(size_bytes)
            and (self.spool_below is self.below or self.spool_below.admits(size_bytes))
        )

    def settle(self) -> None:
        """After a call that raised: is it known what became of it?

        It is, whatever the disks said; only an exception from outside (Ctrl-C) comes between.
        """
        spool = self.capture.spool
        if spool.sequence != spool.completed and self.capture.capturing:
            self.break_off("a call was broken off, and nobody knows whether it was carried out")

    def break_off(self, why: str) -> None:
        """Serve no call any more."""
        if self.refusal is None:
            self.refusal = CaptureBroken(why)

    def change(self, call: Callable[[], T], size_bytes: int = 0) -> T:
        """Make a change that is captured, when there is room for it."""
        while True:
            with self.turn:
                if self.admits(size_bytes):
                    ended = False
                    try:
                        result = call()
                        ended = True
                    finally:
                        if not ended:
                            self.settle()
                    return result
            self.wait_for_room(size_bytes)

    def look(self, call: Callable[[], T]) -> T:
        """Make a call that changes nothing."""
        with self.turn:
            if self.refusal is not None:
                raise self.refusal
            return call()

    def wait_for_room(self, size_bytes: int) -> None:
        """Return when there may be room; raises SpoolFull after the configured patience."""

        async def wait() -> None:
            # Refused at once: what can never find room.
            if not self.capture.has_room(size_bytes):
                self._held_since_ns = self._held_since_ns or self._runtime.now_ns()
                self._runtime.emit("writer_held", size_bytes)
                try:
                    async with deadline(self._hold_patience_ns):
                        await self.capture.wait_for_room(size_bytes)
                except TimedOut:
                    raise SpoolFull(
                        "the spool has been full for "
                        f"{format_ns(self._hold_patience_ns)} and holds the writer",
                        path=self.capture.spool.log.directory,
                    ) from None
                finally:
                    held_ns, self._held_since_ns = self._held_ns(), 0
                    self._runtime.emit("writer_released", held_ns)
            await self.below.admit(size_bytes)
            if self.spool_below is not self.below:
                await self.spool_below.admit(size_bytes)

        self.wait_for(wait)

    def wait_for(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop and wait for its result."""
        done = threading.Event()
        with self.turn:
            if self.refusal is not None:
                raise self.refusal
            task: Task[T] = self._kernel.run_task(make(), "call", lambda _task: done.set())
            self._waiting.add(done)
        try:
            done.wait()
        finally:
            with self.turn:
                self._waiting.discard(done)
                if not task.done and self.refusal is None:
                    task.cancel()
        if not task.done:
            raise self.refusal or CaptureBroken("the protected set was given up")
        return task.result()

    # -- files and names -------------------------------------------------------------------

    def _at(self, path: str, directory: bool = False) -> str:
        return path_below(self.root, path, directory)

    def create(self, path: str) -> ProtectedFile:
        """Create an empty file and open it; raises AlreadyExists."""
        return ProtectedFile(self, self.change(lambda: self.captured.create(self._at(path))))

    def open(self, path: str) -> ProtectedFile:
        """Open an existing file; raises NotFound."""
        return ProtectedFile(self, self.look(lambda: self.captured.open(self._at(path))))

    def rename(self, old: str, new: str) -> None:
        """Give an entry another name; a file that has it is replaced."""
        self.change(lambda: self.captured.rename(self._at(old), self._at(new)))

    def unlink(self, path: str) -> None:
        """Remove a name of a file or symbolic link."""
        self.change(lambda: self.captured.unlink(self._at(path)))

    def link(self, old: str, new: str) -> None:
        """Give an existing file a second name."""
        self.change(lambda: self.captured.link(self._at(old), self._at(new)))

    def symlink(self, target: str, path: str) -> None:
        """Create a symbolic link at ``path``."""
        self.change(lambda: self.captured.symlink(target, self._at(path)))

    def mkdir(self, path: str) -> None:
        self.change(lambda: self.captured.mkdir(self._at(path)))

    def rmdir(self, path: str) -> None:
        self.change(lambda: self.captured.rmdir(self._at(path)))

    def set_attributes(self, path: str, attributes: int) -> None:
        """Set the nine permission bits."""
        self.change(lambda: self.captured.set_attributes(self._at(path), attributes))

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        return self.look(lambda: self.captured.list(self._at(path, True)))

    def stat(self, path: str) -> Stat:
        """What a name stands for; raises NotFound."""
        return self.look(lambda: self.captured.stat(self._at(path, True)))

    def exists(self, path: str) -> bool:
        return self.look(lambda: self.captured.exists(self._at(path, True)))

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory survive a power loss."""
        self.wait_for(lambda: self.captured.sync_directory(self._at(path, True)))

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """End the protection; programs may open it again.  A second time does nothing."""
        _open_sets.discard(self)
        if self._thread.is_alive() and self._closing_allowed():
            with self.turn:
                if not self._closing.done:
                    self._closing.set(None)
            self._thread.join(_CLOSE_SECONDS)

    def _closing_allowed(self) -> bool:
        return not self._loop.is_closed()

    def __enter__(self) -> ProtectedSet:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def forget_in_child(self) -> None:
        """This process is a fork: neither the thread nor the set is its own."""
        self.turn = threading.Lock()
        self.refusal = CaptureBroken(
            "the protected set was opened by the parent of this process",
            remedy="Open it in the process that writes, and in one process at a time.",
        )
        if self._set is not None:
            self.below.release_locks()
            self.spool_below.release_locks()


def _host_volume(volume: object) -> HostVolume:
    assert isinstance(volume, HostVolume)
    return volume


def _forget_in_child() -> None:
    for each in list(_open_sets):
        each.forget_in_child()
    _open_sets.clear()


os.register_at_fork(after_in_child=_forget_in_child)
