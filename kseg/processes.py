"""Several processes that train one model together, on one machine or on many, by JAX's own service.

Each process runs the same program, makes its share of every batch, and computes the same numbers. The first one speaks
and writes.
"""

import contextlib
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kseg.errors import KsegError, LostProcessError

# After so many seconds without a sign of life from a process the others end. JAX's default is 100.
_LONGEST_SILENCE = 60
_LONGEST_WAIT = 300  # seconds, for the others at the start
_LAST_WORD = 5  # seconds before it is over
_CHUNK = 2**24  # JAX has no larger integers than 32 bits
# What the errors of JAX say of another process that has ended, by the library that notices.
_LOST = re.compile(r"gloo|nccl|coordination|heartbeat|\bpeer\b", re.IGNORECASE)


@dataclass(frozen=True)
class Cluster:
    """The processes of a run; None where JAX finds it out."""

    found_by: str
    coordinator: str | None = None
    """Host and port of the first process."""
    process: int | None = None
    """The number of this one, from 0."""
    processes: int | None = None
    """How many there are."""


def find_cluster(
    coordinator: str | None = None,
    process: int | None = None,
    processes: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Cluster | None:
    """Return the processes that were started together with this one, or None if it is alone.

    Args:
        coordinator: host and port of the first process. Without it the environment is asked: torchrun's, Slurm's, that
            of an indexed job of Kubernetes, or of Cloud TPU.
        process: the number of this one, from 0.
        processes: how many there are; 1: this one is alone, whatever the environment says.
        environment: the variables of the environment.

    Raises:
        KsegError: one of the three is missing, or does not fit the others.

    >>> find_cluster("node1:1234", 0, 2)
    Cluster(found_by='--coordinator', coordinator='node1:1234', process=0, processes=2)
    >>> find_cluster(environment={"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"})
    Cluster(found_by='torchrun', coordinator='node1:29501', process=1, processes=4)
    """
    if processes is not None and processes < 1:
        raise KsegError(f"processes: {processes} is not allowed; expected 1 or more.")
    if coordinator is not None or process is not None:
        return _given(coordinator, process, processes)
    if processes == 1:
        return None
    if processes is not None:
        raise KsegError(
            f"processes: {processes} is not allowed alone; expected also --coordinator HOST:PORT and --process."
        )
    if _number(environment, "WORLD_SIZE") > 1 and environment.keys() >= {"RANK", "MASTER_ADDR", "MASTER_PORT"}:
        # torchrun itself listens at this port, and JAX takes the one after it.
        address = f"{environment['MASTER_ADDR']}:{_number(environment, 'MASTER_PORT') + 1}"
        return Cluster("torchrun", address, _number(environment, "RANK"), _number(environment, "WORLD_SIZE"))
    if _number(environment, "SLURM_STEP_NUM_TASKS") > 1:
        return Cluster("Slurm")
    if "JOB_COMPLETION_INDEX" in environment and "KUBERNETES_SERVICE_HOST" in environment:
        return Cluster("Kubernetes")
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return Cluster("Cloud TPU")
    return None


def _given(coordinator: str | None, process: int | None, processes: int | None) -> Cluster:
    if coordinator is None or process is None or processes is None:
        raise KsegError("Several processes need all of --coordinator HOST:PORT, --process and --processes.")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise KsegError(f"coordinator: {coordinator!r:.200} is not allowed; expected HOST:PORT of the first process.")
    if not 0 <= process < processes:
        raise KsegError(f"process: {process} is not allowed; expected 0 to {processes - 1}, for {processes} processes.")
    return Cluster("--coordinator", coordinator, process, processes)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "0")
    return int(text) if text.isdecimal() else 0


def join(cluster: Cluster) -> None:
    """Wait for the other processes, for at most 5 minutes, and train together with them. Before the first use of JAX.

    If they do not come, JAX ends this process with SIGABRT, after a message.

    Raises:
        KsegError: the backend is not JAX, or the others cannot be reached.
    """
    import keras

    if keras.config.backend() != "jax":
        raise KsegError(
            f"Several processes ({cluster.found_by}) are not allowed on {keras.config.backend()}: the `fit` of Keras "
            "exchanges no gradients there. Set KERAS_BACKEND=jax; or --processes 1, if each of these processes shall "
            "train a model of its own."
        )
    import jax

    if jax.distributed.is_initialized():
        return
    # On CPUs, with as many devices as cores, a program that JAX starts early can take the threads that let a sum over
    # all devices end; then all wait for ever.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if not cluster.process:
        print(f"Waiting for the other processes ({cluster.found_by})", flush=True)
    message = (
        f"kseg: The other processes ({cluster.found_by}) did not come within {_LONGEST_WAIT} seconds, and JAX ends "
        "this one. Start the same command for all of them; or pass --processes 1, if this one shall train alone."
    )
    last_word = threading.Timer(_LONGEST_WAIT - _LAST_WORD, lambda: print(message, file=sys.stderr, flush=True))
    last_word.daemon = True
    last_word.start()
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.processes,
            cluster.process,
            initialization_timeout=_LONGEST_WAIT,
            heartbeat_timeout_seconds=_LONGEST_SILENCE,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise KsegError(
            f"The other processes ({cluster.found_by}) cannot be reached: {error}. If this one shall train alone, pass "
            "--processes 1."
        ) from error
    finally:
        last_word.cancel()


def process_count() -> int:
    """Return how many processes train together; 1 without `join`."""
    jax = sys.modules.get("jax")
    return int(jax.process_count()) if jax and jax.distributed.is_initialized() else 1


def process_index() -> int:
    """Return the number of this process, from 0."""
    jax = sys.modules.get("jax")
    return int(jax.process_index()) if jax and jax.distributed.is_initialized() else 0


def is_first() -> bool:
    """Return whether this is the process that speaks and writes: the first one, or one that is alone."""
    return process_index() == 0


def from_first(content: bytes | None) -> bytes | None:
    """Return in all processes what the first one passes. All have to call this, in the same order.

    Args:
        content: of the first; what others pass does not count.
    """
    if process_count() == 1:
        return content
    from jax.experimental.multihost_utils import broadcast_one_to_all

    mine = content if is_first() else None
    size = len(mine or b"")
    known, chunks, rest = broadcast_one_to_all(np.array([mine is not None, *divmod(size, _CHUNK)], np.int32)).tolist()
    if not known:
        return None
    buffer = np.zeros(chunks * _CHUNK + rest, np.uint8)
    if mine is not None:
        buffer[:] = np.frombuffer(mine, np.uint8)
    return broadcast_one_to_all(buffer).tobytes()


def asked_to_stop(step: int) -> bool:
    """Return whether some process got SIGTERM, and all have agreed to stop at this step.

    Args:
        step: a number that grows from call to call, the same in all processes.
    """
    from jax.experimental.multihost_utils import reached_preemption_sync_point

    return bool(reached_preemption_sync_point(step))


@contextlib.contextmanager
def lost_process_named() -> Iterator[None]:
    """Say what an error means that JAX raises when another process has ended.

    Raises:
        LostProcessError: in place of JAX's error.
    """
    if process_count() == 1:
        yield
        return
    try:
        yield
    except (RuntimeError, ValueError) as error:  # JAX raises either, depending on where it notices
        if not _LOST.search(str(error)):
            raise
        lost = f"process {1 - process_index()}" if process_count() == 2 else "another one"
        raise LostProcessError(
            f"Process {process_index()} of {process_count()} cannot go on: {lost} has ended, or cannot be reached "
            f"({str(error).splitlines()[0]:.200}). Start the same command again for all of them; with --resume it goes "
            "on from the last checkpoint."
        ) from error


def end_if_failed(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; if it fails, one of several processes ends at once.

    At a normal end JAX waits for the others, which wait for this one.
    """
    try:
        status = command()
    except Exception:
        if process_count() == 1:
            raise
        traceback.print_exc()
        status = 1
    if status and process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
