"""kseg: segmentation models that train without failing silently.

`import kseg` is cheap: a part is imported when it is first used, so a data pipeline runs where
no Keras backend is installed, and TensorFlow is imported only by what needs it, such as data sets of TFDS.

Importing kseg before keras makes JAX the backend when `KERAS_BACKEND` is unset. Keras writes
"tensorflow" into its own configuration file unasked, so that file is not taken for a choice.
"""

import os as _os
import sys as _sys
from typing import Any as _Any

__version__ = "0.1.0"

IGNORE = 255
"""The mask value of a pixel that no loss and no metric looks at."""

_PARTS = ("audit", "callbacks", "config", "data", "distribution", "inference", "losses", "metrics", "models", "runs")
_NAMES = {
    "TrainConfig": "kseg.config",
    "load": "kseg.inference",
    "preflight": "kseg.checks.preflight",
    "train": "kseg.runs",
}

__all__ = ["IGNORE", "__version__", *_NAMES, *_PARTS]

if "keras" not in _sys.modules:
    _os.environ.setdefault("KERAS_BACKEND", "jax")


def __getattr__(name: str) -> _Any:
    import importlib

    if name in _NAMES:
        importlib.import_module("kseg.backend")  # names a wrong KERAS_BACKEND before Keras fails on it
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _PARTS:
        return importlib.import_module(f"kseg.{name}")
    raise AttributeError(f"module 'kseg' has no attribute {name!r}; expected one of {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
