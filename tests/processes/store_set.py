"""A protected set of real store files, and numbered steps that a program takes through it.

Each step is one call, absolute, and a function of its number: to take it again when nobody
knows whether it was taken leads to the same image.  :class:`StoreModel` is the image after any
number of steps, in plain Python that knows nothing of the replicator.
"""

from __future__ import annotations

import lzma
import random
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from replicator.host.protected_set import ProtectedSet
from tests.ground_truth.replica_steps import Model, Step, _File, payload
from tests.processes.trial import ROOT

SAMPLES = ROOT.parent / "shared/reference/samples"
PAGE_BYTES = 8192
BLOCK_STEPS = 40
"""Steps of one generation of the log."""

DIRECTORIES = {
    "srum": "srum-win10-dirty",
    "first": "srum-server2022-first",
    "bits": "bits-16k-dirty",
    "sum": "sum-2012r2",
    "tail": "damaged-tail",
}
"""Name in the protected set to name among the samples: 8 MiB in 20 files."""

DATABASES = {
    "/srum/SRUDB.dat": 3_211_264,
    "/bits/qmgr.db": 1_310_720,
    "/sum/Current.mdb": 1_056_768,
}
"""What is rewritten page by page, and its size in bytes before the first step."""

GENERATED = DATABASES | {
    "/srum/SRU.log": 65_536,
    "/srum/SRU.chk": 8192,
    "/first/SRUDB.dat": 196_608,
    "/first/SRU.log": 65_536,
    "/tail/SRUDB.dat": 655_360,
}
"""Names and sizes of the set where the samples are not at hand."""

LOG, CHECKPOINT = "/srum/SRU.log", "/srum/SRU.chk"


def lay_out(directory: Path) -> None:
    """Copy the sample stores into an empty directory, or make files of the same kind."""
    for name, sample in DIRECTORIES.items():
        (directory / name).mkdir()
        for path in sorted((SAMPLES / sample).glob("*")):  # none where there are no samples
            packed = path.suffix == ".xz"
            data = lzma.decompress(path.read_bytes()) if packed else path.read_bytes()
            (directory / name / (path.stem if packed else path.name)).write_bytes(data)
    for number, (name, size_bytes) in enumerate(GENERATED.items()):
        path = directory / name[1:]
        if not path.exists():
            # As in a store, pages that were never used are zeros.
            page = payload(-1 - number, PAGE_BYTES) + bytes(PAGE_BYTES)
            path.write_bytes((page * (size_bytes // len(page) + 1))[:size_bytes])
    for path in directory.rglob("*"):
        path.chmod(0o750 if path.is_dir() else 0o640)  # whatever the umask is
    for name, size_bytes in DATABASES.items():
        assert (directory / name[1:]).stat().st_size == size_bytes, name


class StoreModel(Model):
    """The image, beginning with what lies in a directory.

    Arguments
    ---------
    directory: the protected set before the first step; directories and plain files.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        for path in directory.rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            name = "/" + path.relative_to(directory).as_posix()
            is_file = path.is_file()
            self._nodes[name] = _File(bytearray(path.read_bytes()), mode) if is_file else mode


def steps(first: int = 0) -> Iterator[Step]:
    """The steps from number ``first`` on, without an end."""
    for generation in count(first // BLOCK_STEPS):
        block = _block(generation)
        yield from block[max(0, first - generation * BLOCK_STEPS) :]


def _block(generation: int) -> list[Step]:
    """What happens in one generation of the log; it begins with the names the last one left."""
    numbers = random.Random(f"generation {generation}")
    found: list[Step] = []
    log_end = 0
    odd = _odd(generation)
    transactions = 10
    for number in range(transactions):
        length = numbers.randrange(1, 6000)
        found += [Step("write", LOG, offset=log_end, length=length), _page(numbers)]
        log_end += length
        found += odd[number * len(odd) // transactions : (number + 1) * len(odd) // transactions]
    new = f"{CHECKPOINT}.new"
    end = [
        Step("sync", LOG),
        Step("rename", LOG, _old_log(generation)),
        Step("create", LOG),
        # As careful programs replace a small file.
        Step("create", new),
        Step("write", new, length=900 + generation % 100),
        Step("sync", new),
        Step("rename", new, CHECKPOINT),
    ]
    if generation >= 3:
        end.append(Step("unlink", _old_log(generation - 3)))
    found += [_page(numbers) for _ in range(BLOCK_STEPS - len(found) - len(end))]
    assert len(found) + len(end) == BLOCK_STEPS
    return found + end


def _old_log(generation: int) -> str:
    return f"/srum/SRU{0x100 + generation:05X}.log"


def _page(numbers: random.Random) -> Step:
    database = numbers.choice(tuple(DATABASES))
    page = numbers.randrange(DATABASES[database] // PAGE_BYTES)
    length = numbers.choice((1, 1, 1, 3)) * PAGE_BYTES
    return Step("write", database, offset=page * PAGE_BYTES, length=length)


def _odd(generation: int) -> list[Step]:
    """What a store does seldom; what stays of it is removed four generations later."""
    old = generation - 4
    found: list[Step] = []
    match generation % 4:
        case 0:
            if old >= 0:
                found = [Step("unlink", f"/sum/second-{old}")]
            database, second = "/sum/Current.mdb", f"/sum/second-{generation}"
            shorter = DATABASES[database] - 21 * PAGE_BYTES + 700
            found += [
                Step("link", database, second),
                Step("write", second, offset=PAGE_BYTES, length=PAGE_BYTES),
                Step("truncate", database, offset=shorter),
                Step("attributes", second, offset=0o600),
            ]
        case 1:
            if old >= 0:
                moved = f"/moved-{old}"
                found = [Step("unlink", f"{moved}/{name}") for name in ("x", "link")]
                found += [Step("rmdir", moved)]
            new, moved = f"/new-{generation}", f"/moved-{generation}"
            found += [
                Step("mkdir", new),
                Step("create", f"{new}/x"),
                Step("write", f"{new}/x", offset=100, length=9000),
                Step("symlink", f"{new}/link", "x"),
                Step("rename", new, moved),
                Step("write", f"{moved}/x", offset=0, length=4000),
            ]
        case 2:
            database = "/bits/qmgr.db"
            longer = DATABASES[database] + 37 * PAGE_BYTES
            found = [
                Step("zero", database, offset=3 * PAGE_BYTES + 100, length=20_000),
                Step("truncate", database, offset=longer),
                Step("attributes", "/first", offset=0o700),
            ]
        case _:
            if old >= 0:
                found = [Step("unlink", f"/kept-{old}")]
            gone = f"/gone-{generation}"
            found += [
                Step("mkdir", gone),
                Step("create", f"{gone}/y"),
                Step("write", f"{gone}/y", length=12_000),
                Step("rename", f"{gone}/y", f"/kept-{generation}"),
                Step("rmdir", gone),
                Step("truncate", "/bits/qmgr.db", offset=DATABASES["/bits/qmgr.db"]),
                Step("attributes", "/first", offset=0o750),
            ]
    return found


def take(files: ProtectedSet, number: int, step: Step) -> None:
    """Take step ``number``, which may have been taken already, but no later one was."""
    path, other = step.path, step.other
    match step.op:
        case "create":
            if not files.exists(path):
                files.create(path).close()
        case "mkdir":
            if not files.exists(path):
                files.mkdir(path)
        case "symlink":
            if not files.exists(path):
                files.symlink(other, path)
        case "link":
            if not files.exists(other):
                files.link(path, other)
        case "unlink":
            if files.exists(path):
                files.unlink(path)
        case "rmdir":
            if files.exists(path):
                files.rmdir(path)
        case "rename":
            if files.exists(path):
                files.rename(path, other)
        case "attributes":
            files.set_attributes(path, step.offset)
        case _:
            with files.open(path) as file:
                match step.op:
                    case "write":
                        file.write_at(step.offset, payload(number, step.length))
                    case "truncate":
                        file.truncate(step.offset)
                    case "zero":
                        file.zero_range(step.offset, step.length)
                    case "sync":
                        file.sync()
                    case unknown:
                        raise ValueError(unknown)
