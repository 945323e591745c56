"""What the log says of images that the layout does not read."""

import pytest

from tests.data.layouts.expect import check_layout

pytestmark = pytest.mark.backend_free


def test_folders_that_are_not_read_are_named_with_their_number_of_images(make_files):
    names = [f"{kind}/{n}.png" for kind in ("images", "masks") for n in range(2)]
    others = [
        f"{name}/{n}.png" for name in ("test/images", "old", "raw/a", "raw/b", "zzz", ".hidden") for n in range(3)
    ]
    folder = make_files(*names, *others)
    rule = "images/ and masks/ by stem; images not read: 3 in old/, 6 in raw/, 3 in test/ and in 1 more folders"
    check_layout(folder, [f"images/{n}.png masks/{n}.png" for n in range(2)], None, rule)
