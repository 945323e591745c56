"""What a step frees is kept for the next one."""

import os
import platform
import subprocess
import sys

import pytest

from kseg.allocator import keep_freed_memory

pytestmark = [
    pytest.mark.backend_free,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such settings"),
]

# Blocks that are freed together, and taken again.
PAGES = """
import resource
from kseg.allocator import keep_freed_memory
kept = {} and keep_freed_memory()
def use():
    for _ in range(100):
        blocks = [b"x" * 2**20 for _ in range(8)]
        del blocks
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def python(code, **variables):
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", code], env=own | variables, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_memory_that_is_freed_is_used_again():
    given_back, kept = python(PAGES.format(False)), python(PAGES.format(True))
    assert given_back[0] == "False"
    assert kept[0] == "True"
    assert int(kept[1]) * 10 < int(given_back[1])


@pytest.mark.parametrize(
    "variables",
    [{"MALLOC_TRIM_THRESHOLD_": "0"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=0"}],
    ids=str,
)
def test_a_choice_stands(variables):
    assert python(PAGES.format(True), **variables)[0] == "False"


@pytest.mark.parametrize("fault", [AttributeError("mallopt"), TypeError("Windows")], ids=repr)
def test_another_c_library_is_left_as_it_is(fault, monkeypatch):
    def refuse(name):
        raise fault

    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("kseg.allocator.ctypes.CDLL", refuse)
    assert keep_freed_memory() is False
