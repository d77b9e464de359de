"""What the kinds of protection are, each in one line: what is copied where, and what it cannot do.

Products differ in where they copy, and what follows from that holds for all of a class, whatever
the line.  The lines are told on the page of a plan and in ``docs/planning.md``, and they are the
same; what a kind makes of a plan's figures stands in :mod:`.protection`.

The classes and their products are those of the market of Exchange 2000 to 2007.  Of a single
product more may be true: delays, snapshots and rewinding at the replica cure some of what is copied
too soon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class KindFacts:
    """One kind of protection.

    Attributes
    ----------
    copies: what, and into what.
    lags: how old the copy is by nature, on a line that keeps up.
    cannot: what it cannot do; to be read behind "it cannot".
    products: of the class.
    """

    copies: str
    lags: str
    cannot: str
    products: str


KIND_FACTS: Final[Mapping[str, KindFacts]] = MappingProxyType(
    {
        "byte level": KindFacts(
            "every write to databases and logs, below the store and in its order, into an image at "
            "the replica",
            "nothing but the way: a write is sent at once",
            "keep out a page that the store damages, or a mass deletion, or send a change once: it "
            "goes as log and as page, and the night's defragmentation goes too",
            "Double-Take, WANSync",
        ),
        "log shipping": KindFacts(
            "transaction logs, once they are closed, replayed into a copy of the databases at the "
            "replica",
            "the open log of each log set, until it is full or log roll closes it",
            "have what the open log holds, go on behind a log that was deleted before it was "
            "copied (the copy is seeded anew), or keep out a mass deletion",
            "LCR, CCR, SCR, NearPoint",
        ),
        "changed blocks": KindFacts(
            "blocks that changed between two snapshots of the files, into an image at the replica",
            "the interval between two runs, and the time of a run",
            "be newer than the last run that arrived whole, or have its store mounted while it is "
            "copied to",
            "PeerSync",
        ),
        "object level": KindFacts(
            "messages and other items one by one, each once, as directory and mailboxes show them, "
            "into another store that is mounted all the time",
            "nothing but the way: an item is sent when it is found",
            "give an image of the store (what directory and mailboxes do not show is not copied, "
            "and a failover is to another store with its own history), or keep out a mass deletion",
            "MailShadow",
        ),
        "nightly backup": KindFacts(
            "the logs of a day, or all databases, into a backup",
            "a day, and the time of a backup",
            "have the work of the day, or be mounted before it is restored",
            "streaming backup, VSS, tape",
        ),
    }
)
"""By the name of the kind."""
