"""Where batches are worked at: one process, or Ray's actors, with the same results whatever dies meanwhile."""

from __future__ import annotations

import os
import signal
import sys

import pytest
import torch

from bad_items import run
from ray_jobs import RUNS, ray_session
from uncertainty_nodes.cli.shared import ray_engine
from uncertainty_nodes.cli.shared.engine import OneProcess, make_engine
from uncertainty_nodes.cli.shared.engine_options import EngineKind, EngineOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy, Ray's of its own


def double():
    return lambda value: 2 * value


@pytest.fixture(scope="module")
def ray():
    """Ray, started once for all tests of this file: an engine takes the one that its process has joined."""
    with ray_session(__name__) as ray:
        yield ray


def test_one_process_loads_late_and_asks_for_a_task_when_the_last_result_was_looked_at():
    order, threads = [], torch.get_num_threads()

    def load():
        order.append("load")
        return double()

    def tasks():
        for task in (1, None, 2):
            order.append(task)
            yield task

    for result in OneProcess(threads + 1).run(load, tasks()):
        order.append(f"got {result}")
        assert torch.get_num_threads() == threads + 1
    assert order == [1, "load", "got 2", None, 2, "got 4"] and torch.get_num_threads() == threads
    assert list(OneProcess().run(lambda: pytest.fail("nothing to do needs no model"), iter([]))) == []


def test_what_belongs_to_ray_is_refused_without_it(tmp_path, monkeypatch, caplog):
    for name in ("workers", "address"):
        caplog.clear()
        assert run("generate", f"--{name}", 2, "--out", tmp_path) == 1
        assert f"{name} belongs to the engine ray: add --engine ray, or leave out --{name}" in caplog.text
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run("generate", *RUNS, "--out", tmp_path) == 1
    assert "--engine ray needs ray: pip install 'uncertainty-nodes[distributed]'" in caplog.text
    assert isinstance(make_engine(EngineOptions(threads=2), "cpu"), OneProcess)
    with pytest.raises(ValueError, match="workers must be"):
        EngineOptions(EngineKind.RAY, workers=-1)


def test_actors_give_each_result_once_and_are_asked_for_no_more_than_can_be_begun(ray):
    pending, most = 0, 0

    def tasks():
        nonlocal pending, most
        for value in range(20):
            while pending >= 3:  # as one who can't know what is left to do
                yield None
            pending, most = pending + 1, max(most, pending + 1)
            yield value

    results = []
    for result in ray_engine.RayEngine(2).run(double, tasks()):
        pending -= 1
        results.append(result)
    assert sorted(results) == [2 * value for value in range(20)] and 2 <= most <= 3


def test_an_error_of_the_work_is_the_job_s_error(ray):
    def load():
        def refuse(value):
            raise ValueError(f"{value} is too many; use fewer.")

        return refuse

    with pytest.raises(ValueError, match=r"^7 is too many; use fewer\.$"):
        list(ray_engine.RayEngine(1).run(load, iter([7])))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process as Linux does")
def test_a_worker_that_is_killed_is_started_anew_and_its_task_done_once(ray, tmp_path):
    def load():
        def die_once(value):
            died = tmp_path / str(value)
            if value % 3 == 0 and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return value, os.getpid()

        return die_once

    results = list(ray_engine.RayEngine(2).run(load, iter(range(6))))
    assert sorted(value for value, _ in results) == list(range(6))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_worker_that_can_not_be_started_is_a_sentence_too():
    text = "The actor died because of an error raised in its creation task\nModuleNotFoundError: No module named 'uncertainty_nodes'\n"
    assert "(ModuleNotFoundError: No module named 'uncertainty_nodes'): this package must be" in ray_engine.why_it_died(text)


def test_a_batch_that_kills_every_worker_ends_the_job_in_a_sentence(ray, monkeypatch):
    monkeypatch.setattr(ray_engine, "RETRIES", 1)
    with pytest.raises(OSError, match="A worker died 2 times at the same batch, likely for want of memory: use a smaller --batch"):
        list(ray_engine.RayEngine(1).run(lambda: lambda value: os.kill(os.getpid(), 9), iter([0])))
