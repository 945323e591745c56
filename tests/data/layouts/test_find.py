"""Which layout a folder has, and folders with none or two."""

from pathlib import Path

import pytest

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.expect import check_layout

pytestmark = pytest.mark.backend_free


CITY = "leftImg8bit/{split}/{city}/{city}_{number}_leftImg8bit.png"
CITY_MASK = "gtFine/{split}/{city}/{city}_{number}_gtFine_labelIds.png"


@pytest.mark.parametrize("masks", ["masks", "labels", "annotations", "segmentations"])
def test_images_and_masks_pair_by_stem(make_files, masks):
    folder = make_files("images/a.png", "images/b.jpg", f"{masks}/a.gif", f"{masks}/b.npy", f"{masks}/.hidden.png")
    check_layout(
        folder, [f"images/a.png {masks}/a.gif", f"images/b.jpg {masks}/b.npy"], None, f"images/ and {masks}/ by stem"
    )


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("Images", "Masks"),
        ("image", "mask"),
        ("imgs", "masks"),
        ("img", "seg"),
        ("images", "GT"),
        ("images", "ground_truth"),
    ],
)
def test_folders_may_have_other_usual_names_in_any_case(make_files, images, masks):
    folder = make_files(f"{images}/a.png", f"{masks}/a.png")
    check_layout(folder, [f"{images}/a.png {masks}/a.png"], None, f"{images}/ and {masks}/ by stem")


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        (("Train/images", "Train/masks"), ("Val/images", "Val/masks")),
        (("images/training", "annotations/training"), ("images/validation", "annotations/validation")),  # ADE20K
        (("img_dir/train", "ann_dir/train"), ("img_dir/val", "ann_dir/val")),  # MMSegmentation
        (("train", "trainannot"), ("val", "valannot")),  # CamVid
        (("train", "train_labels"), ("val", "val_labels")),
        (("train_images", "train_masks"), ("valid_images", "valid_masks")),
    ],
)
def test_splits_of_usual_data_sets(make_files, training, validation):
    pairs = [
        f"{images}/{stem}.png {masks}/{stem}.png" for (images, masks), stem in ((training, "a"), (validation, "b"))
    ]
    folder = make_files(*" ".join(pairs).split())
    check_layout(folder, pairs[:1], pairs[1:], f"{training[0]}/ and {training[1]}/ by stem")


def test_masks_beside_the_images_of_a_split_come_before_a_folder_of_masks(make_files):
    folder = make_files("train/a.png", "train/a_mask.png", "train_masks/a.png")
    check_layout(
        folder,
        ["train/a.png train/a_mask.png"],
        None,
        "train/ by stem, masks ending in _mask; images not read: 1 in train_masks/",
    )


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_splits_may_be_the_outer_or_the_inner_folders(make_files, tmp_path, val):
    names = ("outer/train/images/a.png", "outer/train/masks/a.png", f"outer/{val}/images/b.png")
    make_files(*names, f"outer/{val}/masks/b_seg.png", "outer/test/images/c.png")
    rule = "train/images/ and train/masks/ by stem; images not read: 1 in test/"
    check_layout(
        tmp_path / "outer",
        [f"{names[0]} {names[1]}".replace("outer/", "")],
        [f"{val}/images/b.png {val}/masks/b_seg.png"],
        rule,
    )
    make_files(
        "inner/images/train/a.png", "inner/labels/train/a.png", f"inner/images/{val}/b.png", f"inner/labels/{val}/b.png"
    )
    check_layout(
        tmp_path / "inner",
        ["images/train/a.png labels/train/a.png"],
        [f"images/{val}/b.png labels/{val}/b.png"],
        "images/train/ and labels/train/ by stem",
    )


def test_without_a_validation_folder_there_is_no_validation_split(make_files):
    folder = make_files("images/train/a.png", "masks/train/a.png")
    check_layout(folder, ["images/train/a.png masks/train/a.png"], None, "images/train/ and masks/train/ by stem")


def test_only_the_validation_split_may_have_a_folder_of_its_own(make_files):
    folder = make_files("images/a.png", "masks/a.png", "val/images/b.png", "val/masks/b.png")
    check_layout(
        folder, ["images/a.png masks/a.png"], ["val/images/b.png val/masks/b.png"], "images/ and masks/ by stem"
    )


def test_masks_may_be_beside_their_images(make_files, tmp_path):
    make_files("flat/a.jpg", "flat/a_mask.png", "flat/b.png", "flat/b_mask.png")
    check_layout(tmp_path / "flat", ["a.jpg a_mask.png", "b.png b_mask.png"], None, "./ by stem, masks ending in _mask")
    make_files("split/train/a.jpg", "split/train/a-gt.png", "split/val/b.png", "split/val/b_gt.png")
    rule = "train/ by stem, masks ending in -gt"
    check_layout(tmp_path / "split", ["train/a.jpg train/a-gt.png"], ["val/b.png val/b_gt.png"], rule)


@pytest.mark.parametrize("names", [("a.png", "a_mask.png"), ("train/a.png", "train_masks/a.png")])
def test_a_yaml_file_of_something_else_changes_nothing(make_files, names):
    pair = " ".join(names)
    before = find_layout(make_files(*names)).rule
    check_layout(make_files(*names, data_yaml="train: elsewhere\nnames: [a]\n"), [pair], None, before)


def test_voc_is_read_from_its_list(make_files):
    folder = make_files(
        *("JPEGImages/1.jpg", "JPEGImages/2.jpg", "JPEGImages/3.jpg"),
        *("SegmentationClass/1.png", "SegmentationClass/2.png", "SegmentationObject/1.png", "SegmentationObject/2.png"),
        ImageSets__Segmentation__train_txt="2\n",
        ImageSets__Segmentation__val_txt="1\n",
        Annotations__1_xml="<annotation/>",
    )
    pairs = [[f"JPEGImages/{stem}.jpg SegmentationClass/{stem}.png"] for stem in (2, 1)]
    unread = "1 in JPEGImages/, 2 in SegmentationObject/"
    check_layout(folder, *pairs, f"listed in ImageSets/Segmentation/train.txt; images not read: {unread}")


def test_cityscapes_is_read_with_its_label_ids(make_files):
    parts = [{"split": "train", "city": "aachen", "number": 1}, {"split": "train", "city": "bonn", "number": 1}]
    parts.append({"split": "val", "city": "ulm", "number": 7})
    others = [CITY_MASK.format(**part).replace("labelIds", kind) for part in parts for kind in ("color", "instanceIds")]
    folder = make_files(*(name.format(**part) for part in parts for name in (CITY, CITY_MASK)), *others)
    pairs = [f"{CITY} {CITY_MASK}".format(**part) for part in parts]
    check_layout(folder, pairs[:2], pairs[2:], "Cityscapes, leftImg8bit/ and the labelIds of gtFine/")
    (folder / CITY_MASK.format(**parts[1])).unlink()
    with pytest.raises(
        KsegError, match=r"1 files have no mask: .*bonn_1_leftImg8bit.png. Expected .* in .*gtFine/train"
    ):
        find_layout(folder)


def test_a_folder_without_read_permission_is_named(make_files, monkeypatch):
    folder = make_files("images/a.png", "masks/a.png")

    def iterdir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(KsegError, match=r"/test_a_folder.* cannot be read: Permission denied. Check its permissions"):
        find_layout(folder)


@pytest.mark.parametrize(
    ("names", "texts", "message"),
    [
        (
            ["images/a.png", "masks/a.png", "train/images/b.png"],
            {},
            r"Two layouts match: .*/train and .*/images. Expected one. Pass one folder, or remove the other.$",
        ),
        (["images/a.png", "masks/a.png", "a.png", "a_mask.png"], {}, r"Two layouts match: .*/images and .*/a_mask.png"),
        (["images/a.png", "masks/a.png", "labels/a.png"], {}, r"Two layouts match: .*/labels and .*/masks"),
        (
            ["images/train/a.png", "masks/train/a.png", "train/a.png"],
            {},
            r"layouts match: .*/train and .*/images/train",
        ),
        (["a.png"], {"train_txt": "", "x_csv": "image,mask\n"}, r"Two layouts match: .*/train.txt and .*/x.csv"),
        (["a.png"], {"x_csv": "image,mask\n", "y_csv": "mask,image\n"}, r"Two layouts match: .*/x.csv and .*/y.csv"),
        (["train/a.png", "train/a_mask.png", "val/a.png", "valid/a.png"], {}, r"layouts match: .*/val and .*/valid"),
        (["a.png"], {}, r"There is no folder .*images. Expected .* to hold images/ and masks/ .* or a list: train.txt"),
        (["set/images/a.png", "set/masks/a.png"], {}, r"YOLO's outlines\. .*/set does: give that folder\.$"),
        (["x/set/images/a.png", "x/set/masks/a.png"], {}, r"YOLO's outlines\.$"),
        (["one/images/a.png", "one/masks/a.png", "two/b.png"], {}, r"YOLO's outlines\.$"),
        (
            ["a.png"],
            {"x_csv": "file;label\n"},
            r"outlines\. .*x.csv has the columns file, label, not image and mask\.$",
        ),
        (["train/a.png", "train/b.png"], {}, r"There is no folder .*train/images. Expected .*/train to hold images/"),
        (
            ["images/a.png"],
            {"labels__a_txt": "0 0.5 0.5"},
            r"labels has no image files; expected any of .bmp, .gif, .j",
        ),
        (["images/train/a.png", "masks/b.png"], {}, r"There is no folder .*masks/train"),
    ],
)
def test_a_folder_with_no_layout_or_two_is_refused(make_files, names, texts, message):
    folder = make_files(*names, **texts)
    with pytest.raises(KsegError, match=message):
        find_layout(folder)


def test_a_link_that_leads_back_is_not_followed(make_files, tmp_path):
    folder = make_files("a.png")
    (folder / "self").symlink_to(folder)
    with pytest.raises(KsegError, match=r"YOLO's outlines\.$"):
        find_layout(folder)
