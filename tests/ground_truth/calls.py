"""Workloads as explicit data: calls that a real file system and the emulated disk both take.

Paths are absolute, ``/`` being the mount.  All offsets and lengths are multiples of
:data:`CELL_BYTES`, and every cell that is written names its call, its file and its place, so
that a byte in the wrong place shows itself.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CELL_BYTES = 16
CELL = np.dtype([("call", "<u4"), ("file", "<u4"), ("place", "<u8")])
DIRECTORY = None
"""What an outcome says of a path that is a directory."""

Outcome = dict[str, "bytes | None"]
"""What is found after a power loss: path to content, or :data:`DIRECTORY`."""


@dataclass(frozen=True)
class Call:
    """One call.

    ``op`` is create, write, append, truncate (to ``offset``), zero (a range), rename and link
    (to ``other``), unlink, mkdir, sync, sync_directory; and two that promise nothing, for the
    emulated disk do not exist, and make a kernel write at a chosen moment what it might
    write at any: push (the pages of a range, by sync_file_range) and commit (all, by syncfs).
    """

    op: str
    path: str
    offset: int = 0
    length: int = 0
    other: str = ""

    @property
    def promises(self) -> bool:
        """Whether something is durable once it has returned."""
        return self.op in ("sync", "sync_directory")


def file_of_each(calls: Sequence[Call]) -> list[int | None]:
    """For each call the file it is about: the number of the call that created it."""
    files: list[int | None] = []
    by_path: dict[str, int] = {}
    for number, call in enumerate(calls):
        if call.op == "create":
            by_path[call.path] = number
        files.append(by_path.get(call.path))
        if call.op == "rename":
            by_path[call.other] = by_path.pop(call.path)
        elif call.op == "link":
            by_path[call.other] = by_path[call.path]
        elif call.op == "unlink":
            del by_path[call.path]
    return files


def payload(call: int, file: int, offset: int, length: int) -> bytes:
    """What a call writes to a file at an offset."""
    assert offset % CELL_BYTES == length % CELL_BYTES == 0
    cells = np.empty(length // CELL_BYTES, CELL)
    cells["call"] = call + 1  # a cell is never all zeros
    cells["file"] = file
    cells["place"] = np.arange(offset // CELL_BYTES, (offset + length) // CELL_BYTES)
    return cells.tobytes()


def log_roll() -> list[Call]:
    """A store's life: log appended and synced, pages written, checkpoint replaced, log rolled."""
    calls = [
        Call("mkdir", "/set"),
        Call("sync_directory", "/"),
        Call("create", "/set/data"),
        Call("truncate", "/set/data", 131072),
        Call("sync", "/set/data"),
        Call("create", "/set/log"),
        Call("sync_directory", "/set"),
    ]
    for turn in range(4):
        for record in range(5):
            calls.append(Call("append", "/set/log", length=(816, 4096, 1008, 12288, 512)[record]))
            page = (turn * 7 + record * 5) % 16
            calls.append(Call("write", "/set/data", page * 8192, 8192))
            if record % 2:
                calls.append(Call("sync", "/set/log"))
            if record == turn:
                calls.append(Call("push", "/set/data", 0, 65536))
        calls += [
            Call("create", "/set/checkpoint.new"),
            Call("append", "/set/checkpoint.new", length=512),
            Call("sync", "/set/checkpoint.new"),
            Call("rename", "/set/checkpoint.new", other="/set/checkpoint"),
            Call("sync_directory", "/set"),
            Call("sync", "/set/data"),
            Call("rename", "/set/log", other=f"/set/log.{turn}"),
            Call("create", "/set/log"),
            Call("zero", "/set/data", 16384 * turn + 4096, 12288),
        ]
        if turn % 2:
            calls += [Call("unlink", f"/set/log.{turn - 1}"), Call("commit", "/")]
    return calls


_OPERATIONS = (
    "write write write append append append truncate zero rename unlink link sync sync sync"
    " sync_directory push push commit"
)


def drawn(seed: int, count: int, operations: str = "") -> list[Call]:
    """A list of ``count`` calls over a few files; the seed only names it.

    ``operations``, words with spaces between, leaves only those (with create and mkdir).
    """
    choice = random.Random(f"calls {seed}")
    calls = [Call("mkdir", "/a"), Call("mkdir", "/b"), Call("sync_directory", "/")]
    sizes: dict[str, int] = {}
    shared: set[str] = set()
    words = (operations or _OPERATIONS).split()
    while len(calls) < count:
        new = f"/{choice.choice('ab')}/{choice.choice('vwxyz')}"
        op = choice.choice(words)
        if len(sizes) < 2 or choice.random() < 0.05:
            if new not in sizes:
                calls.append(Call("create", new))
                sizes[new] = 0
            continue
        path = choice.choice(sorted(sizes))
        size = sizes[path]
        length = CELL_BYTES * choice.choice((1, 31, 32, 33, 256, 300, 512, 1024, 2048, 5000))
        offset = choice.choice((0, 512, 4096, 8192)) * choice.randint(0, 9) + CELL_BYTES * (
            choice.choice((0, 0, 0, 1, 31))
        )
        if op == "append":
            calls.append(Call(op, path, length=length))
            sizes[path] = size + length
        elif op == "write" or op == "zero":
            calls.append(Call(op, path, offset, length))
            sizes[path] = max(size, offset + length)
        elif op == "truncate":
            new_size = choice.choice((0, size // 2 // CELL_BYTES * CELL_BYTES, offset))
            calls.append(Call(op, path, new_size))
            sizes[path] = new_size
        elif op == "rename":
            if new != path and path not in shared and new not in shared:
                calls.append(Call(op, path, other=new))
                sizes[new] = sizes.pop(path)
        elif op == "link":
            # Its size is looked after under one name only: a linked file is left alone.
            if new not in sizes and path not in shared:
                calls.append(Call(op, path, other=new))
                sizes[new] = size
                shared |= {new, path}
        elif op == "unlink":
            calls.append(Call(op, path))
            del sizes[path]
            shared.discard(path)
        elif op == "sync_directory":
            calls.append(Call(op, choice.choice(("/", "/a", "/b"))))
        elif op == "commit":
            calls.append(Call(op, "/"))
        elif op == "push":
            calls.append(Call(op, path, 0, choice.choice((4096, 65536, 1 << 20))))
        else:
            calls.append(Call(op, path))
    return calls
