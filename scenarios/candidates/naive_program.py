"""The naive copier as an ordinary asyncio program: streams, time-outs, and files of ``site``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from simulator.candidates import Site

PIECE_BYTES = 32 << 10


async def source(site: Site) -> None:
    """Every 300 ms: all files of the protected set, one after the other."""
    while True:
        try:
            async with asyncio.timeout(3):
                await copy(site)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the next time
        await asyncio.sleep(0.3)


async def copy(site: Site) -> None:
    files = site.files
    reader, writer = await asyncio.open_connection(site.host, site.port)
    try:
        names = files.listdir(site.root) if files.isdir(site.root) else []
        await say(writer, {"names": names})
        for name in names:
            try:
                file = files.open(f"{site.root}/{name}")
            except FileNotFoundError:
                continue  # renamed since the directory was listed
            with file:
                await say(writer, {"file": name})
                while piece := file.read(PIECE_BYTES):
                    await say(writer, {"bytes": len(piece)}, piece)
                await say(writer, {"end": name})
        await say(writer, {"done": True})
        await reader.readexactly(1)
        if names:
            site.emit("synchronized", 1)
    finally:
        writer.close()


async def say(writer: asyncio.StreamWriter, words: dict[str, Any], data: bytes = b"") -> None:
    writer.write(json.dumps(words).encode() + b"\n" + data)
    await writer.drain()


async def replica(site: Site) -> None:
    """Keeps what comes: a file is replaced once it is whole."""
    site.files.makedirs(site.image)
    served: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for task in served:
            task.cancel()  # the source has given that pass up
        task = asyncio.current_task()
        served.add(task)
        try:
            await take(site, reader, writer)
        except (OSError, asyncio.IncompleteReadError, ValueError, KeyError):
            pass  # cut short, or damaged on its way
        finally:
            served.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, site.host, site.port)
    async with server:
        await server.serve_forever()


async def take(site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    files, new = site.files, "/replica/new"
    names = json.loads(await reader.readline())["names"]
    while True:
        words = json.loads(await reader.readline())
        if "file" in words:
            file = files.open(new, "wb")
        elif "bytes" in words:
            file.write(await reader.readexactly(words["bytes"]))
        elif "end" in words:
            file.fsync()
            file.close()
            files.replace(new, f"{site.image}/{words['end']}")
        elif "done" in words:
            break
    for name in set(files.listdir(site.image)) - set(names):
        files.remove(f"{site.image}/{name}")
    files.fsync(site.image)
    writer.write(b"!")
    await writer.drain()
