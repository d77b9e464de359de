"""Which daily amount a kind of protection carries: the one that a plan is to be moved by.

What is written in all says little about kinds that carry a part of it: pages are never shipped with
logs, and of objects the messages alone travel.  What is planned with should be what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from simulator.plan.change import ChangeCurve
from simulator.plan.protection import LogShipping, ObjectLevel, Protection

GB: Final = 1e9
CHANGE: Final = "change_gb_per_day"
LOGS: Final = "logs_gb_per_day"
MESSAGES: Final = "messages_gb_per_day"
_BYTES_PER_DAY: Final[Mapping[str, Callable[[ChangeCurve], float]]] = MappingProxyType(
    {
        CHANGE: lambda change: change.written_bytes_per_day,
        LOGS: lambda change: change.log_bytes_per_day,
        MESSAGES: lambda change: float(change.message_bytes.sum()) / change.days,
    }
)


def carried_amount(protection: Protection) -> str:
    """The input that scales a plan: :data:`CHANGE` of kinds that carry whatever is written,
    :data:`LOGS` or :data:`MESSAGES` of kinds that carry only those."""
    if isinstance(protection, LogShipping):
        return LOGS
    return MESSAGES if isinstance(protection, ObjectLevel) else CHANGE


def daily_amounts(change: ChangeCurve, protection: Protection) -> dict[str, float]:
    """Of all three the GB a day on average; 0 but for the one that the protection carries."""
    carried = carried_amount(protection)
    return {
        name: of(change) / GB if name == carried else 0.0 for name, of in _BYTES_PER_DAY.items()
    }
