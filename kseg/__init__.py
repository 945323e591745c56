"""kseg: segmentation models that train without failing silently.

`import kseg` is cheap: a part is imported when it is first used, so a data pipeline runs where
no Keras backend is installed, and TensorFlow is imported only by the parts that read data.

Importing kseg before keras makes JAX the backend when `KERAS_BACKEND` is unset. Keras writes
"tensorflow" into its own configuration file unasked, so that file is not taken for a choice.
"""

import importlib
import os
import sys
from typing import Any

__version__ = "0.1.0"

IGNORE = 255
"""The mask value of a pixel that no loss and no metric looks at."""

_PARTS = ("callbacks", "config", "data", "losses", "metrics", "models", "runs")
_FUNCTIONS = {"preflight": "kseg.checks.preflight"}

if "keras" not in sys.modules:
    os.environ.setdefault("KERAS_BACKEND", "jax")


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"kseg.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'kseg' has no attribute {name!r}; its parts are {', '.join(_PARTS)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS, *_FUNCTIONS])
