"""Enumerations that `make test` takes in strides and `make test-full` whole."""

from __future__ import annotations

import pytest


def strided(ordinary: int) -> pytest.MarkDecorator:
    """Parametrizes a test by ``stride``: the ordinary one, and 1 for the long run.

    Arguments
    ---------
    ordinary: of so many cases one; odd, so that what alternates is met in both kinds.
    """
    assert ordinary % 2 and ordinary > 1, ordinary
    return pytest.mark.parametrize("stride", [ordinary, pytest.param(1, marks=pytest.mark.full)])
