"""The rules of the house, read from the syntax trees: who may import what, who may catch what.

1. Imports point one way: ``replicator.ese`` <- ``replicator`` <- ``simulator``.  What writes the
   store's files knows the port and its errors as well; no format does.
2. What decides knows no world: ``replicator`` outside ``host/`` and ``cli*.py`` imports no
   socket, asyncio, time, random, threading, os.
3. No bare ``except``, none of BaseException, and no suppressing of it, outside the kernel: it
   would swallow a cancellation or a crash.
4. The table of layers in ``docs/architecture.md`` names each module, and none that is not there.

Imports inside functions and under ``TYPE_CHECKING`` count, and so do ``importlib`` and
``__import__`` with a literal name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORLDLY = {"socket", "asyncio", "time", "random", "threading", "os"}
STORE_WRITERS = {
    f"replicator.ese.{name}"
    for name in (
        "log_directory",
        "log_stream",
        "log_writer",
        "header_copies",
        "database_header_file",
        "checkpoint_file",
        "page_cache",
        "recovered_database",
        "recovery",
        "recovery_checks",
        "recovery_database_checks",
        "recovery_files",
        "recovery_left_open",
        "owned_size",
        "recovery_log",
        "restore",
        "restore_checks",
        "reseed",
        "reseed_checks",
        "log_copies",
    )
}
PORT = ("replicator.errors.", "replicator.runtime.")
MAY_CATCH_ALL = {"replicator/runtime/kernel.py"}


def called_name(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Each imported module with its line; ``package`` is where relative imports start."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield node.lineno, module
            for alias in node.names:  # "from replicator import host" imports replicator.host
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and called_name(node) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def catches_all(tree: ast.Module) -> Iterator[int]:
    """Lines of ``except:``, ``except BaseException`` and ``suppress(BaseException)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught: list[ast.expr | None] = [node.type]
            if isinstance(node.type, ast.Tuple):
                caught = list(node.type.elts)
        elif isinstance(node, ast.Call) and called_name(node) == "suppress":
            caught = list(node.args)
        else:
            continue
        names = {getattr(each, "id", getattr(each, "attr", None)) for each in caught if each}
        if None in caught or "BaseException" in names:
            yield node.lineno


def forbidden(module: str, imported: str) -> str | None:
    """Why ``module`` (dotted) must not import ``imported``; None when it may."""
    top = imported.split(".")[0]
    if module.startswith("replicator"):
        if top == "simulator":
            return "the replicator knows nothing of the simulator"
        worldly_part = module.startswith(("replicator.host", "replicator.cli"))
        if top in WORLDLY and not worldly_part:
            return f"only replicator.host and replicator.cli may import {top}"
    in_store_formats = f"{module}.".startswith("replicator.ese.")
    outside = top == "replicator" and not f"{imported}.".startswith("replicator.ese.")
    if module in STORE_WRITERS and f"{imported}.".startswith(PORT):
        return None
    if in_store_formats and outside and imported != "replicator":
        return "replicator.ese stands alone"
    return None


def violations(root: Path) -> list[str]:
    """All breaches of the rules below ``root``, as ``file:line: why``."""
    found = []
    for path in sorted([*root.glob("replicator/**/*.py"), *root.glob("simulator/**/*.py")]):
        relative = path.relative_to(root)
        parts = relative.with_suffix("").parts
        package = parts[:-1]
        module = ".".join(package if parts[-1] == "__init__" else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        reasons = {
            (line, reason)
            for line, imported in imports(tree, package)
            if (reason := forbidden(module, imported)) is not None
        }
        if relative.as_posix() not in MAY_CATCH_ALL:
            reasons |= {(line, "catches BaseException") for line in catches_all(tree)}
        found += [f"{relative.as_posix()}:{line}: {reason}" for line, reason in sorted(reasons)]
    return found


def test_the_house_keeps_its_rules() -> None:
    assert violations(ROOT) == []


def test_the_kernel_still_needs_its_exception() -> None:
    for name in MAY_CATCH_ALL:
        assert list(catches_all(ast.parse((ROOT / name).read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("replicator/source.py", "import simulator"),
        ("replicator/source.py", "from simulator.disk import Disk"),
        ("replicator/host/files.py", "import simulator.disk"),
        ("replicator/source.py", "def f():\n    import time\n"),
        ("replicator/source.py", "import os.path as p"),
        ("replicator/runtime/x.py", "from asyncio import sleep"),
        ("replicator/source.py", "import importlib\nimportlib.import_module('socket')"),
        ("replicator/source.py", "__import__('random')"),
        ("replicator/source.py", "if TYPE_CHECKING:\n    import threading\n"),
        ("replicator/ese/page.py", "from replicator.errors import BadInput"),
        ("replicator/ese/page.py", "from .. import errors"),
        ("replicator/ese/page.py", "from ..errors import BadInput"),
        ("replicator/ese/__init__.py", "from replicator import journal"),
        ("replicator/ese/log_v8_encoding.py", "import replicator.runtime.port"),
        ("replicator/ese/log_stream.py", "import replicator.journal"),
        ("simulator/x.py", "try:\n    pass\nexcept:\n    pass\n"),
        ("simulator/x.py", "try:\n    pass\nexcept BaseException:\n    raise\n"),
        ("replicator/x.py", "try:\n    pass\nexcept (OSError, BaseException):\n    raise\n"),
        ("replicator/x.py", "with contextlib.suppress(BaseException):\n    pass\n"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, name: str, code: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("replicator/host/clock.py", "import asyncio, time, os"),
        ("replicator/cli.py", "import os"),
        ("replicator/source.py", "from replicator.runtime.port import File\nimport datetime"),
        ("replicator/ese/page.py", "from replicator.ese import checksum\nfrom . import log"),
        ("replicator/ese/log_stream.py", "from replicator.runtime.port import Volume"),
        ("replicator/ese_report.py", "from replicator.errors import BadInput"),
        ("simulator/disk.py", "import random\nfrom replicator.errors import NoSpace"),
        ("simulator/disk.py", "try:\n    pass\nexcept OSError:\n    pass\n"),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path: Path, name: str, code: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    assert violations(tmp_path) == []


# -- the table of layers -------------------------------------------------------------------

PLACES = ("", "replicator/", "simulator/", "replicator/runtime/", "replicator/ese/")
"""Where a name of the table may lie; ``replicator/ese`` is told without endings."""


def alternatives(name: str) -> list[str]:
    """``a{b,c}.py`` written out."""
    braces = re.search(r"\{([^}]*)\}", name)
    if braces is None:
        return [name]
    before, after = name[: braces.start()], name[braces.end() :]
    return [each for part in braces[1].split(",") for each in alternatives(before + part + after)]


def differences(root: Path, table: str) -> list[str]:
    """What the table of layers says, and is not there; and modules that it does not name."""
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:]
    names = [
        each
        for row in rows
        for word in re.findall(r"`([^`]+)`", row)
        for each in alternatives(word)
    ]
    named: set[Path] = set()
    wrong = []
    for name in names:
        found = [
            p for place in PLACES for end in ("", ".py") for p in root.glob(place + name + end)
        ]
        if not found:
            wrong.append(f"{name}: there is no such module")
        for path in found:
            named |= set(path.rglob("*.py")) if path.is_dir() else {path}
    for path in [*root.glob("replicator/**/*.py"), *root.glob("simulator/**/*.py")]:
        if path not in named and not path.name.startswith("__"):
            wrong.append(f"{path.relative_to(root).as_posix()}: the table does not name it")
    return sorted(wrong)


def test_the_table_of_layers_names_each_module_and_no_other() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert differences(ROOT, page.partition("## Layers")[2].partition("\n## ")[0]) == []


def test_a_module_that_is_gone_or_not_named_is_found(tmp_path: Path) -> None:
    for name in ("replicator/source.py", "simulator/link.py", "simulator/plans/draw.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    head = "| layer | modules |\n|---|---|\n"
    whole = head + "| x | `source.py`, `simulator/{link}.py` |\n| y | `simulator/plans/` |\n"
    assert differences(tmp_path, whole) == []
    other = head + "| x | `sender.py` |\n| y | `simulator/plans/`, `simulator/link.py` |\n"
    assert differences(tmp_path, other) == [
        "replicator/source.py: the table does not name it",
        "sender.py: there is no such module",
    ]
