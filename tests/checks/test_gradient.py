import keras
import numpy as np
import pytest
from keras import layers

import kseg
from kseg.checks.gradient import without_gradient
from tests.checks.samples import Own, causes, compiled, images, masks, net, refused


def test_a_parameter_without_a_gradient():
    model = compiled(Own(unused=True))
    assert not model.built
    (finding,) = kseg.preflight(model, (images(), masks()))
    assert finding.cause == "no_gradient"
    assert finding.evidence.startswith("2 of 6 parameters get no gradient: own")
    assert finding.evidence.endswith("/bias")


def test_without_foreground_no_gradient_is_no_reason_to_refuse():
    dice = compiled(net(activation="sigmoid"), keras.losses.Dice())
    assert causes(dice, (images(), 0 * masks())) == ["empty_masks", "no_gradient"]


def test_a_dead_relu():
    dead = net(between=[layers.Conv2D(4, 1, bias_initializer=keras.initializers.Constant(-1e6)), layers.ReLU()])
    (finding,) = kseg.preflight(compiled(dead), (images(), masks()))
    assert "5 of 6 parameters get no gradient: " in finding.evidence


def test_no_parameter_gets_a_gradient():
    softmax = compiled(net(activation="softmax"), "binary_crossentropy")
    with pytest.warns(UserWarning, match="softmax over axis"):
        refused("no_gradient: none of the 4 parameters gets a gradient", softmax, (images(), masks()))


def test_no_parameter_is_trainable():
    frozen = net()
    frozen.trainable = False
    refused("no_gradient: no parameter is trainable", compiled(frozen, run_eagerly=False), (images(), masks()))


def test_loss_and_gradient_not_finite():
    def nan(y_true, y_pred):
        return keras.ops.mean(y_pred) * float("nan")

    def root(y_true, y_pred):
        return keras.ops.mean(keras.ops.sqrt(0 * y_pred))

    refused("loss_not_finite: the loss of the first batch is nan", compiled(net(), nan), (images(), masks()))
    refused("gradient_not_finite: .*/hidden/kernel, ", compiled(net(), root), (images(), masks()))


def test_a_bias_counts_where_its_kernel_gets_no_gradient_either():
    paths = ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    assert without_gradient(paths, np.array([True, False, False, False])) == ["b/kernel", "b/bias"]
