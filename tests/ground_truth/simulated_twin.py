"""The same calls on the emulated disk, step by step."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from replicator.runtime.port import File
from simulator.device import INSTANT, DiskModel
from simulator.host import World
from tests.ground_truth.calls import Call, file_of_each, payload


class Twin:
    """An emulated disk that follows a list of calls.

    Arguments
    ---------
    calls: what it will be asked to do.
    model: of the disk; ``metadata`` must be that of the real file system.
    """

    def __init__(self, calls: Sequence[Call], model: DiskModel = INSTANT) -> None:
        self.calls = calls
        self.done = 0
        self.world = World(network=False)
        machine = self.world.machine("machine")
        self.disk = machine.add_disk("data", model)
        self.host = machine.start()
        self.volume = self.host.volume("data")
        self._files = file_of_each(calls)
        self._handles: dict[int, File] = {}

    def go_on(self, until: int) -> None:
        """Carry out the calls before number ``until``; time stands still between them."""
        assert until >= self.done
        while self.done < until:
            self._carry_out(self.done, self.calls[self.done], self._files[self.done])
            self.done += 1

    def _wait(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.host.start(coroutine, "call")
        self.world.clock.run_until_idle()
        assert task.done, "it hangs"
        task.result()

    def _carry_out(self, number: int, call: Call, file: int | None) -> None:
        volume, path = self.volume, call.path
        handle = self._handles.get(-1 if file is None else file)
        match call.op:
            case "create":
                assert file is not None
                self._handles[file] = volume.create(path)
            case "write" | "append":
                assert handle is not None and file is not None
                offset = handle.size_bytes if call.op == "append" else call.offset
                handle.write_at(offset, payload(number, file, offset, call.length))
            case "truncate":
                assert handle is not None
                handle.truncate(call.offset)
            case "zero":
                assert handle is not None
                handle.zero_range(call.offset, call.length)
            case "rename":
                volume.rename(path, call.other)
            case "link":
                volume.link(path, call.other)
            case "unlink":
                volume.unlink(path)
            case "mkdir":
                volume.mkdir(path)
            case "sync":
                assert handle is not None
                self._wait(handle.sync())
            case "sync_directory":
                self._wait(volume.sync_directory(path))
            case "push" | "commit":
                pass
            case unknown:
                raise ValueError(unknown)

    def close(self) -> None:
        """End the emulated world."""
        self.world.close()
