"""What a loss costs without its gradient, as in validation, over what it costs with it, as in training.

    python benchmarks/losses.py                            # half a minute on two cores
    KERAS_BACKEND=torch python benchmarks/losses.py

Each line is the median of the ratios of pairs, measured in turns, with their quartiles; a ratio above 1 is a fault.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import time
from collections.abc import Callable

import keras
import numpy as np
import tyro

LOSSES = ("combined", "cross_entropy", "dice", "focal", "iou", "tversky")


def compiled(loss: keras.losses.Loss) -> tuple[Callable[..., object], Callable[..., object]]:
    """Return functions of mask and logits: the loss, and the loss with its gradient."""
    if keras.config.backend() == "jax":
        import jax

        return jax.jit(loss), jax.jit(jax.value_and_grad(loss, argnums=1))
    import torch

    def without(masks: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return loss(masks, logits)

    def with_gradient(masks: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = logits.detach().requires_grad_()
        return torch.autograd.grad(loss(masks, logits), logits)

    return without, with_gradient


def seconds(function: Callable[..., object], *arguments: object) -> float:
    """Return how long one call takes, until its result is there."""
    start = time.perf_counter()
    keras.ops.convert_to_numpy(keras.tree.flatten(function(*arguments))[-1])
    return time.perf_counter() - start


def main(size: int = 256, batch_size: int = 8, rounds: int = 15) -> None:
    """Measure each loss.

    Args:
        size: Height and width of the images.
        batch_size: Images in a batch.
        rounds: Pairs of each loss.
    """
    rng = np.random.default_rng(0)
    masks = keras.ops.convert_to_tensor((rng.random((batch_size, size, size, 1)) < 0.1).astype(np.uint8))
    logits = keras.ops.convert_to_tensor(rng.normal(size=masks.shape).astype(np.float32))
    print(f"{keras.config.backend()}, {batch_size} x {size} x {size}, {rounds} pairs")
    for name in LOSSES:
        functions = compiled(kseg.losses.get(name))
        for function in functions:
            seconds(function, masks, logits)  # compiles
        pairs = np.array([[seconds(function, masks, logits) for function in functions] for _ in range(rounds)])
        low, middle, high = np.percentile(pairs[:, 0] / pairs[:, 1], (25, 50, 75))
        milliseconds = 1e3 * np.median(pairs, axis=0)
        print(
            f"{name:15} {milliseconds[0]:6.1f} ms without, {milliseconds[1]:6.1f} ms with its gradient: "
            f"{middle:.2f} ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    tyro.cli(main)
