"""The whole suite runs once on each backend: `KERAS_BACKEND=torch pytest`. Unset, it is JAX."""

import numpy as np
import pytest

import kseg  # before keras: makes JAX the default

kseg.data.quiet_tensorflow()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
