"""Hypothesis profiles, tests that take long, and what tests inherit.

Profiles are chosen by the environment variable ``HYPOTHESIS_PROFILE``.

``default`` draws the same examples in each run, so that ``make test`` never fails by chance
and never passes by luck the second time; ``full`` (``make test-full``) searches further and
prints how to reproduce what it finds.  Neither has a deadline: the machines of a test run
differ in speed, and a slow example is no defect.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "full",
    deadline=None,
    max_examples=1000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite that a shell has put into the background ignores Ctrl-C, and so would all programs
    # that its tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG_TESTS = Path(__file__).with_name("long_tests.txt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes long to `make test-full`, as if it were marked ``full`` where it stands.

    The list is of measured times: each of these tests took about a second or more, and has
    shorter ones beside it that go through the same code.  What a reader should find in the
    ordinary run though it takes long is not on the list.
    """
    listed = set(LONG_TESTS.read_text(encoding="utf-8").split("\n"))
    root = LONG_TESTS.parents[1]
    for item in items:
        name = item.nodeid.partition("::")[2]
        if not item.path.is_relative_to(root):
            continue
        if f"{item.path.relative_to(root).as_posix()}::{name}" in listed:
            item.add_marker(pytest.mark.full)
