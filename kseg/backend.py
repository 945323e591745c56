"""Which Keras backend kseg runs on: JAX, or torch.

Importing this module checks `KERAS_BACKEND`, so the parts of kseg that need Keras import it before Keras.
"""

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from kseg.errors import KsegError

BACKENDS = ("jax", "torch")
_KERAS_BACKENDS = (*BACKENDS, "tensorflow", "numpy", "openvino")
_Function = TypeVar("_Function", bound=Callable[..., object])
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


@contextlib.contextmanager
def keep_compiled_programs() -> Iterator[None]:
    """On JAX, keep all compiled programs on disk, so that the next command does not compile them again.

    JAX itself keeps only those that took over a second to compile; a short run compiles some 250 small ones, which take
    half of its time. Each host has its own folder: code compiled for one processor need not run on another that shares
    the home directory. A folder that the user chose is left alone.
    """
    import keras

    if keras.config.backend() != "jax":
        yield
        return
    import jax

    former = {name: jax.config.values[name] for name in ("jax_compilation_cache_dir", _LEAST_SECONDS)}
    if former["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache/kseg/jax" / platform.node()))
        jax.config.update(_LEAST_SECONDS, 0.0)
    try:
        yield
    finally:
        for name, value in former.items():
            jax.config.update(name, value)


def one_program(*static: str) -> Callable[[_Function], _Function]:
    """Return a decorator that has JAX compile a function as a whole, also outside of a compiled step.

    There JAX compiles a program for every operation, and a short run spends seconds on dozens of them.

    Args:
        static: which arguments are no arrays; for each of their values there is another program.
    """

    def decorate(function: _Function) -> _Function:
        @functools.cache
        def compiled() -> Callable[..., object]:
            import keras

            if keras.config.backend() != "jax":
                return function
            import jax

            return jax.jit(function, static_argnames=static)

        return functools.wraps(function)(lambda *given, **named: compiled()(*given, **named))  # type: ignore[return-value]

    return decorate


_LEAST_SECONDS = "jax_persistent_cache_min_compile_time_secs"

check_environment(_KERAS_BACKENDS)
