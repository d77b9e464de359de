"""Rules of the source: what is captured, in which order, and when a history is over."""

from __future__ import annotations

from typing import Any, Final
from unittest.mock import patch

import replicator.captured_volume
from replicator.capture import Capture
from replicator.captured_volume import CapturedFile
from replicator.history import HistoryKeeper
from replicator.runtime.port import Buffer
from simulator.mutants.mutant import Mutant, does_nothing


def _file_first(original: Any) -> Any:
    def write_at(self: CapturedFile, offset: int, *buffers: Buffer) -> int:
        self.file.write_at(offset, *buffers)
        written: int = original(self, offset, *buffers)
        return written

    return write_at


def _nothing_to_finish(_original: Any) -> Any:
    async def roll_forward(_self: HistoryKeeper, _unfinished: Any) -> str:
        return ""

    return roll_forward


def _as_intended(_original: Any) -> Any:
    def note_outcome(capture: Capture, _done_bytes: int) -> None:
        capture.spool.complete()

    return note_outcome


def _same_boot(original: Any) -> Any:
    async def open_history(self: HistoryKeeper) -> None:
        load = self._slots.load

        async def as_if_never_restarted(**named: Any) -> Any:
            state = await load(**named)
            return state and state | {"boot_id": self._runtime.boot_id}

        with patch.object(self._slots, "load", as_if_never_restarted):
            await original(self)

    return open_history


def _names_of_before(original: Any) -> Any:
    def image_now(self: Capture) -> Any:
        known = self.spool.catalogue
        return known if known.entries else original(self)

    return image_now


SOURCE_MUTANTS: Final = (
    Mutant(
        "intent_before_write",
        "the file is written before the intent is in the spool",
        ((CapturedFile, "write_at", _file_first),),
    ),
    Mutant(
        "intents_rolled_forward",
        "an operation that a crash cut off is taken for done, though it may not be",
        ((HistoryKeeper, "_roll_forward", _nothing_to_finish),),
    ),
    Mutant(
        "outcomes_noted",
        "an operation that failed is sent as if it had worked",
        ((replicator.captured_volume, "_note_outcome", _as_intended),),
    ),
    Mutant(
        "end_of_history_noted",
        "a full spool leaves operations out, and the history goes on",
        ((Capture, "stop", does_nothing),),
    ),
    Mutant(
        "new_epoch_after_restart",
        "after a power loss of the source its old history goes on",
        ((HistoryKeeper, "open", _same_boot),),
    ),
    Mutant(
        "names_read_anew",
        "a new epoch begins with the names that were known, not with those that are there",
        ((Capture, "_image_now", _names_of_before),),
    ),
)
