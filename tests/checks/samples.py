"""Images, masks and models for the checks."""

import keras
import numpy as np
import pytest
from keras import layers

import kseg
from kseg.errors import KsegError
from kseg.losses import DiceLoss
from kseg.metrics import SegmentationMetrics

SIZE = (16, 16)


def images(number=8, size=SIZE, channels=3):
    return np.random.default_rng(1).integers(0, 256, (number, *size, channels)).astype(np.uint8)


def masks(number=8, size=SIZE, share=0.2):
    return (np.random.default_rng(2).random((number, *size, 1)) < share).astype(np.uint8)


def net(*, outputs=1, activation=None, first=(), between=(), last=(), channels=3, **head):
    """Two small convolutions, with what a test puts before, between and behind them."""
    scale = first or [layers.Rescaling(1 / 255)]
    return keras.Sequential(
        [
            keras.Input((None, None, channels)),
            *scale,
            layers.Conv2D(4, 3, padding="same", name="hidden"),
            layers.LeakyReLU(),
            *between,
            layers.Conv2D(outputs, 1, activation=activation, name="head", **head),
            *last,
        ]
    )


class Own(keras.Model):
    """A model whose structure tells nothing, built when first called."""

    def __init__(self, unused=False, activation=None):
        super().__init__()
        self.hidden = layers.Conv2D(4, 3, padding="same")
        self.head = layers.Conv2D(1, 1, activation=activation)
        self.unused = layers.Conv2D(1, 1) if unused else None

    def call(self, x):
        h = keras.ops.relu(self.hidden(x / 255))
        if self.unused is not None:
            self.unused(h)
        return self.head(h)


def compiled(model, loss=None, metrics=None, run_eagerly=True, **arguments):
    # JAX keeps what it compiled of single operations, which makes models of the same shapes faster than whole. Whole,
    # it needs no more than a trace to see the output's shape, which is all that there is before most refusals.
    model.compile("sgd", loss=loss or DiceLoss(), metrics=metrics, run_eagerly=run_eagerly, **arguments)
    return model


def stateful():
    """Statistics, dropout, a loss of its own, an optimizer and metrics that have seen a batch; one part is unused."""
    between = [layers.BatchNormalization(), layers.Dropout(0.5), layers.ActivityRegularization(0.1)]
    model = net(between=between, kernel_initializer="zeros")
    model.compile(
        keras.optimizers.SGD(momentum=0.9), loss=DiceLoss(), metrics=[SegmentationMetrics()], run_eagerly=True
    )
    model.train_on_batch(images(), masks())
    model.head = model.get_layer("head")
    model.head.kernel.assign(0 * model.head.kernel)
    return model


def state(model):
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]


def causes(*arguments, **options):
    return [finding.cause for finding in kseg.preflight(*arguments, **options)]


def refused(match, *arguments):
    with pytest.raises(KsegError, match=match) as error:
        kseg.preflight(*arguments)
    return str(error.value).splitlines()[1:]
