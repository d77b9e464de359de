"""A candidate's command in a loop: ``python -m simulator.live.copier SPECIFICATION``.

Notes each pass that has ended in a file, a line of JSON with its times and exit code; ends with 1
and the command's words when one fails.  It is made to be killed, together with its session.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


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
        try:
            done = subprocess.run(
                s.words,
                cwd=s.home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=s.timeout_ns / 1e9,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{s.words[0]}: {error}", file=sys.stderr)
            return 1
        ended_ns = time.monotonic_ns()
        row = {"began_ns": began_ns, "ended_ns": ended_ns, "code": done.returncode}
        with Path(s.passes).open("a") as file:
            file.write(json.dumps(row) + "\n")
        if done.returncode not in s.accepted:
            said = " ".join(done.stderr.decode(errors="replace").split())[-400:]
            words = f"ended with exit code {done.returncode}; it said: {said or 'nothing'}"
            print(f"{s.words[0]}: the command {words}", file=sys.stderr)
            return 1
        time.sleep(max(0, began_ns + s.every_ns - time.monotonic_ns()) / 1e9)


if __name__ == "__main__":
    sys.exit(main())
