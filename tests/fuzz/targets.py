"""All targets, and where a search begins.

Each takes a fuzzer's bytes and reads something with them.  What may come of it is a result,
EseError or BadInput.  Anything else is a finding: another exception, a wrong answer that the
target can tell, more memory or time than :mod:`tests.fuzz.outcomes` grants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.fuzz.file_targets import FILE_TARGETS
from tests.fuzz.page_targets import PAGE_TARGETS

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {**PAGE_TARGETS, **FILE_TARGETS}


def seeds(name: str) -> list[bytes]:
    """Plans to begin with: some for each thing that a target can choose first."""
    more = bytes(range(1, 60))
    plans = [bytes((first, 3)) + more[first % 11 :] for first in range(24)]
    if name == "compression":
        plans += [b"\x00\x10\x00" + bytes((scheme << 3,)) + more for scheme in range(8)]
    return plans
