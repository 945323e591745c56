"""Class indices of annotations."""

import pytest

from kseg.data.layouts.annotations.classes import class_indices
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    SQUARE,
    coco_json,
    instance_entry,
    read_masks,
    square_mask,
    write_files,
)

pytestmark = pytest.mark.backend_free


def test_no_class_is_255(tmp_path):
    categories = [{"id": n, "name": f"c{n}"} for n in range(1, 301)]
    annotations = [instance_entry(1, 0, [SQUARE], 255), instance_entry(2, 1, [SQUARE], 254)]
    content = coco_json(["a.png", "b.png"], annotations, categories)
    layout = find_layout(
        write_files(tmp_path, {"images/a.png": None, "images/b.png": None, "annotations.json": content})
    )
    assert read_masks(layout.training) == [square_mask(256).tolist(), square_mask(254).tolist()]
    assert (layout.classes[254], layout.classes[256], 255 in layout.classes) == ("c254", "c255", False)
    assert layout.rule.endswith("7 c7, 8 c8 and 292 more")


@pytest.mark.parametrize("count", [0, 65535])
def test_too_few_or_too_many_classes_are_refused(tmp_path, count):
    with pytest.raises(KsegError, match=rf"a.json has {count} classes; expected 1 to 65534"):
        class_indices(range(count), tmp_path / "a.json")


def test_the_largest_class_index_fits_a_uint16(tmp_path):
    assert max(class_indices(range(65534), tmp_path / "a.json").values()) == 65535
