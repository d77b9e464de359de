"""The same campaign by a Dask cluster of this machine, which loses a worker meanwhile."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from replicator.errors import BadInput
from simulator.campaign.campaign import Campaign, Limits, Progress
from simulator.campaign.executors import dask_cluster
from simulator.campaign.results import Results
from tests.campaign.test_campaign import KEY, campaign, rows


def test_a_cluster_gives_what_one_process_gives_and_survives_a_killed_worker(
    tmp_path: Path,
) -> None:
    from distributed import LocalCluster

    one, expected = campaign(tmp_path / "one.db", Limits(plans=24), batch_plans=2)
    one.run()
    killed: list[int] = []
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        workers = [worker.process.pid for worker in cluster.workers.values()]

        def kill_one(_progress: Progress) -> None:
            if not killed:
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)

        results = Results(tmp_path / "cluster.db", KEY)
        pool = partial(dask_cluster, cluster.scheduler_address)
        Campaign(KEY, results, pool, 2, Limits(plans=24), kill_one, batch_plans=2).run()
    assert killed
    assert rows(results) == rows(expected)


def test_without_a_scheduler_the_address_is_refused() -> None:
    with (
        pytest.raises(BadInput, match="no scheduler answers") as caught,
        dask_cluster("tcp://127.0.0.1:1"),
    ):
        pass
    assert "dask scheduler" in str(caught.value.remedy)
