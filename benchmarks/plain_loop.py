"""A network of MONAI or of SMP in a loop of plain PyTorch, as answer.py runs it beside kseg's command.

    python plain_loop.py --data folder --network monai --rate 0.001

All images are read once by OpenCV, with 128 x 128 pixels; the loss is the library's own Dice plus cross-entropy, the
optimizer AdamW with a rate that falls to zero along a cosine; four images in a step, turned and mirrored. After each
epoch a line tells F1 of all validation pixels, in the words of kseg's command.
"""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import tyro

_SIDE = 128
_BATCH = 4


def main(data: Path, network: Literal["monai", "smp"], rate: float, epochs: int = 12, seed: int = 0) -> None:
    """Train, and print F1 after each epoch.

    Args:
        data: A folder with train and val, in them images and masks of the same names.
        network: BasicUNet of MONAI, or the U-Net of SMP on resnet18; random weights.
        rate: The first learning rate.
        epochs: Epochs.
        seed: Of weights, order and augmentation.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    images, masks = _read(data / "train")
    held_out, truth = _read(data / "val")
    model, loss = _make(network)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(images) // _BATCH))
    for epoch in range(epochs):
        model.train()
        for chosen in random.permutation(len(images))[: len(images) // _BATCH * _BATCH].reshape(-1, _BATCH):
            turns, mirrored = int(random.integers(4)), bool(random.integers(2))
            x, y = (_turn(part[chosen], turns, mirrored) for part in (images, masks))
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            schedule.step()
        print(f"Epoch {epoch + 1}/{epochs} Val F1: {_f1(model, held_out, truth):.4f}", flush=True)


def _read(split: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images from 0 to 1 and masks of 0 and 1, channels first."""
    paths = sorted((split / "images").iterdir())
    images = [cv2.resize(cv2.imread(str(path)), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for path in paths]
    masks = [
        cv2.resize(
            cv2.imread(str(split / "masks" / path.name), cv2.IMREAD_GRAYSCALE),
            (_SIDE, _SIDE),
            interpolation=cv2.INTER_NEAREST,
        )
        for path in paths
    ]
    return (
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255,
        (torch.from_numpy(np.stack(masks))[:, None] > 0).float(),
    )


def _make(network: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return a network and its loss."""
    if network == "monai":
        from monai.losses import DiceCELoss
        from monai.networks.nets import BasicUNet

        return BasicUNet(spatial_dims=2, in_channels=3, out_channels=1), DiceCELoss(sigmoid=True)
    import segmentation_models_pytorch as smp

    dice, entropy = smp.losses.DiceLoss("binary"), smp.losses.SoftBCEWithLogitsLoss()
    return smp.Unet("resnet18", encoder_weights=None), lambda logits, y: dice(logits, y) + entropy(logits, y)


def _turn(batch: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    turned = torch.rot90(batch, turns, (2, 3))
    return (turned.flip(3) if mirrored else turned).contiguous(memory_format=torch.channels_last)


def _f1(model: torch.nn.Module, images: torch.Tensor, masks: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(_turn(part, 0, mirrored=False)) for part in images.split(_BATCH)]) > 0
    return float(2 * (found & (masks > 0)).sum() / (found.sum() + masks.sum()).clamp(min=1))


if __name__ == "__main__":
    tyro.cli(main)
