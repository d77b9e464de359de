"""What a page of shared memory takes from the process when it cannot be made."""

from __future__ import annotations

import errno
import os
from unittest import mock

import pytest

from replicator.errors import NoSpace
from replicator.host.volume import HostVolume


def no_room(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_attempts_on_a_full_volume_leave_no_file_open(volume: HostVolume) -> None:
    before = open_files()
    with mock.patch.object(os, "posix_fallocate", no_room):
        for _attempt in range(20):
            with pytest.raises(NoSpace):
                volume.shared_page("/page", 4096)
    assert open_files() == before
    volume.shared_page("/page", 4096).close()  # there is room again
    assert open_files() == before


def test_a_bell_that_cannot_be_made_leaves_no_file_open(volume: HostVolume) -> None:
    page = volume.shared_page("/page", 4096)
    before = open_files()
    with mock.patch.object(os, "ftruncate", no_room):
        for _attempt in range(20):
            with pytest.raises(NoSpace):
                page.ring(0)
    assert open_files() == before
    page.ring(0)
    page.close()
