"""Which data set a name means."""

import numpy as np
import pytest

from kseg.data import open_sources
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("name", ["voc", "shapes", "shapes/rare"])
def test_a_folder_that_is_there_comes_before_a_data_set_of_that_name(make_folder, pairs, tmp_path, monkeypatch, name):
    make_folder(pairs, name)
    monkeypatch.chdir(tmp_path)
    training, validation = open_sources(name)
    assert len(training) + len(validation) == len(pairs)
    assert training.read(0)[0].dtype == np.uint8


def test_an_unknown_name_is_refused_and_so_is_an_empty_folder_of_a_known_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KsegError, match=r"There is no data set 'nonsense': no folder of that name here, and TFDS has"):
        open_sources("nonsense")
    (tmp_path / "voc").mkdir()
    with pytest.raises(KsegError, match=r"There is no folder voc/images"):
        open_sources("voc")
