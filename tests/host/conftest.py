"""A real loop and a volume over an empty directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from replicator.host.volume import HostVolume
from tests.real_loop import RealLoop


@pytest.fixture
def real() -> Iterator[RealLoop]:
    made = RealLoop()
    yield made
    made.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    directory = tmp_path / "base"
    directory.mkdir()
    return directory


@pytest.fixture
def volume(real: RealLoop, base: Path) -> Iterator[HostVolume]:
    made = HostVolume("data", str(base), real.loop, dirty_limit_bytes=1 << 20)
    yield made
    real.run_until(lambda: not made.workers.underway)
    made.close()
    made.workers.close()
    assert made.workers.join()
