import numpy as np
import pytest
from PIL import Image

from kseg.reports.grid import save_grid

pytestmark = pytest.mark.backend_free

RED, GREEN, BLUE, CYAN = (200, 0, 0), (0, 200, 0), (0, 0, 200), (0, 200, 200)


def plain(colour, height, width):
    return np.full((height, width, 3), colour, np.uint8)


def draw(path, height, width, **others):
    rows = [([plain(RED, height, width), plain(GREEN, height, width)], "first")]
    rows += [([plain(BLUE, height, width), plain(CYAN, height, width)], "second")]
    save_grid(path, ("left", "right"), rows, {"one": RED}, **others)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def box(page, colour):
    """First and last row and column of a colour below the titles, and above the legend."""
    rows, columns = np.nonzero((abs(page[10:-25] - colour) < 3).all(-1))
    return rows.min() + 10, rows.max() + 10, columns.min(), columns.max()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 64), (64, 40), (700, 500), (5, 300), (600, 40)])
def test_pictures_stand_in_rows_and_columns_in_their_proportions(height, width, tmp_path):
    page = draw(tmp_path / "page.png", height, width)
    top, bottom, left, right = box(page, RED)
    drawn = (bottom - top + 1) / (right - left + 1)
    assert drawn == pytest.approx(height / width, rel=0.1, abs=0.05) or min(bottom - top, right - left) < 10
    # The second column is to the right, the second row below, on the same lines.
    assert box(page, GREEN)[:2] == pytest.approx((top, bottom), abs=1)
    assert box(page, GREEN)[2] > right
    assert box(page, BLUE)[2:] == pytest.approx((left, right), abs=1)
    assert box(page, BLUE)[0] > bottom
    assert right - left < 0.25 * page.shape[1]


def test_legends_have_room_for_many_entries(tmp_path):
    few = draw(tmp_path / "few.png", 32, 32, legend_above={"class": GREEN})
    many = draw(tmp_path / "many.png", 32, 32, legend_above={f"class {index}": GREEN for index in range(40)})
    assert many.shape[0] > few.shape[0] + 60
    rows = box(many, RED)
    assert rows[1] - rows[0] == pytest.approx(box(few, RED)[1] - box(few, RED)[0], abs=1)
