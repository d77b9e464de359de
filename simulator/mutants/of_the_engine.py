"""Rules of the engine of Exchange's stores, taken away where the scenario's store is one.

Its switches are in four places, by what keeps them: the engine itself, its log, the two copies of
headers and checkpoint, and recovery.  Two rules have no switch, and lose a function instead.

Plans of a campaign find those in ``ENGINE_MUTANTS``.  What the others are for does not come about
in so short a life of so small a store, or within instants that a drawn plan hardly ever meets;
tests make those instants (``ENGINE_ENUMERATED`` says which).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from replicator.ese import page_io
from replicator.ese.header_copies import HeaderCopies, HeaderSafeguards
from replicator.ese.log_stream import LogStream
from replicator.ese.recovered_database import RecoveredDatabase, RecoverySafeguards
from replicator.ese.verification import Judgement, Verdict
from simulator.exchange.engine_store import EngineStore
from simulator.exchange.ese.instance_options import EngineSafeguards
from simulator.mutants.mutant import Enumerated, Mutant


def _initialized(other: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> Callable[[Any], Any]:
    """What makes another ``__init__``, whose arguments by name ``other`` changes."""

    def replacing(original: Any) -> Any:
        def init(self: Any, *arguments: Any, **named: Any) -> None:
            other(arguments, named)
            original(self, *arguments, **named)

        return init

    return replacing


def _engine(name: str, meaning: str) -> Mutant:
    """A switch of the engine."""

    def off(_arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        named["safeguards"] = replace(EngineSafeguards(), **{name: False})

    return Mutant(f"engine_{name}", meaning, ((EngineStore, "__init__", _initialized(off)),))


def _log(name: str, meaning: str) -> Mutant:
    """A switch of the log's writing end, in recovery as well."""

    def with_one_off(original: Any) -> Any:
        def init(self: Any, *arguments: Any) -> None:
            *others, options = arguments
            safeguards = replace(options.safeguards, **{name: False})
            original(self, *others, replace(options, safeguards=safeguards))

        return init

    return Mutant(f"engine_log_{name}", meaning, ((LogStream, "__init__", with_one_off),))


def _header(name: str, meaning: str) -> Mutant:
    """A switch of the two copies of database headers and checkpoint."""

    def with_one_off(original: Any) -> Any:
        def init(self: Any, volume: Any, file: Any, _safeguards: object = None) -> None:
            original(self, volume, file, replace(HeaderSafeguards(), **{name: False}))

        return init

    return Mutant(f"engine_header_{name}", meaning, ((HeaderCopies, "__init__", with_one_off),))


def _recovery(name: str, meaning: str) -> Mutant:
    """A switch of recovery."""

    def off(_arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        named["safeguards"] = replace(RecoverySafeguards(), **{name: False})

    patches = ((RecoveredDatabase, "__init__", _initialized(off)),)
    return Mutant(f"engine_recovery_{name}", meaning, patches)


def _deletes_all(original: Any) -> Any:
    """Every closed log goes, whoever needs it."""
    return lambda self, _generation: original(self, self.generation)


def _believed(original: Any) -> Any:
    """A page that was written is whole, whatever its checksum says."""

    def judge(data: Any, pgno: int) -> Judgement:
        judged: Judgement = original(data, pgno)
        never_written = judged.verdict is Verdict.ZERO
        return judged if never_written else Judgement(Verdict.GOOD, pgno)

    return judge


ENGINE_MUTANTS: Final = (
    _engine("flush_at_commit", "the store acknowledges before its log is durable"),
    _engine("log_before_pages", "a page is written whose last change is in no durable log"),
    _engine("waypoint", "pages have changes of a log that no header requires"),
    _engine("wait_for_pages", "the checkpoint passes changes that are in memory only"),
    _log("order_of_writes", "a log's next write may be on disk before the one that it follows"),
    _log("header_before_rename", "a new log has its name before its header"),
    _log("sync_after_renames", "records go into a log without a durable name"),
    Mutant(
        "engine_checkpoint_before_delete",
        "closed logs are deleted that checkpoint and headers still need",
        ((LogStream, "delete_below", _deletes_all),),
    ),
)
"""Found by drawn plans of ``scenarios/campaign.toml``."""

STREAMING_MUTANTS: Final = (
    _engine("stream_before_commit", "a message's row is committed before its content is durable"),
)
"""Found by drawn plans where the store has a streaming file."""

_ENGINE_CRASHES: Final = "tests/store_ese/test_engine_crashes.py"
_EACH: Final = f"{_ENGINE_CRASHES}::test_each_safeguard_is_needed"
_EACH_OF_RECOVERY: Final = "tests/ese/test_recovery.py::test_each_safeguard_is_needed"
_LOG: Final = (
    "tests/ese/test_log_stream.py::test_without_a_safeguard_the_enumeration_finds_a_breach"
)
_HEADERS: Final = "tests/ese/test_header_writing.py::test_without_a_safeguard_a_header_is_lost"
_STREAMING: Final = "tests/store_ese/test_streaming_file.py::test_each_safeguard_is_needed"

_HEADER_SYNCS: Final = "the header is in the same file: its own sync takes the pages along"
_NONE_OPEN: Final = "transactions of the bench end without waiting: none is open when pages go out"
_ALL_IN_MEMORY: Final = "so small a store is in memory as a whole: no page makes room for another"
_AT_THE_END: Final = "recovery of so small a store writes its pages at the end, all together"
_WHOLE_COPIES: Final = "the disk writes a page whole, and so each copy: one of them is always good"

ENGINE_ENUMERATED: Final = (
    Enumerated(
        _engine("before_images", "a page is written without what undo needs of it"),
        _NONE_OPEN,
        _EACH,
    ),
    Enumerated(
        _engine(
            "wait_for_transactions",
            "the checkpoint passes where a transaction began that is open or not durable yet",
        ),
        _NONE_OPEN,
        _EACH,
    ),
    Enumerated(
        _engine("sync_before_checkpoint", "logs are let go whose pages are in the cache"),
        _HEADER_SYNCS,
        _EACH,
    ),
    Enumerated(
        _engine("sync_before_clean", "a header says CleanShutdown while pages are in the cache"),
        _HEADER_SYNCS,
        _EACH,
    ),
    Enumerated(
        _engine("write_before_eviction", "a changed page goes from memory unwritten"),
        _ALL_IN_MEMORY,
        f"{_ENGINE_CRASHES}::test_what_goes_from_memory_unwritten_is_missed_at_once",
    ),
    Enumerated(
        _engine("log_before_eviction", "a page makes room and is on disk before its log"),
        _ALL_IN_MEMORY,
        _EACH,
    ),
    Enumerated(
        _log("sync_before_return", "the log says durable what is in the cache"),
        "in version 7 a flush ends with the shadow of its last sector, and the sector is durable "
        "by the order of writes",
        _LOG,
    ),
    Enumerated(
        _log("sync_header_before_rename", "a new log has its name before its header is durable"),
        "a roll of a log is over in an instant, and a run has few",
        _LOG,
    ),
    Enumerated(
        _log("repair_at_restart", "a restart goes on behind sectors that are in the cache only"),
        "it takes a failed sync of the log, a restart, and a power loss before the next flush",
        "tests/ese/test_log_stream.py::test_without_repair_a_failed_sync_is_found_out",
    ),
    Enumerated(
        _header("sync_between_copies", "both copies of a header are underway at a time"),
        _WHOLE_COPIES,
        _HEADERS,
    ),
    Enumerated(
        _header("sync_at_end", "a header counts as written with its second copy in the cache"),
        "the first copy is durable, and counts where they differ",
        "tests/ese/test_header_writing.py::test_what_was_written_survives_a_power_loss",
    ),
    Enumerated(
        _header("repair_at_open", "a copy that is damaged or in the cache only stays so"),
        _WHOLE_COPIES,
        _HEADERS,
    ),
    Enumerated(
        _recovery("header_before_pages", "recovery writes pages of a log that no header requires"),
        _AT_THE_END,
        _EACH_OF_RECOVERY,
    ),
    Enumerated(
        _recovery("log_before_pages", "recovery's undo writes a page before its own log"),
        _AT_THE_END,
        _EACH_OF_RECOVERY,
    ),
    Enumerated(
        _recovery("hold_pages", "recovery writes a page and forgets what undo needs of it"),
        _AT_THE_END,
        _EACH_OF_RECOVERY,
    ),
    Enumerated(
        _recovery("sync_before_clean", "recovery says CleanShutdown, its pages are in the cache"),
        _HEADER_SYNCS,
        _EACH_OF_RECOVERY,
    ),
    Enumerated(
        _recovery("write_again", "recovery leaves pages alone that the cache alone may have"),
        "it takes a failed sync of the database, a restart, and a power loss before the page is "
        "written again",
        _EACH_OF_RECOVERY,
    ),
    Enumerated(
        Mutant(
            "engine_page_checksums",
            "a page is taken as it is, whether it verifies or not",
            ((page_io, "judge_page", _believed),),
        ),
        "the disk writes a page whole, and bit rot of an image is noticed before a mount",
        "tests/store/test_conformance.py::test_a_page_is_taken_as_it_is_without_its_checksum",
    ),
    *(
        Enumerated(
            each,
            "the scenario is of 2007, without a streaming file; of 2003, eight plans find it",
            _STREAMING,
        )
        for each in STREAMING_MUTANTS
    ),
    Enumerated(
        _engine("keep_deleted_clusters", "clusters of a deletion that a crash undoes are used"),
        "the scenario is of 2007, without a streaming file; and in four seconds nothing is deleted",
        _STREAMING,
    ),
)
"""Those that its plans hardly find, and the tests that do."""
