"""A real file system, mounted, whose every write and flush to its disk is logged.

The disk is a file of a FUSE process of our own (:mod:`simulator.live.block_server`); the
kernel loops and mounts it.  What runs on the mount is up to the user of this module; it may
say where it stands by marks, which take their place in the order of the disk's requests.

Models: one disk with a volatile cache below a real kernel's file system.  Leaves out: what
the kernel would do on a slower disk (requests are answered at once, one after the other, so
less is under way at a time), several disks, reads.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from simulator.live.block_log import BlockLog
from simulator.live.mounts import (
    MountFailed,
    make_work_directory,
    mounts_below,
    note_server,
    release,
    run,
    source_of,
    sweep,
    wait_until_free,
)

MKFS: dict[str, tuple[str, ...]] = {
    # Nothing is left to be initialised in the background: the log would hold that instead.
    "ext4": (
        *("mkfs.ext4", "-q", "-F", "-b", "4096"),
        *("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
    ),
    "xfs": ("mkfs.xfs", "-q", "-f", "-K"),
    "btrfs": ("mkfs.btrfs", "-q", "-f", "-K", "--mixed"),
}
"""How each kind of file system is made."""

SMALLEST_BYTES = {"ext4": 16 << 20, "xfs": 304 << 20, "btrfs": 64 << 20}
"""What mkfs accepts; images are sparse, so that size costs little."""

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class LoggedFileSystem:
    """Made, served, mounted and given back; a context manager.

    Arguments
    ---------
    kind: a key of :data:`MKFS`.
    size_bytes: of the disk; :data:`SMALLEST_BYTES` when zero.
    mount_options: as for ``mount -o``, without ``loop``.
    mkfs_options: further words for mkfs.
    log_limit_bytes: when so much has been written, writes fail.
    parent: where the work directory goes; the directory for temporary files by default.

    Raises MountFailed when it cannot be made or mounted.  Use it from a process that may wait:
    the server is another one.  Let workloads that may hang run in a process of their own.
    """

    def __init__(
        self,
        kind: str = "ext4",
        size_bytes: int = 0,
        *,
        mount_options: str = "",
        mkfs_options: tuple[str, ...] = (),
        log_limit_bytes: int = 4 << 30,
        parent: Path | None = None,
    ) -> None:
        self.kind = kind
        self.size_bytes = max(size_bytes, SMALLEST_BYTES[kind])
        self._mount_options = mount_options
        self._mkfs_options = mkfs_options
        self._log_limit_bytes = log_limit_bytes
        self._parent = parent
        self._server: subprocess.Popen[bytes] | None = None
        self._finished = False

    def __enter__(self) -> LoggedFileSystem:
        sweep(self._parent)
        self.directory = make_work_directory(self._parent)
        self.mount_path = self.directory / "mounted"
        self._served = self.directory / "served"
        mounted = False
        try:
            self._make()
            self._serve()
            # "mount -o loop" asks for autoclear: the device goes when the mount goes.
            options = ",".join(filter(None, ("loop", self._mount_options)))
            disk = os.fspath(self._served / "disk")
            run("mount", "-t", self.kind, "-o", options, disk, os.fspath(self.mount_path))
            self.device = source_of(self.mount_path)
            self.mark("mounted")
            mounted = True
        finally:
            if not mounted:
                self._give_back()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _exception: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if not self._finished:
            self._give_back()

    @property
    def mark_path(self) -> Path:
        """The file that takes marks, one for each ``write``; for other processes."""
        return self._served / "marks"

    def mark(self, text: str) -> None:
        """Say a word at this place of the order of the disk's requests."""
        mark(self.mark_path, text)

    def finish(self) -> BlockLog:
        """Unmount in good order and hand over the log, which then owns the files.

        The log has marks ``mounted`` and ``unmounting`` around what was done on the mount.
        Raises MountFailed when something still uses the mount, or when the server failed.
        """
        self.mark("unmounting")
        run("umount", os.fspath(self.mount_path))
        wait_until_free(self.directory)
        run("umount", os.fspath(self._served))
        server = self._server
        assert server is not None
        code = server.wait(STOP_TIMEOUT_S)
        self._close_pipes()
        if code:
            raise MountFailed(f"the server ended with {code}: {self._server_said()}")
        (self.directory / "live.img").unlink()
        log = BlockLog(self.directory, self.kind, self.size_bytes, release)
        self._finished = True
        return log

    def _make(self) -> None:
        self.mount_path.mkdir()
        self._served.mkdir()
        image = self.directory / "live.img"
        with image.open("wb") as file:
            file.truncate(self.size_bytes)
        run(*MKFS[self.kind], *self._mkfs_options, os.fspath(image))
        # As cp makes it: sparse, and shared where the file system below can.
        base = self.directory / "base.img"
        run("cp", "--sparse=always", "--reflink=auto", os.fspath(image), os.fspath(base))

    def _serve(self) -> None:
        with (self.directory / "server.log").open("wb") as said:
            server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "simulator.live.block_server"),
                    *(os.fspath(self.directory), os.fspath(self._served)),
                    str(self._log_limit_bytes),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[2])},
            )
        self._server = server
        note_server(self.directory, server.pid)
        assert server.stdout is not None
        readable, _, _ = select.select([server.stdout], [], [], START_TIMEOUT_S)
        if not readable or server.stdout.readline() != b"ready\n":
            raise MountFailed(f"the server does not serve: {self._server_said()}")

    def _server_said(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace").strip()[-2000:]

    def _close_pipes(self) -> None:
        server = self._server
        assert server is not None
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()

    def _give_back(self) -> None:
        """Give everything back by force.  Whatever waits for the server is set free."""
        self._finished = True
        if self._server is not None:
            # First in good order, with a time limit, so that the kernel logs no errors.
            for point in mounts_below(self.directory):
                try:
                    run("umount", os.fspath(point), timeout_s=STOP_TIMEOUT_S)
                except MountFailed:
                    break
            self._server.kill()
            self._server.wait()
            self._close_pipes()
        release(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)


def mark(mark_path: Path, text: str) -> None:
    """Say a word to the log whose ``mark_path`` this is, from any process.

    Returns when the word has its place: what the disk was asked before stands before it.
    """
    descriptor = os.open(mark_path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
