import keras
import pytest

from kseg.backend import check_backend
from kseg.errors import KsegError


def test_jax_and_torch_are_accepted():
    assert check_backend() == keras.config.backend()


def test_another_backend_is_refused_and_both_are_named(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(KsegError, match="Keras runs on tensorflow; kseg trains on jax or torch"):
        check_backend()
