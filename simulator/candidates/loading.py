"""Finds a candidate's Python object: ``module:name``, importable or beside the scenario."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from replicator.toml_keys import KeyProblem
from simulator.candidates import guards
from simulator.candidates.failure import is_of_the_user, place_in

_FORM: Final = 'Write "module:name" or "file.py:name"; a module beside the scenario is found, too.'


def absolute_reference(reference: str, directory: Path) -> str:
    """The reference with its file's whole path, where the module lies beside the scenario.

    Raises KeyProblem.
    """
    module, colon, name = reference.partition(":")
    if not colon or not module or not name.isidentifier():
        raise KeyProblem(f"{reference[:80]!r} names no object of a module", _FORM)
    file = module if module.endswith(".py") else module.replace(".", "/") + ".py"
    path = directory.absolute() / file
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    if found:
        return f"{path.resolve()}:{name}"
    if module.endswith(".py"):
        raise KeyProblem(f"there is no file {path}", _FORM)
    return reference


@lru_cache(maxsize=64)
def load(reference: str) -> Any:
    """The object that a reference names.  Raises KeyProblem, which says what is wrong and where."""
    module_name, _, name = reference.partition(":")
    try:
        with guards.importing():
            module = _of_file(Path(module_name)) if module_name.endswith(".py") else None
            if module is None:
                module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name.partition(".")[0] or error.name == module_name:
            raise KeyProblem(
                f"there is no module {module_name!r}, neither importable nor beside the scenario",
                _FORM,
            ) from error
        raise _does_not_load(module_name, error) from error
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if is_of_the_user(error):
            raise
        raise _does_not_load(module_name, error) from error
    found = getattr(module, name, None)
    if found is None:
        known = sorted(n for n in vars(module) if not n.startswith("_"))[:8]
        raise KeyProblem(
            f"{module_name} has no {name!r}",
            f"It has {', '.join(known) or 'nothing'}: write one of these behind the colon.",
        )
    return found


def _does_not_load(module_name: str, error: BaseException) -> KeyProblem:
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        path, line = place_in(error.__traceback__)
        place = module_name if path is None else f"{path}:{line}"
    return KeyProblem(
        f"the module cannot be imported: {type(error).__name__}: {error} ({place})",
        "Correct the module; 'python FILE' shows the same error.",
    )


def _of_file(path: Path) -> Any:
    name = f"candidate_{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", "") == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    loaded = False
    try:
        spec.loader.exec_module(module)
        loaded = True
    finally:
        sys.path.remove(str(path.parent))
        if not loaded:
            del sys.modules[name]
    return module


def check_class(reference: str) -> type:
    """The class of a candidate of kind ``port``.  Raises KeyProblem."""
    found = load(reference)
    name = reference.rpartition(":")[2]
    if not inspect.isclass(found):
        raise KeyProblem(f"{name} is no class", "Name a class with source() and replica().")
    for method in ("source", "replica"):
        if not inspect.iscoroutinefunction(getattr(found, method, None)):
            raise KeyProblem(
                f"{name} has no coroutine {method}()",
                f"Give it 'async def {method}(self, runtime, volume, site)'.",
            )
    for method in ("recover", "claim"):
        given = getattr(found, method, None)
        if given is not None and not inspect.iscoroutinefunction(given):
            raise KeyProblem(
                f"{method}() of {name} is no coroutine",
                f"Write 'async def {method}(self, runtime, volume, site)'.",
            )
    for method in ("source", "replica", "tap", "recover", "claim"):
        if hasattr(found, method):
            _check_arguments(getattr(found, method), f"{name}.{method}", 4)
    return found


def check_function(reference: str) -> Any:
    """A coroutine function of a candidate of kind ``program``.  Raises KeyProblem."""
    found = load(reference)
    name = reference.rpartition(":")[2]
    if not inspect.iscoroutinefunction(found):
        raise KeyProblem(f"{name} is no coroutine function", f"Write 'async def {name}(site)'.")
    _check_arguments(found, name, 1)
    return found


def _check_arguments(function: Any, name: str, count: int) -> None:
    wanted = "(self, runtime, volume, site)" if count > 1 else "(site)"
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError as error:
        raise KeyProblem(
            f"{name} does not take {wanted}: {error}", f"Write its arguments as {wanted}."
        ) from error
