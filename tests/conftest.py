"""The whole suite runs once on each backend: `KERAS_BACKEND=torch pytest`. Unset, it is JAX."""

import os
import signal
import tempfile
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest

# Programs for JAX are compiled in four fifths of the time, and run hardly more slowly. Here compiling takes most of it.
if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has its parent's
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=1".strip()

# torch has one thread in each process: where two processes have one for each core, they wait for each other, and take
# twice as long.
os.environ["OMP_NUM_THREADS"] = "1"

import kseg  # before keras: makes JAX the default

kseg.data.quiet_tensorflow()

# xdist's workers, and the processes that tests start, share their compiled programs. A worker has its parent's folder.
if "PYTEST_XDIST_WORKER" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="kseg-compiled-")
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": compiled.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

# The same examples in every run, however busy the machine: what fails, fails for everybody.
# --hypothesis-profile default looks for others.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture
def signals() -> Iterator[None]:
    """SIGINT and SIGTERM as in a terminal: what runs in the background may have been told to ignore the first."""
    former = {
        number: signal.signal(number, handler)
        for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))
    }
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def refused(capsys):
    """The message of a command that has to end with status 2, and without a traceback."""

    def run(*flags):
        from kseg.commands import train as command

        try:
            status = command.main(flags)
        except SystemExit as exit:
            status = exit.code
        output = capsys.readouterr()
        assert status == 2
        assert "Traceback" not in output.out + output.err
        return " ".join((output.out + output.err).replace("│", " ").split())

    return run
