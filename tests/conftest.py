"""The whole suite runs once on each backend: `KERAS_BACKEND=torch pytest`. Unset, it is JAX."""

import os

import numpy as np
import pytest

import kseg  # before keras: makes JAX the default

kseg.data.quiet_tensorflow()

if os.environ.get("KERAS_BACKEND") == "torch":
    import torch

    # One thread for each of xdist's workers: more of them wait for each other.
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
