"""Mean F1 and IoU of segmentation_models_pytorch's U-Net, beside those of a recipe of kseg.

    KERAS_BACKEND=torch python benchmarks/peers.py --config classes --rates 3e-4 1e-3 3e-3

SMP trains from random weights on the arrays that kseg's run gets: the same images, augmentations and order, in the same
number of steps. Its losses are its own, Dice plus cross-entropy; AdamW with kseg's weight decay, a cosine schedule. The
scores are kseg's, of the epoch with the best mean F1. `kseg train --config classes` prints those of kseg's U-Net.
segmentation-models-pytorch has to be installed, with a torch and a torchvision that fit each other.
"""

import time
from itertools import islice

import numpy as np
import segmentation_models_pytorch as smp
import torch
import tyro
from scoring import score

from kseg import TrainConfig
from kseg.commands.train import parse
from kseg.config.train import DataOptions
from kseg.runs.data import RunData, make_batches, open_data


def main(config: str = "classes", rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3), encoder: str = "resnet18") -> None:
    """Train at each rate, and print the best scores.

    Args:
        config: A recipe of kseg.
        rates: Learning rates, each a run.
        encoder: SMP's encoder.
    """
    settings = parse(["--config", config]).settings
    options = DataOptions.of(settings)
    data = open_data(options)
    for rate in rates:
        start = time.perf_counter()
        scores = _train(settings, options, data, rate, encoder)
        epoch = int(np.argmax([f1 for f1, _ in scores]))
        f1, iou = scores[epoch]
        print(
            f"SMP U-Net, {encoder}, rate {rate:g}: mean F1 {f1:.4f}, mean IoU {iou:.4f} in epoch {epoch + 1} of "
            f"{len(scores)}; {time.perf_counter() - start:.0f} s",
            flush=True,
        )


def _train(
    settings: TrainConfig, options: DataOptions, data: RunData, rate: float, encoder: str
) -> list[tuple[float, float]]:
    """Return mean F1 and mean IoU in validation of each epoch."""
    batches, validation = make_batches(data, options, (0, 0))
    peer = Peer("Unet", encoder, data, settings, rate=rate, steps=batches.steps * settings.epochs)
    scores, stream = [], iter(batches)
    for _ in range(settings.epochs):
        for images, masks in islice(stream, batches.steps):
            peer.step(images, masks)
        scores.append(score(peer.logits, validation, data))
    return scores


class Peer:
    """A network of SMP from random weights, with SMP's losses."""

    def __init__(
        self, network: str, encoder: str, data: RunData, settings: TrainConfig, *, rate: float, steps: int
    ) -> None:
        torch.manual_seed(settings.seed)
        arguments = {"encoder_weights": None, "in_channels": data.training.channels, "classes": data.task.outputs}
        self._network = getattr(smp, network)(encoder, **arguments).to(memory_format=torch.channels_last)
        self._binary = data.task.kind == "binary"
        entropy = (
            smp.losses.SoftBCEWithLogitsLoss(ignore_index=255)
            if self._binary
            else smp.losses.SoftCrossEntropyLoss(ignore_index=255, smooth_factor=0.0)
        )
        self._losses = [smp.losses.DiceLoss("binary" if self._binary else "multiclass", ignore_index=255), entropy]
        self._optimizer = torch.optim.AdamW(self._network.parameters(), rate, weight_decay=settings.weight_decay)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, steps)

    def step(self, images: np.ndarray, masks: np.ndarray) -> None:
        """Train on a batch."""
        self._network.train()
        target = torch.from_numpy(masks.astype(np.int64))
        target = target.permute(0, 3, 1, 2).float() if self._binary else target[..., 0]
        logits = self._network(_as_input(images))
        self._optimizer.zero_grad()
        sum(loss(logits, target) for loss in self._losses).backward()
        self._optimizer.step()
        self._schedule.step()

    def logits(self, images: np.ndarray) -> torch.Tensor:
        """Return the logits of a batch, channels last."""
        self._network.eval()
        with torch.no_grad():
            return self._network(_as_input(images)).permute(0, 2, 3, 1).contiguous()


def _as_input(images: np.ndarray) -> torch.Tensor:
    """Return images from 0 to 1, channels first, in torch's fast layout."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    tyro.cli(main)
