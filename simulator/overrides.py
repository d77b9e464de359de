"""Figures of a link that stand over its own for a while; in both worlds."""

from __future__ import annotations

from collections.abc import Callable


class Overrides:
    """Figures that stand over the link's own for a while, one on top of the other.

    Arguments
    ---------
    changed: called with the figure that counts from now on; None for the link's own.
    """

    def __init__(self, changed: Callable[[float | None], None]) -> None:
        self._changed = changed
        self._figures: dict[object, float] = {}

    def begin(self, figure: float) -> Callable[[], None]:
        """Put a figure on top; returns what takes it out again, wherever it then lies."""
        token = object()
        self._figures[token] = figure
        self._tell()

        def end() -> None:
            self._figures.pop(token, None)
            self._tell()

        return end

    def _tell(self) -> None:
        self._changed(next(reversed(self._figures.values()), None))
