"""The processes of a live run: started, watched, stopped and ended, by their ids only.

Each is the leader of a session of its own, so a Ctrl-C at the terminal reaches only the run,
which ends them itself; and the kernel ends them when the run is killed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from replicator.errors import ReplicatorError

ANSWER_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0


class ChildFailed(ReplicatorError):
    """A process of the run did not start, or did not answer."""

    default_remedy = "Look into its log; --keep DIR keeps the logs."


def _dying_with_the_run() -> list[str]:
    """What makes the kernel end a process with this one; nothing where there is no setpriv.

    A command and no ``preexec_fn``, which is not safe beside the thread of a progress bar; it
    becomes the process that it starts, with the same id.
    """
    command = shutil.which("setpriv")
    return [] if command is None else [command, "--pdeathsig", "KILL", "--"]


class Child:
    """One process.

    Arguments
    ---------
    name: for people.
    arguments: of the Python interpreter.
    log: what it says on standard error goes to the end of this file.
    """

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.started_ns = time.monotonic_ns()
        self.killed = False
        self._pauses = 0
        self._answers = b""
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(
                [*_dying_with_the_run(), sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    @property
    def runs(self) -> bool:
        return self.exit_code is None

    # -- talking ---------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(line.encode() + b"\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise self.failure("has ended") from None

    def answer(self, within_seconds: float = ANSWER_SECONDS) -> str:
        """The next line of its standard output.  Raises ChildFailed when none comes."""
        assert self._popen.stdout is not None
        end = time.monotonic() + within_seconds
        while b"\n" not in self._answers:
            left = end - time.monotonic()
            ready = left > 0 and select.select([self._popen.stdout], [], [], left)[0]
            piece = os.read(self._popen.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise self.failure("has ended" if ready else "does not answer")
            self._answers += piece
        line, _, self._answers = self._answers.partition(b"\n")
        return line.decode()

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Say a JSON object and return the one that comes back."""
        self.say(json.dumps(command))
        answer: dict[str, Any] = json.loads(self.answer())
        return answer

    def failure(self, what: str) -> ChildFailed:
        """What its last words were."""
        words = self.log.read_text(errors="replace").strip().splitlines()
        last = f": {words[-1][:300]}" if words else ""
        return ChildFailed(f"the {self.name} {what}{last}", path=str(self.log))

    @property
    def paused(self) -> bool:
        """Whether it stands still, or is about to."""
        return self._pauses > 0

    # -- stopping and ending ---------------------------------------------------------------

    def pause(self) -> None:
        """Freeze it; returns when all its threads stand still.  Pauses may overlap."""
        self._pauses += 1
        os.kill(self.pid, signal.SIGSTOP)
        end = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < end and not self._stands_still():
            time.sleep(0.001)

    def _stands_still(self) -> bool:
        try:
            threads = list(Path(f"/proc/{self.pid}/task").iterdir())
            fields = [(t / "stat").read_text().rpartition(")")[2].split() for t in threads]
        except OSError:  # it, or a thread of it, has just ended
            return not self.runs
        return all(field[0] in "TtZX" for field in fields)

    def resume(self) -> None:
        """A pause is over; with the last one it goes on."""
        self._pauses = max(0, self._pauses - 1)
        if self.runs and not self._pauses:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self.killed = True
        if self.runs:
            self._popen.kill()
            self._popen.wait()
        self._close()

    def end(self, within_seconds: float) -> int | None:
        """Ask it to end; returns its exit code, None when it had to be killed."""
        if self.runs:
            while self.paused:
                self.resume()
            self._popen.terminate()
            try:
                self._popen.wait(within_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                return None
        self._close()
        return self.exit_code

    def _close(self) -> None:
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # what was still to be said has no reader any more


def pause_all(children: Sequence[Child]) -> Callable[[], None]:
    """Freeze these processes; returns what ends this pause of them."""
    for child in children:
        child.pause()

    def resume() -> None:
        for child in children:
            child.resume()

    return resume
