"""What the project's command lines share: how a command ends and how it says so.

A command either returns, raises :class:`typer.Exit` with a member of
:class:`~replicator.errors.ExitCode`, or raises.  :func:`finish` turns each of these into
one exit code and at most a few lines on standard error:

==============================  ====  ==============================================
what ended the command          code  what is printed
==============================  ====  ==============================================
return                             0
``typer.Exit(code)``            code
a :class:`ReplicatorError`       its  ``error: place: message``, ``what to do: remedy``
wrong options or arguments        64  ``error: ...``, ``what to do: program --help``
Ctrl-C                           130  ``interrupted``
the reader of a pipe went away   130  ``interrupted: nobody reads the output any more``
standard output cannot be         64  ``error: standard output cannot be written: ...``
written, or is closed
anything else                     70  ``internal error: ...`` and how to report it
==============================  ====  ==============================================

Two habits of the libraries below are undone here, because scripts decide by the exit
code: typer ends with 2 on wrong usage (here 2 says *inconclusive*), and Python ends with 1
on an unhandled exception (here 1 says *an invariant is broken*).
"""

from __future__ import annotations

import errno
import io
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import typer
import typer.main

from replicator.errors import BadInput, ExitCode, ReplicatorError

_KEPT_CONTROLS = "\n\t"
_NOBODY_READS = "interrupted: nobody reads the output any more"


def printable(text: str) -> str:
    """``text`` with control characters written out, so that input cannot steer a terminal.

    File names and scenario texts reach the screen; an escape sequence in one could
    repaint a verdict.  Line ends and tabs stay.
    """
    return "".join(
        character
        if character.isprintable() or character in _KEPT_CONTROLS
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def release_name() -> str:
    """The installed release, for people."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("exchange-replication-bench")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "of the source tree"


def _say(line: str) -> None:
    """One line on standard error; a closed or broken standard error is nobody's concern."""
    if sys.stderr is None:
        return
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def print_error(error: ReplicatorError, rank: str = "error") -> None:
    """Prints what happened, where, and what to do about it; ``rank`` may be ``warning``."""
    _say(f"{rank}: {error}")
    if error.remedy:
        _say(f"what to do: {error.remedy}")


def _print_usage_error(error: typer.TyperException, program: str) -> None:
    context = getattr(error, "ctx", None)
    command = program if context is None else str(context.command_path)
    _say(f"error: {error.format_message()}")
    _say(f"what to do: see '{command} --help'")


def _print_defect(defect: Exception, program: str) -> None:
    """A short word on a defect of ours; the traceback only in Python's development mode."""
    frames = traceback.extract_tb(defect.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno} ({frames[-1].name})" if frames else ""
    text = " ".join(str(defect).split())
    _say(f"internal error: {type(defect).__name__}{': ' if text else ''}{text}{place}")
    _say(
        f"This is a defect in {program}, not in your input. Please report it with the command "
        "you ran, its input and the lines above."
    )
    if sys.flags.dev_mode:
        _say("".join(traceback.format_exception(defect)))
    else:
        _say("The same command with PYTHONDEVMODE=1 in the environment shows the traceback too.")


def _is_broken_pipe(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _refused_output(reason: str) -> BadInput:
    """What was found out cannot be told: no exit code but that of a wrong use says so."""
    return BadInput(
        f"standard output cannot be written: {reason}",
        remedy="Send it to a file on a volume with room, to a terminal, or to /dev/null.",
    )


class _StandardOutput(io.TextIOWrapper):
    """Standard output whose failures are told from those of any other file."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._told(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._told(error) from error

    @staticmethod
    def _told(error: OSError) -> Exception:
        return error if _is_broken_pipe(error) else _refused_output(error.strerror or str(error))


class _StandardError(io.TextIOWrapper):
    """Standard error whose failures are nobody's concern: the exit code says it all."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _guard_streams() -> None:
    """A terminal that cannot show a character shows its code; a full volume ends the command."""
    for name, kind in (("stdout", _StandardOutput), ("stderr", _StandardError)):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            encoding, lines, at_once = stream.encoding, stream.line_buffering, stream.write_through
            guarded = kind(
                stream.detach(),
                encoding=encoding,
                errors="backslashreplace",
                line_buffering=lines,
                write_through=at_once,
            )
            setattr(sys, name, guarded)


def _dispatch(app: typer.Typer, program: str, arguments: Sequence[str] | None) -> int:
    """Runs one command; returns its code or lets the exception through."""
    command = typer.main.get_command(app)
    answer = command.main(
        args=None if arguments is None else list(arguments),
        prog_name=program,
        standalone_mode=False,
    )
    # Without the standalone mode a typer.Exit comes back as its code, Ctrl-C as 130.
    return answer if isinstance(answer, int) else ExitCode.PASS


def finish(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> int:
    """Runs ``app`` and returns the exit code, after printing what there is to say.

    ``arguments`` default to those of the process.
    """
    if sys.stdout is None:
        # Python drops what is printed then, and the next file to be opened gets its number.
        print_error(_refused_output("it is closed"))
        return ExitCode.USAGE
    try:
        code = _dispatch(app, program, arguments)
        sys.stdout.flush()
    except ReplicatorError as error:
        print_error(error)
        return error.exit_code
    except typer.TyperException as error:
        _print_usage_error(error, program)
        return ExitCode.USAGE
    except typer.Abort as stop:
        # No command of ours asks questions, so an EOFError (typer makes it an Abort) is not
        # a missing answer but a reader of ours that met the end of its data.
        if isinstance(stop.__cause__, EOFError):
            _print_defect(stop.__cause__, program)
            return ExitCode.INTERNAL
        code = ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except SystemExit as leaving:
        if _is_broken_pipe(leaving.__context__):
            _say(_NOBODY_READS)
            return ExitCode.INTERRUPTED
        raise
    # The one place that may: a defect must not leave as Python's own exit code, 1, which
    # here says that an invariant is broken.
    except Exception as defect:  # noqa: BLE001
        if _is_broken_pipe(defect):
            _say(_NOBODY_READS)
            return ExitCode.INTERRUPTED
        _print_defect(defect, program)
        return ExitCode.INTERNAL
    if code == ExitCode.INTERRUPTED:
        _say("interrupted")
    return code


def run_app(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """The whole of a console command: runs ``app`` and ends the process with its exit code."""
    _guard_streams()
    code = finish(app, program, arguments)
    _drop_unwritten_output()
    raise SystemExit(int(code))


def _drop_unwritten_output() -> None:
    """Keeps the interpreter from failing on its last flush, which would change the code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError, BadInput):
            # Closing fails once more on the same bytes, but then they are gone.
            with suppress(OSError, ValueError, BadInput):
                stream.close()
