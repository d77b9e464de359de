"""Where an external command works: two real directories, made, watched and looked through.

Simulated time stands still meanwhile.  The command runs in a session of its own, with a limit of
real time; whatever it leaves running is ended with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from replicator.units import spell_duration
from simulator.candidates import guards, left_running
from simulator.candidates.changes import Step, steps_of
from simulator.candidates.failure import CandidateFailed
from simulator.candidates.mirror import Entry, Mirror, make_accessible
from simulator.candidates.watch import Watch

_MOST_SAID: Final = 400
_MOST_READ_BYTES: Final = 16 << 10


class Workshop:
    """The directories of one run.

    Arguments
    ---------
    command: words, with ``{source}`` and ``{replica}`` for the directories.
    timeout_ns: of real time for one pass.
    accepted: exit codes that mean success.
    """

    def __init__(self, command: Sequence[str], timeout_ns: int, accepted: Sequence[int]) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="simulator-candidate-"))
        for name in ("source", "replica", "home"):
            (self._root / name).mkdir()
        self.source, self.replica = Mirror(self._root / "source"), Mirror(self._root / "replica")
        self.words = filled(command, self.source.place, self.replica.place)
        self._timeout_ns = timeout_ns
        self._accepted = accepted

    def run(self) -> list[Step]:
        """Let the command work; returns what it did to the replica's directory.

        Raises CandidateFailed when it cannot be started, fails, hangs, or changes what is not
        its business.
        """
        source_before, before = self.source.entries(), self.replica.entries()
        watch = Watch(self.replica.place)
        try:
            with guards.outside():
                self._carry_out()
            self._check_its_place()
            seen, after = watch.changes(), self.replica.entries()
        finally:
            watch.close()
        self._check_what_it_left(source_before, after)
        return steps_of(before, after, seen)

    def _carry_out(self) -> None:
        said = self._root / "stderr"
        home = str(self._root / "home")
        with said.open("wb") as errors:
            try:
                process = subprocess.Popen(
                    self.words,
                    cwd=home,
                    env=left_running.marked(
                        {**os.environ, "HOME": home, "LC_ALL": "C"}, str(self._root)
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise CandidateFailed(
                    f"the command cannot be started: {error.strerror}", path=self.words[0]
                ) from error
            try:
                code = process.wait(self._timeout_ns / 1e9)
            except subprocess.TimeoutExpired:
                raise CandidateFailed(
                    f"the command had not ended after {spell_duration(self._timeout_ns)}, and was "
                    f"killed{self._said(said)}",
                    path=self.words[0],
                    remedy="Let it end, or give [candidate] a longer timeout.",
                ) from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                left_running.end_all(str(self._root))
                self._make_accessible()
        if code not in self._accepted:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise CandidateFailed(f"the command {how}{self._said(said)}", path=self.words[0])

    def _make_accessible(self) -> None:
        try:
            make_accessible(self._root)
        except OSError as error:
            raise CandidateFailed(
                f"the command left what cannot be looked at: {error.strerror}",
                path=str(error.filename).replace(str(self._root), ""),
                remedy="Let its files belong to the user who runs the bench.",
            ) from error

    def _said(self, said: Path) -> str:
        with said.open("rb") as file:  # it may be of any length
            file.seek(max(0, said.stat().st_size - _MOST_READ_BYTES))
            text = file.read().decode(errors="replace")
        text = text.replace(str(self.source.place), "{source}")
        text = " ".join(text.replace(str(self.replica.place), "{replica}").split())
        return f"; it said: {text[-_MOST_SAID:]}" if text else "; it said nothing"

    def _check_its_place(self) -> None:
        """The copy must be in the directory: of a link nobody knows whose bytes stand behind it."""
        place = self.replica.place
        if place.is_dir() and not place.is_symlink():
            return
        wrong = "put something else in the place of" if os.path.lexists(place) else "took away"
        with suppress(FileNotFoundError):
            place.unlink()
        place.mkdir()
        raise CandidateFailed(
            f"the command {wrong} its directory {{replica}}",
            path=self.words[0],
            remedy="It may change what is in that directory; the directory itself has to stay one.",
        )

    def _check_what_it_left(self, before: dict[str, Entry], after: dict[str, Entry]) -> None:
        changed = _difference(before, self.source.entries())
        strays = sorted(p.name for p in self._root.iterdir())
        strays = [n for n in strays if n not in ("source", "replica", "home", "stderr")]
        strange = [path for path, entry in after.items() if entry.kind == "other"]
        wrong = ""
        if changed:
            wrong = f"changed {changed} in the source's directory"
        elif strays:
            wrong = f"wrote outside of its directories: {', '.join(strays[:3])} beside them"
        elif strange:
            wrong = f"made {strange[0]}, which is neither file, directory nor symbolic link"
        if wrong:
            raise CandidateFailed(
                f"the command {wrong}",
                path=self.words[0],
                remedy="It may change the directory {replica} and nothing else.",
            )

    def close(self) -> None:
        """Take the directories away."""
        with suppress(OSError):  # whose owner is another one: what can be removed is
            make_accessible(self._root)
        shutil.rmtree(self._root, ignore_errors=True)


def filled(command: Sequence[str], source: Path, replica: Path) -> list[str]:
    """The words of a command with its directories in their places."""
    return [
        word.replace("{source}", str(source)).replace("{replica}", str(replica)) for word in command
    ]


def _difference(before: dict[str, Entry], after: dict[str, Entry]) -> str:
    """A name below a directory that is not as it was; empty when all are."""
    for path in sorted({*before, *after}):
        one, other = before.get(path), after.get(path)
        if one is None or other is None or one.kind != other.kind:
            return path
        if one.kind == "file" and one != other:
            return path
    return ""
