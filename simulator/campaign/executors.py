"""Who runs the batches: processes of this machine, or a Dask cluster, behind one interface.

Both are executors of the standard library's kind.  A worker that dies takes its batch with it;
the batch is run again, and one that kills its worker again and again is named.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import Any, Final

from replicator.errors import BadInput
from simulator.campaign.memory import memory_share_bytes

MOST_TASKS_OF_A_WORKER: Final = 200
"""Then a process is replaced, so that nothing can pile up in it."""
_PATIENCE_SECONDS: Final = 5.0


def processors() -> int:
    """How many of them this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_the_campaign() -> None:
    """A campaign that is killed cannot end its workers: they would wait for batches for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _prepare_worker(memory_bytes: int) -> None:
    """Ctrl-C reaches the whole terminal group; only the command itself acts on it."""
    Thread(target=_end_with_the_campaign, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, hard))


@contextmanager
def process_pool(workers: int) -> Iterator[Executor]:
    """So many processes of this machine."""
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_prepare_worker,
        initargs=(memory_share_bytes(workers),),
        max_tasks_per_child=MOST_TASKS_OF_A_WORKER,
    )
    try:
        yield pool
    finally:
        _end(pool)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers, whatever they are at, and wait for the thread that looks after them.

    At the end of the program that thread must be gone: Python would wake it just while it closes
    what it is woken by.
    """
    manager = getattr(pool, "_executor_manager_thread", None)
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.kill()
    if manager is not None:
        manager.join(_PATIENCE_SECONDS)
        if manager.is_alive():
            # It waits for the rest of what a worker was sending when it was killed: now the pipe
            # has no writer any more.
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
    pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """The workers of a Dask scheduler; raises BadInput when there is none."""
    try:
        import distributed
    except ImportError as missing:
        raise BadInput(
            "a cluster needs the library dask.distributed, which is not installed",
            path=f"--scheduler {address}",
            remedy="Install the extra: pip install 'exchange-replication-bench[cluster]'.",
        ) from missing
    try:
        make: Any = distributed.Client
        client = make(address, timeout="5s")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no scheduler answers: {error}",
            path=f"--scheduler {address}",
            remedy="Start one with 'dask scheduler' and workers with 'dask worker', and give its "
            "address, for instance tcp://10.0.0.5:8786.",
        ) from error
    try:
        # Two runs of one plan must be two runs: results are never taken from a cache.
        yield client.get_executor(pure=False, retries=2)
    finally:
        client.close()
