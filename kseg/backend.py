"""Which Keras backend kseg runs on: JAX, or torch.

Importing this module checks `KERAS_BACKEND`, so the parts of kseg that need Keras import it before Keras.
"""

import os
import sys

from kseg.errors import KsegError

BACKENDS = ("jax", "torch")
_KERAS_BACKENDS = (*BACKENDS, "tensorflow", "numpy", "openvino")
_SET_ONE = "Set KERAS_BACKEND=jax or KERAS_BACKEND=torch."


def check_backend() -> str:
    """Return the name of Keras's backend: `jax` or `torch`.

    Raises:
        KsegError: Keras runs on another backend, on which kseg does not train.
    """
    import keras

    backend = keras.config.backend()
    if backend not in BACKENDS:
        raise KsegError(f"Keras runs on {backend}; kseg trains on jax or torch. {_SET_ONE}")
    return backend


def check_environment(allowed: tuple[str, ...] = BACKENDS) -> None:
    """Check `KERAS_BACKEND` before Keras is imported, which fails on a name that it does not know.

    Args:
        allowed: the names that it may have.

    Raises:
        KsegError: it has another name.
    """
    backend = os.environ.get("KERAS_BACKEND", "jax")
    if "keras" not in sys.modules and backend not in allowed:
        raise KsegError(f"KERAS_BACKEND is {backend}; kseg trains on jax or torch. {_SET_ONE}")


check_environment(_KERAS_BACKENDS)
