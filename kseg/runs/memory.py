"""Refuse a model or a batch that cannot fit in memory, before it is made."""

import keras
import psutil

from kseg.config.train import DataOptions, ModelOptions
from kseg.errors import KsegError

_GIB = 2**30


def check_memory(model: ModelOptions, data: DataOptions) -> None:
    """Compare the least memory that a step needs with what the machine has. A GPU's memory is not known here.

    Raises:
        KsegError: it is more than the machine has; says how much.
    """
    if _has_gpu():
        return
    height, width = data.image_shape
    weights, batch = model.least_step_bytes, model.least_pixel_bytes * data.batch_size * height * width
    total = psutil.virtual_memory().total
    if weights + batch > total:
        network = f"{weights / _GIB:,.1f} GiB for a U-Net of {model.filters} filters and " if weights else ""
        raise KsegError(
            f"A step needs more than {network}{batch / _GIB:,.1f} GiB for {data.batch_size} images of {width} x "
            f"{height}; this machine has {total / _GIB:,.1f} GiB. Lower {'--filters, ' if weights else ''}--image-size "
            "or --batch-size."
        )


def _has_gpu() -> bool:
    if keras.config.backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    import torch

    return torch.cuda.is_available()
