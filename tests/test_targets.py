import inspect

import keras
import numpy as np
import pytest

from kseg import losses, metrics
from kseg.targets import align, find_activation, foreground_view
from tests.gradients import to_numpy

LOSSES = list(losses.BY_NAME)
METRICS = [
    metric for metric in vars(metrics).values() if inspect.isclass(metric) and issubclass(metric, keras.metrics.Metric)
]


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("mask", "logits"),
    [
        ((2, 8, 6, 1), (2, 8, 6, 1)),
        ((2, 8, 6), (2, 8, 6, 1)),
        ((2, 8, 6, 3), (2, 8, 6, 3)),
        ((2, 8, 6, 1), (2, 8, 6, 3)),  # class indices
        ((2, 8, 6), (2, 8, 6, 3)),
        ((2, 4, 8, 6, 1), (2, 4, 8, 6, 1)),
        ((2, 4, 8, 6), (2, 4, 8, 6, 1)),
        ((2, 1, 8, 6), (2, 1, 8, 6, 1)),  # a volume of one slice
        ((2, 50, 1), (2, 50, 1)),
        ((2, 50), (2, 50, 1)),
        ((2, 50, 1, 3), (2, 50, 1, 3)),
        ((2, 1, 6, 1), (2, 1, 6, 1)),  # an image of one row
        ((2, 8, 1), (2, 8, 1, 1)),  # an image of one column
    ],
)
def test_mask_gets_a_channel_axis_and_both_are_float32(mask, logits):
    y_true, y_pred = align(np.ones(mask, np.uint8), zeros(*logits))
    channels = 1 if mask[-1] == 1 or len(mask) < len(logits) else logits[-1]
    for tensor, shape in ((y_true, (*logits[:-1], channels)), (y_pred, logits)):
        assert tuple(tensor.shape) == shape
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"


def test_unknown_sizes_match_any_size():
    mask, logits = keras.KerasTensor((None, 8, 8), "uint8"), keras.KerasTensor((2, None, 8, 1), "bfloat16")
    y_true, y_pred = align(mask, logits)
    assert (y_true.shape, y_pred.shape) == ((None, 8, 8, 1), (2, None, 8, 1))


@pytest.mark.parametrize(
    ("mask", "logits"),
    [
        ((2, 8, 6), (2, 8, 6)),
        ((2, 8, 6, 1), (2, 8, 6)),
        ((2, 4, 8, 6, 1), (2, 4, 8, 6)),
        ((2, 50, 3), (2, 50, 3)),  # or an image of 50 x 3
        ((2, 50), (2, 50)),
        ((2, 50, 1), (2, 50)),
        ((2,), (2,)),
    ],
)
def test_logits_without_channel_axis_are_refused(mask, logits):
    message = (
        r"mask has shape \(2,.*\) and the prediction \(2,.*\)\. Expected a prediction \(batch, height, width, "
        r"channels\): add its channel axis with logits\[\.\.\., None\], or end the model in Conv2D\(1, 1\)"
    )
    with pytest.raises(ValueError, match=message):
        align(zeros(*mask), zeros(*logits))


@pytest.mark.parametrize(
    ("mask", "logits"), [((2, 1, 8, 6), (2, 1, 8, 6)), ((2, 8, 6), (2, 1, 8, 6)), ((2, 1, 4, 8, 6), (2, 1, 4, 8, 6))]
)
def test_channels_first_is_refused(mask, logits):
    message = r"prediction \(2, 1,.*\)\. .* channels last, .* keras\.ops\.moveaxis\(logits, 1, -1\), and the mask's"
    with pytest.raises(ValueError, match=message):
        align(zeros(*mask), zeros(*logits))


@pytest.mark.parametrize(
    ("mask", "logits"),
    [
        ((2, 8, 8, 1), (2, 4, 4, 1)),
        ((2, 8, 8), (2, 4, 8, 3)),
        ((2, 8, 8, 2), (2, 8, 8, 3)),
        ((2, 8, 8, 3), (2, 8, 8, 1)),
        ((), (2, 8, 8, 1)),
        ((2, 1, 8, 8), (2, 8, 8, 1)),
        ((3, 8, 8, 1), (2, 8, 8, 1)),
        ((8, 8), (2, 8, 8, 1)),
    ],
)
def test_shapes_that_do_not_match_are_refused(mask, logits):
    with pytest.raises(ValueError, match=r"mask has shape .* and the prediction \(2, .*\)\. Expected the same shape"):
        align(zeros(*mask), zeros(*logits))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 1, 16, 16)])
def test_no_loss_takes_columns_for_channels(name, shape):
    for loss in (getattr(losses, name), losses.get(name)):
        with pytest.raises(ValueError, match=r"Expected .*batch, height, width, channels"):
            loss(zeros(*shape), zeros(*shape))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 1, 16, 16)])
def test_no_metric_takes_columns_for_channels(metric, shape):
    with pytest.raises(ValueError, match=r"Expected .*batch, height, width, channels"):
        metric().update_state(zeros(*shape), zeros(*shape))


@pytest.mark.parametrize("name", LOSSES)
def test_a_mask_without_channel_axis_costs_the_same(name, rng):
    # Dice took columns for channels: 0.476 and 0.547 in place of 0.583 and 0.685.
    mask = (rng.random((2, 16, 16)) < 0.2).astype(np.float32)
    logits = rng.normal(size=(2, 16, 16, 1)).astype(np.float32)
    loss = getattr(losses, name)
    np.testing.assert_array_equal(to_numpy(loss(mask, logits)), to_numpy(loss(mask[..., None], logits)))


def test_keras_takes_the_channel_axis_off_for_a_loss_that_is_a_function():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1)])
    images, mask = zeros(2, 8, 8, 3), zeros(2, 8, 8)
    model.compile("sgd", losses.dice)
    with pytest.raises(ValueError, match=r"Keras takes it off where the loss is a function .*: use the loss's class"):
        model.train_on_batch(images, mask)
    model.compile("sgd", losses.DiceLoss())
    assert np.isfinite(model.train_on_batch(images, mask))


@pytest.mark.parametrize(
    ("mask", "logits", "expected"),
    [
        ((2, 8, 6, 1), (2, 8, 6, 1), "sigmoid"),
        ((2, 8, 6, 3), (2, 8, 6, 3), "sigmoid"),
        ((2, 8, 6, 1), (2, 8, 6, 3), "softmax"),
        ((2, 8, 6, 1), (2, 8, 6, 2), "softmax"),
    ],
)
def test_the_shapes_decide_how_logits_become_probabilities(mask, logits, expected):
    assert find_activation(zeros(*mask), zeros(*logits)) == expected


def test_an_activation_overrides_the_shapes_where_it_can():
    assert find_activation(zeros(2, 8, 8, 3), zeros(2, 8, 8, 3), "softmax") == "softmax"
    with pytest.raises(ValueError, match="softmax' over one channel, which is always 1; expected two channels or more"):
        find_activation(zeros(2, 8, 8, 1), zeros(2, 8, 8, 1), "softmax")
    with pytest.raises(ValueError, match="class indices, and the prediction 3; expected as many channels for sigmoid"):
        find_activation(zeros(2, 8, 8, 1), zeros(2, 8, 8, 3), "sigmoid")


@pytest.mark.parametrize("from_logits", [True, False])
def test_the_foreground_view_is_the_probability_of_all_foreground_classes(from_logits, rng):
    logits = rng.normal(0, 3, (2, 5, 6, 4))
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    mask = rng.choice(np.float32([0, 1, 2, 3, 255]), (2, 5, 6, 1))
    given = (logits if from_logits else probability).astype(np.float32)
    y_true, view = foreground_view(*align(mask, given), from_logits)
    np.testing.assert_allclose(1 / (1 + np.exp(-to_numpy(view))), 1 - probability[..., :1], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(to_numpy(y_true), np.where(mask == 255, 255, np.minimum(mask, 1)))


def test_the_foreground_view_of_several_labels_is_their_union():
    mask = np.float32([[[0, 0]], [[0, 1]], [[255, 1]], [[255, 0]], [[255, 255]]])[None]
    logits = np.float32([[[-1, 2]], [[3, 1]], [[0, -2]], [[0, 0]], [[5, 6]]])[None]
    y_true, view = foreground_view(*align(mask, logits), True)
    assert to_numpy(y_true).ravel().tolist() == [0, 1, 1, 255, 255]
    assert to_numpy(view).ravel().tolist() == [2, 3, 0, 0, 6]
