"""A cluster of two machines, as Ray plays them on one: ``--address``, and a machine that goes away in the middle of a job."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from bad_items import run
from killing import rows_of
from uncertainty_nodes.cli.shared import ray_engine

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
JOB = ["--images", 8, "--batch", 2, "--method", "noise", "--steps", 2, "--samples", 2]


@pytest.fixture
def cluster() -> Iterator:
    """Two machines with a processor each; this process has joined neither."""
    from ray.cluster_utils import Cluster

    ray_engine.import_ray().cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def where():
    def work(value: int) -> tuple[int, str]:
        time.sleep(0.2)
        return value, ray.get_runtime_context().get_node_id()

    return work


def test_every_machine_of_a_cluster_works(cluster, tmp_path):
    found = list(ray_engine.RayEngine(address=cluster.address).run(where, iter(range(12))))
    assert sorted(value for value, _ in found) == list(range(12)) and len({node for _, node in found}) == 2
    assert run("generate", *JOB, "--out", tmp_path / "one") == 0
    assert run("generate", *JOB, "--engine", "ray", "--address", cluster.address, "--out", tmp_path / "cluster") == 0
    assert rows_of(tmp_path / "cluster") == rows_of(tmp_path / "one")


def test_a_machine_that_goes_away_for_good_holds_up_no_job(cluster):
    found, other = [], cluster.list_all_nodes()[-1]
    for result in ray_engine.RayEngine(address=cluster.address).run(where, iter(range(24))):
        found.append(result)
        if len(found) == 8:
            cluster.remove_node(other)
    assert sorted(value for value, _ in found) == list(range(24)) and len({node for _, node in found}) == 2
