"""A program that takes the steps of a store set: ``step_writer.py CONFIG TRUTH PAUSE_MS``.

After each step it appends a line to the file TRUTH: the step's number, and the epoch and number
of the last captured operation.  It goes on behind the last line, so the step in doubt is taken
again.  When a file TRUTH.stop appears it ends, with nothing in doubt.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from replicator.capture import protect
from tests.processes.store_set import steps, take


def main() -> None:
    config, truth_path, pause_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) / 1000
    stop_path = Path(f"{truth_path}.stop")
    # A killed write may have left part of a line: that step is in doubt as well.
    whole = truth_path.read_bytes().rpartition(b"\n")[0] if truth_path.exists() else b""
    first = whole.count(b"\n") + 1 if whole else 0
    with truth_path.open("ab", buffering=0) as truth, protect(config) as files:
        os.ftruncate(truth.fileno(), len(whole) + 1 if whole else 0)
        print("goes on with step", first, file=sys.stderr)
        for number, step in enumerate(steps(first), first):
            take(files, number, step)
            with files.turn:  # no epoch begins between the two numbers
                spool = files.capture.spool
                # Before the first epoch begins there is nothing that could have a gap.
                assert files.capture.capturing or not spool.epoch, files.capture.stop_reason
                line = f"{number} {spool.epoch} {spool.completed}\n"
            truth.write(line.encode())
            if number % 50 == 0 and stop_path.exists():
                break
            time.sleep(pause_s)
    print("done", file=sys.stderr)


if __name__ == "__main__":
    main()
