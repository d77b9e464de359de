"""Histories that several tests read; nobody changes them."""

from __future__ import annotations

import pytest

from tests.log_shipping.scenes import History, make_history


@pytest.fixture(scope="session")
def history() -> History:
    """About ten logs, and a restart of the source in the middle."""
    return make_history(40, restart_at=20)


@pytest.fixture(scope="session")
def short_history() -> History:
    """Four logs."""
    return make_history(20)


@pytest.fixture(scope="session")
def long_transactions() -> History:
    """Transactions over several logs each."""
    return make_history(36, transactions_of=12)
