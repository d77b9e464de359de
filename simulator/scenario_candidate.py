"""``[candidate]`` of a scenario: somebody else's replicator, in one of three ways.

Keys are written as in :mod:`simulator.scenario_model`.  What each kind is made into stands in
:mod:`simulator.candidates.adapters`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from replicator.toml_errors import Remark
from replicator.toml_keys import REQUIRED, KeyProblem, PositiveDuration, Table, key
from simulator.candidates.loading import absolute_reference, check_class, check_function
from simulator.scenario_faults import Fault
from simulator.scenario_keys import ByteRate

JudgedFrom = Literal["start", "synchronized"]
_FROM: Final = (
    "From when on its image counts: from the start, when nothing is the right copy of nothing, or "
    'from its first word that the copy is whole (`runtime.emit("synchronized")`).'
)


def _reference(given: object, info: ValidationInfo) -> object:
    """With the whole path from here on, whatever directory the command runs in."""
    if given is None:
        return None  # left out
    if not isinstance(given, str):
        raise KeyProblem("must be text", 'Write "module:name" or "file.py:name".')
    context = info.context or {}
    return absolute_reference(given, Path(context.get("directory", ".")))


class PortCandidate(Table):
    """A class over the port that the reference replicator runs on."""

    kind: Literal["port"] = key(None, "A class over the port.", REQUIRED)
    class_: str = key("class", "Which, as `module:Class` or `file.py:Class`.", REQUIRED)
    judged_from: JudgedFrom = key(None, _FROM, "start")
    options: dict[str, Any] = key(None, "Whatever the class wants to know: `site.options`.", {})

    _found = field_validator("class_", mode="before")(_reference)


class ProgramCandidate(Table):
    """An ordinary asyncio program: a coroutine function for each end."""

    kind: Literal["program"] = key(None, "An asyncio program.", REQUIRED)
    source: str = key(None, "The source's end, as `module:function` or `file.py:function`.")
    replica: str = key(None, "The replica's end.", REQUIRED)
    recover: str | None = key(
        None, "What its service does at a restart before the image can be used.", None
    )
    judged_from: JudgedFrom = key(None, _FROM, "start")
    options: dict[str, Any] = key(None, "Whatever it wants to know: `site.options`.", {})

    _found = field_validator("source", "replica", "recover", mode="before")(_reference)


class CommandCandidate(Table):
    """An external command that copies one directory to another, again and again."""

    kind: Literal["command"] = key(None, "An external command.", REQUIRED)
    command: tuple[str, ...] = key(
        None,
        "Its words; `{source}` and `{replica}` stand for the directories, `{scenario}` for that "
        "of the scenario.",
        REQUIRED,
        min_length=1,
    )
    every_ns: PositiveDuration = key("every", "From one pass to the next.", "500ms")
    timeout_ns: PositiveDuration = key("timeout", "Real time that one pass may take.", "60s")
    exit_codes: tuple[int, ...] = key(None, "Exit codes that mean success.", (0,))
    fsync: Literal["never", "each file", "each pass"] = key(
        None, "What the command makes durable at the replica: that cannot be seen.", "never"
    )
    reads: Literal["instant", "file by file"] = key(
        None, "Whether it sees one instant of the source, or each file at another one.", "instant"
    )
    read_bytes_per_second: ByteRate = key(
        "read_rate", "How fast it reads, file by file.", "100MB/s"
    )
    judged_from: JudgedFrom = key(
        None,
        "From when on its image counts: from the start, or from its first whole pass.",
        "synchronized",
    )

    @field_validator("command", mode="before")
    @classmethod
    def _beside_the_scenario(cls, given: object, info: ValidationInfo) -> object:
        if not isinstance(given, list | tuple) or not all(isinstance(w, str) for w in given):
            return given  # refused by its type
        directory = str(Path((info.context or {}).get("directory", ".")).absolute())
        return [word.replace("{scenario}", directory) for word in given]


Candidate = Annotated[
    PortCandidate | ProgramCandidate | CommandCandidate, Field(discriminator="kind")
]


_OF_OURS_ONLY: Final = {
    "second_source": "a second source speaks the reference replicator's protocol, not the "
    "candidate's",
    "wrong_target": "a candidate has no names of sets by which another replica could refuse it",
    "failover": "a candidate has no way to tell a source that lives that its replica has taken "
    "over",
}
"""Kinds of faults that say nothing of a candidate, and why."""


def candidate_contradictions(
    candidate: PortCandidate | ProgramCandidate | CommandCandidate | None,
    faults: Sequence[Fault],
) -> Iterator[Remark]:
    """What cannot be run: objects that are not there, or not what they must be."""
    if candidate is None:
        return
    for index, fault in enumerate(faults):
        if fault.kind in _OF_OURS_ONLY:
            yield Remark(
                (("faults", index, "kind"), ("candidate", "kind")),
                _OF_OURS_ONLY[fault.kind],
                "Take the fault out.",
            )
    if isinstance(candidate, CommandCandidate):
        yield from _command(candidate)
        return
    looked_for = (
        [("class", candidate.class_, check_class)]
        if isinstance(candidate, PortCandidate)
        else [
            (name, given, check_function)
            for name in ("source", "replica", "recover")
            if (given := getattr(candidate, name)) is not None
        ]
    )
    for name, reference, check in looked_for:
        try:
            check(reference)
        except KeyProblem as problem:
            yield Remark((("candidate", name),), str(problem), problem.remedy)


def _command(candidate: CommandCandidate) -> Iterator[Remark]:
    here = (("candidate", "command"),)
    program = candidate.command[0]
    if shutil.which(program) is None:
        yield Remark(
            here,
            f"there is no command {program!r}",
            "Install it, or write its whole path; a script beside the scenario is "
            '"{scenario}/NAME", and must be executable.',
        )
    words = " ".join(candidate.command)
    for place in ("{source}", "{replica}"):
        if place not in words:
            yield Remark(
                here,
                f"no word of it holds {place}",
                f'Write for instance ["rsync", "-a", "--delete", "{{source}}/", "{{replica}}/"]; '
                f"{place} stands for the directory.",
            )
