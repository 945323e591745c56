"""Palettes that contradict each other, so that the indices mean nothing."""

import re

import numpy as np
import pytest
from PIL import Image

from kseg.data import open_sources
from kseg.data.files.palettes import refuse_unclear_palettes
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

OBJECT = np.zeros((8, 12), bool)
OBJECT[2:5, 3:9] = True
BLACK, RED, GREEN, WHITE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 255)


def with_palette(indices, *colours):
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette([value for colour in colours for value in colour])
    return picture


@pytest.fixture
def save(tmp_path):
    """Saves masks as 0.png, 1.png, … and returns their paths."""

    def save(*pictures, suffix="png"):
        paths = [str(tmp_path / f"{index}.{suffix}") for index in range(len(pictures))]
        for path, picture in zip(paths, pictures, strict=True):
            picture.save(path)
        return paths

    return save


@pytest.mark.parametrize("suffix", ["png", "gif", "tif"])
def test_an_index_of_two_colours_is_refused_with_the_colours(save, suffix):
    paths = save(with_palette(OBJECT, BLACK, RED), with_palette(~OBJECT, RED, BLACK), suffix=suffix)
    message = r"cells: .* index 0 is #000000 in .*0.\w+ and #ff0000 in .*1.\w+. .* the background first: "
    with pytest.raises(KsegError, match=message + re.escape("--colours '#000000' '#ff0000'. If the indices are, save")):
        refuse_unclear_palettes("cells", paths)


def test_what_pillow_makes_of_several_colours_is_refused(save):
    colours = [np.where(OBJECT[..., None], np.uint8(colour), np.uint8(BLACK)) for colour in (RED, GREEN)]
    with pytest.raises(KsegError, match=r"index \d is #\w+ in .*0.png and #\w+ in .*1.png"):
        refuse_unclear_palettes("cells", save(*(Image.fromarray(picture).quantize(3) for picture in colours)))


@pytest.mark.parametrize("black", [BLACK, (3, 0, 2)])
def test_black_as_the_object_in_all_masks_is_refused_and_colours_decide(make_folder, tmp_path, black):
    folder = make_folder({str(i): (np.zeros((8, 12, 3), np.uint8), OBJECT * np.uint8(1)) for i in range(4)})
    for path in (folder / "masks").iterdir():
        with_palette(~OBJECT, RED, black).save(path)
    code = "#" + bytes(black).hex()
    with pytest.raises(KsegError, match=rf"index 0 is #ff0000 and 1 is {code}. .* --colours '{code}' '#ff0000'"):
        open_sources(str(folder))
    training, _ = open_sources(str(folder), colours=(code, "#ff0000"))
    assert (training.read(0)[1][..., 0] == OBJECT).all()


def test_palettes_that_agree_in_the_indices_in_use_are_indices(save):
    classes = OBJECT * 2
    refuse_unclear_palettes(
        "cells",
        save(
            with_palette(OBJECT, BLACK, RED),
            with_palette(classes, BLACK, RED, GREEN),
            with_palette(classes, BLACK, BLACK, GREEN),  # nothing is index 1
            with_palette(~OBJECT, WHITE, BLACK),  # greys, which are read as they are shown
            Image.fromarray(OBJECT * np.uint8(255)),
        ),
    )
    refuse_unclear_palettes("cells", save(with_palette(OBJECT, WHITE, RED)))
    refuse_unclear_palettes("cells", save(with_palette(OBJECT + 2 * ~OBJECT, RED, BLACK, GREEN)))
    refuse_unclear_palettes("cells", [])


def test_a_file_that_cannot_be_read_is_left_to_who_reads_it(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    refuse_unclear_palettes("cells", [str(tmp_path / "a.png")])
