"""One model file gives the same masks on JAX and on torch."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kseg.inference import load
from kseg.models import unet
from kseg.task import Task
from tests.inference.models import save

pytestmark = [pytest.mark.slow, pytest.mark.backend_free]  # it runs both itself

TASKS = {
    "binary": Task(),
    "multiclass": Task("multiclass", ("background", "cell", "rim")),
    "multilabel": Task("multilabel", ("cell", "rim")),
}
WAYS = {"resized": {}, "tiles": {"tile": 32}, "views": {"tta": ("mirrors", "turns")}}

PREDICT = f"""
import sys
import numpy as np
from kseg.inference import load
image = np.load(sys.argv[2])
found = {{name: load(sys.argv[1], **how).predict(image).probabilities for name, how in {WAYS}.items()}}
np.savez(sys.argv[3], **found)
"""


@pytest.mark.parametrize("kind", TASKS)
def test_a_file_gives_the_same_masks_on_both_backends(kind, tmp_path, rng):
    keras.utils.set_random_seed(0)
    model = unet(filters=8, outputs=TASKS[kind].outputs)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([20 * kernel, bias])  # so that some pixels are certain, and some are not
    path = save(tmp_path / "model.keras", model, task=TASKS[kind], image_size=(64, 64), size_multiple=8)
    image = rng.integers(0, 256, (75, 90, 3), dtype=np.uint8)
    np.save(tmp_path / "image.npy", image)
    other = "torch" if keras.config.backend() == "jax" else "jax"
    command = [sys.executable, "-c", PREDICT, path, tmp_path / "image.npy", tmp_path / "found.npz"]
    subprocess.run(command, check=True, env={**os.environ, "KERAS_BACKEND": other})
    there = np.load(tmp_path / "found.npz")
    for name, how in WAYS.items():
        predictor = load(path, **how)
        here = predictor.predict(image).probabilities
        np.testing.assert_allclose(there[name], here, atol=1e-4)
        assert here.std() > 0.05
        differs = predictor.decide(there[name]) != predictor.decide(here)
        if kind == "multiclass":
            first, second = np.sort(here, axis=-1)[..., :-3:-1].transpose(2, 0, 1)
            near = first - second < 2e-4
        else:
            near = (abs(here - 0.5) < 1e-4).reshape(differs.shape)
        assert not (differs & ~near).any()
