import keras
import numpy as np
import pytest
from keras import layers, ops

from kseg.models import set_output_bias, unet
from tests.gradients import to_numpy

SHARE = 0.016


def head(channels=1, **settings):
    """The last layer, with a zero kernel: its output is its bias."""
    return layers.Conv2D(channels, 1, kernel_initializer="zeros", name="head", **settings)


def functional(end, **settings):
    """A model from `(B, 8, 8, 3)` to `end` applied to the output of the head."""
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="before")(images)
    return keras.Model(images, end(head(**settings)(x)), name="model")


class Subclassed(keras.Model):
    def __init__(self, end=ops.sigmoid):
        super().__init__(name="subclassed")
        self.before = layers.Conv2D(4, 3, padding="same")
        self.head = head()
        self.end = end

    def call(self, x):
        return self.end(self.head(self.before(x)))


class Head(layers.Layer):
    """A layer that contains the last layer."""

    def __init__(self):
        super().__init__()
        self.head = head()
        self.activation = layers.Activation("sigmoid")

    def build(self, shape):
        self.head.build(shape)

    def call(self, x):
        return self.activation(self.head(x))


def logits(x):
    return x


def build(model):
    model(np.zeros((2, 8, 8, 3), np.float32))
    return model


def mean_prediction(model, from_logits, rng):
    outputs = to_numpy(model(rng.normal(size=(2, 8, 8, 3)).astype(np.float32))).astype(np.float64)
    return (1 / (1 + np.exp(-outputs)) if from_logits else outputs).mean((0, 1, 2))


def nested():
    images = keras.Input((8, 8, 3))
    inner = functional(logits)
    ends = keras.Sequential([keras.Input((8, 8, 1)), layers.UpSampling2D(), layers.Activation("sigmoid")])
    return keras.Model(images, ends(inner(images)))


PROBABILITIES = {
    "sigmoid of the layer": lambda: functional(logits, activation="sigmoid"),
    "sigmoid of keras.ops": lambda: functional(logits, activation=ops.sigmoid),
    "a sigmoid layer": lambda: functional(layers.Activation("sigmoid", dtype="float32")),
    "the operation": lambda: functional(ops.sigmoid),
    "sequential": lambda: keras.Sequential([keras.Input((8, 8, 3)), head(), layers.Activation("sigmoid")]),
    "sequential without input": lambda: build(keras.Sequential([head(activation="sigmoid")])),
    "nested models": nested,
    "a layer of layers": lambda: build(keras.Sequential([layers.Conv2D(4, 1), Head()])),
    "subclassed": lambda: build(Subclassed()),
}
LOGITS = {
    "logits": lambda: functional(logits),
    "dense": lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Dense(1, kernel_initializer="zeros")]),
    "cast": lambda: functional(lambda x: ops.cast(x, "float32")),
    "reshaped": lambda: functional(layers.Reshape((64, 1, 1))),
    "resized": lambda: functional(layers.Resizing(16, 16)),
    "resized by keras.ops": lambda: functional(lambda x: ops.image.resize(x, (16, 16))),
    "upsampled": lambda: functional(layers.UpSampling2D(interpolation="bilinear")),
    "dropped out": lambda: functional(layers.Dropout(0.5)),
    "cropped": lambda: functional(layers.Cropping2D(1)),
    "squeezed": lambda: functional(lambda x: ops.expand_dims(x[..., 0], -1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", [*PROBABILITIES, *LOGITS])
def test_a_model_with_a_zero_kernel_predicts_the_share(form, rng):
    model = (PROBABILITIES | LOGITS)[form]()
    set_output_bias(model, SHARE)
    np.testing.assert_allclose(mean_prediction(model, form in LOGITS, rng), SHARE, rtol=3e-7)


@pytest.mark.slow
def test_each_channel_may_have_its_own_share(rng):
    model = functional(logits, channels=3)
    set_output_bias(model, [0.5, 0.1, 1e-4])
    np.testing.assert_allclose(mean_prediction(model, True, rng), [0.5, 0.1, 1e-4], rtol=1e-6)
    set_output_bias(model, 0.2)
    np.testing.assert_allclose(mean_prediction(model, True, rng), [0.2] * 3, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_new_unet_predicts_about_the_share(dtype, rng):
    keras.utils.set_random_seed(0)
    model = unet(filters=8, dtype=dtype)
    images = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    before = to_numpy(ops.sigmoid(model.predict(images, verbose=0))).mean()
    set_output_bias(model, SHARE)
    after = to_numpy(ops.sigmoid(model.predict(images, verbose=0))).mean()
    # Random weights change the logits by up to 1.5.
    assert SHARE / 6 < after < SHARE * 6 < before


@pytest.mark.slow
def test_only_the_bias_changes():
    model = unet(filters=8, levels=2)
    before = {weight.path: weight.numpy() for weight in model.weights}
    set_output_bias(model, SHARE)
    changed = [weight.path for weight in model.weights if (weight.numpy() != before[weight.path]).any()]
    assert changed == ["logits/bias"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["nested models", "subclassed"])
def test_the_model_still_trains(form, rng):
    model = PROBABILITIES[form]()
    set_output_bias(model, SHARE)
    model.compile("sgd", "mse")
    images = rng.normal(size=(2, 8, 8, 3))
    assert np.isfinite(model.train_on_batch(images, np.zeros(model(images).shape)))


def test_a_nested_model_is_still_saved_and_loaded(tmp_path, rng):
    model = nested()
    set_output_bias(model, SHARE)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert len(again.layers) == len(model.layers)
    np.testing.assert_allclose(mean_prediction(again, False, rng), SHARE, rtol=3e-7)


@pytest.mark.parametrize("form", ["subclassed", "a sigmoid layer"])
def test_the_bias_can_be_set_during_training(form, rng):
    model = PROBABILITIES[form]()
    kernel_before = model.layers[1 if form == "a sigmoid layer" else 0].kernel.numpy()
    kernel = []

    class SetBias(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                set_output_bias(model, SHARE)
                kernel.extend(model.weights[0].numpy().ravel())

    model.compile(keras.optimizers.SGD(0.0), "mse")
    images, masks = rng.normal(size=(10, 8, 8, 3)), np.zeros((10, 8, 8, 1))
    model.fit(images, masks, batch_size=2, verbose=0, callbacks=[SetBias()])
    np.testing.assert_allclose(mean_prediction(model, False, rng), SHARE, rtol=3e-7)
    np.testing.assert_array_equal(kernel, kernel_before.ravel())


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), [0.1, 0.0]])
def test_a_share_outside_0_and_1_is_refused(share):
    with pytest.raises(ValueError, match=r"foreground_share is .*; expected above 0 and below 1"):
        set_output_bias(functional(logits), share)


@pytest.mark.parametrize("shares", [[0.1], [0.1, 0.2], []])
def test_a_wrong_number_of_shares_is_refused(shares):
    message = (
        rf"has {len(shares)} shares and the bias of 'head' \(Conv2D\) the shape \(3,\); "
        "expected one share, or one per channel"
    )
    with pytest.raises(ValueError, match=message):
        set_output_bias(functional(logits, channels=3), shares)


def fail(x):
    raise TypeError("only arrays")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: functional(logits, use_bias=False), r"'head' \(Conv2D\), the last layer, has no bias; .* use_bias=T"),
        (lambda: functional(logits, activation="softmax"), r"activation of 'head' \(Conv2D\) is softmax; expected"),
        (lambda: functional(layers.Activation("tanh")), r"\(Activation\) is tanh; expected sigmoid or none"),
        (lambda: functional(layers.Softmax(name="end")), r"comes from 'end' \(Softmax\); expected .* use_bias=True"),
        (lambda: functional(ops.softmax, channels=2), r"comes from .* \(Softmax\)"),
        (lambda: functional(layers.ReLU(name="end")), r"comes from 'end' \(ReLU\)"),
        (lambda: functional(layers.BatchNormalization(name="end")), r"comes from 'end' \(BatchNormalization\)"),
        (lambda: functional(lambda x: x + x), r"comes from .* \(Add\)"),
        (lambda: functional(logits, activation=layers.LeakyReLU()), r"'head' \(Conv2D\) is LeakyReLU; expected"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.UpSampling2D()]), r"comes from .* \(InputLayer\)"),
        (lambda: functional(lambda x: [x, x]), r"'model' \(Functional\) has 2 outputs; expected one"),
        (lambda: keras.Sequential([head()]), r"\(Sequential\) is not built for one input; call it on a batch"),
        (Subclassed, r"'subclassed' \(Subclassed\) is not built for one input; call it on a batch"),
    ],
)
def test_models_without_an_output_bias_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        set_output_bias(make(), SHARE)


def test_a_model_that_cannot_be_traced_is_refused():
    model = build(Subclassed())
    model.end = fail
    message = r"'subclassed' \(Subclassed\) cannot be traced: its call raised TypeError\('only arrays'\)\. .* yourself"
    with pytest.raises(ValueError, match=message):
        set_output_bias(model, SHARE)


@pytest.mark.parametrize("end", [logits, layers.Softmax(), ops.softmax])
@pytest.mark.parametrize(
    ("share", "expected"), [([0.9, 0.02, 0.08], [0.9, 0.02, 0.08]), (SHARE, [1 - SHARE, SHARE / 2, SHARE / 2])]
)
def test_softmax_gives_the_share_of_each_class(end, share, expected, rng):
    model = functional(end, channels=3)
    set_output_bias(model, share, activation="softmax")
    outputs = to_numpy(model(rng.normal(size=(2, 8, 8, 3)).astype(np.float32))).astype(np.float64)
    probabilities = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True) if end is logits else outputs
    np.testing.assert_allclose(probabilities.mean((0, 1, 2)), expected, rtol=1e-5)


def test_shares_of_softmax_add_up_to_1():
    with pytest.raises(ValueError, match=r"is \[0.5, 0.1, 0.1\]; expected shares that add up to 1 for softmax"):
        set_output_bias(functional(logits, channels=3), [0.5, 0.1, 0.1], activation="softmax")
    with pytest.raises(ValueError, match="is sigmoid; expected softmax or none"):
        set_output_bias(functional(logits, channels=3, activation="sigmoid"), 0.1, activation="softmax")
