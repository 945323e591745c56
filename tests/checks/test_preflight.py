import keras
import numpy as np
import pytest
from keras import layers

import kseg
from kseg.errors import KsegError
from kseg.losses import CombinedSegmentationLoss, DiceLoss
from kseg.metrics import SegmentationMetrics
from tests.checks.samples import SIZE, causes, compiled, images, masks, net, refused


@pytest.mark.slow
def test_silent_on_our_own_model_and_loss(unet, caplog):
    assert causes(unet, [(images(4), masks(4))] * 2) == []
    assert caplog.records == []


def test_silent_on_half_the_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = compiled(net(dtype="float32"), CombinedSegmentationLoss(), run_eagerly=False)
    finally:
        keras.config.set_dtype_policy("float32")
    assert causes(half, (images(), masks())) == []


@pytest.mark.parametrize(
    "data",
    [
        (images(), masks().astype(bool)),
        (images(), masks().astype(np.float64)),
        (images().astype(np.float32), masks()),
        (images(), masks()[..., 0]),
        (images(), np.where(masks(share=0.1), 255, masks()).astype(np.uint8)),
        (images(), masks(), np.ones(8)),
        (images(), masks(share=0.85)),  # most of each picture
        (images(), np.where(masks(), 7, 0).astype(np.uint8)),  # a class index above 1 is foreground
        [(images(), masks())],
        [(images(), 0 * masks()), (images(), 0 * masks()), (images(), masks())],
        [(images(), np.full_like(masks(), 255)), (images(), masks())],
    ],
    ids=[
        *("bool", "float64", "float images", "no channel axis", "ignored", "weights", "most of the picture"),
        *("a class above 1", "one batch", "empty first", "ignored first"),
    ],
)
def test_silent_on_every_kind_of_good_data(model, data):
    assert causes(model, data) == []


@pytest.mark.parametrize("value", [0, 255])
def test_rare_foreground_is_looked_for_in_more_batches(model, value):
    nothing = np.where(masks(), value, 0).astype(np.uint8)
    batches = [(images(), nothing)] * 7 + [(images(), masks())]
    assert causes(model, batches, batches=2) == []


def test_silent_on_a_single_volume():
    volume = keras.Sequential(
        [keras.Input((8, 8, 8, 1)), layers.Rescaling(1 / 255), layers.Conv3D(1, 3, padding="same")]
    )
    volume = compiled(volume, run_eagerly=False)
    assert causes(volume, (images(1, (8, 8, 8), 1), masks(1, (8, 8, 8)))) == []


@pytest.mark.slow
def test_silent_on_one_hot_masks_of_several_channels():
    one_hot = np.eye(3, dtype=np.uint8)[np.random.default_rng(0).integers(0, 3, (8, *SIZE))]
    one_hot[..., 0] |= 1  # most of the picture
    assert causes(compiled(net(outputs=3)), (images(), one_hot)) == []


def test_silent_on_class_indices_with_a_sparse_loss():
    indices = np.random.default_rng(0).integers(0, 3, (8, *SIZE, 1)).astype(np.uint8)
    indices[:, 0] = 255
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    assert causes(compiled(net(outputs=3), loss), (images(), indices)) == []

    def own(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    assert causes(compiled(net(outputs=3), own), (images(), indices % 255)) == []


def test_silent_on_a_bias_that_a_normalisation_takes_away():
    batch = [layers.Conv2D(4, 1), layers.BatchNormalization(), layers.LeakyReLU()]
    group = [layers.Conv2D(4, 1), layers.GroupNormalization(4)]
    assert causes(compiled(net(between=batch + group), run_eagerly=False), (images(), masks())) == []


def test_silent_on_weights_that_begin_at_zero():
    assert causes(compiled(net(kernel_initializer="zeros")), (images(), masks())) == []
    assert (
        causes(compiled(net(between=[layers.BatchNormalization(gamma_initializer="zeros")])), (images(), masks())) == []
    )


def test_silent_on_one_loss_of_probabilities():
    model = compiled(net(activation="sigmoid"), DiceLoss(from_logits=False), [SegmentationMetrics(from_logits=False)])
    assert causes(model, (images(), masks())) == []
    assert causes(compiled(net(activation="sigmoid"), "binary_crossentropy", ["accuracy"]), (images(), masks())) == []


@pytest.mark.slow
def test_silent_on_an_output_that_is_smaller_than_the_image(halved):
    assert causes(halved, (images(), masks(size=(8, 8)))) == []


def test_silent_on_several_outputs():
    x = keras.Input((*SIZE, 3))
    h = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(x))
    model = keras.Model(x, {"mask": layers.Conv2D(1, 1)(h), "edge": layers.Conv2D(1, 1)(h)})
    model.compile("sgd", loss={"mask": DiceLoss(), "edge": "mse"})
    edge = masks().astype(np.float32) / 3
    assert causes(model, (images(), {"mask": masks(), "edge": edge})) == []


def test_a_loss_of_your_own_is_never_a_reason_to_refuse():
    def distance(y_true, y_pred):
        return keras.ops.mean((keras.ops.cast(y_true, "float32") - y_pred) ** 2)

    signed = np.random.default_rng(0).normal(size=(8, *SIZE, 1))
    assert causes(compiled(net(), distance), (images(), signed)) == ["mask_values"]


def test_another_backend_is_refused(model, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(KsegError, match="Keras runs on tensorflow; kseg trains on jax or torch"):
        kseg.preflight(model, (images(), masks()))


def test_every_refusal_is_named():
    model = compiled(net(activation="sigmoid"), run_eagerly=False)
    lines = refused("Training cannot work", model, (np.full_like(images(), 3), 255 * masks()))
    assert [line.split(":")[0] for line in lines] == ["constant_images", "mask_values", "sigmoid_twice"]


@pytest.mark.parametrize("weighted", [False, True])
def test_it_takes_the_arguments_of_fit(weighted):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    model.compile("adam", loss=DiceLoss())
    images, masks = np.random.default_rng(0).random((8, 8, 8, 1)), np.full((8, 8, 8, 1), 255)
    arguments = {"sample_weight": np.ones(8)} if weighted else {}
    with pytest.raises(KsegError, match="mask_values: all 8 masks hold nothing but 255"):
        kseg.preflight(model, images, masks, **arguments)
    with pytest.raises(KsegError, match="mask_values: all 8 masks hold nothing but 255"):
        kseg.preflight(model, x=images, y=masks, batches=2)


def test_metrics_of_two_outputs_that_hide_each_other_in_the_logs(caplog):
    images_, masks_ = images() / 255, masks()
    inputs = keras.Input((*SIZE, 3))
    heads = [layers.Conv2D(1, 3, padding="same", name=name)(inputs) for name in ("left", "right")]
    model = keras.Model(inputs, heads)

    def found(*names):
        metrics = [[SegmentationMetrics(output_name=name)] for name in names]
        model.compile("sgd", [DiceLoss(), DiceLoss()], metrics=metrics)
        return kseg.preflight(model, [(images_, (masks_, masks_))])

    assert found("left", "right") == []
    (finding,) = found(None, None)
    assert str(finding).startswith("same_names: 2 metrics SegmentationMetrics have the same names in the logs")
    history = model.fit(images_, (masks_, masks_), verbose=0).history
    assert sum(name.endswith("f1") for name in history) == 1  # and so one was hidden
