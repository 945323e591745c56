"""A training step of the U-Net with kseg's layers over one with Keras's, on torch; and over the net in PyTorch.

    KERAS_BACKEND=torch python benchmarks/layers.py

All models take the same batch in turns, in one process, forward, backward and AdamW. A ratio compares two steps that
lie beside each other; the median is the gain, the quartiles its spread. The PyTorch network is eager, channels_last.
All have the memory that a step frees kept for the next one, as in `kseg train`; PyTorch's own step gains little by it.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import torch
import tyro
from torch import nn
from torch.nn import functional

from kseg.allocator import keep_freed_memory
from kseg.models import fast_layers, unet
from kseg.models.decoders import blocks
from kseg.models.decoders import unet as unet_module


class PlainUNet(nn.Module):
    """The same network in PyTorch: 16 filters, four levels, GroupNorm in groups of 8."""

    def __init__(self, filters: int = 16) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(4)]
        self.down = nn.ModuleList(map(self._block, [3, *widths[:-1]], widths))
        self.reduce = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths[:-1])
        self.up = nn.ModuleList(self._block(2 * width, width, last_relu=width > filters) for width in widths[:-1])
        self.logits = nn.Conv2d(filters, 1, 1)

    @staticmethod
    def _block(channels: int, width: int, last_relu: bool = True) -> nn.Sequential:
        parts: list[nn.Module] = []
        for first in (channels, width):
            parts += [nn.Conv2d(first, width, 3, padding=1, bias=False), nn.GroupNorm(width // 8, width), nn.ReLU()]
        return nn.Sequential(*(parts if last_relu else parts[:-1]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits `(B, 1, H, W)` of images `(B, 3, H, W)`, 0 to 255."""
        x, skips = images / 255, []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.down[-1](x)
        for level in (2, 1, 0):
            x = functional.interpolate(self.reduce[level](x), scale_factor=2)
            x = self.up[level](torch.cat([skips[level], x], 1))
        return self.logits(x)


@contextmanager
def keras_layers(norm: type, pool: type) -> Iterator[None]:
    """Have `unet` take other layers."""
    before = blocks.GroupNormalization, unet_module.MaxPooling2D
    blocks.GroupNormalization, unet_module.MaxPooling2D = norm, pool
    try:
        yield
    finally:
        blocks.GroupNormalization, unet_module.MaxPooling2D = before


def keras_step(norm: type, pool: type, images: np.ndarray, masks: np.ndarray) -> Callable[[], object]:
    """Return a training step of the U-Net with these layers."""
    with keras_layers(norm, pool):
        model = unet()
    model.compile("adamw", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    return lambda: model.train_on_batch(images, masks)


def torch_step(images: np.ndarray, masks: np.ndarray) -> Callable[[], object]:
    """Return a training step of the same network in PyTorch."""
    model = PlainUNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        y = torch.from_numpy(masks).permute(0, 3, 1, 2).float()
        loss = functional.binary_cross_entropy_with_logits(model(x.contiguous(memory_format=torch.channels_last)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main(size: int = 128, batch_size: int = 4, steps: int = 30) -> None:
    """Print the ratios of the step times, with their spread.

    Args:
        size: Height and width of the images, in pixels.
        batch_size: Images per step.
        steps: Steps measured for each model, after two to warm up.
    """
    keep_freed_memory()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, size, size, 3)).astype(np.uint8)
    masks = rng.integers(0, 2, (batch_size, size, size, 1)).astype(np.uint8)
    norms, pools = keras.layers.GroupNormalization, keras.layers.MaxPooling2D
    calls = {
        "Keras's layers": keras_step(norms, pools, images, masks),
        "kseg's GroupNormalization": keras_step(fast_layers.GroupNormalization, pools, images, masks),
        "and MaxPooling2D": keras_step(fast_layers.GroupNormalization, fast_layers.MaxPooling2D, images, masks),
        "PyTorch, channels_last": torch_step(images, masks),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(steps + 2):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {batch_size} x {size} x {size}")
    base = seconds["Keras's layers"][2:]
    for name, own in seconds.items():
        ratios = sorted(one / other for one, other in zip(base, own[2:], strict=True))
        low, median, high = statistics.quantiles(ratios, n=4)
        spread = f"{median:.2f} times as fast ({low:.2f} to {high:.2f})"
        print(f"{name:28}{1000 * statistics.median(own[2:]):7.0f} ms   {spread}")


if __name__ == "__main__":
    if keras.config.backend() != "torch":
        raise SystemExit("This measures layers on torch: KERAS_BACKEND=torch python benchmarks/layers.py")
    tyro.cli(main)
