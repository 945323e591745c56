"""Runs of `fit` with a model that predicts the logits that it is shown, to simulate any course of training."""

import keras
import numpy as np

import kseg
from kseg.callbacks import CollapseDetector
from kseg.metrics import PredictionMonitor, ThresholdCurve

METRICS = (PredictionMonitor, ThresholdCurve)


def step(share, foreground, background, spread=0.5):
    """A batch of one image: a mask with this share of foreground, and logits around one value per kind of pixel."""
    mask = np.zeros(100, np.float32)
    mask[: round(100 * share)] = 1
    noise = np.random.default_rng(0).permutation(np.linspace(-1, 1, 100))
    logits = np.where(mask == 1, foreground, background) + spread * noise
    return np.float32(logits).reshape(1, 10, 10, 1), mask.reshape(1, 10, 10, 1)


HEALTHY = step(0.2, 2.0, -2.0)
BLIND = step(0.2, 0.0, 0.0, spread=2.0)
SUNK = step(0.2, -6.0, -6.0)
ALL_FOREGROUND = step(0.2, 6.0, 6.0)
EMPTY = step(0.0, -6.0, -6.0)


class Moving(keras.layers.Layer):
    """Returns its input, and has a large weight, which the optimizer's decay moves by 0.1% a step."""

    def build(self, shape):
        self.moving = self.add_weight(shape=(1000,), initializer="ones", name="moving")

    def call(self, x):
        return x + 0 * keras.ops.mean(self.moving)


def simulate(
    *epochs,
    every=20,
    validation=None,
    metrics=None,
    detector=None,
    frequency=1,
    scale=1.0,
    others=(),
    optimizer=None,
    **compile_arguments,
):
    """Fit a model whose logits are its images; each epoch is a list of batches. Returns the detector.

    Its updates have the usual size, 1e-3 of the weights, unless `optimizer` is another.
    """
    if keras.config.backend() != "jax":
        compile_arguments.pop("steps_per_execution", None)
    layers = [keras.layers.Conv2D(1, 1, use_bias=False), keras.layers.Rescaling(scale), Moving()]
    model = keras.Sequential([keras.Input((10, 10, 1)), *layers])
    metrics = [kind() for kind in METRICS] if metrics is None else metrics
    if optimizer is None:
        optimizer = keras.optimizers.SGD(1e-9, weight_decay=1e6)
        optimizer.exclude_from_weight_decay(var_names=["kernel"])
    model.compile(optimizer, kseg.losses.BCELoss(), metrics=metrics, **compile_arguments)
    model.set_weights([np.ones((1, 1, 1, 1), np.float32), np.ones(1000, np.float32)])
    detector = detector or CollapseDetector(every, preflight=False)

    def batches():
        for epoch in epochs:
            yield from epoch

    class Validation(keras.utils.PyDataset):
        """The batch of the current epoch, twice."""

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return validation[min(detector._epoch, len(validation)) - 1]

    model.fit(
        batches(),
        shuffle=False,
        epochs=len(epochs),
        steps_per_epoch=len(epochs[0]),
        validation_data=Validation() if validation else None,
        validation_freq=frequency,
        callbacks=[detector, *others],
        verbose=0,
    )
    return detector


def causes(*epochs, **arguments):
    return [finding.cause for finding in simulate(*epochs, **arguments).findings]
