"""Taking back one change of a node, as an Undo record says: by the undo of an engine, of recovery,
and by redo of what they have logged.

No page is split or freed by it: a replacement that shrank left its bytes reserved, and what an
insert brought stays as a deleted node.  E src/ese/ver.cxx; S: no real log at hand has an Undo.
"""

from __future__ import annotations

from replicator.ese.log_page_records import Undo
from replicator.ese.node import DELETED
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_operations import misfit, stamp, with_delta
from replicator.ese.versions import Change, Version


def apply_undo(record: Undo, page: PageEditor, version: Version | None) -> None:
    """Carry out an Undo record on its page.

    Arguments
    ---------
    record: what is taken back, and where the node is now.
    version: the change; None where only the record is at hand, which is enough for inserts and
        flag-deletes.

    Raises EseError -500 when the version is needed and not there, or fits no node.
    """
    if record.operation in (Change.INSERT, Change.FLAG_DELETE):
        if record.operation == Change.INSERT:
            page.set_flags(record.line, set_flags=DELETED)
        else:
            page.set_flags(record.line, clear_flags=DELETED)
    elif version is None:
        raise misfit(record, f"the version {record.version_id} that it takes back is not there")
    elif record.operation == Change.REPLACE:
        _put_back(page, record.line, version.before)
    else:
        size = 8 if record.operation == Change.DELTA64 else 4
        data = page.node(record.line).data
        data = with_delta(data, version.offset, size, -version.delta, record)
        page.replace_data(record.line, data)
    stamp(page, record.dbtime)


def _put_back(page: PageEditor, line: int, before: bytes) -> None:
    """The data of before, in the bytes that were kept for it."""
    growth = len(before) - len(page.node(line).data)
    page.replace_data(line, before)
    page.uncommitted_free_bytes = min(
        page.free_bytes, max(0, page.uncommitted_free_bytes - max(0, growth))
    )
