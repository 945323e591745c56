import keras
import pytest
from keras import layers

import kseg
from kseg.losses import DiceLoss
from kseg.metrics import SegmentationMetrics
from tests.checks.samples import SIZE, Own, causes, compiled, images, masks, net, refused


@pytest.mark.parametrize(
    ("loss", "end"),
    [
        (DiceLoss(), {"activation": "sigmoid"}),
        (kseg.losses.dice, {"last": [layers.Activation("sigmoid"), layers.Cropping2D(0)]}),
        (keras.losses.BinaryFocalCrossentropy(from_logits=True), {"activation": "sigmoid"}),
    ],
)
def test_sigmoid_twice(loss, end):
    refused(
        "sigmoid_twice: the model gives probabilities, and .* from_logits=True",
        compiled(net(**end), loss, run_eagerly=False),
        (images(), masks()),
    )


def test_sigmoid_twice_by_an_operation():
    x = keras.Input((*SIZE, 3))
    model = keras.Model(x, keras.ops.sigmoid(layers.Conv2D(1, 1)(layers.Rescaling(1 / 255)(x))))
    refused("sigmoid_twice", compiled(model, run_eagerly=False), (images(), masks()))


@pytest.mark.parametrize(
    ("loss", "last"),
    [
        (DiceLoss(from_logits=False), []),
        ("binary_crossentropy", [layers.Activation("linear", dtype="float32")]),
        (keras.losses.Dice(), []),
        ("dice", []),
    ],
)
def test_logits_as_probabilities(loss, last):
    model = compiled(net(last=last), loss, run_eagerly=False)
    refused("logits_as_probabilities: the model gives logits", model, (images(), masks()))


def test_values_tell_where_the_structure_does_not():
    refused(
        "logits_as_probabilities: the model predicts .* to ",
        compiled(Own(), "binary_crossentropy"),
        (images(), masks()),
    )
    assert causes(compiled(Own(activation="sigmoid"), "binary_crossentropy"), (images(), masks())) == []


def test_a_metric_that_takes_the_output_for_something_else():
    probabilities = compiled(net(activation="sigmoid"), DiceLoss(from_logits=False), [SegmentationMetrics()])
    (finding,) = kseg.preflight(probabilities, (images(), masks()))
    assert "sigmoid_twice: the model gives probabilities, and SegmentationMetrics has" in str(finding)
    assert causes(compiled(Own(), metrics=[SegmentationMetrics(from_logits=False)]), (images(), masks())) == [
        "logits_as_probabilities"
    ]
