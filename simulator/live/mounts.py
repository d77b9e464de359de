"""Loop devices, mounts and work directories of this machine, always given back.

Everything lives below a work directory whose name starts with :data:`PREFIX` and that says
which process owns it; :func:`sweep` gives back what dead owners left behind, and nothing
else.  Loop devices are made with ``autoclear``: they go with their last user.

Two ways to mount.  In this process, by system calls, for images in plain files: a fraction of a
millisecond.  By a command with a time-out, for what a FUSE process of ours serves: if that
process hangs, only the command does, and ending the server sets it free.

Leaves out: partitions, mounts in other mount namespaces.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

PREFIX = "exchange-bench-blocks-"
COMMAND_TIMEOUT_S = 60.0
MS_RDONLY = 1
_MNT_DETACH = 2
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CLR_FD = 0x4C01
_LO_FLAGS_AUTOCLEAR = 4
_LOOP_CONFIG_BYTES = 304
_LOOP_FLAGS_AT = 60
"""In ``struct loop_config``: fd, block_size, then loop_info64 with its flags at 52."""

_libc = ctypes.CDLL(None, use_errno=True)


class MountFailed(Exception):
    """The kernel, or a command, refused to mount or unmount; says what and why."""


def missing() -> str | None:
    """What keeps this machine from serving, looping and mounting; None when nothing does."""
    if os.geteuid() != 0:
        return "not root"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(device, os.R_OK | os.W_OK):
            return f"no {device}"
    probe = Path(tempfile.mkdtemp(prefix=f"{PREFIX}probe-"))
    try:
        mount("tmpfs", probe, "tmpfs", options="size=64k")
        unmount(probe)
    except MountFailed as failure:
        return f"may not mount: {failure}"
    finally:
        probe.rmdir()
    try:
        import mfusepy  # noqa: F401  # raises OSError without the C library
    except (ImportError, OSError) as failure:
        return f"no FUSE library (pip: mfusepy, Debian: fuse3): {failure}"
    return None


# -- mounting ----------------------------------------------------------------------------


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount by a system call of this process.  Raises MountFailed."""
    if _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), flags, options.encode()
    ):
        code = ctypes.get_errno()
        raise MountFailed(f"{kind} on {source}: {os.strerror(code)}")


def unmount(target: Path) -> None:
    """Unmount by a system call.  Raises MountFailed, also when files there are still open.

    Then the mount is taken out of sight at least, and the kernel ends it with its last user.
    """
    if _libc.umount2(os.fsencode(target), 0):
        code = ctypes.get_errno()
        _libc.umount2(os.fsencode(target), _MNT_DETACH)
        raise MountFailed(f"unmount {target}: {os.strerror(code)}")


def mount_image(image: Path, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount an image in a plain file over a loop device.  Raises MountFailed."""
    device, descriptor = _attach(image)
    try:
        mount(device, target, kind, flags, options)
    finally:
        os.close(descriptor)  # from here on the mount alone holds the device


def _attach(image: Path) -> tuple[str, int]:
    file = os.open(image, os.O_RDWR)
    try:
        while True:
            control = os.open("/dev/loop-control", os.O_RDWR)
            try:
                device = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            finally:
                os.close(control)
            loop = os.open(device, os.O_RDWR)
            config = bytearray(_LOOP_CONFIG_BYTES)
            struct.pack_into("=I", config, 0, file)
            struct.pack_into("=I", config, _LOOP_FLAGS_AT, _LO_FLAGS_AUTOCLEAR)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
            except OSError as failure:
                os.close(loop)
                if failure.errno != errno.EBUSY:  # else another process was faster
                    raise
                continue
            return device, loop
    finally:
        os.close(file)


def run(*command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
    """Run a system command.  Raises MountFailed with its words, also when it takes too long."""
    try:
        # Not subprocess.run: it would wait for ever for a command that hangs in the kernel.
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as absent:
        raise MountFailed(f"no command {command[0]}") from absent
    try:
        said, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as late:
        child.kill()
        raise MountFailed(f"{' '.join(command)}: not done after {timeout_s} s") from late
    if child.returncode:
        raise MountFailed(f"{' '.join(command)}: {said.decode(errors='replace').strip()}")


def mounts_below(directory: Path) -> list[Path]:
    """The mount points at or below a directory, innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point.is_relative_to(directory):
            found.append(point)
    return sorted(found, key=lambda point: -len(point.parts))


def source_of(mount_point: Path) -> str:
    """The device that is mounted there.  Raises MountFailed when none is."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == os.fspath(mount_point):
            return fields[fields.index("-") + 2]
    raise MountFailed(f"nothing is mounted at {mount_point}")


def loops_below(directory: Path) -> list[str]:
    """The loop devices whose files are below a directory."""
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = Path(file.read_text().strip().removesuffix(" (deleted)"))
        except OSError:  # it went away meanwhile
            continue
        if backing.is_relative_to(directory):
            found.append(f"/dev/{file.parts[3]}")
    return found


# -- work directories --------------------------------------------------------------------


def make_work_directory(parent: Path | None = None) -> Path:
    """A new directory that is known to be this process's."""
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    (directory / "owner").write_text(f"{os.getpid()} {_birth(os.getpid())}\n")
    return directory


def note_server(directory: Path, process_id: int) -> None:
    """Remember a process that was started for the directory, for a later sweep."""
    (directory / "server").write_text(f"{process_id} {_birth(process_id)}\n")


def _birth(process_id: int) -> str:
    """When the process was started, in ticks since boot; empty when there is none."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _alive(note: Path) -> int | None:
    """The process that the note names, if it is that same one and lives."""
    try:
        process_id, birth = note.read_text().split()
    except (OSError, ValueError):
        return None
    return int(process_id) if _birth(int(process_id)) == birth else None


def release(directory: Path) -> None:
    """Give back all that is mounted or looped below a work directory, and remove it.

    A server that was noted for it is ended first: what hangs on it becomes free.
    """
    server = _alive(directory / "server")
    if server is not None:
        os.kill(server, signal.SIGKILL)
    for point in mounts_below(directory):
        _libc.umount2(os.fsencode(point), _MNT_DETACH)
    for device in loops_below(directory):
        _detach(device)
    shutil.rmtree(directory, ignore_errors=True)


def _detach(device: str) -> None:
    try:
        loop = os.open(device, os.O_RDWR)
    except OSError:  # cleared meanwhile
        return
    try:
        fcntl.ioctl(loop, _LOOP_CLR_FD)
    except OSError as failure:
        if failure.errno != errno.ENXIO:  # else it is free already
            raise
    finally:
        os.close(loop)


def sweep(parent: Path | None = None) -> list[Path]:
    """Give back what dead owners left; returns their directories."""
    swept = []
    for directory in (parent or Path(tempfile.gettempdir())).resolve().glob(f"{PREFIX}*"):
        note = directory / "owner"
        if note.exists() and _alive(note) is None:
            release(directory)
            swept.append(directory)
    return swept


def wait_until_free(directory: Path, timeout_s: float = 10.0) -> None:
    """Wait until no loop device holds a file below the directory.  Raises MountFailed."""
    end = time.monotonic() + timeout_s
    while loops := loops_below(directory):
        if time.monotonic() > end:
            raise MountFailed(f"{', '.join(loops)} stay busy")
        time.sleep(0.01)
