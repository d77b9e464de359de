"""The command ``simulator size``: a spool and a link in one line, without a file.

It makes an organisation of its options and plans that, so it knows nothing that ``simulator plan``
does not; what it leaves out are the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from replicator.errors import BadInput, ExitCode
from simulator.cli_options import STANDARD_OUTPUT, JsonOption

if TYPE_CHECKING:
    from simulator.plan.organisation import BadOrganisation, Organisation


_OPTIONS: Final = {
    "mailboxes.0.count": "--users",
    "mailboxes.0.profile": "--profile",
    "mailboxes.0.version": "--version",
    "change.defragmentation": "--defragmentation",
    "change.mailbox_size": "--mailbox-size",
    "link.bandwidth": "--link",
    "link.rtt": "--rtt",
    "link.loss": "--loss",
    "link.tcp_window": "--tcp-window",
    "link.streams": "--streams",
    "protection.kind": "--kind",
    "protection.saving": "--saving",
    "protection.spool": "--spool",
    "outages.planned": "--outage",
    "objectives.rpo": "--rpo",
}
"""By the key of an organisation that each of them becomes."""
_LONGEST_OUTAGE_NS: Final = 14 * 86_400 * 10**9
"""Half of the plan that is made, of four weeks."""
_ELSEWHERE: Final = re.compile(r"; [\w.]+ (stands in|comes from|has its default).*")
_IN_THE_FILE: Final = "; the file wants it in quotes"
_ASSIGNED: Final = re.compile(r'Write \w+ = ("[^"]*")')


def size(
    users: Annotated[str, typer.Option(metavar="COUNT", help="Mailboxes.")],
    link: Annotated[str, typer.Option(metavar="RATE", help="Line rate, for instance 10Mbit/s.")],
    profile: Annotated[
        str, typer.Option(help="light, average, heavy, ...; from 2010 on messages a day.")
    ] = "heavy",
    version: Annotated[str, typer.Option(help="Of Exchange: 2003, 2007, 2010, 2013.")] = "2007",
    rtt: Annotated[str, typer.Option(metavar="TIME", help="Round trip of the line.")] = "20ms",
    loss: Annotated[str, typer.Option(metavar="SHARE", help="Packets lost.")] = "0%",
    outage: Annotated[
        str, typer.Option(metavar="TIME", help="The outage that must be survived.")
    ] = "8h",
    kind: Annotated[
        str,
        typer.Option(
            help="byte level, log shipping, changed blocks, object level, nightly backup."
        ),
    ] = "byte level",
    spool: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="The volume that there is; without it, the one that is advised.",
            show_default=False,
        ),
    ] = None,
    tcp_window: Annotated[
        str, typer.Option(metavar="SIZE", help="Largest TCP window; 64KiB is that of old systems.")
    ] = "16MiB",
    streams: Annotated[str, typer.Option(metavar="COUNT", help="TCP streams.")] = "1",
    saving: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Of the bytes, by compression; 30 % by default.",
            show_default=False,
        ),
    ] = None,
    defragmentation: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Of the stored pages, rewritten each night; 10 % up to 2007, none later.",
            show_default=False,
        ),
    ] = None,
    mailbox_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of one mailbox; by default the profile's."),
    ] = None,
    rpo: Annotated[str, typer.Option(metavar="TIME", help="Most work that may be lost.")] = "15m",
    json: JsonOption = None,
) -> None:
    """Say how large a spool must be and what the line does, for so many mailboxes.

    Exit code 1: an objective is missed.  For tables, pictures and all else: simulator plan.
    """
    from replicator import units
    from simulator.report.output import check_file_target

    if json is not None and json != STANDARD_OUTPUT:
        check_file_target(json, "--json")
    from simulator.plan.organisation import BadOrganisation, parse_organisation

    mailboxes = _whole("--users", users, 10_000_000)

    def checked(option: str, text: str | None, read: Callable[[object], object]) -> str | None:
        if text is None:
            return None
        try:
            read(text)
        except units.UnitError as error:
            raise BadInput(f"{option}: {error}", remedy="Correct the option.") from None
        return text

    change: dict[str, Any] = {
        "defragmentation": checked("--defragmentation", defragmentation, units.parse_ratio),
        "mailbox_size": checked("--mailbox-size", mailbox_size, units.parse_size_bytes),
    }
    text = _toml(
        {
            "": {"name": f"{mailboxes:,} mailboxes"},
            "[[mailboxes]]": {"count": mailboxes, "version": version, "profile": profile},
            "[change]": change,
            "[link]": {
                "bandwidth": checked("--link", link, units.parse_rate_bits_per_second),
                "rtt": checked("--rtt", rtt, units.parse_duration_ns),
                "loss": checked("--loss", loss, units.parse_ratio),
                "tcp_window": checked("--tcp-window", tcp_window, units.parse_size_bytes),
                "streams": _whole("--streams", streams, 10_000),
            },
            "[protection]": {
                "kind": kind,
                "saving": checked("--saving", saving, units.parse_ratio),
                "spool": checked("--spool", spool, units.parse_size_bytes),
            },
            "[outages]": {
                "planned": checked("--outage", outage, _outage_ns),
                "lengths": [outage],
            },
            "[objectives]": {"rpo": checked("--rpo", rpo, units.parse_duration_ns)},
        }
    )
    try:
        organisation = parse_organisation(text, origin="the options")
    except BadOrganisation as error:
        raise _of_options(error) from None
    raise typer.Exit(_plan_and_tell(organisation, json))


def _whole(option: str, text: str, most: int) -> int:
    """A count from 1 on; raises BadInput."""
    try:
        number = int(text.replace(",", "").strip())
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise BadInput(
            f"{option}: {text[:40]!r} is no whole number from 1 to {most:,}",
            remedy=f"Write for instance {option} {min(1_000, most)}.",
        )
    return number


def _outage_ns(given: object) -> int:
    """An outage that a plan of four weeks can have; raises UnitError."""
    from replicator import units

    length_ns = units.parse_duration_ns(given)
    if not 0 < length_ns <= _LONGEST_OUTAGE_NS:
        raise units.UnitError(
            f"{str(given)[:40]!r} is not more than 0 and up to "
            f"{units.spell_duration(_LONGEST_OUTAGE_NS)} (simulator plan has longer ones): write 8h"
        )
    return length_ns


def _of_options(error: BadOrganisation) -> BadInput:
    """The same errors in the words of whoever gave options: there is no file, nor lines of it."""
    told, remedies = [], []
    for each in error.errors:
        key, _, message = each.message.partition(": ")
        if key.startswith("outages.lengths"):
            continue  # the same as --outage
        option = _OPTIONS.get(key, key)
        told.append(f"{option}: {_ELSEWHERE.sub('', message)}")
        remedy = each.remedy.replace(_IN_THE_FILE, "")
        remedies.append(_ASSIGNED.sub(rf"Write {option} \1", remedy))
    if not told:
        return error
    return BadInput("; ".join(told), remedy=" ".join(dict.fromkeys(remedies)))


def _plan_and_tell(organisation: Organisation, json: Path | None) -> ExitCode:
    """Plans and prints the answer; writes the record where it is asked for."""
    from rich.console import Console

    from simulator.plan.plan_answer import answer_topics
    from simulator.plan.plan_objectives import holds, outcomes_of
    from simulator.plan.planner import make_plan
    from simulator.report.plan_terminal import print_topics, steps_on

    console = Console(stderr=json == STANDARD_OUTPUT, highlight=False)
    made = make_plan(organisation, steps_on(Console(stderr=True, highlight=False)))
    topics = answer_topics(made)
    if json is not None:
        from simulator.plan.plan_record import plan_text, record_of
        from simulator.report.output import write_atomically

        text = plan_text(record_of(made, topics))
        if json == STANDARD_OUTPUT:
            print(text, end="", flush=True)
        else:
            write_atomically(json, text, "--json")
    # The record first: whoever reads the sentences may stop reading at any of them.
    print_topics(console, topics)
    return ExitCode.PASS if holds(outcomes_of(made)) else ExitCode.BROKEN


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """TOML of tables of plain values, by header; None is left out."""
    import json

    lines = []
    for header, table in tables.items():
        lines += [header] if header else []
        lines += [
            f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None
        ]
    return "\n".join(lines) + "\n"
