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
    weights = model.least_step_bytes
    # Of each image, at full resolution, at least a layer's output and its gradient, in float32.
    batch = 2 * 4 * data.batch_size * height * width * model.filters
    total = psutil.virtual_memory().total
    if weights + batch > total:
        raise KsegError(
            f"A step needs more than {weights / _GIB:,.1f} GiB for a U-Net of {model.filters} filters and "
            f"{batch / _GIB:,.1f} GiB for {data.batch_size} images of {width} x {height}; this machine has "
            f"{total / _GIB:,.1f} GiB. Lower --filters, --image-size or --batch-size."
        )


def _has_gpu() -> bool:
    if keras.config.backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    import torch

    return torch.cuda.is_available()
