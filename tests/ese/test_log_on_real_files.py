"""The log stream on real files: the example of the documentation, and a set that is continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_file import LogFile
from replicator.ese.log_options import LogOwner
from replicator.ese.log_set import open_log_directory
from replicator.ese.log_stream import LogStream
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.reader import FileReader
from replicator.ese.values import Signature
from replicator.host.volume import HostVolume
from tests.ese.log_writing import UNDO, skippable
from tests.real_loop import RealLoop

PAGE = Path(__file__).resolve().parents[2] / "docs/store-writing.md"
NOW = log_time_at(10**18)


def example() -> Any:
    """The function that the page shows."""
    code = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["write"]


def test_the_example_writes_a_log_that_can_be_continued(tmp_path: Path, capsys: Any) -> None:
    loop = RealLoop()
    volume = HostVolume("data", str(tmp_path), loop.loop)

    async def go_on() -> None:
        owner = LogOwner(lambda header: header, lambda generation, created: began(generation))
        log_format = LogV8Format(now=lambda: NOW)
        log = await LogStream.resume(volume, "/", log_format, owner, now=lambda: NOW)
        log.append(UNDO, new_segment=True)
        for number in range(150):
            await log.room(10_000)
            log.append(skippable(10_000, number))
        await log.flush()
        assert log.flushed == log.tip
        await log.close()

    async def began(generation: int) -> None:
        generations.append(generation)

    generations: list[int] = []
    try:
        loop.run(example()(volume, "/", lambda: NOW, Signature(7, NOW)))
        assert capsys.readouterr().out == "generation 1\n"
        loop.run(go_on())
    finally:
        volume.close()
        loop.close()
    found = open_log_directory(tmp_path)
    assert found.errors == ()
    assert (found.base, found.generations, generations) == ("E00", (1, 2), [2])
    assert {*found.reserves} == {"E00res00001.jrs", "E00res00002.jrs"}
    with FileReader(tmp_path / "E0000000001.log") as reader:
        records = [each.data for each in LogFile(reader, closed=True).records()]
    with FileReader(tmp_path / "E00.log") as reader:
        records += [each.data for each in LogFile(reader, closed=False).records()]
    commit = bytes.fromhex("0901000007000000")
    assert records == [commit, UNDO, *(skippable(10_000, number) for number in range(150))]
