"""What the source's programs do: the emulated store under load, or a block trace.

A workload outlives the host incarnations it runs on: after a crash it is run again on the
new host and goes on, from what the disk still has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from replicator.runtime import group
from replicator.runtime.port import Runtime, Volume
from simulator.exchange.ledger import Ledger, LedgerVerdict
from simulator.exchange.load import LoadConfig, MailLoad
from simulator.exchange.store import StoreUnmountable
from simulator.exchange.stores import StoreConfig, make_store
from simulator.known import ImageContents, KnownImages
from simulator.traces import TracePlayer

STORE_DIRECTORY = "/store"


class Workload(Protocol):
    """The programs of a source."""

    @property
    def root(self) -> str:
        """The directory that they keep their files in: the protected set."""

    async def run(self, runtime: Runtime, volume: Volume, until_ns: int) -> None:
        """Work until the instant ``until_ns`` of the run."""

    async def mounts(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        stale: bool = False,
        complete_before_ns: int = 0,
        image_digest: int | None = None,
    ) -> LedgerVerdict | None:
        """Mount the image below ``root`` and judge what is in it.

        Arguments
        ---------
        stale: the image is of a history that has ended, so it may hold what the source
            itself has lost since in a power loss.
        complete_before_ns: what was acknowledged before this instant must be in it.
        image_digest: of an image on a copy that nobody needs afterwards: it need not be mounted
            once more when it is known what a mount finds in it.

        Returns None when the workload has nothing to mount.  A store that does not mount is a
        verdict that is not ok.
        """

    @property
    def ledger(self) -> Ledger | None:
        """The record of transactions, when there is one."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""


class StoreWorkload:
    """A store under the mail load, and its ledger.

    Arguments
    ---------
    store, load: the figures.
    runtime_random: numbers in [0, 1).
    ledger: of an earlier process whose work goes on; a new one when None.
    first_message_id: the load uses ids from here on.
    directory: where the store's files are.
    known: images that earlier runs with the same store have mounted.
    """

    def __init__(
        self,
        store: StoreConfig,
        load: LoadConfig,
        runtime_random: object,
        ledger: Ledger | None = None,
        first_message_id: int = 1,
        directory: str = STORE_DIRECTORY,
        known: KnownImages | None = None,
    ) -> None:
        assert callable(runtime_random)
        self._store_config = store
        self._directory = directory
        self._known = KnownImages() if known is None else known
        self._ledger = Ledger() if ledger is None else ledger
        self.load = MailLoad(load, self._ledger, runtime_random, first_message_id=first_message_id)
        self._mounted_before = self._ledger.begun > 0
        self._lost: list[Ledger] = []
        """The ledger as it was before each power loss that took transactions with it."""
        self.finished = False

    @property
    def root(self) -> str:
        return self._directory

    @property
    def ledger(self) -> Ledger | None:
        return self._ledger

    async def run(self, runtime: Runtime, volume: Volume, until_ns: int) -> None:
        store = make_store(self._store_config, runtime, volume, self._directory)
        report = await store.mount()
        if self._mounted_before:
            # The new process knows only what the disk has; the ledger follows it.
            verdict = self._ledger.judge(await store.contents())
            if not verdict.ok:
                runtime.emit("store_lost_acknowledged", verdict.reason)
            if verdict.transactions < self._ledger.begun:
                self._lost.append(self._ledger.copy())
            self._ledger.continue_from(verdict.transactions)
        self._mounted_before = True
        runtime.emit("mounted", report.transactions)
        async with group() as g:
            g.spawn(store.run(), "store")
            await self.load.run(store, runtime.now_ns, until_ns)
            await store.dismount()
        self.finished = True

    async def mounts(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        stale: bool = False,
        complete_before_ns: int = 0,
        image_digest: int | None = None,
    ) -> LedgerVerdict | None:
        found = None if image_digest is None else self._known.get(image_digest)
        if found is None:
            found = await self._mounted(runtime, volume, root)
            if image_digest is not None:
                self._known.note(image_digest, found)
        verdict = self._judged(found, stale, complete_before_ns)
        return replace(verdict, replayed_logs=found.replayed_logs)

    async def _mounted(self, runtime: Runtime, volume: Volume, root: str) -> ImageContents:
        """What is in an image; a function of its bytes and names alone."""
        if not volume.list(root):
            return ImageContents({}, never_made=True)
        store = make_store(self._store_config, runtime, volume, root)
        try:
            report = await store.mount()
            contents = await store.contents()
        except StoreUnmountable as refused:
            number = refused.number
            return ImageContents({}, refusal=f"does not mount: {refused}", error_number=number)
        return ImageContents(contents, replayed_logs=report.replayed_logs)

    def _judged(self, found: ImageContents, stale: bool, complete_before_ns: int) -> LedgerVerdict:
        """Whether that is what must be in it now."""

        def judged(ledger: Ledger) -> LedgerVerdict:
            floor = ledger.acknowledged_before(complete_before_ns)
            return ledger.judge(found.messages, floor)

        if found.refusal:
            number = found.error_number
            return LedgerVerdict(False, 0, 0, reason=found.refusal, error_number=number)
        verdict = judged(self._ledger)
        if stale and not found.never_made and not verdict.ok:
            for ledger in self._lost:
                if judged(ledger).ok:
                    return replace(verdict, ok=True, missing=(), extra=(), garbled=(), reason="")
        return verdict


class TraceWorkload:
    """A block trace played onto one large file; ``root`` is the directory that it is in."""

    root = "/disk"

    def __init__(self, player: TracePlayer, start_ns: int = 0, root: str = root) -> None:
        self.player = player
        self.root = root
        self._start_ns = start_ns

    @property
    def ledger(self) -> Ledger | None:
        return None

    @property
    def finished(self) -> bool:
        return self.player.finished

    async def run(self, runtime: Runtime, volume: Volume, until_ns: int) -> None:
        if not volume.exists(self.root):
            volume.mkdir(self.root)
        # Writes that are due while the host is down are not lost: the disk's users wait.
        await self.player.play(volume, runtime.now_ns)

    async def mounts(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        stale: bool = False,
        complete_before_ns: int = 0,
        image_digest: int | None = None,
    ) -> LedgerVerdict | None:
        return None
