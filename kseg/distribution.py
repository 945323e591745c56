"""Train on several devices, each with a part of every batch: data parallelism, by Keras on JAX."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Literal

import keras

from kseg.errors import KsegError
from kseg.processes import find_cluster, is_first, join, process_count, process_index

__all__ = ["is_first", "process_count", "process_index", "setup"]

Devices = int | Literal["all"]


def find_devices(devices: Devices) -> list[str]:
    """Return the names of the devices to train on: with several processes, all devices of all of them.

    Raises:
        KsegError: there are fewer, or the backend cannot train on several.
    """
    if process_count() > 1:
        return _devices_of_processes(devices)
    if devices == 1:
        return []
    if keras.config.backend() != "jax":
        raise KsegError(
            f"devices: {devices} is not allowed on {keras.config.backend()}: Keras splits batches over devices on JAX "
            "alone. Set KERAS_BACKEND=jax, or --devices 1."
        )
    found = keras.distribution.list_devices()
    wanted = len(found) if devices == "all" else devices
    if wanted > len(found):
        raise KsegError(f"devices: {wanted} is not allowed; this machine has {len(found)}: {', '.join(found)}.")
    return found[:wanted] if wanted > 1 else []


def _devices_of_processes(devices: Devices) -> list[str]:
    found = keras.distribution.list_devices()
    if devices not in (1, "all", len(found)):
        raise KsegError(
            f"devices: {devices} is not allowed; {process_count()} processes train on all of their {len(found)}."
        )
    return found


def check_batch(batch_size: int, devices: int) -> None:
    """Refuse a batch that does not divide by the devices.

    Raises:
        KsegError: it does not; names the near sizes.
    """
    if devices > 1 and batch_size % devices:
        below = batch_size // devices * devices
        near = f"{below} and {below + devices}" if below else str(devices)
        raise KsegError(f"A batch of {batch_size} images does not divide by {devices} devices; near it are {near}.")


def check_model(model: keras.Model) -> None:
    """Refuse a model that is not on all devices.

    Raises:
        KsegError: it was made before Keras was told about them.
    """
    distribution = keras.distribution.distribution()
    if distribution is None or not model.weights:
        return
    wanted = distribution.device_mesh.devices.size
    found = len(model.weights[0].value.devices())
    if found != wanted:
        where = "1 device" if found == 1 else f"{found} devices"
        raise KsegError(
            f"The model is on {where}, and batches are split over {wanted}: it was made before "
            "kseg.distribution.setup(), or before keras.distribution.set_distribution(). Make it afterwards."
        )


@contextlib.contextmanager
def over_devices(devices: list[str]) -> Iterator[None]:
    """Within this context models are made for these devices, and trained on all of them; none: as without it."""
    if not devices:
        yield
        return
    with _split_batches(devices).scope():
        yield


@contextlib.contextmanager
def by_this_process_alone() -> Iterator[None]:
    """Within this context models and variables are made in this process alone.

    Otherwise Keras makes each variable in all processes together, and waits for those that do not make it. Saving a
    model makes variables, too.
    """
    if process_count() == 1:
        yield
        return
    former = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(former)


def _split_batches(devices: list[str]) -> keras.distribution.DataParallel:
    from kseg.even_batches import EvenBatches  # needs JAX, which need not be installed with torch

    return EvenBatches(devices=devices, auto_shard_dataset=False)


def setup(
    devices: Devices = "all",
    *,
    coordinator: str | None = None,
    process: int | None = None,
    processes: int | None = None,
) -> int:
    """Have Keras train on several devices, of one or of several processes; for your own script, before the model is
    made.

    Weights are the same on all devices, and each batch is split: its size must divide by their number. BatchNorm takes
    the statistics of the whole batch. Each process passes its own part of every batch to `fit`: see
    `Batches.of_process`. kseg's callbacks print and write in the first process alone, and in the others kseg logs
    errors only. Callbacks of your own that write files belong into an `if kseg.distribution.is_first()`.

    Args:
        devices: how many, or all; of several processes always all.
        coordinator: host and port of the first process. Without it torchrun, Slurm, Kubernetes or Cloud TPU are asked.
        process: the number of this process, from 0.
        processes: how many there are; 1: this one is alone, whatever the environment says.

    Returns:
        The number of devices, of all processes together.

    Raises:
        KsegError: there are fewer, the other processes cannot be reached, or the backend cannot train on several.

    Example::

        number = kseg.distribution.setup()
        model = …
        model.fit(images, masks, batch_size=4 * number)
    """
    if cluster := find_cluster(coordinator, process, processes):
        join(cluster)
    names = find_devices(devices)
    if names:
        keras.distribution.set_distribution(_split_batches(names))
    if not is_first():
        logging.getLogger("kseg").setLevel(logging.ERROR)
    return max(len(names), 1)
