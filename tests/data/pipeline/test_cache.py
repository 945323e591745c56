import collections
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from kseg.data.pipeline.cache import free_memory, open_cache
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

SHAPE = (8, 16, 5)
GIB = 2**30


@pytest.mark.parametrize("setting", ["memory", "disk"])
def test_what_was_kept_comes_back_whatever_the_order(setting, rng):
    examples = [(rng.integers(0, 256, SHAPE, np.uint8), rng.integers(0, 256, (8, 16, 1), np.uint8)) for _ in range(20)]
    kept, _ = open_cache(setting, 20, SHAPE)
    for index in rng.permutation(20):
        kept.write(index, *examples[index])
    for index in rng.permutation(20):
        for found, expected in zip(kept.read(np.int64(index)), examples[index], strict=True):
            assert (found.shape, found.dtype) == (expected.shape, np.uint8)
            np.testing.assert_array_equal(found, expected)


def test_an_image_that_is_not_contiguous_is_kept_as_it_looks(rng):
    image = np.broadcast_to(rng.integers(0, 256, (8, 16, 1), np.uint8), SHAPE)
    kept, _ = open_cache("disk", 1, SHAPE)
    kept.write(0, image, image[..., :1])
    np.testing.assert_array_equal(kept.read(0)[0], image)


def test_a_cache_on_disk_leaves_no_name_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept, said = open_cache("disk", 3, SHAPE)
    kept.write(2, np.zeros(SHAPE, np.uint8), np.zeros((8, 16, 1), np.uint8))
    assert list(tmp_path.iterdir()) == []
    assert said == f"decoded once, kept in a temporary file in {tmp_path}: 0.00 GiB"


def test_without_a_cache_nothing_is_kept():
    assert open_cache("none", 3, SHAPE) == (None, "decoded again in every epoch, as set")


@pytest.mark.parametrize(("free", "kept"), [(8 * GIB, True), (4 * GIB, True), (4 * GIB - 1, False)])
def test_auto_takes_up_to_half_of_what_is_free(free, kept):
    # 1024 x 1024 x (3 + 1) bytes, 512 times: 2 GiB, which the system gives when they are written to.
    cache, note = open_cache("auto", 512, (1024, 1024, 3), free=free)
    assert (cache is not None) == kept
    if kept:
        assert note == f"decoded once, kept in memory: 2.00 of {free / GIB:.1f} GiB that are free"
    else:
        assert note.startswith("decoded again in every epoch: a cache would take 2.0 GiB, more than half of the 4.0")
        assert "--cache disk keeps one in" in note


def test_memory_that_was_asked_for_is_not_questioned():
    assert open_cache("memory", 2, SHAPE, free=0)[0] is not None


def test_a_disk_without_room_and_a_setting_that_is_none_are_refused(monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(GIB))
    with pytest.raises(KsegError, match=r"cache: disk needs 2.0 GiB, and .* has 1.0 free. Set TMPDIR to"):
        open_cache("disk", 512, (1024, 1024, 3))
    with pytest.raises(KsegError, match=r"cache: 'ram' is not allowed; expected auto, memory, disk, none."):
        open_cache("ram", 2, SHAPE)


def test_a_containers_limit_is_observed(tmp_path):
    unlimited = free_memory()
    assert unlimited > 0
    files = [str(tmp_path / name) for name in ("max", "current")]
    for limit, used, free in (("max", "5", None), ("1000", "400", 600), ("1000", "1400", 0)):
        for path, text in zip(files, (limit, used), strict=True):
            Path(path).write_text(text + os.linesep)
        assert free_memory([files]) == free if free is not None else free_memory([files]) > 2**20
