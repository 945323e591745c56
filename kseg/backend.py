"""Which Keras backend kseg runs on."""

import keras

from kseg.errors import KsegError

BACKENDS = ("jax", "torch")


def check_backend() -> str:
    """Return the name of Keras's backend: `jax` or `torch`.

    Raises:
        KsegError: Keras runs on another backend, on which kseg was never tried.
    """
    backend = keras.config.backend()
    if backend not in BACKENDS:
        raise KsegError(
            f"Keras runs on {backend}; kseg needs jax or torch. Set KERAS_BACKEND=jax or KERAS_BACKEND=torch."
        )
    return backend
