"""A program of a protected set: ``writer.py CONFIG SEED OPERATIONS [PAUSE_MS]``.

Writes a database and a log that is rolled, through the client library, and says on standard
error how far it is.  With the same seed it goes on where a killed one stopped, as far as names
are concerned.
"""

import random
import sys
import time

from replicator.capture import protect


def main() -> None:
    config, seed, operations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    pause_s = float(sys.argv[4]) / 1000 if len(sys.argv) > 4 else 0.0
    numbers = random.Random(f"{seed}/{time.time_ns()}")
    with protect(config) as files:
        root = f"/{seed}"
        if not files.exists(root):
            files.mkdir(root)
        names = {name: f"{root}/{name}" for name in ("database", "log")}
        handles = {
            name: (files.open if files.exists(path) else files.create)(path)
            for name, path in names.items()
        }
        print("open", file=sys.stderr)
        for number in range(operations):
            handles["log"].append(numbers.randbytes(numbers.randrange(1, 3000)))
            handles["database"].write_at(numbers.randrange(300) * 8192, numbers.randbytes(8192))
            if number % 20 == 19:
                handles["log"].sync()
                handles["log"].close()
                files.rename(names["log"], f"{root}/log-{number}-{numbers.randrange(10**9)}")
                handles["log"] = files.create(names["log"])
                files.sync_directory(root)
            if number % 50 == 49:
                handles["database"].zero_range(numbers.randrange(2_000_000), 30_000)
                old = [name for name in files.list(root) if name.startswith("log-")][:-3]
                for name in old:
                    files.unlink(f"{root}/{name}")
            time.sleep(pause_s)
        handles["database"].sync()
    print("done", file=sys.stderr)


if __name__ == "__main__":
    main()
