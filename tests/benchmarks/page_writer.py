"""A program that writes pages at random places of one file, and says how fast it was.

``page_writer.py captured CONFIG NAME ...`` through the client library,
``page_writer.py plain FILE ...`` with pwrite and fdatasync.  At the end it prints one line of JSON:
writes, bytes, when it began and ended (wall clock, nanoseconds), and for what is captured the last
operation and its epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable

from replicator.capture import protect
from simulator.payload import PayloadPool
from tests.benchmarks.live import COMPRESSIBLE_SHARE

_PAYLOAD_BYTES = 16 << 20

Write = Callable[[int, bytes], object]
Sync = Callable[[], object]


def write_pages(options: argparse.Namespace, write: Write, sync: Sync) -> dict[str, int]:
    """Write until the time is over or all is written."""
    size_bytes, every = options.size, options.every
    places = options.file_bytes // size_bytes
    chosen = random.Random(1).choices(range(places), k=min(65536, max(1, options.writes)))
    offsets = [place * size_bytes for place in chosen]
    pool = PayloadPool(COMPRESSIBLE_SHARE, 1)
    pages = [pool.take(n, size_bytes) for n in range(max(1, _PAYLOAD_BYTES // size_bytes))]
    written = 0
    begin_ns, end = time.time_ns(), time.monotonic() + options.seconds
    while written < options.writes and time.monotonic() < end:
        for _ in range(min(every, options.writes - written)):
            write(offsets[written % len(offsets)], pages[written % len(pages)])
            written += 1
        sync()
    return {
        "writes": written,
        "bytes": written * size_bytes,
        "begin_ns": begin_ns,
        "end_ns": time.time_ns(),
    }


def captured(options: argparse.Namespace) -> dict[str, int]:
    """Through the client library."""
    with protect(options.config) as files:
        with files.open(options.name) as file:
            found = write_pages(options, file.write_at, file.sync)
        with files.turn:
            spool = files.capture.spool
            assert files.capture.capturing, files.capture.stop_reason
            return found | {"epoch": spool.epoch, "completed": spool.completed}


def plain(options: argparse.Namespace) -> dict[str, int]:
    """Past it."""
    fd = os.open(options.name, os.O_WRONLY)
    try:
        return write_pages(
            options, lambda offset, data: os.pwrite(fd, data, offset), lambda: os.fdatasync(fd)
        )
    finally:
        os.close(fd)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for how in (captured, plain):
        command = commands.add_parser(how.__name__)
        if how is captured:
            command.add_argument("config")
        command.add_argument("name", help="of the file")
        command.add_argument("--size", type=int, required=True, help="bytes of a write")
        command.add_argument("--every", type=int, required=True, help="writes between two syncs")
        command.add_argument("--file-bytes", type=int, required=True)
        command.add_argument("--writes", type=int, required=True, help="at most")
        command.add_argument("--seconds", type=float, required=True, help="at most")
        command.set_defaults(how=how)
    options = parser.parse_args()
    print(json.dumps(options.how(options)), flush=True)


if __name__ == "__main__":
    main()
