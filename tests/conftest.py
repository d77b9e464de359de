"""Hypothesis profiles, chosen by the environment variable ``HYPOTHESIS_PROFILE``.

``default`` draws the same examples in each run, so that ``make test`` never fails by chance
and never passes by luck the second time; ``full`` (``make test-full``) searches further and
prints how to reproduce what it finds.  Neither has a deadline: the machines of a test run
differ in speed, and a slow example is no defect.
"""

from __future__ import annotations

import os

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
