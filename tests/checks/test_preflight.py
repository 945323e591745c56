import logging

import keras
import numpy as np
import pytest
from keras import layers

import kseg
from kseg.callbacks import Preflight
from kseg.checks.images import takes_any_scale
from kseg.errors import KsegError
from kseg.losses import BCELoss, CombinedSegmentationLoss, DiceLoss
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


def compiled(model, loss=None, metrics=None, run_eagerly=True, **arguments):
    # JAX keeps what it compiled of single operations, which makes models of the same shapes faster than whole. Whole,
    # it needs no more than a trace to see the output's shape, which is all that there is before most refusals.
    model.compile("sgd", loss=loss or DiceLoss(), metrics=metrics, run_eagerly=run_eagerly, **arguments)
    return model


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


@pytest.fixture(scope="module", autouse=True)
def quick_compiling():
    """Time goes into compiling, not into what is compiled."""
    if keras.config.backend() != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def model():
    """A model with which nothing is wrong."""
    return compiled(net())


@pytest.fixture(scope="module")
def unet():
    """Our own model."""
    keras.utils.set_random_seed(1)
    return compiled(kseg.models.unet(filters=8, levels=2), CombinedSegmentationLoss(), run_eagerly=False)


@pytest.fixture(scope="module")
def halved():
    """A model whose output is half as large as the image."""
    return compiled(net(between=[layers.MaxPooling2D()]), run_eagerly=False)


def causes(*arguments, **options):
    return [finding.cause for finding in kseg.preflight(*arguments, **options)]


def refused(match, *arguments):
    with pytest.raises(KsegError, match=match) as error:
        kseg.preflight(*arguments)
    return str(error.value).splitlines()[1:]


# Nothing to find


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


# Masks


def test_empty_masks(model, caplog):
    with caplog.at_level(logging.WARNING, "kseg"):
        (finding,) = kseg.preflight(model, (images(), 0 * masks()))
    assert (finding.cause, finding.evidence) == ("empty_masks", "all 8 masks have no foreground")
    assert [record.getMessage() for record in caplog.records] == [f"⚠️  {finding}"]


def test_foreground_that_is_255(model):
    match = "mask_values: all 8 masks hold nothing but 0 and 255, which means ignored. Divide the masks by 255"
    assert len(refused(match, model, (images(), 255 * masks()))) == 1
    refused(match, model, (images(), 255.0 * masks()))


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (np.where(masks(), np.nan, 0), "hold NaN or infinity"),
        (masks() - 1.0, "hold -1"),
        (masks() * 200.5, "hold fractions and reach 200.5"),
        (masks() / 255, "reach 0.00392. Divide them by 255 once, not twice"),
    ],
)
def test_values_that_are_no_classes(model, mask, match):
    assert len(refused(f"mask_values: the masks {match}", model, (images(), mask))) == 1


@pytest.mark.parametrize(
    ("outputs", "loss", "match"),
    [
        (1, keras.losses.BinaryCrossentropy(from_logits=True), "hold 255, and BinaryCrossentropy .* takes 0 to 1"),
        (3, keras.losses.SparseCategoricalCrossentropy(from_logits=True), "hold 255, .* with 3 channels takes 0 to 2"),
    ],
)
def test_values_that_the_loss_takes_for_something_else(outputs, loss, match):
    mask = masks()
    mask[:, 0] = 255
    model = compiled(net(outputs=outputs), loss, run_eagerly=False)
    refused(f"mask_values: the masks {match}", model, (images(), mask))


def test_a_weight_of_zero_may_leave_out_what_is_ignored():
    mask = masks()
    mask[:, 0] = 255
    weighted = compiled(net(), keras.losses.BinaryCrossentropy(from_logits=True))
    assert causes(weighted, (images(), mask, (mask[..., 0] != 255).astype(np.float32))) == []


def blurred():
    """Discs with an edge of two pixels."""
    place = np.mgrid[:16, :16, :1].transpose(1, 2, 3, 0) - np.random.default_rng(0).uniform(7, 8, (8, 1, 1, 1, 3))
    return np.clip((6 - np.hypot(place[..., 0], place[..., 1])) / 2, 0, 1)


def test_soft_masks(model):
    assert causes(model, (images(), blurred())) == ["soft_masks"]
    refused("soft_masks: .* values between 1 and 255", model, (images(), (255 * blurred()).astype(np.uint8)))


def test_inverted_masks_are_found(model):
    mask = masks(share=0.1)
    mask[3] = 1 - mask[3]
    assert causes(model, [(images(), mask)]) == ["inverted_masks"]


@pytest.mark.parametrize(
    ("outputs", "mask", "match"),
    [
        (1, masks(size=(8, 8)), "the masks are 8 x 8, and the images 16 x 16"),
        (3, masks(), r"class indices, and the model's output has 3 channels. Make the masks one-hot"),
        (3, masks()[..., 0], r"class indices, and the model's output has 3 channels. Make the masks one-hot"),
        (1, np.repeat(masks(), 3, -1), r"have shape \(8, 16, 16, 3\), and the model's output \(8, 16, 16, 1\)"),
    ],
)
def test_mask_shape(outputs, mask, match):
    refused(f"mask_shape: .*{match}", compiled(net(outputs=outputs), run_eagerly=False), (images(), mask))


def test_mask_shape_where_the_output_is_not_as_large_as_the_image(halved):
    match = r"the masks are 16 x 16, and the model's output 8 x 8 \(from images"
    refused(f"mask_shape: .*{match}", halved, (images(), masks()))


# Images


def test_constant_images(model):
    some = images()
    some[2] = some[2, 0, 0]
    assert "constant_images: 1 of 8 images" in str(kseg.preflight(model, (some, masks()))[0])
    refused("constant_images: 8 of 8 images", model, (np.full_like(some, 9), masks()))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_not_finite(model, value):
    bad = images(4).astype(np.float32)
    bad[2, 0, 0] = value
    batches = [(images(4), masks(4)), (bad, masks(4))]
    refused("images_not_finite: batch 2, image 3: 3 of 768 values are NaN or infinite", model, batches)


def test_scaled_twice(model, unet):
    assert causes(model, (images() / 255, masks())) == ["scaled_twice"]
    assert causes(model, ((images() - 128.0) / 64, masks())) == ["scaled_twice"]
    refused("scaled_twice: .* takes integers, which cuts them to 0", unet, (images() / 255, masks()))


@pytest.mark.parametrize(
    ("first", "between", "expected"),
    [
        ([layers.ZeroPadding2D(0)], [], False),
        ([layers.ZeroPadding2D(0)], [layers.BatchNormalization()], True),
        ([layers.BatchNormalization()], [], True),
        ([layers.Lambda(lambda x: x / 255)], [], True),
    ],
)
def test_models_that_take_any_scale(first, between, expected):
    assert takes_any_scale(net(first=first, between=between)) == expected


def test_not_scaled():
    model = compiled(net(first=[layers.ZeroPadding2D(0)]), BCELoss())
    assert causes(model, (images(), masks())) == ["not_scaled"]
    assert causes(model, (images() / 255, masks())) == []


# Model and loss


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


def test_every_refusal_is_named():
    model = compiled(net(activation="sigmoid"), run_eagerly=False)
    lines = refused("Training cannot work", model, (np.full_like(images(), 3), 255 * masks()))
    assert [line.split(":")[0] for line in lines] == ["constant_images", "mask_values", "sigmoid_twice"]


# Any data set, and nothing left behind


class Sequence(keras.utils.PyDataset):
    num_batches = 3

    def __getitem__(self, index):
        return images(), 0 * masks()


def tf_dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((images(), 0 * masks())).batch(8).repeat()


def data_loader():
    import torch

    data = torch.utils.data.TensorDataset(torch.from_numpy(images()), torch.from_numpy(0 * masks()))
    return torch.utils.data.DataLoader(data, batch_size=8)


@pytest.mark.parametrize("dataset", [tf_dataset, Sequence, data_loader, lambda: iter([(images(), 0 * masks())])])
def test_whatever_fit_takes(model, dataset):
    if dataset is data_loader:
        pytest.importorskip("torch")
    assert causes(model, dataset(), batches=2) == ["empty_masks"]


def test_nothing_to_look_at(model):
    with pytest.raises(KsegError, match="The data set is empty; expected at least one batch"):
        kseg.preflight(model, [])
    with pytest.raises(KsegError, match=r"The data set has no masks; expected batches \(images, masks\)"):
        kseg.preflight(model, [images()])
    with pytest.raises(KsegError, match=r"not compiled; expected model.compile\(optimizer, loss\)"):
        kseg.preflight(net(), (images(), masks()))
    with pytest.raises(ValueError, match="looks at 0 batches; expected 1 or more"):
        kseg.preflight(model, (images(), masks()), batches=0)


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


def test_the_model_stays_as_it_was():
    model = stateful()
    before = state(model)
    assert kseg.preflight(model, (images(), masks())) == []
    assert state(model) == before


@pytest.mark.skipif(keras.config.backend() != "torch", reason="torch keeps gradients and random numbers to itself")
def test_torch_stays_as_it_was():
    import torch

    model = stateful()
    model.zero_grad()
    numbers = torch.get_rng_state()
    kseg.preflight(model, (images(), masks()))
    assert all(variable.value.grad is None for variable in model.trainable_variables)
    assert torch.equal(torch.get_rng_state(), numbers)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="modules of torch's own")
def test_a_torch_module_stays_as_it_was():
    import torch

    norm = torch.nn.BatchNorm2d(3)
    wrapped = layers.TorchModuleWrapper(norm, output_shape=(None, 3, *SIZE))
    model = keras.Sequential([keras.Input((3, *SIZE)), wrapped, layers.Conv2D(1, 1, data_format="channels_first")])
    compiled(model)
    norm.eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert causes(model, ((images() / 255).transpose(0, 3, 1, 2), masks().transpose(0, 3, 1, 2))) == []
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert not norm.training


# The callback


def fit(model, mask, steps=2, **arguments):
    batches = [(images(), mask)] * steps
    return model.fit(iter_of(batches), steps_per_epoch=steps, shuffle=False, verbose=0, **arguments)


def iter_of(batches):
    yield from batches


def test_the_callback_lets_good_data_pass_and_changes_nothing():
    histories = []
    for callbacks in [], [Preflight()]:
        keras.utils.set_random_seed(3)
        model = stateful()
        histories.append(fit(model, masks(), callbacks=callbacks).history)
        assert "_check_and_train" not in str(model.train_function)
    assert histories[0] == histories[1]


def test_the_callback_refuses_before_the_first_step():
    model = stateful()
    before = state(model)[:-1]
    with pytest.raises(KsegError, match="mask_values: all 8 masks hold nothing but 0 and 255"):
        fit(model, 255 * masks(), callbacks=[Preflight()])
    variables = state(model)
    number = len(model.variables) + len(model.optimizer.variables)
    assert variables[:number] == before[:number]
    fit(model, masks())


def test_the_callback_warns_once(caplog):
    with caplog.at_level(logging.WARNING, "kseg"):
        fit(compiled(net()), 0 * masks(), callbacks=[Preflight()])
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["⚠️  empty_masks"]


@pytest.mark.skipif(keras.config.backend() != "jax", reason="torch takes one step an execution")
def test_the_callback_and_several_steps_in_one_execution():
    model = compiled(net(), steps_per_execution=3, run_eagerly=False)
    with pytest.raises(KsegError, match="all 24 masks"):
        fit(model, 255 * masks(), steps=4, callbacks=[Preflight()])
    assert fit(model, masks(), steps=4, callbacks=[Preflight()]).history["loss"]


def test_the_callback_leaves_when_there_was_no_step():
    model = compiled(net())
    model.fit(images(), masks(), epochs=0, callbacks=[Preflight()], verbose=0)
    assert "_check_and_train" not in str(model.train_function)
