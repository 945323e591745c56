import json

import pytest

from kseg.data.classes import Classes
from kseg.data.labels import Foreground
from kseg.errors import KsegError
from kseg.metadata import Metadata
from kseg.task import Task

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(),
        Metadata(
            Task("binary", ("cell",)), 0.3, (64, 96), "pad", (500, 700), 8, 4, 12, rule=Foreground((3,), only=(0, 3))
        ),
        Metadata(
            Task("multiclass", ("background", "cat", "dog")),
            colours=("#000000", "#ff0000", "#00ff00"),
            rule=Classes(("cat", "dog"), (7, 3), {3: "dog", 7: "cat"}, "ignore", (0.5, 0.25, 0.25)),
        ),
    ],
)
def test_what_json_holds_is_what_was_written(metadata):
    assert Metadata.read(json.loads(json.dumps(metadata.as_data()))) == metadata


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"threshold": 3}, r"threshold is 3; Input should be less than or equal to 1"),
        ({"task": {"kind": "panoptic"}}, r"task.kind is 'panoptic'; Input should be 'binary', 'multiclass'"),
        ({"image_size": [128]}, r"image_size.1 is"),
        ({"image_size": [128, -1]}, r"image_size.1 is -1; Input should be greater than or equal to 1"),
        ({"channels": "three"}, r"channels is 'three'"),
    ],
)
def test_other_values_are_named(data, message):
    with pytest.raises(KsegError, match=message):
        Metadata.read(data)


def test_a_newer_file_may_say_more():
    assert Metadata.read({"of_a_later_version": 1}) == Metadata()
