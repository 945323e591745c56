"""The whole suite runs once on each backend: `KERAS_BACKEND=torch pytest`. Unset, it is JAX."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import kseg  # noqa: F401  (before keras: makes JAX the default)
import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
