"""Fuzz one target: ``python -m tests.fuzz TARGET [libFuzzer options]``; docs/fuzzing.md.

Needs atheris (``pip install atheris``).  What was worth keeping is in out/fuzz/TARGET; what was
found is written to out/fuzz as crash-..., timeout-... or oom-..., and run again by naming the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

MOST_BYTES = 400


def main(arguments: list[str]) -> int:
    try:
        import atheris
    except ImportError:
        print("error: atheris is not installed\nwhat to do: pip install atheris", file=sys.stderr)
        return 64
    with atheris.instrument_imports(include=["replicator.ese", "replicator.ese_"]):
        from tests.fuzz.targets import TARGETS, seeds
    if not arguments or arguments[0] not in TARGETS:
        print(f"error: name one of {', '.join(TARGETS)}", file=sys.stderr)
        return 64
    name, *options = arguments
    from tests.fuzz.outcomes import SECONDS, limit_memory

    run = TARGETS[name]
    corpus = Path("out/fuzz", name)
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number:02}").write_bytes(seed)
        run(seed)  # makes what is made once
    limit_memory()
    named = [option for option in options if not option.startswith("-")]
    standard = [f"-max_len={MOST_BYTES}", f"-timeout={SECONDS}", "-artifact_prefix=out/fuzz/"]
    places = [] if named else [str(corpus)]
    atheris.Setup([sys.argv[0], *standard, *options, *places], run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
