"""``docs/protocol.md``, drawn from the table that the code runs on.

Renew it with ``python -m replicator.protocol_page > docs/protocol.md``; a test compares.
"""

from __future__ import annotations

from replicator.protocol import (
    HEADER_BYTES,
    PROTOCOL_VERSION,
    TRANSITIONS,
    FrameType,
    Role,
    State,
)

_MEANING = {
    FrameType.HELLO: "who I am: protocol, set",
    FrameType.WELCOME: "what I have: epoch, durable operation, link of the chain, damage",
    FrameType.REFUSE: "no, why, and what to do",
    FrameType.RESUME: "source: I go on behind your durable operation, and have completed so many; "
    "replica: the new image is committed",
    FrameType.BATCH: "operations in order, as the spool holds them, compressed",
    FrameType.ACKNOWLEDGE: "durable, applied, checkpointed, and as of when",
    FrameType.HEARTBEAT: "I live; source: my completed mark and wall clock",
    FrameType.SYNC_BEGIN: "a new epoch: names, ids and sizes of its operation 0",
    FrameType.EXTENT_DIGESTS: "digests of up to 128 extents of 256 KiB of a file",
    FrameType.EXTENTS_WANTED: "which of them differ here, and where nothing is to compare with",
    FrameType.PAGE_DIGESTS: "digests of the pages of 8 KiB of extents that differ",
    FrameType.PAGES_WANTED: "which of them differ, one bit each; in a synchronization: send them",
    FrameType.PAGE_DATA: "the bytes of wanted pages, of up to 16 extents",
    FrameType.COMPARE_BEGIN: "compare the images; begin when you have applied this operation",
    FrameType.COMPARE_NAMES: "names, ids and sizes at the replica",
    FrameType.COMPARE_REPORT: "the comparison is over, and what it found",
    FrameType.CONDITION: "why the replica does not apply what it has, in words; empty: it does",
    FrameType.SYNC_END: "all blocks are sent; commit when you have operations up to the fence",
}


def protocol_page() -> str:
    """The page as Markdown."""
    lines = [
        "# The protocol",
        "",
        f"Version {PROTOCOL_VERSION}. The source opens the connection; each frame has a header of",
        f"{HEADER_BYTES} bytes with type, length and checksum. This page is drawn from",
        "`TRANSITIONS` in `replicator/protocol.py`, which both ends check on every frame they",
        "send or receive.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {State.OPEN}",
    ]
    grouped: dict[tuple[State, State, Role], list[str]] = {}
    for (state, role, frame), following in TRANSITIONS.items():
        grouped.setdefault((state, following, role), []).append(frame.name)
    for (state, following, role), frames in grouped.items():
        lines.append(f"    {state} --> {following} : {role} {', '.join(frames)}")
    lines += [
        f"    {State.CLOSED} --> [*]",
        "```",
        "",
        "| state | source may send | replica may send |",
    ]
    lines.append("|---|---|---|")
    for state in State:
        cells = [f"| {state} "]
        for role in Role:
            allowed = [
                frame.name + (f" → {following}" if following != state else "")
                for (at, who, frame), following in TRANSITIONS.items()
                if at == state and who == role
            ]
            cells.append(f"| {', '.join(allowed) or 'nothing'} ")
        lines.append("".join(cells) + "|")
    lines += ["", "| frame | says |", "|---|---|"]
    lines += [f"| {frame.name} | {_MEANING[frame]} |" for frame in FrameType]
    lines += [
        "",
        "Acknowledgements are cumulative. The replica sends `durable` only after the sync that",
        "makes it true has returned. The source keeps what is not acknowledged, and more",
        "([decision 4](decisions/0004-release-at-checkpoint.md)). A connection may break after any",
        "byte: the handshake finds out what arrived.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(protocol_page(), end="")
