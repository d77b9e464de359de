"""An image that the source never had is explained: which file is newer than which."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.counted_truth import CountedTruth
from simulator.device import INSTANT
from simulator.digest import image_digest
from simulator.host import World
from simulator.report.timeline_story import _MIXED
from simulator.volume import SimVolume
from simulator.witness import WitnessedVolume

BLOCK = 8192


class Bench:
    """A source whose truth is counted, and a replica's volume to build images on."""

    def __init__(self) -> None:
        world = World(network=False)
        self.machine = world.machine("source")
        self.disk = self.machine.add_disk("data", INSTANT)
        self.copy_disk = world.machine("replica").add_disk("data", INSTANT)
        self.copy: SimVolume = world.machine("replica").start().volume("data")
        self.copy.mkdir("/image")
        self.truth = CountedTruth(self.disk, "data", "/set")
        volume = self.machine.start().volume("data")
        volume.mkdir("/set")
        self.truth.begin_epoch(1)
        self.volume = WitnessedVolume(self.truth, volume)

    def write(self, path: str, offset: int, data: bytes) -> int:
        """Write to a file of the source, which is made if need be; returns the operation."""
        if not self.volume.exists(f"/set{path}"):
            self.volume.create(f"/set{path}").close()
        file = self.volume.open(f"/set{path}")
        file.write_at(offset, data)
        file.close()
        return self.truth.newest[1]

    def take(self, path: str) -> None:
        """Copy a file as it is now."""
        if self.copy.exists(f"/image{path}"):
            self.copy.unlink(f"/image{path}")
        node = self.disk.names.node(f"/set{path}")
        self.copy.create(f"/image{path}").write_at(0, node.read(0, node.size))  # type: ignore[union-attr]

    def explain(self) -> str:
        assert self.truth.newest_with(image_digest(self.copy_disk, "/image")) is None
        return self.truth.explain(self.copy_disk, "/image")


def test_a_page_ahead_of_its_log_is_named_with_both_operations() -> None:
    bench = Bench()
    bench.write("/E00.log", 0, b"l" * BLOCK)
    old = bench.write("/db.edb", 0, b"p" * BLOCK)
    bench.take("/E00.log")
    log = bench.write("/E00.log", 0, b"L" * BLOCK)
    page = bench.write("/db.edb", 0, b"P" * BLOCK)
    bench.take("/db.edb")
    assert (old, log, page) == (4, 5, 6)
    said = bench.explain()
    assert "/db.edb has bytes of operation 6 at 0 while /E00.log is as of operation 4 at 0" in said
    assert "lacks operation 5: the log that describes the pages is missing" in said
    assert _MIXED.search(said) is not None, "the timeline finds it"


def test_missing_files_left_overs_and_torn_bytes_are_told_apart() -> None:
    bench = Bench()
    bench.write("/a", 0, b"1" * BLOCK)
    bench.write("/b", 0, b"2" * BLOCK)
    bench.take("/b")
    assert "/b has bytes of operation 4 at 0 while /a is not there, as at op" in bench.explain()
    bench.take("/a")
    bench.copy.create("/image/.b.XyZ").close()
    assert "/.b.XyZ is no file that the source ever had" in bench.explain()
    bench.copy.unlink("/image/.b.XyZ")
    bench.copy.open("/image/a").write_at(10, b"torn")
    assert "/a has bytes at 0 that the source never had there" in bench.explain()


def test_a_renamed_file_is_known_by_its_name_of_then() -> None:
    bench = Bench()
    bench.write("/E00.log", 0, b"1" * BLOCK)
    bench.take("/E00.log")
    bench.volume.rename("/set/E00.log", "/set/E01.log")
    bench.write("/E00.log", 0, b"2" * BLOCK)
    assert bench.truth.newest_with(image_digest(bench.copy_disk, "/image")) == (1, 2)
    bench.take("/E01.log")
    said = bench.explain()
    assert "/E01.log has bytes of operation 3 at 0 while /E00.log is as of operation 2" in said


def test_operations_of_an_earlier_boot_are_named_with_it() -> None:
    bench = Bench()
    bench.write("/a", 0, b"1" * BLOCK)
    bench.take("/a")
    bench.write("/b", 0, b"1" * BLOCK)
    bench.truth.begin_epoch(2)
    bench.write("/b", 0, b"3" * BLOCK)
    bench.write("/a", 0, b"2" * BLOCK)
    bench.write("/b", 0, b"4" * BLOCK)
    bench.take("/b")
    said = bench.explain()
    assert "/b has bytes of operation 3 of epoch 2" in said
    assert "lacks operation 2 of epoch 2" in said


WRITES = st.lists(
    st.tuples(st.sampled_from(["/a", "/b.edb", "/c.log"]), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(WRITES)
def test_what_is_said_of_a_mixture_is_true(writes: list[tuple[str, int, bool]]) -> None:
    """Each write has bytes of its own, so of each block it is known of which operation it is."""
    bench = Bench()
    wrote: dict[tuple[str, int], list[int]] = {}
    for count, (path, block, taken) in enumerate(writes):
        operation = bench.write(path, block * BLOCK, count.to_bytes(4, "big") * (BLOCK // 4))
        wrote.setdefault((path, block), []).append(operation)
        if taken:
            bench.take(path)
    if bench.truth.newest_with(image_digest(bench.copy_disk, "/image")) is not None:
        return
    found = re.search(r"(\S+) has bytes of operation (\d+) at (\d+) while", bench.explain())
    behind = re.search(r"(\S+) is as of operation (\d+) at (\d+) and lacks", bench.explain())
    if found is not None and int(found[2]) in wrote.get((found[1], int(found[3]) // BLOCK), ()):
        node = bench.copy_disk.names.node(f"/image{found[1]}")
        count = int.from_bytes(node.read(int(found[3]), 4), "big")  # type: ignore[union-attr]
        path, block, _taken = writes[count]
        assert (path, block * BLOCK) == (found[1], int(found[3]))
    if behind is not None:
        operation, block = int(behind[2]) + 1, int(behind[3]) // BLOCK
        assert operation in wrote[behind[1], block], "what it lacks is a write of that very block"


def test_a_copy_of_each_instant_is_none_of_these() -> None:
    bench = Bench()
    for count in range(10):
        bench.write("/a", count % 3 * BLOCK, bytes([count + 1]) * BLOCK)
        bench.take("/a")
        found = bench.truth.newest_with(image_digest(bench.copy_disk, "/image"))
        assert found == bench.truth.newest
