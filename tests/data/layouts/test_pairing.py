"""Which mask belongs to which image, by stem."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.expect import check_layout

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("suffix", ["_mask", "_label", "_seg", "-mask", "_gt", ".mask", "_segmentation", "_Mask"])
def test_masks_may_have_a_suffix(make_files, suffix):
    folder = make_files("images/a.png", "images/b.png", f"masks/a{suffix}.png", "masks/b.png")
    rule = f"images/ and masks/ by stem, masks ending in {suffix}"
    check_layout(folder, [f"images/a.png masks/a{suffix}.png", "images/b.png masks/b.png"], None, rule)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("image_{}", "mask_{}"),
        ("img{}", "gt{}"),
        ("{}_training", "{}_manual1"),  # DRIVE
        ("a/image_{}", "a/mask_{}"),
        ("my_image_{}_left", "my_mask_{}_left_v2"),
    ],
)
def test_a_word_that_all_images_or_all_masks_have_is_not_compared(make_files, image, mask):
    pairs = [f"images/{image.format(number)}.png masks/{mask.format(number)}.png" for number in (1, 2, 10)]
    folder = make_files(*" ".join(pairs).split())
    pairs = [pairs[0], pairs[2], pairs[1]]  # in the order of their stems
    where = "images/a/ and masks/a/" if image.startswith("a/") else "images/ and masks/"
    names = " and ".join(name.format(1).rpartition("/")[2] for name in (image, mask))
    check_layout(folder, pairs, None, f"{where} by stem, as {names}")


def test_words_of_masks_beside_their_images_are_not_compared(make_files):
    folder = make_files("1_sat.jpg", "1_mask.png", "2_sat.jpg", "2_mask.png")  # DeepGlobe
    check_layout(folder, ["1_sat.jpg 1_mask.png", "2_sat.jpg 2_mask.png"], None, "./ by stem, as 1_sat and 1_mask")


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["cat", "car"], ["bat", "bar"]),  # letters alone are no number
        (["image_10", "image_11"], ["mask_20", "mask_21"]),
        (["image_1", "image_2"], ["mask_1"]),
        (["image_1", "picture_2"], ["mask_1", "mask_2"]),
    ],
)
def test_other_names_are_not_guessed(make_files, images, masks):
    folder = make_files(*(f"images/{name}.png" for name in images), *(f"masks/{name}.png" for name in masks))
    with pytest.raises(KsegError, match=rf"{len(images)} files have no mask: "):
        find_layout(folder)


def test_an_image_may_have_the_suffix_of_a_mask(make_files):
    folder = make_files("images/my_mask.png", "images/my.png", "masks/my_mask.png", "masks/my_seg.png")
    pairs = ["images/my.png masks/my_seg.png", "images/my_mask.png masks/my_mask.png"]
    check_layout(folder, pairs, None, "images/ and masks/ by stem, masks ending in _seg")


def test_images_in_subfolders_pair_by_their_path(make_files):
    folder = make_files(
        "images/a/1.png", "images/b/1.png", "images/2.png", "masks/a/1.png", "masks/b/1_mask.png", "masks/2.png"
    )
    pairs = ["images/2.png masks/2.png", "images/a/1.png masks/a/1.png", "images/b/1.png masks/b/1_mask.png"]
    check_layout(folder, pairs, None, "images/ and masks/ by stem, masks ending in _mask")
    (folder / "train.txt").write_text("b/1\nimages/a/1.png\n")
    check_layout(folder, [pairs[2], pairs[1]], None, "listed in train.txt; images not read: 1 in images/")
    (folder / "train.txt").unlink()
    (folder / "masks/a/1.png").rename(folder / "masks/1.png")
    with pytest.raises(KsegError, match=r"1 files have no mask: .*images/a/1.png. Expected a file of the same stem in"):
        find_layout(folder)


STEMS = st.sampled_from(["a", "a_mask", "a_seg", "a_mask_gt", "b", "b-mask", "mask", "_mask", "c.d", "c.d_mask"])


@given(st.sets(STEMS), st.sets(STEMS), st.booleans())
def test_no_mask_is_paired_with_an_image_of_another_stem(tmp_path_factory, images, masks, beside):
    folder = tmp_path_factory.mktemp("pairs")
    for kind, stems in (("images", images), ("masks", masks)):
        where = folder if beside else folder / kind
        where.mkdir(exist_ok=True)
        for stem in stems:
            (where / f"{stem}.png").touch()
    try:
        pairs = find_layout(folder).training.pairs
    except KsegError:
        return
    assert all(mask.stem.startswith(image.stem) for image, mask in pairs)
    assert all(mask.stem[len(image.stem) :] in ("", "_mask", "_seg", "-mask", "_gt") for image, mask in pairs)
    files = [path for pair in pairs for path in pair]
    assert len(files) == len(set(files)) == (len(images | masks) if beside else len(images) + len(masks))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["images/a.png", "masks/a.png", "masks/a_seg.png"],
            r"/a.png and .*/a_seg.png are both masks of .*images/a.*; expected one. Remove one",
        ),
        (["images/a.png", "masks/a_mask.png", "masks/a_gt.png"], r"/a_gt.png and .*/a_mask.png are both masks of"),
        (["a.png", "a.jpg", "a_mask.png"], r"/a.jpg and .*/a.png have the same stem; expected one file. Rename or"),
        (["a.png", "b.png", "a_mask.png"], r"1 files have no mask: .*/b.png. .* may have a suffix such as _mask"),
        (["a.png", "a_mask.png", "b_mask.png"], r"1 files have no image: .*/b_mask.png"),
    ],
)
def test_a_file_with_no_partner_or_two_is_refused(make_files, names, message):
    folder = make_files(*names)
    with pytest.raises(KsegError, match=message):
        find_layout(folder)
