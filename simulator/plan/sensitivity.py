"""What a plan depends on: each input varied alone, and how far each output moves (a tornado).

It knows no plan: a plan is a frozen dataclass whose numbers are found by their path
(``link.bits_per_second``, ``groups.0.mailboxes``), and a callable turns a plan into outputs.  An
output may be None ("never"); then there is no swing, and the input stands first: it breaks
something.

An input is varied by 20 % to both sides, or over the range that is documented for it
(:data:`DOCUMENTED_RANGES`, by the last part of its path): figures from memory [M] or assumed [A]
are often less certain than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

import pandas as pd

from simulator.plan.answers import answer_frame

Plan = TypeVar("Plan")
Outputs = Mapping[str, float | None]
Range = tuple[float, float]
VARIED_SHARE: Final = 0.2
DOCUMENTED_RANGES: Final[Mapping[str, Range]] = MappingProxyType(
    {
        # Of the stored pages, by a night's pass; none where it is switched off or cut short [A].
        "defragmentation_share": (0.0, 0.20),
        "pages_per_log_byte": (1.5, 2.6),  # over the versions' profiles [D]
        "log_share_of_writes": (1 / 3.6, 1 / 2.5),  # by the same ratios [D]
        "payload_share": (0.90, 0.94),  # wide-area framing, Ethernet [D][A]
        "compare_bytes_per_second": (70e6, 120e6),  # sequential, 7,200 rpm [M]
        "replay_seconds_per_log": (0.1, 2.0),  # "up to seconds a log on slow disks" [T][A]
        "stream_bytes_per_second": (20e6, 24e6),  # of a seeding: both figures of one source [V]
        "courier_seconds": (12 * 3_600.0, 72 * 3_600.0),  # [A]
    }
)
COLUMNS: Final = (
    "output",
    "input",
    "base_input",
    "low_input",
    "high_input",
    "base",
    "at_low",
    "at_high",
    "swing",
    "reason",
)


def numeric_inputs(plan: Any) -> dict[str, float]:
    """All numbers of a plan by path: fields of dataclasses, elements of tuples and lists.

    Flags are no numbers; arrays are not looked into.
    """
    found: dict[str, float] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, bool):
            return
        if isinstance(value, int | float):
            found[path] = value
        elif is_dataclass(value) and not isinstance(value, type):
            for each in fields(value):
                if each.init:
                    walk(getattr(value, each.name), f"{path}.{each.name}" if path else each.name)
        elif isinstance(value, tuple | list):
            for number, element in enumerate(value):
                walk(element, f"{path}.{number}" if path else str(number))

    walk(plan, "")
    return found


def with_input(plan: Plan, path: str, value: float) -> Plan:
    """The plan with one number changed; whole numbers stay whole.

    Raises KeyError for a path that names no number of the plan, and what the plan's own classes
    raise for a value that they refuse.
    """
    changed: Plan = _with(plan, path.split("."), value, path)
    return changed


def _with(at: Any, parts: Sequence[str], value: float, path: str) -> Any:
    if not parts:
        if isinstance(at, bool) or not isinstance(at, int | float):
            raise KeyError(path)
        return round(value) if isinstance(at, int) else float(value)
    name, rest = parts[0], parts[1:]
    if is_dataclass(at) and not isinstance(at, type):
        if name not in {each.name for each in fields(at) if each.init}:
            raise KeyError(path)
        return replace(at, **{name: _with(getattr(at, name), rest, value, path)})
    if isinstance(at, tuple | list) and name.isdigit() and int(name) < len(at):
        elements = list(at)
        elements[int(name)] = _with(elements[int(name)], rest, value, path)
        return type(at)(elements)
    raise KeyError(path)


def range_of(path: str, base: float, given: Mapping[str, Range] | None = None) -> Range:
    """Between what an input is varied: as given for its path, as documented for its name if its
    value lies in there, or 20 % to both sides."""
    if given is not None and path in given:
        return given[path]
    documented = DOCUMENTED_RANGES.get(path.rpartition(".")[2])
    if documented is not None and documented[0] <= base <= documented[1]:
        return documented
    low, high = base * (1 - VARIED_SHARE), base * (1 + VARIED_SHARE)
    return min(low, high), max(low, high)


def tornado(
    plan: Plan,
    evaluate: Callable[[Plan], Outputs],
    ranges: Mapping[str, Range] | None = None,
    inputs: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda _what: None,
) -> pd.DataFrame:
    """Each input varied alone.

    Arguments
    ---------
    plan: a dataclass of numbers, dataclasses and tuples.
    evaluate: outputs of a plan by name, None for what never happens.
    ranges: low and high of inputs by path.
    inputs: which; by default all that are not 0 (or have a range).
    tell: called with words before each input.

    A row for each output and input, for each output the largest swing first: ``output``, ``input``,
    ``base_input``, ``low_input``, ``high_input``, ``base``, ``at_low``, ``at_high``, ``swing``
    (the span of these three; None where one is never, or was refused), ``reason`` (empty, or what
    refused the value or does not happen).

    Raises KeyError for an input that the plan does not have.
    """
    numbers = numeric_inputs(plan)
    base = evaluate(plan)
    chosen = inputs
    if chosen is None:
        chosen = [path for path, value in numbers.items() if value or path in (ranges or {})]
    for path in {*chosen, *(ranges or {})}:
        if path not in numbers:
            raise KeyError(f"the plan has no number {path!r}; it has {', '.join(numbers)}")
    rows = []
    for number, path in enumerate(chosen, 1):
        tell(f"input {number} of {len(chosen)}")
        low, high = range_of(path, numbers[path], ranges)
        at_low, refused_low = _evaluated(plan, evaluate, path, low)
        at_high, refused_high = _evaluated(plan, evaluate, path, high)
        for output, usual in base.items():
            results = [at_low.get(output), usual, at_high.get(output)]
            known = [each for each in results if each is not None]
            swing = max(known) - min(known) if len(known) == len(results) else None
            reason = "; ".join(each for each in (refused_low, refused_high) if each)
            if swing is None and not reason:
                names = ("the low value", "the base", "the high value")
                never = [name for name, each in zip(names, results, strict=True) if each is None]
                reason = f"never at {', '.join(never)}"
            rows.append(
                (
                    output,
                    path,
                    numbers[path],
                    low,
                    high,
                    usual,
                    results[0],
                    results[2],
                    swing,
                    reason,
                )
            )
    order = {output: number for number, output in enumerate(base)}
    rows.sort(key=lambda row: (order[row[0]], row[8] is not None, -(row[8] or 0.0)))
    return answer_frame((dict(zip(COLUMNS, row, strict=True)) for row in rows), COLUMNS)


def _evaluated(
    plan: Plan, evaluate: Callable[[Plan], Outputs], path: str, value: float
) -> tuple[Outputs, str]:
    """Outputs with one input changed, and why there are none."""
    try:
        return evaluate(with_input(plan, path, value)), ""
    except ValueError as refusal:  # a share above 1, say: an answer, not a failure
        return {}, f"{value:g}: {refusal}"
