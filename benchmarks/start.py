"""What helps a run to start: Dice on empty masks or not, the output bias at zero or at the share of foreground.

    python benchmarks/start.py --nuclei path/to/nuclei     # about 8 minutes on two cores

Each line is one run of the small U-Net on 80 images of 64 x 64, as in `collapse.py`: validation F1 of each epoch. The
default loss leaves Dice out where a mask is empty; "Dice everywhere" does not. F1 of the last epoch on JAX, two seeds
each:

                                     bias at zero                         bias at the foreground's share
                                     Dice everywhere   default loss       Dice everywhere   default loss
    1% foreground, 33% empty         0.029  0.000      0.354  0.000      0.000  0.000      0.388  0.338
    4% foreground, 50% empty         0.574  0.666      0.551  0.698      0.434  0.365      0.455  0.637
    4% foreground, 20% empty         0.649  0.559      0.615  0.535      0.572  0.655      0.629  0.692
    nuclei                           0.826  0.872      0.826  0.872      0.821  0.863      0.821  0.863

So the default loss leaves Dice out, and the command sets the bias where foreground is below 2% (`output_bias: auto`).
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import functools
import logging
import os
from pathlib import Path

import keras
import numpy as np
import tyro
from collapse import train
from scenarios import Scenario, nuclei, prior_unet, rare, shapes, shapes_of, small_unet

SETS = {
    "1% foreground, a third of the masks empty": rare,
    "4% foreground, half of the masks empty": shapes_of(empty=0.5),
    "4% foreground, a fifth of the masks empty": shapes,
    "nuclei, 14% foreground": nuclei,
}


def dice_everywhere(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """The default loss, with Dice on empty masks too."""
    bce, dice, focal = (getattr(kseg.losses, name)(y_true, y_pred) for name in ("bce", "dice", "focal"))
    return 0.4 * bce + 0.4 * dice + 0.2 * focal


def main(nuclei: Path | None = None, seeds: int = 2, epochs: int = 12) -> None:
    """Train each combination and print its F1 by epoch.

    Args:
        nuclei: The folder of nuclei images; without it this set is left out.
        seeds: Runs of each combination.
        epochs: Epochs of each run.
    """
    kseg.data.quiet_tensorflow()
    logging.getLogger("kseg").setLevel(logging.CRITICAL)
    if nuclei:
        os.environ["KSEG_NUCLEI"] = str(nuclei)
    for title, data in SETS.items():
        if not nuclei and title.startswith("nuclei"):
            continue
        print(title)
        share = float(np.mean(data(seed=0).masks == 1))
        for bias, model in (("zero", small_unet), ("prior", functools.partial(prior_unet, share))):
            for dice, loss in (("Dice everywhere", dice_everywhere), ("default loss", "combined")):
                for seed in range(seeds):
                    scenario = Scenario(title, data=data, model=model, loss=loss, seed=seed, epochs=epochs)
                    history = train(scenario)[1].history
                    scores = " ".join(f"{score:.3f}" for score in history["val_f1"])
                    print(f"  bias {bias:5}  {dice:15}  seed {seed}  F1 {scores}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
