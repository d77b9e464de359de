"""Recovery on the emulated disk: crash after crash in recovery itself, with power losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.log_encoding import log_time_at
from replicator.ese.recovery import recover
from replicator.ese.recovery_checks import RecoveryRequest, plan_recovery
from replicator.ese.recovery_result import RecoveryResult, RecoverySettings
from replicator.ese.values import Signature
from replicator.runtime import Kernel
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.runtime import SimClock
from simulator.volume import SimVolume
from tests.ese.redoing import PAGE_BYTES
from tests.ese.small_ese_store import DIRECTORY
from tests.ese.test_recovery import breach, prepared
from tests.store.memory_volume import Inode, Medium


class SimulatedStore:
    """The crashed store on a disk that writes a page whole or not."""

    def __init__(self, metadata: str) -> None:
        self.clock = SimClock()
        model = replace(INSTANT, metadata=metadata, sector_bytes=PAGE_BYTES, size_bytes=64 << 20)
        self.disk = Disk(self.clock, model, "store")

        async def lay_out() -> None:
            volume = SimVolume(self.disk, kernel)
            volume.mkdir(DIRECTORY)
            for path, data in prepared().medium.digest(f"{DIRECTORY}/").items():
                file = volume.create(path)
                file.write_at(0, data)
                await file.sync()
                file.close()
            await volume.sync_directory(DIRECTORY)
            await volume.sync_directory("/")

        kernel = Kernel(self.clock)
        task = kernel.run_task(lay_out(), "lay out")
        self.clock.run_until_idle()
        task.result()
        kernel.close()

    def recover(self, crash_after: int | None, limit_pages: int) -> RecoveryResult | None:
        """One recovery; None when it died."""
        kernel = Kernel(self.clock)
        volume = SimVolume(self.disk, kernel)
        self.disk.crash_at_step = None if crash_after is None else self.disk.steps + crash_after

        async def body() -> RecoveryResult:
            plan, errors = await plan_recovery(volume, RecoveryRequest(log_directory=DIRECTORY))
            assert plan is not None, errors
            return await recover(
                volume,
                plan,
                RecoverySettings(limit_pages=limit_pages),
                now=lambda: log_time_at(10**18 + self.disk.steps * 10**6),
                flush_signature=lambda: Signature(self.disk.steps),
            )

        task = kernel.run_task(body(), "recovery")
        self.clock.run_until_idle()
        died = kernel.dead
        result = None if died else task.result()
        kernel.close()
        self.disk.crash_at_step = None
        return result

    def medium(self) -> Medium:
        """What lies on the disk, for the judge."""
        medium = Medium()
        kernel = Kernel(self.clock)

        async def look() -> None:
            volume = SimVolume(self.disk, kernel)
            for name in volume.list(DIRECTORY):
                path = f"{DIRECTORY}/{name}"
                file = volume.open(path)
                data = await file.read_at(0, file.size_bytes)
                medium.names[path] = Inode(len(medium.names), bytearray(data), data)

        task = kernel.run_task(look(), "look")
        self.clock.run_until_idle()
        task.result()
        kernel.close()
        return medium


def chooser(numbers: list[int]) -> Callable[[int], int]:
    """Answers the disk's questions with the numbers of a list, round and round."""
    asked = 0

    def choose(count: int) -> int:
        nonlocal asked
        asked += 1
        return min(numbers[asked % len(numbers)], count - 1)

    return choose


CRASHES = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.none() | st.lists(st.sampled_from([0, 0, 1, 2, 99]), min_size=1, max_size=12),
    ),
    max_size=6,
)


@settings(max_examples=settings.default.max_examples // 4)
@given(
    crashes=CRASHES,
    limit_pages=st.sampled_from([1, 64]),
    metadata=st.sampled_from(["ordered", "any"]),
)
def test_crash_after_crash_comes_to_the_same_rest(
    crashes: list[tuple[int, list[int] | None]], limit_pages: int, metadata: str
) -> None:
    store = SimulatedStore(metadata)
    for steps, choices in crashes:
        store.recover(steps, limit_pages)
        if choices is not None:
            store.disk.power_loss(chooser(choices))
    assert store.recover(None, limit_pages) is not None
    assert breach(store.medium()) == ""
