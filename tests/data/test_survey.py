import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from kseg.data import open_sources
from kseg.data.mask_reading import read_masks_of_splits
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

BLANK = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def sources(make_folder):
    """The sources of a folder whose masks hold these values, a tuple for each mask."""

    def make(training, validation):
        for split, masks in (("train", training), ("val", validation)):
            pairs = {f"{i:03}": (BLANK, np.resize(np.uint8(values), (4, 4))) for i, values in enumerate(masks)}
            folder = make_folder(pairs, split)
        return open_sources(str(folder))

    return make


def test_white_of_16_bits_beside_classes_is_refused(make_folder):
    """As when some masks were scaled to the whole range of 16 bits, and others not."""
    masks = [np.resize(np.uint16(values), (4, 4)) for values in [(0, 65535), (0, 1), (0, 65535)]]
    folder = make_folder({f"{i:03}": (BLANK, mask) for i, mask in enumerate(masks)})
    message = (
        r"two ways: of \d, \d hold nothing but 0 and 65535, and 1 hold 1\. Either 65535 is foreground as well: "
        r"--foreground any\. Or 65535 is a class: --task multiclass\."
    )
    sources = open_sources(str(folder), val_fraction=0.4)
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(*sources)
    assert read_masks_of_splits(*sources, foreground="any").rule.table()[[1, 65535]].tolist() == [1, 1]
    assert read_masks_of_splits(*sources, task="multiclass").rule.names == ("1", "65535")


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ([(0, 1), (0, 255)], [(0, 1)]),
        ([(0, 1), (0, 1, 2), (0, 255), (0,)], [(0, 2)]),
        ([(0, 1), (0, 1)], [(0, 255)]),
        ([(0, 255), (0, 255)], [(0, 1)]),
        ([(0, 255), (0, 255), (0, 1, 255)], [(0, 255)]),  # one mask with a slip turns none of the others
    ],
)
def test_two_ways_of_writing_are_refused_within_a_split_and_between_them(sources, training, validation):
    both = sources(training, validation)
    message = r"are written in two ways: of \d, \d hold nothing but 0 and 255, and \d hold .* --foreground any. Or 255"
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(*both)
    for setting, kind in {"any": 1, "classes": 255}.items():  # what the message advises
        if setting == "any" or 1 in training[0]:
            assert read_masks_of_splits(*both, foreground=setting).rule.table()[255] == kind


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ([(0, 1, 255), (0, 255)], [(0, 1)]),  # Pascal VOC: a mask with nothing but its border
        ([(0, 1), (0, 2)], [(255, 255)]),  # a mask that is ignored as a whole
        ([(0, 1), (0, 1, 255)], [(0, 255)]),
        ([(0, 255), (0,)], [(0,)]),
    ],
)
def test_255_beside_classes_is_no_second_way(sources, training, validation):
    reading = read_masks_of_splits(*sources(training, validation))
    assert reading.rule.table()[255] == (1 if training[0] == (0, 255) else 255)


def soft(stem):
    """A disc, bool, and the same white on black as a JPEG of that quality, blurred, or resized; uint8 `(64, 64)`."""
    disc = np.hypot(*(np.mgrid[:64, :64] - 31)) < 17
    white = Image.fromarray(disc * np.uint8(255))
    if stem == "resized":
        return disc, np.asarray(white.resize((80, 80), Image.Resampling.BILINEAR).resize((64, 64)))
    if stem == "blurred":
        return disc, np.asarray(white.filter(ImageFilter.GaussianBlur(1)))
    file = io.BytesIO()
    white.save(file, "JPEG", quality=int(stem))
    return disc, np.asarray(Image.open(file))


@pytest.mark.parametrize("kind", ["50", "75", "95", "100", "blurred", "resized"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_masks_with_soft_edges_are_refused_in_either_split_and_read_at_128(make_folder, kind, number):
    disc, stored = soft(kind)
    masks = [stored] * number + [disc * np.uint8(255)] * (3 - number)
    splits = {"val": masks[:1], "train": masks[1:]}
    for split, of_split in splits.items():
        folder = make_folder(
            {str(i): (np.zeros((64, 64, 3), np.uint8), mask) for i, mask in enumerate(of_split)}, split
        )
    training, validation = open_sources(str(folder))
    message = r"[123] of [23] masks of .* soft edges, .* --foreground white takes 128 and above"
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(training, validation)

    reading = read_masks_of_splits(training, validation, foreground="white")
    assert not reading.warnings
    assert reading.rule.setting == "white"
    assert "class" not in reading.described
    table = reading.rule.table()
    for source, of_split in ((training, splits["train"]), (validation, splits["val"])):
        for index, mask in enumerate(of_split):
            assert (table[source.read(index)[1][..., 0]] == (mask >= 128)).all()
    assert (table[stored] != disc).mean() < 0.02
    for other in ("any", (255,)):
        (warning,) = read_masks_of_splits(training, validation, foreground=other).warnings
        assert warning.startswith(f"{number} of 3 masks of ")
        assert warning.endswith("--foreground white takes 128 and above as foreground.")


def test_white_is_for_masks_of_8_bits(make_folder):
    masks = {str(i): (BLANK, np.resize(np.uint16([0, 65535]), (4, 4))) for i in range(2)}
    message = r"training masks of .* hold 65535; expected 0 to 255: foreground is value 128 to 255"
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(*open_sources(str(make_folder(masks))), foreground="white")


def test_a_validation_value_that_the_rule_does_not_cover_is_refused(sources):
    with pytest.raises(KsegError, match=r"validation masks of .* hold 7; expected 0, 255: foreground is value 255"):
        read_masks_of_splits(*sources([(0, 255)], [(0, 7, 255)]), task="binary")


def test_a_setting_without_any_foreground_is_refused(sources):
    both = sources([(0, 255)], [(0, 255)])
    with pytest.raises(KsegError, match=r"No training mask .* any foreground by --foreground classes: .* hold 0, 255"):
        read_masks_of_splits(*both, foreground="classes")


def test_the_line_for_the_log_equals_a_count_by_hand(sources):
    reading = read_masks_of_splits(*sources([(0, 1, 1, 255), (0,)], [(0, 2), (0, 3), (1,), (255,)]))
    assert reading.described == (
        "training: foreground 28.6%, ignored 12.5%, 1 of 2 masks empty, 1 class; "
        "validation: foreground 66.7%, ignored 25.0%, 1 of 4 masks empty, 3 classes"
    )
