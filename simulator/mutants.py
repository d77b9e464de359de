"""Mutants: the replicator and the store with one safeguard taken away, to test the bench.

A bench that finds nothing may be blind.  Each mutant here breaks one rule that the promises
rest on, as a careless change would; a campaign has to notice (``simulator killmatrix``).  The
rules that the replicator can switch off itself (:mod:`replicator.safeguards`) are mutants by
name; the others replace one function while a plan runs, in this process only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from unittest.mock import patch

from replicator.block_frames import ExtentsWanted
from replicator.capture import Capture
from replicator.errors import BadInput, StorageError, SyncFailed
from replicator.history import HistoryKeeper
from replicator.home import HomeImage
from replicator.image import ReplicaImage
from replicator.image_receiver import ImageReceiver
from replicator.journal import SegmentedLog
from replicator.lag import LagMarks
from replicator.replica_journal import ReplicaJournal
from replicator.replica_store import ReplicaStore
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from replicator.slots import StateSlots
from replicator.source import Source
from replicator.staging import Staging
from simulator.exchange.small_files import Safeguards as StoreSafeguards
from simulator.exchange.small_store import SmallStore

Patch = tuple[type[Any], str, Callable[[Any], Any]]
"""A class, the name of one of its functions, and what makes another one of it."""


@dataclass(frozen=True)
class Mutant:
    """One rule taken away.

    Arguments
    ---------
    name: short, of the rule.
    meaning: what is broken, in one sentence.
    patches: what is replaced; none when ``safeguards`` says it.
    """

    name: str
    meaning: str
    patches: tuple[Patch, ...] = ()
    safeguards: Safeguards = ALL_SAFEGUARDS


def _nothing(_original: Any) -> Any:
    async def nothing(*_arguments: object, **_named: object) -> None:
        return None

    return nothing


def _does_nothing(_original: Any) -> Any:
    return lambda *_arguments, **_named: None


def _switched_off() -> Iterator[Mutant]:
    """One for each rule that the replicator can switch off itself."""
    meanings = {
        "journal_before_apply": "what is not in the journal yet reaches home",
        "sync_before_acknowledge": "the durable mark does not wait for the journal's sync",
        "chain_check": "operations need not follow the one before",
        "apply_in_order": "a batch is applied from its end",
        "barrier_at_names": "no checkpoint before and after a change of names",
        "sequence_check": "gaps and repetitions are taken",
        "stable_file_ids": "operations find their file by the path of the past",
        "atomic_resynchronization": "differing blocks go straight into the image",
    }
    for field in fields(Safeguards):
        safeguards = replace(ALL_SAFEGUARDS, **{field.name: False})
        yield Mutant(field.name, meanings[field.name], (), safeguards)


def _store_mutant(name: str, meaning: str) -> Mutant:
    """A rule that the emulated store can switch off itself."""

    def with_one_off(original: Any) -> Any:
        def init(self: Any, *arguments: Any, **named: Any) -> None:
            original(
                self,
                *arguments,
                **named | {"safeguards": replace(StoreSafeguards(), **{name: False})},
            )

        return init

    return Mutant(f"store_{name}", meaning, ((SmallStore, "__init__", with_one_off),))


# -- what the functions become ------------------------------------------------------------


def _frees_one_segment_more(original: Any) -> Any:
    return lambda self, number: original(self, number + 1)


def _forgets_a_failed_sync(original: Any) -> Any:
    async def make_durable(self: ReplicaJournal, sync: bool = True) -> None:
        try:
            await original(self, sync)
        except SyncFailed:
            await original(self, False)

    return make_durable


def _writes_without_sync(original: Any) -> Any:
    """Slots written by a file whose sync does nothing."""

    async def write(self: StateSlots, state: dict[str, Any]) -> None:
        volume = self._volume
        self._volume = _Unsynced(volume)
        try:
            await original(self, state)
        finally:
            self._volume = volume

    return write


class _Unsynced:
    """A volume whose syncs return at once."""

    def __init__(self, below: Any) -> None:
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def open(self, path: str) -> Any:
        return _UnsyncedFile(self._below.open(path))

    def create(self, path: str) -> Any:
        return _UnsyncedFile(self._below.create(path))

    async def sync_directory(self, _path: str) -> None:
        return None


class _UnsyncedFile:
    def __init__(self, below: Any) -> None:
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    async def sync(self) -> None:
        return None


def _one_slot_only(original: Any) -> Any:
    async def write(self: StateSlots, state: dict[str, Any]) -> None:
        self._generation += self._generation % 2  # the next one is odd: always slot a
        await original(self, state)

    return write


def _same_boot(original: Any) -> Any:
    async def open_history(self: HistoryKeeper) -> None:
        load = self._slots.load

        async def as_if_never_restarted(**named: Any) -> Any:
            state = await load(**named)
            return state and state | {"boot_id": self._runtime.boot_id}

        with patch.object(self._slots, "load", as_if_never_restarted):
            await original(self)

    return open_history


def _finds_no_difference(original: Any) -> Any:
    async def differing(self: ImageReceiver, frame: Any) -> ExtentsWanted:
        found = await original(self, frame)
        return ExtentsWanted(found.file_id, found.first, found.extents, [], found.absent)

    return differing


def _fence_too_early(original: Any) -> Any:
    async def commit(self: ReplicaStore, staging: Staging, _fence: int) -> None:
        await original(self, staging, 0)

    return commit


def _no_redo(_original: Any) -> Any:
    async def redo(self: ReplicaStore) -> None:
        self._cursor = self.promises.durable_end

    return redo


def _lag_of_the_newest(original: Any) -> Any:
    def lag_ns(self: LagMarks, durable: int, completed: int, now_ns: int) -> int | None:
        found = original(self, durable, completed, now_ns)
        return None if found is None else found // 4

    return lag_ns


def _as_of_any_heartbeat(_original: Any) -> Any:
    def heard(self: ReplicaImage, beat: Any) -> None:
        self.as_of_ns = beat.wall_ns

    return heard


def _never_connects_again(original: Any) -> Any:
    async def run(self: Source) -> None:
        connect, count = self.runtime.connect, 0

        async def once(address: str) -> Any:
            nonlocal count
            count += 1
            if count > 3:
                raise StorageError("it gave up to connect")
            return await connect(address)

        with patch.object(self, "runtime", _Runtime(self.runtime, once)):
            await original(self)

    return run


class _Runtime:
    def __init__(self, below: Any, connect: Any) -> None:
        self._below = below
        self.connect = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


MUTANTS: Final[tuple[Mutant, ...]] = (
    *_switched_off(),
    Mutant(
        "home_synced_before_checkpoint",
        "a checkpoint names operations whose bytes are only in the cache",
        ((HomeImage, "sync", _nothing),),
    ),
    Mutant(
        "journal_freed_by_checkpoint",
        "a segment is freed that recovery still needs",
        ((SegmentedLog, "free_before", _frees_one_segment_more),),
    ),
    Mutant(
        "failed_sync_ends_the_process",
        "after a failed sync the journal goes on as if it had worked",
        ((ReplicaJournal, "make_durable", _forgets_a_failed_sync),),
    ),
    Mutant(
        "slots_synced",
        "checkpoints and epochs are written without a sync",
        ((StateSlots, "write", _writes_without_sync),),
    ),
    Mutant(
        "slots_alternate",
        "a checkpoint is written over the one before",
        ((StateSlots, "write", _one_slot_only),),
    ),
    Mutant(
        "new_epoch_after_restart",
        "after a power loss of the source its old history goes on",
        ((HistoryKeeper, "open", _same_boot),),
    ),
    Mutant(
        "all_differences_sent",
        "a synchronization takes the old blocks for equal",
        ((ImageReceiver, "_differing", _finds_no_difference),),
    ),
    Mutant(
        "fence_after_the_last_read",
        "an image is committed at an operation that came before its last page was read",
        ((ReplicaStore, "commit", _fence_too_early),),
    ),
    Mutant(
        "redo_after_restart",
        "recovery does not apply what is in the journal",
        ((ReplicaStore, "_redo", _no_redo),),
    ),
    Mutant(
        "staged_pages_synced",
        "pages are committed that are only in the cache",
        ((Staging, "sync", _nothing),),
    ),
    Mutant(
        "names_rescanned",
        "the new epoch begins with the names of before the power loss",
        ((Capture, "rescan", _does_nothing),),
    ),
    Mutant(
        "lag_upper_bound",
        "the lag is told a quarter as old as it may be",
        ((LagMarks, "lag_ns", _lag_of_the_newest),),
    ),
    Mutant(
        "as_of_applied",
        "the replica says it is as of the last heartbeat, applied or not",
        ((ReplicaImage, "heard", _as_of_any_heartbeat),),
    ),
    Mutant(
        "reconnects",
        "the source gives up after three connections",
        ((Source, "run", _never_connects_again),),
    ),
    _store_mutant("sync_log_before_commit", "the store acknowledges before its log is synced"),
    _store_mutant("log_before_page", "the store writes a page before the log that changed it"),
    _store_mutant(
        "sync_pages_before_checkpoint", "the store's checkpoint passes pages in the cache"
    ),
    _store_mutant("sync_directory_after_roll", "the store writes to a log without a durable name"),
)


def mutant_named(name: str) -> Mutant:
    """The mutant of this name; raises BadInput."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise BadInput(
        f"there is no mutant {name!r}",
        remedy=f"Name one of: {', '.join(each.name for each in MUTANTS)}.",
    )


@contextmanager
def mutated(name: str) -> Iterator[Safeguards]:
    """Take the rule away while the block runs; yields the switches to run a replica with.

    An empty name: nothing is taken away.
    """
    if not name:
        yield ALL_SAFEGUARDS
        return
    mutant = mutant_named(name)
    with ExitStack() as stack:
        for owner, function, other in mutant.patches:
            stack.enter_context(patch.object(owner, function, other(getattr(owner, function))))
        yield mutant.safeguards
