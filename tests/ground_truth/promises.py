"""What any file system promises over a power loss, checked without the emulated disk.

1. No foreign bytes: each cell of a file is zero, or was written there, to that file.
2. What was synced is there: cells that nothing has touched since, and no smaller size unless
   a truncation was begun since.
3. Names that a directory had when it was synced, and that nothing has touched since, are there.
4. A rename is atomic: its file is not found under both names, and a name that was durable and
   was only ever replaced by renames is there, as the old file or a new one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.ground_truth.calls import (
    CELL,
    CELL_BYTES,
    DIRECTORY,
    Call,
    Outcome,
    file_of_each,
    payload,
)


class Promises:
    """What was promised once some calls had ended and others had begun.

    Arguments
    ---------
    calls: the workload.
    ended: how many of the calls had returned.
    begun: how many had begun, the one under way included.
    """

    def __init__(self, calls: Sequence[Call], ended: int, begun: int) -> None:
        self._calls = calls
        self._begun = begun
        self._files = file_of_each(calls)
        self._now: dict[int, bytearray] = {}
        self._writers: dict[int, set[int]] = {}
        self._synced: dict[int, bytes] = {}
        self._touched: dict[int, np.ndarray] = {}
        self._cut: set[int] = set()
        self._tree: dict[str, int | None] = {}
        self._durable: dict[str, int | None] = {}
        self._replaced: dict[str, set[int | None]] = {}
        self._linked: set[int | None] = set()
        self.renamed_away: list[tuple[int, str, str]] = []
        for number in range(begun):
            self._follow(number, number < ended)

    def _follow(self, number: int, ended: bool) -> None:
        call, file = self._calls[number], self._files[number]
        match call.op:
            case "create":
                assert file is not None
                self._now[file] = bytearray()
                self._name(call.path, file)
            case "mkdir":
                self._name(call.path, DIRECTORY)
            case "write" | "append" | "zero":
                assert file is not None
                now = self._now[file]
                offset = len(now) if call.op == "append" else call.offset
                end = offset + call.length
                now.extend(bytes(max(0, end - len(now))))
                zero = call.op == "zero"
                now[offset:end] = (
                    bytes(call.length) if zero else payload(number, file, offset, call.length)
                )
                self._touch(file, offset, end)
            case "truncate":
                assert file is not None
                now = self._now[file]
                if call.offset < len(now):
                    self._touch(file, call.offset, len(now))
                    self._cut.add(file)
                del now[call.offset :]
                now.extend(bytes(call.offset - len(now)))
            case "rename":
                self._tree.pop(call.path, None)
                self._durable.pop(call.path, None)
                self._replaced.pop(call.path, None)
                self._replace(call.other, file)
                assert file is not None
                self.renamed_away.append((file, call.path, call.other))
            case "link":
                self._linked.add(file)
                self._name(call.other, file)
            case "unlink":
                self._tree.pop(call.path, None)
                self._durable.pop(call.path, None)
                self._replaced.pop(call.path, None)
            case "sync" if ended:
                assert file is not None
                self._synced[file] = bytes(self._now[file])
                self._touched[file] = np.zeros(len(self._now[file]) // CELL_BYTES, bool)
                self._cut.discard(file)
            case "sync_directory" if ended:
                for path, node in self._tree.items():
                    if (path.rpartition("/")[0] or "/") == call.path:
                        self._durable[path] = node
                        self._replaced[path] = {node}

    def _name(self, path: str, node: int | None) -> None:
        self._tree[path] = node
        self._durable.pop(path, None)

    def _replace(self, path: str, file: int | None) -> None:
        self._name(path, file)
        if path in self._replaced:
            self._replaced[path].add(file)

    def _touch(self, file: int, start: int, end: int) -> None:
        touched = self._touched.get(file)
        if touched is not None:
            touched[start // CELL_BYTES : -(-end // CELL_BYTES)] = True

    def broken(self, outcome: Outcome) -> list[str]:
        """What of it is not kept in an outcome, in words."""
        found: list[str] = []
        owners: dict[str, int | None] = {}
        for path, content in outcome.items():
            if content is not DIRECTORY:
                owners[path] = self._owner(path, content, found)
        for path, node in self._durable.items():
            if path not in outcome:
                found.append(f"{path} is not there, though its directory was synced")
            elif node is not DIRECTORY:
                self._check_file(path, node, outcome[path], owners[path], found)
        for path, nodes in self._replaced.items():
            if path not in outcome:
                found.append(f"{path} is gone, though it was only replaced by renames")
            elif owners.get(path) is not None and owners[path] not in nodes:
                found.append(f"{path} is file {owners[path]}, which never was there")
        for path, owner in owners.items():
            if owner is not None and path not in self._durable and owner in self._synced:
                content = outcome[path]
                assert content is not None
                self._check_content(path, owner, content, found)
        for file, old, new in self.renamed_away:
            if file not in self._linked and owners.get(old) == file == owners.get(new):
                found.append(f"file {file} is under both {old} and {new}")
        return found

    def _owner(self, path: str, content: bytes, found: list[str]) -> int | None:
        """The file that the bytes belong to; None when all are zeros."""
        if len(content) % CELL_BYTES:
            found.append(f"{path}: a size of {len(content)} that was never asked for")
            return None
        cells = np.frombuffer(content, CELL)
        used = np.flatnonzero(cells["call"])
        blank = cells[cells["call"] == 0]
        if blank["file"].any() or blank["place"].any():
            found.append(f"{path}: bytes that nobody wrote")
        if not len(used):
            return None
        files = np.unique(cells["file"][used])
        if len(files) > 1:
            found.append(f"{path}: bytes of files {files.tolist()}")
        if (cells["place"][used] != used).any():
            found.append(f"{path}: bytes of another place of the file")
        file = int(files[0])
        for writer in np.unique(cells["call"][used]).tolist():
            number = writer - 1
            if number >= self._begun or self._files[number] != file:
                found.append(f"{path}: bytes of call {number}, which did not write them")
        return file

    def _check_file(
        self, path: str, file: int, content: bytes | None, owner: int | None, found: list[str]
    ) -> None:
        if content is DIRECTORY:
            found.append(f"{path} is a directory")
            return
        if owner is not None and owner != file:
            found.append(f"{path} holds file {owner} and not file {file}")
            return
        if file in self._synced:
            self._check_content(path, file, content, found)

    def _check_content(self, path: str, file: int, content: bytes, found: list[str]) -> None:
        synced = self._synced[file]
        if len(content) < len(synced) and file not in self._cut:
            found.append(f"{path}: {len(content)} B, but {len(synced)} B were synced")
        length = min(len(content), len(synced))
        now, then = np.frombuffer(content[:length], CELL), np.frombuffer(synced[:length], CELL)
        differ = (now != then) & ~self._touched[file][: len(now)]
        if differ.any():
            first = int(np.flatnonzero(differ)[0]) * CELL_BYTES
            found.append(f"{path}: {int(differ.sum())} synced cells are lost, first at {first}")
