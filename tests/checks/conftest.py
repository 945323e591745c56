import keras
import pytest
from keras import layers

import kseg
from kseg.losses import CombinedSegmentationLoss
from tests.checks.samples import compiled, net


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
