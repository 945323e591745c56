"""Train on several devices of this machine, each with a part of every batch: data parallelism, by Keras on JAX."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import keras

from kseg.errors import KsegError

Devices = int | Literal["all"]


def find_devices(devices: Devices) -> list[str]:
    """Return the names of the devices to train on.

    Raises:
        KsegError: this machine has fewer, or the backend cannot train on several.
    """
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


def check_batch(batch_size: int, devices: int) -> None:
    """Refuse a batch that does not divide by the devices.

    Raises:
        KsegError: it does not; names the near sizes.
    """
    if devices > 1 and batch_size % devices:
        below = batch_size // devices * devices
        near = f"{below} and {below + devices}" if below else str(devices)
        raise KsegError(f"A batch of {batch_size} images does not divide by {devices} devices; near it are {near}.")


@contextlib.contextmanager
def over_devices(devices: list[str]) -> Iterator[None]:
    """Within this context models are made for these devices, and trained on all of them; none: as without it."""
    if not devices:
        yield
        return
    with _split_batches(devices).scope():
        yield


def _split_batches(devices: list[str]) -> keras.distribution.DataParallel:
    return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)


def setup(devices: Devices = "all") -> int:
    """Have Keras train on several devices of this machine; for your own script, before the model is made.

    Weights are the same on all devices, and each batch is split: its size must divide by their number. BatchNorm takes
    the statistics of the whole batch.

    Args:
        devices: how many, or all.

    Returns:
        The number of devices.

    Raises:
        KsegError: this machine has fewer, or the backend cannot train on several.

    Example::

        number = kseg.distribution.setup()
        model = …
        model.fit(images, masks, batch_size=4 * number)
    """
    names = find_devices(devices)
    if names:
        keras.distribution.set_distribution(_split_batches(names))
    return max(len(names), 1)
