"""Processes are found by their environment or their flags. What they do together is in tests/runs/test_processes.py."""

import keras
import pytest

from kseg.errors import KsegError
from kseg.processes import (
    Cluster,
    asked_to_stop,
    find_cluster,
    from_first,
    is_first,
    join,
    lost_process_named,
    process_count,
    process_index,
)

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (TORCHRUN, Cluster("torchrun", "node1:29501", 1, 4)),
        (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"RANK": "1", "WORLD_SIZE": "4"}, None),
        ({"WORLD_SIZE": "many"}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "2"}, Cluster("Slurm")),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}, None),  # in the batch script itself, outside of srun
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # any pod
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, Cluster("Kubernetes")),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"TPU_WORKER_HOSTNAMES": "t0,t1"}, Cluster("Cloud TPU")),
    ],
)
def test_the_environment_says_who_is_started_together(environment, found):
    assert find_cluster(environment=environment) == found
    assert find_cluster(processes=1, environment=environment) is None
    given = Cluster("--coordinator", "node2:80", 2, 3)
    assert find_cluster("node2:80", 2, 3, environment) == given


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("node:1", 0, None), "need all of --coordinator HOST:PORT, --process and --processes"),
        ((None, 0, 2), "need all of --coordinator"),
        (("node:1", None, 2), "need all of --coordinator"),
        ((None, None, 2), "processes: 2 is not allowed alone"),
        (("node", 0, 2), "coordinator: 'node' is not allowed; expected HOST:PORT"),
        ((":1", 0, 2), "expected HOST:PORT"),
        (("node:port", 0, 2), "expected HOST:PORT"),
        (("node:65536", 0, 2), "expected HOST:PORT"),
        (("node:1", 2, 2), "process: 2 is not allowed; expected 0 to 1, for 2 processes"),
        (("node:1", -1, 2), "process: -1 is not allowed"),
        (("node:1", 0, 0), "processes: 0 is not allowed; expected 1 or more"),
    ],
)
def test_flags_that_do_not_fit_are_refused(given, message):
    with pytest.raises(KsegError, match=message):
        find_cluster(*given, environment={})


@pytest.mark.skipif(keras.config.backend() != "torch", reason="on JAX they are allowed")
def test_several_processes_are_refused_on_torch():
    assert not any(name.startswith("distribut") for name in dir(keras.src.backend.torch))
    with pytest.raises(KsegError, match=r"Several processes \(torchrun\) are not allowed on torch: the `fit` of Keras"):
        join(Cluster("torchrun", "node1:29501", 1, 4))


def test_a_process_that_is_alone():
    assert (process_count(), process_index(), is_first()) == (1, 0, True)
    assert from_first(b"content") == b"content"
    assert from_first(None) is None
    with pytest.raises(ZeroDivisionError), lost_process_named():  # errors pass as they are
        1 / 0  # noqa: B018


@pytest.mark.skipif(keras.config.backend() != "jax", reason="JAX's own service")
def test_nobody_is_asked_to_stop_who_is_alone():
    assert not asked_to_stop(1)
