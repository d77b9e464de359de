r"""The names of performance counters that are known to be bytes or operations of logs and pages.

A column is named ``\\SERVER\Object(Instance)\Counter``.  Known are the store's own counters (of
the objects ``MSExchange Database ==> Instances`` and ``MSExchange Database``, ``Database`` in 2000
to 2003) and those of disks.  Objects and counters have other names in other languages:

* German of the store: as a public monitoring agent's recorded output of a German server has them
  (object ``MSExchange-Datenbank  ==> Instanzen``, with two blanks), and a public list of the
  counters of a German Windows, whose own object of the engine is ``Datenbank``.  Those of disks
  stand in that list, too.
* Russian of the store: as a public monitoring template for Russian servers has them.
* French and Spanish of disks: [M].

For the rest the planner names the columns (:mod:`.site_counter_names`).  The engine counts the
databases of other programs as well, under its own object: transport's queue, a directory.  They are
no mail store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

_PATH: Final = re.compile(r"(?:\\\\([^\\]+))?\\(?:(.+?)\((.*)\)|([^\\(]+))\\([^\\]+)")
_STORE_OBJECTS: Final = re.compile(
    r"(?:msexchange )?database( ==> instances)?|(?:msexchange-)?datenbank( ==> instanzen)?"
    r"|msexchangeis.*"
)
_BLANKS: Final = re.compile(r"\s+")
VOLUMES: Final = ("logicaldisk", "logischer datenträger", "disque logique", "disco lógico")
_DRIVES: Final = (
    "physicaldisk",
    "physikalischer datenträger",
    "physischer datenträger",
    "disque physique",
    "disco físico",
)
_LOG_BYTES: Final = (
    "log bytes write/sec",
    "protokoll: schreiben byte/sek",
    "protokoll: geschriebene bytes/sek",
    "записанных в журнал байтов/\u0441",
)
_LOG_FILES: Final = ("log files generated", "generierte protokolldateien")
_LOG_WRITES: Final = (
    "log writes/sec",
    "i/o log writes/sec",
    "protokollschreiboperationen/sek",
    "e/a: protokollschreiboperationen/sek",
    "protokollschreibvorgänge/sek",
    "e/a: protokollschreibvorgänge/sek",
)
_DISK_BYTES: Final = (
    "disk write bytes/sec",
    "bytes geschrieben/s",
    "écritures disque, octets/s",
    "bytes de escritura en disco/s",
)
_DISK_WRITES: Final = (
    "disk writes/sec",
    "schreibvorgänge/s",
    "écritures disque/s",
    "escrituras en disco/s",
)
READS_TOO: Final = (
    "disk bytes/sec",
    "bytes/s",
    "octets disque/s",
    "bytes de disco/s",
    "disk transfers/sec",
    "übertragungen/s",
    "transferts disque/s",
    "transferencias de disco/s",
)
"""Counters of reads and writes together; French and Spanish [M]."""
_OTHER_PROGRAMS: Final = ("edgetransport", "lsass", "svchost", "dfsrs", "ntfrs", "certsrv")
"""How instances begin that are no mail store: transport's queue, a directory, and others [M]."""
_OF_ONE_DATABASE: Final = "information store - "
"""How the process of a single database begins, from 2013 on: the server's own monitoring takes the
total of such a process for its database."""


class Role(Enum):
    """What a column is."""

    LOG_BYTES = "bytes of logs a second"
    LOG_FILES = "log files since the start"
    DATABASE_BYTES = "bytes of pages a second"
    WRITTEN_BYTES = "bytes a second, logs and pages"
    LOG_WRITES = "log writes a second"
    WRITES = "writes a second, of logs and pages"


@dataclass(frozen=True, slots=True)
class CounterName:
    """The parts of a column's name, in lower case, blanks that follow each other as one."""

    server: str
    object_name: str
    instance: str
    counter: str

    @property
    def is_of_instances(self) -> bool:
        """Whether the object has an instance for each log set."""
        return "==>" in self.object_name

    @property
    def is_of_store(self) -> bool:
        """Whether the object is one of the store's engine, whoever's database it counts."""
        return _STORE_OBJECTS.fullmatch(self.object_name) is not None

    @property
    def is_of_other_program(self) -> bool:
        """Whether the engine counts what is no mail store."""
        return self.is_of_store and self.instance.startswith(_OTHER_PROGRAMS)

    @property
    def is_total(self) -> bool:
        """Whether the instance adds up others: all of them, or those of one process."""
        return self.instance.split("/")[-1].strip() == "_total" or self.instance == "total"

    @property
    def process(self) -> str:
        """Before the instance's slash; empty without one."""
        return self.instance.rpartition("/")[0].strip()

    @property
    def is_one_log_set(self) -> bool:
        """Whether the column is of one log set, not of a server or of all that a process has."""
        whole = self.is_total and not self.process.startswith(_OF_ONE_DATABASE)
        return self.is_of_instances and not whole


def parse_counter(name: str) -> CounterName | None:
    """The parts of a column's name; None for what is no counter."""
    found = _PATH.fullmatch(name.strip())
    if found is None:
        return None
    parts = (found[1] or "", found[2] or found[4], found[3] or "", found[5])
    server, object_name, instance, counter = (
        _BLANKS.sub(" ", part).strip().lower() for part in parts
    )
    return CounterName(server, object_name, instance, counter)


def known_role(name: CounterName) -> Role | None:
    """What a counter is known to be; None for what is not known, and for other programs'."""
    counter = name.counter.rstrip(".")  # "/Sek." and "/Sek" stand side by side
    if name.is_of_store and not name.is_of_other_program:
        for counters, role in (
            (_LOG_BYTES, Role.LOG_BYTES),
            (_LOG_FILES, Role.LOG_FILES),
            (_LOG_WRITES, Role.LOG_WRITES),
        ):
            if counter in counters:
                return role
    if name.object_name in VOLUMES + _DRIVES:
        if counter in _DISK_BYTES:
            return Role.WRITTEN_BYTES
        if counter in _DISK_WRITES:
            return Role.WRITES
    return None
