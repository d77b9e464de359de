"""The image digest and the truth: kept step by step, they equal what is computed anew.

The digest computed anew is written here a second time, from the formula, over the bytes
that the port shows; it shares nothing with the one under test but the hash function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.board import Board
from replicator.capture import Capture, SpoolPolicy
from replicator.captured_volume import CapturedVolume
from replicator.errors import StorageError
from replicator.runtime.port import Buffer, File, Volume
from replicator.spool import Spool
from simulator.device import DiskModel
from simulator.digest import image_digest
from simulator.host import World
from simulator.truth import Truth
from simulator.witness import WitnessedVolume
from tests.disk.bench import Bench, Choices

ROOT = "/set"
MORE = settings(max_examples=3 * settings().max_examples)
BLOCK = 8192


def anew(bench: Bench, root: str = ROOT) -> int:
    """D by the formula, from what the port shows."""

    def h(data: bytes, seed: int) -> int:
        return xxhash.xxh3_128(data, seed=seed).intdigest()

    total = 0
    for full, (_number, kind, attributes) in bench.tree(root).items():
        path = full.removeprefix(root)
        name, _, target = kind.partition(" ")
        if name == "FILE":
            content = bench.content(full)
            term = h(len(content).to_bytes(8, "little"), 0x53)
            for number in range((len(content) + BLOCK - 1) // BLOCK):
                block = content[number * BLOCK : (number + 1) * BLOCK].ljust(BLOCK, b"\0")
                if block.strip(b"\0"):
                    term += h(block, number)
            total += (h(path.encode(), 0x4B) | 1) * term
        elif name == "SYMLINK":
            total += h(target.encode() + b"\0" + path.encode(), 0x4C)
        else:
            total += h(f"{path}/".encode(), 0x4B) | 1
        if attributes:
            total += h(f"{attributes}\0{path}".encode(), 0x41)
    return total % (1 << 128)


def new_bench() -> Bench:
    bench = Bench()
    bench.volume.mkdir(ROOT)
    bench.wait(bench.volume.sync_directory("/"))
    return bench


# -- what programs do, from explicit choices ---------------------------------------

PATHS = tuple(ROOT + path for path in ("/a", "/b", "/d", "/d/a", "/d/b"))
CALLS = (
    "create",
    "mkdir",
    "symlink",
    "unlink",
    "rmdir",
    "rename",
    "link",
    "set_attributes",
    "write",
    "write",
    "write",
    "zero",
    "truncate",
    "allocate",
    "sync",
    "open",
)
SIZES = st.one_of(st.integers(0, 30_000), st.sampled_from((0, 1, 8191, 8192, 8193, 16384, 24576)))
STEP = st.tuples(st.sampled_from(CALLS), st.sampled_from(PATHS), SIZES, SIZES)
Step = tuple[str, str, int, int]


def do(bench: Bench, volume: Volume, files: list[File], step: Step) -> None:
    """One step of a program; refusals are no matter.  Files stay open."""
    call, path, at, length = step
    other = PATHS[length % len(PATHS)]
    file = files[at % len(files)] if files else None
    try:
        if call in ("create", "open"):
            files.append(getattr(volume, call)(path))
        elif call in ("mkdir", "unlink", "rmdir"):
            getattr(volume, call)(path)
        elif call in ("rename", "link"):
            getattr(volume, call)(path, other)
        elif call == "symlink":
            volume.symlink(str(at), path)
        elif call == "set_attributes":
            volume.set_attributes(path, at % 4)
        elif file is None:
            return
        elif call == "write":
            file.write_at(at, bytes([at % 3]) * (length // 2), bytes(length - length // 2))
        elif call == "zero":
            file.zero_range(at, length)
        elif call == "truncate":
            file.truncate(at)
        elif call == "allocate":
            file.allocate(at, length)
        else:
            bench.wait(file.sync())  # type: ignore[arg-type]
    except StorageError:
        pass


@MORE
@given(st.lists(STEP, max_size=20), st.lists(st.integers(0, 99), max_size=20))
def test_the_digest_kept_step_by_step_is_the_one_computed_anew(
    steps: list[Step], choices: list[int]
) -> None:
    bench = new_bench()
    files: list[File] = [bench.volume.create(path) for path in PATHS[:2]]
    for number, step in enumerate(steps):
        do(bench, bench.volume, files, step)
        if number % 3:  # so that several changes fall between two looks, too
            assert image_digest(bench.disk, ROOT) == anew(bench)
    assert image_digest(bench.disk, ROOT) == anew(bench)
    bench.lose_power(Choices(choices))
    assert image_digest(bench.disk, ROOT) == anew(bench)


# -- equal images, equal digests ---------------------------------------------------

CONTENT = st.lists(
    st.tuples(st.sampled_from((b"\0", b"x")), st.sampled_from((1, 8191, 8192))), max_size=3
).map(lambda parts: b"".join(letter * count for letter, count in parts))
IMAGES = st.dictionaries(
    st.sampled_from(("/a", "/b", "/d/a")),
    st.tuples(CONTENT, st.sampled_from((0, 0, 1, 2))),
    max_size=3,
)
Image = dict[str, tuple[bytes, int]]


def make(image: Image, way: int) -> Bench:
    """Build an image; the way decides order and pieces, which must not matter."""
    bench = new_bench()
    bench.volume.mkdir(ROOT + "/d")
    for path in sorted(image, reverse=bool(way & 1)):
        content, attributes = image[path]
        name = ROOT + path + ("~" if way & 2 else "")
        file = bench.volume.create(name)
        if way & 4:
            file.write_at(0, b"y" * (len(content) + 9000))
            file.truncate(0)
        if way & 8:
            for at in range(0, len(content), 5000):
                file.write_at(at, content[at : at + 5000])
        elif way & 16:  # holes where zeros are
            file.truncate(len(content))
            for at in (i for i, byte in enumerate(content) if byte):
                if at == 0 or not content[at - 1] or at % BLOCK == 0:
                    run = content[at : at + BLOCK - at % BLOCK]
                    file.write_at(at, run.partition(b"\0")[0])
        else:
            file.write_at(0, content)
        if way & 2:
            bench.volume.rename(name, ROOT + path)
        bench.volume.set_attributes(ROOT + path, attributes)
    return bench


@given(IMAGES, st.integers(0, 31), IMAGES, st.integers(0, 31))
def test_images_are_equal_exactly_when_their_digests_are(
    one: Image, way_of_one: int, two: Image, way_of_two: int
) -> None:
    first = image_digest(make(one, way_of_one).disk, ROOT)
    assert first == image_digest(make(one, way_of_two).disk, ROOT)
    assert (one == two) == (first == image_digest(make(two, way_of_two).disk, ROOT))


def digest_of(content: bytes, *more: tuple[int, bytes]) -> int:
    bench = new_bench()
    file = bench.volume.create(ROOT + "/f")
    file.write_at(0, content)
    for offset, data in more:
        file.write_at(offset, data)
    return image_digest(bench.disk, ROOT)


def test_zeros_holes_and_short_blocks_are_the_same_bytes() -> None:
    end = (3 * BLOCK, b"end")
    written = digest_of(bytes(3 * BLOCK), end)
    assert written == digest_of(b"", end)
    assert written == digest_of(b"x" * 100, (0, bytes(100)), (BLOCK, b"y"), (BLOCK, b"\0"), end)
    assert digest_of(b"x" * 10, (BLOCK, b"y")) == digest_of(b"x" * 10 + bytes(BLOCK - 10) + b"y")


def test_the_size_matters_though_zeros_do_not() -> None:
    sizes = (0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK)
    assert len({digest_of(bytes(size)) for size in sizes}) == len(sizes)


def test_equal_blocks_at_other_places_are_another_image() -> None:
    one, two = b"1" * BLOCK, b"2" * BLOCK
    assert len({digest_of(one + two), digest_of(two + one), digest_of(one + one)}) == 3


NAME_CHANGES: dict[str, Callable[[Volume], object]] = {
    "rename": lambda v: v.rename(ROOT + "/f", ROOT + "/z"),
    "rename a directory": lambda v: v.rename(ROOT + "/d", ROOT + "/y"),
    "swap": lambda v: [
        v.rename(ROOT + "/f", ROOT + "/t"),
        v.rename(ROOT + "/g", ROOT + "/f"),
        v.rename(ROOT + "/t", ROOT + "/g"),
    ],
    "replace": lambda v: v.rename(ROOT + "/f", ROOT + "/g"),
    "unlink": lambda v: v.unlink(ROOT + "/f"),
    "link": lambda v: v.link(ROOT + "/f", ROOT + "/z"),
    "symlink": lambda v: v.symlink("f", ROOT + "/z"),
    "another symlink": lambda v: v.symlink("g", ROOT + "/z"),
    "create": lambda v: v.create(ROOT + "/z"),
    "mkdir": lambda v: v.mkdir(ROOT + "/z"),
    "rmdir": lambda v: v.rmdir(ROOT + "/e"),
    "attributes": lambda v: v.set_attributes(ROOT + "/f", 1),
    "other attributes": lambda v: v.set_attributes(ROOT + "/f", 2),
    "attributes of a directory": lambda v: v.set_attributes(ROOT + "/d", 1),
    "move": lambda v: v.rename(ROOT + "/f", ROOT + "/d/f"),
}


def named() -> Bench:
    bench = new_bench()
    for path in ("/d", "/e"):
        bench.volume.mkdir(ROOT + path)
    for path, content in (("/f", b"f"), ("/g", b"g"), ("/d/h", b"h")):
        bench.volume.create(ROOT + path).write_at(0, content)
    return bench


def test_each_change_of_names_is_another_image() -> None:
    digests = {"none": image_digest(named().disk, ROOT)}
    for change, call in NAME_CHANGES.items():
        bench = named()
        call(bench.volume)
        digests[change] = image_digest(bench.disk, ROOT)
    assert len(set(digests.values())) == len(digests), digests


def test_the_digest_knows_nothing_of_where_the_root_is_or_what_is_beside_it() -> None:
    bench = named()
    before = image_digest(bench.disk, ROOT)
    bench.volume.create("/beside").write_at(0, b"x")
    assert image_digest(bench.disk, ROOT) == image_digest(bench.disk, ROOT + "/") == before
    bench.volume.rename(ROOT, "/elsewhere")
    assert image_digest(bench.disk, "/elsewhere") == before
    assert image_digest(bench.disk, ROOT) == 0


# -- the truth ---------------------------------------------------------------------


class Source:
    """A source's volume stack: truth over capture over the disk."""

    def __init__(
        self,
        below: Callable[[Volume], Volume] = lambda volume: volume,
        above: Callable[[CapturedVolume, Volume], Any] = lambda captured, _raw: captured,
        size_bytes: int = 1 << 20,
        spool_bytes: int = 64 << 20,
    ) -> None:
        self.world = World(network=False)
        machine = self.world.machine("source")
        disk = machine.add_disk("data", DiskModel(size_bytes=size_bytes))
        machine.add_disk("spool", DiskModel())
        host = machine.start()
        self.raw = host.volume("data")
        self.raw.mkdir(ROOT)
        spool_volume = host.volume("spool")
        spool_volume.mkdir("/spool")
        board = Board(spool_volume, "/board", host.boot_id)
        self.spool = Spool(spool_volume, "/spool", board, "digest", 1 << 20, spool_bytes)
        self.capture = Capture(host, below(self.raw), ROOT, self.spool, SpoolPolicy.RESYNCHRONIZE)
        self.truth = Truth(disk, "data", ROOT)
        self.truth.capture = self.capture
        self.begin_epoch(1)
        captured = CapturedVolume(self.capture)
        self.volume = WitnessedVolume(self.truth, above(captured, self.raw))
        self.bench = Bench(disk=disk)

    def begin_epoch(self, epoch: int) -> None:
        self.capture.begin_epoch(epoch)
        self.truth.begin_epoch(epoch)


@pytest.fixture
def make_source() -> Iterator[Callable[..., Source]]:
    made: list[Source] = []

    def new(**how: Any) -> Source:
        made.append(Source(**how))
        return made[-1]

    yield new
    for source in made:
        source.world.close()


@MORE
@given(st.lists(STEP, max_size=20), st.lists(STEP, max_size=8))
def test_the_truth_has_the_digest_after_each_operation(
    steps: list[Step], later: list[Step]
) -> None:
    source = Source()
    truth = source.truth
    expected = {(1, 0): anew(source.bench)}
    files = [source.volume.create(PATHS[0])]
    expected[1, 1] = truth.digest
    for epoch, life in ((1, steps), (2, later)):
        if epoch > 1:
            source.begin_epoch(epoch)
            expected[epoch, 0] = anew(source.bench)
        for step in life:
            do(source.bench, source.volume, files, step)
            assert truth.digest == anew(source.bench) == image_digest(truth.disk, ROOT)
            expected[epoch, source.spool.completed] = truth.digest
        assert truth.operations_of(epoch) == source.spool.completed
    assert truth.breaches == []
    for (epoch, operation), digest in expected.items():
        assert truth.digest_of(epoch, operation) == digest
        assert operation in truth.find(epoch, digest)
    assert len(expected) == truth.operations_of(1) + truth.operations_of(2) + 2
    assert truth.digest_of(1, truth.operations_of(1) + 1) is None
    assert truth.digest_of(3, 0) is None
    source.world.close()


def test_the_truth_follows_short_writes_on_a_full_volume(
    make_source: Callable[..., Source],
) -> None:
    source = make_source(size_bytes=6 * BLOCK)
    file = source.volume.create(ROOT + "/f")
    assert file.write_at(5 * BLOCK, b"x" * 2 * BLOCK) == 2 * BLOCK
    assert file.write_at(0, b"x" * 9 * BLOCK) == 4 * BLOCK
    with pytest.raises(StorageError):
        file.write_at(20 * BLOCK, b"x")
    assert source.truth.digest == anew(source.bench)
    assert source.truth.breaches == []
    assert source.truth.written_bytes[-1] == 6 * BLOCK


def test_the_truth_counts_a_file_under_each_of_its_names(
    make_source: Callable[..., Source],
) -> None:
    source = make_source()
    file = source.volume.create(ROOT + "/f")
    source.volume.link(ROOT + "/f", ROOT + "/g")
    for number in range(3):
        file.write_at(number * 100, b"x" * 10)
        assert source.truth.digest == anew(source.bench)
    source.volume.unlink(ROOT + "/f")
    source.volume.unlink(ROOT + "/g")
    for number in range(3):
        file.write_at(number, b"nobody sees it")
        assert source.truth.digest == anew(source.bench)
    assert source.truth.breaches == []


def test_while_capture_is_stopped_the_truth_goes_on(make_source: Callable[..., Source]) -> None:
    source = make_source()
    file = source.volume.create(ROOT + "/f")
    source.capture.stop("the test wants it so")
    instants = source.truth.instant
    file.write_at(0, b"x")
    source.volume.unlink(ROOT + "/f")
    assert source.truth.digest == anew(source.bench)
    assert source.truth.instant == instants + 2
    assert source.truth.operations_of(1) == 1
    source.begin_epoch(2)
    assert source.truth.digest_of(2, 0) == anew(source.bench)
    assert source.truth.breaches == []


# -- planted defects of capture ----------------------------------------------------


class Through:
    """A volume or file that hands everything on to another."""

    def __init__(self, below: Any) -> None:
        self.below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


class LosesAWrite(Through):
    """Below capture: each file's second write is said to be done and is not."""

    def create(self, path: str) -> Any:
        return _LossyFile(self.below.create(path))

    def open(self, path: str, read_only: bool = False) -> Any:
        return _LossyFile(self.below.open(path, read_only))


class _LossyFile(Through):
    writes = 0

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        self.writes += 1
        if self.writes == 2:
            return sum(map(len, buffers))
        return int(self.below.write_at(offset, *buffers))


class MisplacesAWrite(LosesAWrite):
    def create(self, path: str) -> Any:
        return _MisplacingFile(self.below.create(path))

    def open(self, path: str, read_only: bool = False) -> Any:
        return _MisplacingFile(self.below.open(path, read_only))


class _MisplacingFile(Through):
    writes = 0

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        self.writes += 1
        return int(self.below.write_at(offset + (self.writes == 2), *buffers))


class Forgets(Through):
    """In capture's place: hands one call to the raw volume, so that it is not counted."""

    def __init__(self, below: CapturedVolume, raw: Volume, call: str) -> None:
        super().__init__(below)
        self.raw = raw
        self.call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw if name == self.call else self.below, name)

    def create(self, path: str) -> Any:
        return ForgetfulFile(self.below.create(path), self.raw.open(path), self.call)


class ForgetfulFile(Through):
    def __init__(self, below: File, raw: File, call: str) -> None:
        super().__init__(below)
        self.raw = raw
        self.call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw if name == self.call else self.below, name)


def program(volume: Volume) -> None:
    file = volume.create(ROOT + "/f")
    file.write_at(0, b"first")
    file.write_at(3, b"second")
    file.zero_range(0, 2)
    file.truncate(7)
    file.truncate(9)
    volume.link(ROOT + "/f", ROOT + "/g")
    volume.set_attributes(ROOT + "/f", 3)
    volume.rename(ROOT + "/f", ROOT + "/h")
    volume.symlink("g", ROOT + "/s")
    volume.unlink(ROOT + "/g")
    volume.mkdir(ROOT + "/d")
    volume.rmdir(ROOT + "/d")


def test_the_program_alone_gives_no_alarm(make_source: Callable[..., Source]) -> None:
    source = make_source()
    program(source.volume)
    assert source.truth.breaches == []
    assert source.truth.operations_of(1) == 13
    assert len({source.truth.digest_of(1, k) for k in range(14)}) == 13  # mkdir and rmdir


@pytest.mark.parametrize("defect", [LosesAWrite, MisplacesAWrite])
def test_a_write_that_does_not_reach_its_file_is_reported(
    make_source: Callable[..., Source], defect: type[Through]
) -> None:
    source = make_source(below=defect)
    program(source.volume)
    assert source.truth.breaches == ["a write of 6 bytes at 3 did not reach its file"]


@pytest.mark.parametrize(
    ("call", "misses"),
    [
        ("write_at", 2),
        ("zero_range", 1),
        ("truncate", 2),
        ("link", 1),
        ("set_attributes", 1),
        ("rename", 1),
        ("symlink", 1),
        ("unlink", 1),
        ("mkdir", 1),
        ("rmdir", 1),
    ],
)
def test_a_change_that_is_not_counted_is_reported(
    make_source: Callable[..., Source], call: str, misses: int
) -> None:
    source = make_source(above=lambda captured, raw: Forgets(captured, raw, call))
    try:
        program(source.volume)
    except StorageError:
        assert call in ("link", "rename", "mkdir", "symlink")  # capture lost track of names
    assert len([b for b in source.truth.breaches if "missed the change" in b]) >= misses


def test_a_change_that_is_counted_twice_is_reported(make_source: Callable[..., Source]) -> None:
    source = make_source()
    file = source.volume.create(ROOT + "/f")
    source.spool.append(b"")
    source.spool.complete()
    file.write_at(0, b"x")
    assert source.truth.breaches == ["capture numbered a change 3, 2 was due"]


# -- the operation in which the programs died --------------------------------------

WRITE = ("write_at", ROOT + "/f", 0, b"second")


class Interrupted:
    """A source whose programs die in their third operation, over "first" in one file.

    ``cut_short``: the full volume had taken only these bytes of it.
    """

    def __init__(self, source: Source, cut_short: bytes | None = None) -> None:
        self.source = source
        file = source.volume.create(ROOT + "/f")
        file.write_at(0, b"first!")
        if cut_short is not None:
            self.happened(cut_short)
            disk = source.bench.disk
            node = disk.names.node(ROOT + "/f")
            disk.refused = node.number, disk.clock.now()
        source.truth.crashed_in(*WRITE)
        self.check = source.truth.before_restart()

    def happened(self, data: bytes = b"second") -> None:
        self.source.raw.open(ROOT + "/f").write_at(0, data)

    def counted(self) -> None:
        self.source.spool.append(b"")
        self.source.spool.complete()

    def breaches(self) -> list[str]:
        self.check(self.source.capture)
        return self.source.truth.breaches


@pytest.fixture
def interrupted(make_source: Callable[..., Source]) -> Interrupted:
    return Interrupted(make_source())


def test_an_interrupted_operation_may_not_have_happened(interrupted: Interrupted) -> None:
    assert interrupted.breaches() == []
    assert interrupted.source.truth.operations_of(1) == 2


def test_an_interrupted_operation_may_have_happened(interrupted: Interrupted) -> None:
    interrupted.happened()
    interrupted.counted()
    assert interrupted.breaches() == []
    truth = interrupted.source.truth
    assert truth.digest_of(1, 3) == truth.digest == anew(interrupted.source.bench)


@pytest.mark.parametrize(
    ("happens", "counts", "breach"),
    [
        (1, 0, "capture says operation 2, 2 had completed before, and the interrupted one happ"),
        (0, 1, "capture says operation 3, 2 had completed before, and the interrupted one did "),
        (1, 2, "capture says operation 4, 2 had completed before, and the interrupted one happ"),
        (0, 2, "capture says operation 4, 2 had completed before, and the interrupted one did "),
    ],
)
def test_an_interrupted_operation_that_is_lost_or_doubled_is_reported(
    interrupted: Interrupted, happens: int, counts: int, breach: str
) -> None:
    if happens:
        interrupted.happened()
    for _ in range(counts):
        interrupted.counted()
    (reported,) = interrupted.breaches()
    assert breach in reported


def test_an_interrupted_operation_that_happened_by_half_is_reported(
    interrupted: Interrupted,
) -> None:
    interrupted.happened(b"sec")
    interrupted.counted()
    assert any("neither that before nor that after" in b for b in interrupted.breaches())


# -- cut short, or refused, for want of room, in the operation in which the programs died ----


@pytest.mark.parametrize("done_bytes", [0, 3])
def test_a_refused_operation_may_count_as_what_it_did(
    make_source: Callable[..., Source], done_bytes: int
) -> None:
    refused = Interrupted(make_source(), b"second"[:done_bytes])
    refused.counted()
    assert refused.breaches() == []
    truth = refused.source.truth
    assert truth.digest_of(1, 3) == truth.digest == anew(refused.source.bench)


def test_a_refused_operation_that_did_a_part_must_be_counted(
    make_source: Callable[..., Source],
) -> None:
    [breach] = Interrupted(make_source(), b"sec").breaches()
    assert "capture says operation 2, 2 had completed before" in breach


def test_what_changes_after_the_refusal_is_reported(make_source: Callable[..., Source]) -> None:
    refused = Interrupted(make_source(), b"sec")
    refused.happened(b"secon")
    refused.counted()
    assert any("neither that before nor that after" in b for b in refused.breaches())


def test_an_earlier_refusal_excuses_nothing(make_source: Callable[..., Source]) -> None:
    refused = Interrupted(make_source(), b"sec")
    refused.counted()
    assert refused.breaches() == []
    refused.source.volume.open(ROOT + "/f").write_at(0, b"second")
    check = refused.source.truth.before_restart()  # nothing was under way this time
    refused.happened(b"secst!")  # as the earlier crash had left it
    refused.counted()
    check(refused.source.capture)
    image, count = refused.source.truth.breaches
    assert image.endswith("its image is not that before, and nothing had been interrupted")
    assert count.endswith(
        "capture says operation 5, 4 had completed before, and none was interrupted"
    )


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("counts", [0, 1, 2])
def test_nothing_was_interrupted_so_nothing_may_be_counted(
    make_source: Callable[..., Source], counts: int, spoilt: bool
) -> None:
    """Nor does a disk that has changed by itself excuse an operation that no program did."""
    source = make_source()
    file = source.volume.create(ROOT + "/f")
    file.write_at(0, b"first!")
    if spoilt:
        source.raw.open(ROOT + "/f").write_at(0, b"firsT!")
        source.truth.medium_changed([ROOT + "/f"])
    check = source.truth.before_restart()
    for _ in range(counts):
        source.spool.append(b"")
        source.spool.complete()
    check(source.capture)
    told = f"capture says operation {2 + counts}, 2 had completed before, and none was interrupted"
    breaches = source.truth.breaches
    assert len(breaches) == (1 if counts else 0)
    assert all(breach.endswith(told) for breach in breaches)
