"""These tests need root, FUSE and loop devices.  Where those are missing they are skipped, with
the reason; continuous integration has them."""

from __future__ import annotations

import pytest

from simulator.live import mounts


@pytest.fixture(scope="session")
def _missing() -> str | None:
    return mounts.missing()


@pytest.fixture
def real_disks(_missing: str | None) -> None:
    """Skips the test on a machine that cannot serve, loop and mount."""
    if _missing is not None:
        pytest.skip(f"no ground truth here: {_missing}")
