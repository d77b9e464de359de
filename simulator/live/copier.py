"""A candidate's command in a loop: ``python -m simulator.live.copier SPECIFICATION``.

Notes each pass that has ended in a file, a line of JSON with its times and exit code; ends with 1
and the command's words when one fails.  What a command leaves running is ended with its pass.  It
is made to be killed, together with its session.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from replicator.units import spell_duration
from simulator.candidates import left_running

_MOST_SAID: Final = 400
_MOST_READ_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class CopierSpecification:
    """What the process is told; a JSON file."""

    words: list[str]
    every_ns: int
    timeout_ns: int
    accepted: list[int]
    passes: str
    home: str

    def write(self, path: Path) -> None:
        """Write it where the process will read it."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def passes_of(path: Path) -> list[dict[str, Any]]:
    """The passes that have ended."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def main() -> int:
    """The process; returns its exit code."""
    s = CopierSpecification(**json.loads(Path(sys.argv[1]).read_text()))
    while True:
        began_ns = time.monotonic_ns()
        with tempfile.TemporaryFile() as errors:  # a pipe would be held open by what it leaves
            try:
                code = _one_pass(s, errors)
            except subprocess.TimeoutExpired:
                limit = spell_duration(s.timeout_ns)
                words = f"the command had not ended after {limit}, and was killed"
                print(f"{s.words[0]}: {words}", file=sys.stderr)
                return 1
            except OSError as error:
                print(f"{s.words[0]}: {error}", file=sys.stderr)
                return 1
            said = _last_words(errors)
        ended_ns = time.monotonic_ns()
        row = {"began_ns": began_ns, "ended_ns": ended_ns, "code": code}
        with Path(s.passes).open("a") as file:
            file.write(json.dumps(row) + "\n")
        if code not in s.accepted:
            words = f"ended with exit code {code}; it said: {said or 'nothing'}"
            print(f"{s.words[0]}: the command {words}", file=sys.stderr)
            return 1
        time.sleep(max(0, began_ns + s.every_ns - time.monotonic_ns()) / 1e9)


def _one_pass(s: CopierSpecification, errors: IO[bytes]) -> int:
    """Let the command work once; returns its exit code.

    Raises OSError when it cannot be started, TimeoutExpired when it does not end.
    """
    try:
        return subprocess.run(
            s.words,
            cwd=s.home,
            env=left_running.marked(os.environ, s.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            timeout=s.timeout_ns / 1e9,
            check=False,
        ).returncode
    finally:
        left_running.end_all(s.home)


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _MOST_READ_BYTES))
    return " ".join(errors.read().decode(errors="replace").split())[-_MOST_SAID:]


if __name__ == "__main__":
    sys.exit(main())
