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

from kseg import TrainConfig
from kseg.commands.train import parse
from kseg.config.train import DataOptions
from kseg.data import Batches
from kseg.metrics import SegmentationMetrics
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
    torch.manual_seed(settings.seed)
    batches, validation = make_batches(data, options, (0, 0))
    model = smp.Unet(encoder, encoder_weights=None, in_channels=data.training.channels, classes=data.task.outputs)
    mode = "binary" if data.task.kind == "binary" else "multiclass"
    dice = smp.losses.DiceLoss(mode, ignore_index=255)
    entropy = (smp.losses.SoftBCEWithLogitsLoss if mode == "binary" else smp.losses.SoftCrossEntropyLoss)(
        ignore_index=255, **({} if mode == "binary" else {"smooth_factor": 0.0})
    )
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches.steps * settings.epochs)
    scores, stream = [], iter(batches)
    for _ in range(settings.epochs):
        model.train()
        for images, masks in islice(stream, batches.steps):
            target = torch.from_numpy(masks.astype(np.int64))
            target = target.permute(0, 3, 1, 2).float() if mode == "binary" else target[..., 0]
            logits = model(_as_input(images))
            optimizer.zero_grad()
            (dice(logits, target) + entropy(logits, target)).backward()
            optimizer.step()
            schedule.step()
        scores.append(_score(model, validation, data))
    return scores


def _as_input(images: np.ndarray) -> torch.Tensor:
    """Return images from 0 to 1, channels first, in torch's fast layout."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


def _score(model: torch.nn.Module, validation: Batches, data: RunData) -> tuple[float, float]:
    metric = SegmentationMetrics(class_names=data.task.classes)
    model.eval()
    with torch.no_grad():
        for images, masks, *weights in validation:
            logits = model(_as_input(images)).permute(0, 2, 3, 1).contiguous()
            metric.update_state(masks, logits, sample_weight=weights[0] > 0 if weights else None)
    found = metric.result()
    return float(found["f1"]), float(found["iou"])


if __name__ == "__main__":
    tyro.cli(main)
