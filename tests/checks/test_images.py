import numpy as np
import pytest
from keras import layers

import kseg
from kseg.checks.images import takes_any_scale
from kseg.losses import BCELoss
from tests.checks.samples import causes, compiled, images, masks, net, refused


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
