"""A power-loss state as a live disk again, logged anew: for a second power loss.

What runs on it is typically a recovery; cutting its log gives what a loss of power during
that recovery leaves.  The log begins before the mount, so that the kernel's own replay of
its journal can be cut as well (``first_cut=0``).
"""

from __future__ import annotations

from pathlib import Path

from simulator.live.block_log import BlockLog
from simulator.live.logged_file_system import LoggedFileSystem
from simulator.live.power_loss import PowerLoss
from simulator.live.replay import copy_sparse, materialise


class LoggedState(LoggedFileSystem):
    """A :class:`LoggedFileSystem` that begins as a state of another one's log.

    Arguments
    ---------
    log, state: where it comes from; the log must stay open while this is being entered.
    parent: where the work directory goes.

    Entering raises MountFailed also when the kernel refuses the state.
    """

    def __init__(self, log: BlockLog, state: PowerLoss, *, parent: Path | None = None) -> None:
        super().__init__(
            log.kind,
            log.size_bytes,
            mount_options="nouuid" if log.kind == "xfs" else "",
            parent=parent,
        )
        self._of = (log, state)

    def _make(self) -> None:
        self.mount_path.mkdir()
        self._served.mkdir()
        image = materialise(*self._of)
        try:
            for name in ("live.img", "base.img"):
                copy_sparse(image, self.directory / name)
        finally:
            image.unlink()
