"""Photographs that EXIF turns: which way their masks fit."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from kseg.audit import audit
from kseg.config.train import DataOptions
from kseg.data.files.label_masks import LabelChannels, LabelFiles
from kseg.data.files.pair import read_mask_of
from kseg.data.files.turned import find_turn, fits_stored_pixels
from kseg.errors import KsegError
from kseg.runs.data import open_data

ORIENTATION = 274


def photograph(rng, side=64):
    """An image with a bright block, and its mask, both as displayed."""
    image, mask = rng.integers(0, 60, (side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    top, left = rng.integers(2, 20, 2)
    image[top : top + 20, left : left + 12] = 220
    mask[top : top + 20, left : left + 12] = 1
    return image, mask


def stored(image, turn):
    """The pixels that a file holds which an EXIF tag turns into this image, by Pillow."""
    picture = Image.fromarray(image)
    undo = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}
    undo |= {8: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}
    undo |= {2: Image.Transpose.FLIP_LEFT_RIGHT, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    return picture.transpose(undo[turn])


def write(folder, count, turn, rng, as_stored, **settings):
    """Write photographs that a tag turns; the masks of the first `as_stored` are for the stored pixels."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for index in range(count):
        image, mask = photograph(rng)
        picture, exif = stored(image, turn), Image.Exif()
        exif[ORIENTATION] = turn
        picture.save(folder / f"images/{index}.jpg", exif=exif, quality=95)
        shown = np.asarray(ImageOps.exif_transpose(Image.open(folder / f"images/{index}.jpg")))
        assert abs(shown.astype(int) - image).mean() < 20
        (stored(mask, turn) if index < as_stored else Image.fromarray(mask)).save(folder / f"masks/{index}.png")
    return DataOptions(dataset=str(folder), image_size=64, **settings)


@pytest.mark.parametrize("turn", range(2, 9))
def test_every_turn_is_undone(turn, rng):
    image, mask = photograph(rng)
    assert fits_stored_pixels(image, mask[..., None], turn) is False
    assert fits_stored_pixels(image, np.asarray(stored(mask, turn))[..., None], turn) is True
    assert fits_stored_pixels(image[:, :48], mask[:, :48, None], turn) is (None if turn > 4 else False)


@pytest.mark.parametrize("turn", [3, 6])
def test_masks_of_the_stored_pixels_are_refused(turn, rng, tmp_path):
    options = write(tmp_path / "data", 10, turn, rng, as_stored=10)
    with pytest.raises(KsegError, match=r"An EXIF tag turns \d images .* these masks fit the stored pixels, and 0 the"):
        open_data(options)


@pytest.mark.parametrize("turn", range(2, 9))
def test_masks_of_the_stored_pixels_are_turned_as_their_images_where_told(turn, rng, tmp_path):
    options = write(tmp_path / "data", 10, turn, rng, as_stored=10, mask_exif="image")
    for source in (open_data(options).training, open_data(options).validation):
        for (index,) in source.examples():
            image, mask = source.read(index)
            np.testing.assert_array_equal(mask > 0, image.mean(-1, keepdims=True) > 140)
            np.testing.assert_array_equal(source.read_mask(index), mask)
    found = {finding.cause for finding in audit(options.dataset, mask_exif="image", workers=1).findings}
    assert "exif_rotation" not in found
    assert "exif_rotation" in {finding.cause for finding in audit(options.dataset, workers=1).findings}


def test_other_data_sets_have_no_masks_to_turn():
    with pytest.raises(KsegError, match=r"mask_exif image is not allowed for shapes: its masks fit its images"):
        open_data(DataOptions(dataset="shapes", mask_exif="image"))


def test_masks_of_the_turned_picture_are_read(rng, tmp_path, caplog):
    open_data(write(tmp_path / "data", 10, 6, rng, as_stored=0))
    assert "EXIF" not in caplog.text


def test_some_of_each_kind_are_warned_about(rng, tmp_path, caplog):
    open_data(write(tmp_path / "data", 12, 6, rng, as_stored=6))
    assert "An EXIF tag turns" in caplog.text


def test_a_mask_with_the_same_tag_is_turned_with_its_image(rng, tmp_path):
    image, mask = photograph(rng)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored(image, 6).save(tmp_path / "image.png", exif=exif)
    stored(mask, 6).save(tmp_path / "mask.png", exif=exif)
    assert find_turn(tmp_path / "image.png", tmp_path / "mask.png") == 1
    stored(mask, 6).save(tmp_path / "mask.png")
    assert find_turn(tmp_path / "image.png", tmp_path / "mask.png") == 6


@pytest.mark.parametrize("kind", ["a file a label", "channels"])
@pytest.mark.parametrize("tagged", [True, False])
def test_masks_of_labels_are_turned_once(kind, tagged, rng, tmp_path):
    image, mask = photograph(rng)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored(image, 6).save(tmp_path / "image.png", exif=exif)
    of_mask = {"exif": exif} if tagged else {}
    if kind == "channels":
        layers = np.stack([mask, mask, 0 * mask], axis=-1)
        stored(layers, 6).save(tmp_path / "mask.png", **of_mask)
        labels = LabelChannels(tmp_path / "mask.png", 3)
    else:
        stored(mask, 6).save(tmp_path / "cat.png", **of_mask)
        labels = LabelFiles(("cat", "dog"), (tmp_path / "cat.png", None))
    drawn = read_mask_of(tmp_path / "image.png", labels, mask_exif="image")
    np.testing.assert_array_equal(drawn[..., 0], mask)
