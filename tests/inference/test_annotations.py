import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from kseg.data import open_sources
from kseg.inference.annotations import write_annotations

pytestmark = pytest.mark.backend_free

NAMES = ("cat", "dog")


@pytest.fixture
def predicted(tmp_path):
    """Four images, and masks of two classes; the areas of the third have holes, the fourth is empty."""
    rng = np.random.default_rng(0)
    pairs = []
    for index in range(4):
        mask = np.zeros((40 + index, 50), np.uint8)
        for value in (1, 2):
            area = ndimage.gaussian_filter(rng.normal(size=mask.shape), 2.5) > 0.08
            mask[(area if index == 2 else ndimage.binary_fill_holes(area)) & (mask == 0)] = value
        mask = np.zeros_like(mask) if index == 3 else mask if index == 2 else filled(mask)
        image, file = tmp_path / f"photos/{index}.png", tmp_path / f"masks/{index}.png"
        for path, values in ((image, rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8)), (file, mask)):
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(values).save(path)
        pairs.append((image, file))
    return pairs


def filled(mask):
    """The mask without holes: a hole, of background or of the other class, gets the class around it."""
    for value in (1, 2):
        labels, number = ndimage.label(mask == value, np.ones((3, 3)))
        for label in range(1, number + 1):
            mask[ndimage.binary_fill_holes(labels == label)] = value
    return mask


def read_again(folder, pairs):
    """The masks that kseg reads in a folder, by the stem of the image."""
    training, validation = open_sources(str(folder), val_fraction=0.25)
    assert set(training.classes.values()) == set(NAMES)
    masks = {}
    for source in (training, validation):
        value_of = {value: NAMES.index(name) + 1 for value, name in source.classes.items()} | {0: 0}
        for index in range(len(source)):
            stem = str(source.files(index)[0]).rpartition("/")[2].removesuffix(".png")
            masks[stem] = np.vectorize(value_of.get)(source.read_mask(index)[..., 0])
    return masks


@pytest.mark.parametrize("how", ["coco", "labelme", "yolo"])
def test_what_kseg_writes_it_reads_as_the_same_masks(how, predicted, tmp_path):
    written, folder = tmp_path / "written", tmp_path / "set"
    # LabelMe: without the empty image, whose file has no objects.
    pairs = predicted[:3] if how == "labelme" else predicted
    write_annotations(written, how, NAMES, [(image.stem, image, [file]) for image, file in pairs])
    if how == "yolo":
        shutil.copytree(tmp_path / "photos", folder / "images/train")
        shutil.copytree(written, folder / "labels/train")
        (folder / "labels/train/data.yaml").replace(folder / "data.yaml")
        text = (folder / "data.yaml").read_text()
        (folder / "data.yaml").write_text(text.replace("val: images/train\n", ""))
    else:
        folder.mkdir()
        for image, _ in pairs:
            shutil.copy(image, folder)
        for file in written.iterdir():
            shutil.copy(file, folder / ("_annotations.coco.json" if how == "coco" else file.name))
    masks = read_again(folder, pairs)
    assert set(masks) == {image.stem for image, _ in pairs}
    for image, file in pairs:
        expected = np.asarray(Image.open(file))
        if image.stem == "2" and how != "coco":
            assert (masks[image.stem] == expected).mean() > 0.9  # holes are filled
        else:
            np.testing.assert_array_equal(masks[image.stem], expected)
