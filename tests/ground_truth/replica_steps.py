"""What the programs of a replicated set do, as data, and what the set then is: the truth.

A step is one call of the volume and, while capture runs, one numbered operation.  The image
after the first n steps is computed by :class:`Model`, plain Python that knows nothing of the
replicator; :func:`look` gives the same description of real files.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

BLOCK_BYTES = 8192
NO_ATTRIBUTES = {"file": 0o1600, "directory": 0o1700}
"""Mode of what nobody has given attributes (:mod:`replicator.host.volume`)."""

Image = dict[str, tuple[Any, ...]]
"""Path to (kind, mode or target, size, digest, all names of the file)."""


class Step(NamedTuple):
    """One call.  ``offset`` is also a new size or attribute bits, ``other`` a second path."""

    op: str
    path: str = ""
    other: str = ""
    offset: int = 0
    length: int = 0


NOT_OF_THE_SET = frozenset({"gap", "epoch", "synchronizing", "kill", "pause", "drain"})
"""Steps that change no file: capture stops; the next epoch is waited for; its synchronization,
and ``offset`` milliseconds of it; the replica is killed and started again; programs rest for a
moment, or until the replica has everything."""


def payload(number: int, length: int) -> bytes:
    """Bytes that no other step writes."""
    return random.Random(number).randbytes(length)


@dataclass
class _File:
    """A file, whatever its names are."""

    data: bytearray = field(default_factory=bytearray)
    mode: int = NO_ATTRIBUTES["file"]
    digest: str = ""
    """Empty when the content has changed since."""


class Model:
    """The protected set in memory."""

    def __init__(self) -> None:
        self._nodes: dict[str, _File | str | int] = {}
        """A file, a symbolic link's target, or a directory's mode."""

    def apply(self, number: int, step: Step) -> None:
        """Carry out step ``number``; the same calls as those of the real programs."""
        nodes, path = self._nodes, step.path
        node = nodes.get(path)
        match step.op:
            case "create":
                nodes[path] = _File()
            case "mkdir":
                nodes[path] = NO_ATTRIBUTES["directory"]
            case "symlink":
                nodes[path] = step.other
            case "link":
                nodes[step.other] = nodes[path]
            case "unlink" | "rmdir":
                del nodes[path]
            case "rename":
                moved = [name for name in nodes if name == path or name.startswith(path + "/")]
                for name in moved:
                    nodes[step.other + name[len(path) :]] = nodes.pop(name)
            case "attributes":
                if isinstance(node, _File):
                    node.mode = step.offset
                else:
                    nodes[path] = step.offset
            case "write":
                assert isinstance(node, _File)
                _lengthen(node, step.offset + step.length)
                node.data[step.offset : step.offset + step.length] = payload(number, step.length)
                node.digest = ""
            case "truncate":
                assert isinstance(node, _File)
                _lengthen(node, step.offset)
                del node.data[step.offset :]
                node.digest = ""
            case "zero":
                assert isinstance(node, _File)
                _lengthen(node, step.offset + step.length)
                node.data[step.offset : step.offset + step.length] = bytes(step.length)
                node.digest = ""
            case "sync":
                pass
            case unknown:
                raise ValueError(unknown)

    def describe(self) -> Image:
        """The image as :func:`look` would tell it."""
        names: dict[int, list[str]] = {}
        for path, node in self._nodes.items():
            if isinstance(node, _File):
                names.setdefault(id(node), []).append(path)
        image: Image = {}
        for path, node in self._nodes.items():
            if isinstance(node, _File):
                node.digest = node.digest or _digest(node.data)
                together = tuple(sorted(names[id(node)]))
                image[path] = ("file", node.mode, len(node.data), node.digest, together)
            elif isinstance(node, str):
                image[path] = ("link", node)
            else:
                image[path] = ("directory", node)
        return image


def _lengthen(file: _File, size_bytes: int) -> None:
    file.data.extend(bytes(max(0, size_bytes - len(file.data))))


def _digest(data: bytes | bytearray) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def look(directory: Path) -> Image:
    """Everything below a directory: names, contents, sizes, modes and which names are one file."""
    image: Image = {}
    names: dict[int, list[str]] = {}
    inodes: dict[str, int] = {}
    for path in directory.rglob("*"):
        name = "/" + path.relative_to(directory).as_posix()
        found = path.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            image[name] = ("link", os.readlink(path))
        elif stat.S_ISDIR(found.st_mode):
            image[name] = ("directory", mode)
        else:
            names.setdefault(found.st_ino, []).append(name)
            inodes[name] = found.st_ino
            image[name] = ("file", mode, found.st_size, _digest(path.read_bytes()))
    for name, inode in inodes.items():
        image[name] += (tuple(sorted(names[inode])),)
    return image


def images(steps: Sequence[Step]) -> list[Image]:
    """The image after 0, 1, 2 ... of the steps that change files."""
    model = Model()
    found = [model.describe()]
    for number, step in enumerate(step for step in steps if step.op not in NOT_OF_THE_SET):
        model.apply(number, step)
        found.append(model.describe())
    return found


def differences(found: Image, expected: Image) -> list[str]:
    """What is otherwise than expected, in words."""
    return [
        f"{path}: {found.get(path, 'missing')}, expected {expected.get(path, 'nothing')}"
        for path in sorted(found.keys() | expected.keys())
        if found.get(path) != expected.get(path)
    ]


# -- the programs ------------------------------------------------------------------------


def first_image() -> list[Step]:
    """What is there before anything is captured."""
    return [
        Step("create", "/db"),
        Step("write", "/db", offset=0, length=24 * BLOCK_BYTES),
        Step("create", "/log"),
        Step("write", "/log", offset=0, length=5000),
        Step("create", "/a"),
        Step("write", "/a", offset=3000, length=30_000),
    ]


class _Store:
    """Draws the steps of a store: a log in generations, a database, and odd things between."""

    def __init__(self, seed: int) -> None:
        self.steps = first_image()
        self._choice = random.Random(f"store {seed}")
        self._log_end = 5000
        self._generation = 0

    def add(
        self, op: str, path: str = "", other: str = "", offset: int = 0, length: int = 0
    ) -> None:
        self.steps.append(Step(op, path, other, offset, length))

    def transactions(self, count: int) -> None:
        """Log records appended, pages of the database rewritten, sometimes a sync."""
        choice = self._choice
        for _ in range(count):
            length = choice.randrange(1, 6000)
            self.add("write", "/log", offset=self._log_end, length=length)
            self._log_end += length
            page = choice.randrange(30)
            pages = choice.choice((1, 1, 1, 3))
            self.add("write", "/db", offset=page * BLOCK_BYTES, length=pages * BLOCK_BYTES)
            if choice.random() < 0.4:
                self.add("sync", "/log")
            if choice.random() < 0.5:
                self.add("pause")

    def roll(self) -> None:
        """The log's generation ends: by rename, and its name is used again."""
        self._generation += 1
        number = self._generation
        self.add("sync", "/log")
        self.add("rename", "/log", f"/log-{number}")
        self.add("create", "/log")
        self._log_end = 0
        if number > 2:
            self.add("unlink", f"/log-{number - 2}")
        # A checkpoint file, replaced as careful programs do it.
        self.add("create", "/checkpoint.new")
        self.add("write", "/checkpoint.new", length=900 + number)
        self.add("sync", "/checkpoint.new")
        self.add("rename", "/checkpoint.new", "/checkpoint")

    def odd(self, kind: int) -> None:
        """What a store does seldom."""
        match kind % 4:
            case 0:
                self.add("link", "/db", f"/db-{kind}")
                self.add("write", f"/db-{kind}", offset=BLOCK_BYTES, length=BLOCK_BYTES)
                self.add("truncate", "/db", offset=19 * BLOCK_BYTES + 700)
                self.add("unlink", f"/db-{kind}")
            case 1:
                self.add("mkdir", f"/sub-{kind}")
                self.add("create", f"/sub-{kind}/x")
                self.add("write", f"/sub-{kind}/x", offset=100, length=9000)
                self.add("symlink", f"/link-{kind}", "sub/x")
                self.add("rename", f"/sub-{kind}", f"/moved-{kind}")
                self.add("write", f"/moved-{kind}/x", offset=0, length=4000)
            case 2:
                self.add("zero", "/db", offset=3 * BLOCK_BYTES + 100, length=20_000)
                self.add("truncate", "/db", offset=26 * BLOCK_BYTES)
            case _:
                self.add("mkdir", f"/gone-{kind}")
                self.add("create", f"/gone-{kind}/y")
                self.add("write", f"/gone-{kind}/y", offset=0, length=12_000)
                self.add("rename", f"/gone-{kind}/y", f"/kept-{kind}")
                self.add("rmdir", f"/gone-{kind}")


def store_steps(seed: int, *, plain: bool = False) -> list[Step]:
    """A run: the first image, streaming, a gap that a resynchronization closes, streaming.

    Arguments
    ---------
    seed: of what is drawn.
    plain: leaves out lasting links, and that the replica is killed and started again: while it
        streams, and in the midst of a second resynchronization.
    """
    store = _Store(seed)
    # Some of the mutants work on an image that is not there yet: they are given time.
    if plain:
        store.add("drain")
    else:
        store.add("link", "/a", "/b")
    for number in range(12):
        store.transactions(8)
        if number == 6:
            # Names and pages that only the resynchronization brings over.
            store.add("gap")
            store.add("create", "/in-the-gap")
            store.add("write", "/in-the-gap", length=40_000)
            if not plain:
                store.add("unlink", "/b")
                store.add("link", "/in-the-gap", "/c")
            store.transactions(3)
            store.add("epoch")
        if number == 3 and not plain:
            store.add("kill")
        if number == 9 and not plain:
            store.add("gap")
            store.add("write", "/in-the-gap", length=300_000)
            store.add("epoch")
            store.add("synchronizing", offset=seed % 4 * 4)
            store.add("kill")
        store.odd(number)
        store.transactions(2)
        store.roll()
        if number == 7:
            store.add("drain")
    return store.steps


def attribute_steps(kind: str) -> list[Step]:
    """Attributes of a file or of a directory change, streamed or in a gap, and then nothing."""
    steps = [
        *first_image(),
        Step("mkdir", "/sub"),
        Step("create", "/sub/x"),
        Step("write", "/sub/x", length=100),
        Step("drain"),
    ]
    path = "/sub" if "directory" in kind else "/sub/x"
    for number in range(12):
        # Again and again: where a slot of the checkpoint becomes longer than it ever was, its
        # sync commits the file system's whole journal, attributes and all.
        if "gap" in kind:
            steps.append(Step("gap"))
        steps += [Step("attributes", path, offset=0o700 + number), Step("drain")]
    return steps


def steps_of(script: str, seed: int) -> list[Step]:
    """The steps of a named run: ``store``, ``plain store``, ``attributes of ...``."""
    if script.startswith("attributes"):
        return attribute_steps(script)
    return store_steps(seed, plain=script == "plain store")
