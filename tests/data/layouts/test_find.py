from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

CITY = "leftImg8bit/{split}/{city}/{city}_{number}_leftImg8bit.png"
CITY_MASK = "gtFine/{split}/{city}/{city}_{number}_gtFine_labelIds.png"


@pytest.fixture
def folder(tmp_path):
    """Makes files of these names, with text where it is given, and returns the folder."""

    def make(*names, **texts):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(tmp_path / name) if not name.endswith(".npy") else (tmp_path / name).touch()
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def pairs_of(part, folder):
    return part and [tuple(str(path.relative_to(folder)) for path in pair) for pair in part.pairs]


def check(folder, training, validation, rule):
    """Whether the layout is these pairs, `image mask` in words, and said so."""
    layout = find_layout(folder)
    assert pairs_of(layout.training, folder) == [tuple(pair.split()) for pair in training]
    assert pairs_of(layout.validation, folder) == (validation and [tuple(pair.split()) for pair in validation])
    assert layout.rule == rule


@pytest.mark.parametrize("masks", ["masks", "labels", "annotations", "segmentations"])
def test_images_and_masks_of_one_stem(folder, masks):
    made = folder("images/a.png", "images/b.jpg", f"{masks}/a.gif", f"{masks}/b.npy", f"{masks}/.hidden.png")
    check(made, [f"images/a.png {masks}/a.gif", f"images/b.jpg {masks}/b.npy"], None, f"images/ and {masks}/ by stem")


@pytest.mark.parametrize("suffix", ["_mask", "_label", "_seg", "-mask", "_gt", ".mask", "_segmentation", "_Mask"])
def test_masks_may_have_a_suffix(folder, suffix):
    made = folder("images/a.png", "images/b.png", f"masks/a{suffix}.png", "masks/b.png")
    said = f"images/ and masks/ by stem, masks ending in {suffix}"
    check(made, [f"images/a.png masks/a{suffix}.png", "images/b.png masks/b.png"], None, said)


def test_an_image_may_be_called_mask_itself(folder):
    made = folder("images/my_mask.png", "images/my.png", "masks/my_mask.png", "masks/my_seg.png")
    pairs = ["images/my.png masks/my_seg.png", "images/my_mask.png masks/my_mask.png"]
    check(made, pairs, None, "images/ and masks/ by stem, masks ending in _seg")


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_split_folders_both_ways_round(folder, tmp_path, val):
    names = ("outer/train/images/a.png", "outer/train/masks/a.png", f"outer/{val}/images/b.png")
    folder(*names, f"outer/{val}/masks/b_seg.png", "outer/test/images/c.png")
    rule = "train/images/ and train/masks/ by stem; images not read: 1 in test/"
    check(
        tmp_path / "outer",
        [f"{names[0]} {names[1]}".replace("outer/", "")],
        [f"{val}/images/b.png {val}/masks/b_seg.png"],
        rule,
    )
    folder(
        "inner/images/train/a.png", "inner/labels/train/a.png", f"inner/images/{val}/b.png", f"inner/labels/{val}/b.png"
    )
    check(
        tmp_path / "inner",
        ["images/train/a.png labels/train/a.png"],
        [f"images/{val}/b.png labels/{val}/b.png"],
        "images/train/ and labels/train/ by stem",
    )


def test_without_a_folder_for_validation_nothing_is_said_of_it(folder):
    made = folder("images/train/a.png", "masks/train/a.png")
    check(made, ["images/train/a.png masks/train/a.png"], None, "images/train/ and masks/train/ by stem")


def test_training_images_may_lie_beside_the_folder_of_the_others(folder):
    made = folder("images/a.png", "masks/a.png", "val/images/b.png", "val/masks/b.png")
    check(made, ["images/a.png masks/a.png"], ["val/images/b.png val/masks/b.png"], "images/ and masks/ by stem")


def test_masks_beside_their_images(folder, tmp_path):
    folder("flat/a.jpg", "flat/a_mask.png", "flat/b.png", "flat/b_mask.png")
    check(tmp_path / "flat", ["a.jpg a_mask.png", "b.png b_mask.png"], None, "./ by stem, masks ending in _mask")
    folder("split/train/a.jpg", "split/train/a-gt.png", "split/val/b.png", "split/val/b_gt.png")
    rule = "train/ by stem, masks ending in -gt"
    check(tmp_path / "split", ["train/a.jpg train/a-gt.png"], ["val/b.png val/b_gt.png"], rule)


def test_a_list_of_stems_takes_what_it_names_in_its_order(folder):
    names = [f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abc"]
    made = folder(*names, "images/d.png", train_txt="c\n\n a \n", val_txt="b\n")
    training = ["images/c.png masks/c.png", "images/a.png masks/a.png"]
    check(made, training, ["images/b.png masks/b.png"], "listed in train.txt; images not read: 1 in images/")


def test_a_list_of_paths(folder):
    made = folder("x/a.png", "y/1.png", "x/b.png", "y/2.png", train_txt="x/a.png y/2.png\r\nx/b.png\ty/1.png\r\n")
    check(made, ["x/a.png y/2.png", "x/b.png y/1.png"], None, "listed in train.txt")


def test_paths_with_blanks_in_a_list(folder):
    names = ("images/a b.png", "images/c.png", "masks/a b.png", "masks/c.png", "x/d e.png", "x/f g.png", "x/h.png")
    lines = ["a b", "images/c.png", "x/d e.png\tx/f g.png", "x/h.png masks/c.png"]
    for line, pair in zip(
        lines,
        [
            ("images/a b.png", "masks/a b.png"),
            ("images/c.png", "masks/c.png"),
            ("x/d e.png", "x/f g.png"),
            ("x/h.png", "masks/c.png"),
        ],
        strict=True,
    ):
        made = folder(*names, train_txt=line)
        assert pairs_of(find_layout(made).training, made) == [pair]
    made = folder(*names, train_txt="./images/a b.png\nx/d e.png x/f g.png")
    assert pairs_of(find_layout(made).training, made) == [
        ("images/a b.png", "masks/a b.png"),
        ("x/d e.png", "x/f g.png"),
    ]


@pytest.mark.parametrize(
    ("names", "line", "message"),
    [
        (
            ["a.png", "c.png", "b.png c.png", "a.png b.png"],
            "a.png b.png c.png",
            r"can be read in two ways; expected a tab",
        ),
        (["a.png", "b.png", "a.png b.png"], "a.png b.png", r"line 1: 'a.png b.png' can be read in two ways"),
        (["a.png", "b c.png"], "a.png b d.png", r"line 1: 'a.png b d.png' is not the stem of an image with a mask"),
        (["images/a.png"], "images/a.png", r"line 1: 'images/a.png' is not the stem of an image with a mask in"),
        (["a b.png"], "a b.png\tc.png", r"line 1: 'c.png' is no image file in"),
        (["images/a.png", "masks/a.png"], "/etc/passwd", r"line 1: '/etc/passwd' leads out of"),
        (["images/a.png", "masks/a.png"], "a " * 100_000, r"is not the stem of an image"),
    ],
)
def test_lines_that_say_no_one_thing_are_refused(folder, names, line, message):
    with pytest.raises(KsegError, match=message):
        find_layout(folder(*names, train_txt=line))


def test_pictures_in_folders_of_images_pair_by_their_path(folder):
    made = folder(
        "images/a/1.png", "images/b/1.png", "images/2.png", "masks/a/1.png", "masks/b/1_mask.png", "masks/2.png"
    )
    pairs = ["images/2.png masks/2.png", "images/a/1.png masks/a/1.png", "images/b/1.png masks/b/1_mask.png"]
    check(made, pairs, None, "images/ and masks/ by stem, masks ending in _mask")
    (made / "train.txt").write_text("b/1\nimages/a/1.png\n")
    check(made, [pairs[2], pairs[1]], None, "listed in train.txt; images not read: 1 in images/")
    (made / "train.txt").unlink()
    (made / "masks/a/1.png").rename(made / "masks/1.png")
    with pytest.raises(KsegError, match=r"1 files have no mask: .*images/a/1.png. Expected a file of the same stem in"):
        find_layout(made)


def test_a_link_to_a_folder_of_images_is_refused(folder, tmp_path):
    folder("elsewhere/b.png", "set/images/a.png", "set/masks/a.png")
    (tmp_path / "set/images/more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KsegError, match=r"images/more is a link to a folder; expected the folder itself"):
        find_layout(tmp_path / "set")


def test_folders_that_are_not_read_are_said(folder):
    names = [f"{kind}/{n}.png" for kind in ("images", "masks") for n in range(2)]
    others = [
        f"{name}/{n}.png" for name in ("test/images", "old", "raw/a", "raw/b", "zzz", ".hidden") for n in range(3)
    ]
    made = folder(*names, *others)
    rule = "images/ and masks/ by stem; images not read: 3 in old/, 6 in raw/, 3 in test/ and in 1 more folders"
    check(made, [f"images/{n}.png masks/{n}.png" for n in range(2)], None, rule)


def test_voc(folder):
    made = folder(
        *(
            "JPEGImages/1.jpg",
            "JPEGImages/2.jpg",
            "JPEGImages/3.jpg",
            "SegmentationClass/1.png",
            "SegmentationClass/2.png",
        ),
        *("SegmentationObject/1.png", "SegmentationObject/2.png"),
        ImageSets__Segmentation__train_txt="2\n",
        ImageSets__Segmentation__val_txt="1\n",
        Annotations__1_xml="<annotation/>",
    )
    pairs = [[f"JPEGImages/{stem}.jpg SegmentationClass/{stem}.png"] for stem in (2, 1)]
    unread = "1 in JPEGImages/, 2 in SegmentationObject/"
    check(made, *pairs, f"listed in ImageSets/Segmentation/train.txt; images not read: {unread}")


def test_a_table_with_splits(folder):
    rows = "Image, MASK ,split,note\nx/a.png,y/a.png,train,\n'x/c c.png',y/c.png,Valid,\nx/b.png,y/b.png,test,\n"
    made = folder(
        *(f"x/{n}.png" for n in ("a", "b", "c c")), *(f"y/{n}.png" for n in "abc"), my_csv=rows.replace("'", '"')
    )
    layout = find_layout(made)
    assert pairs_of(layout.training, made) == [("x/a.png", "y/a.png")]
    assert pairs_of(layout.validation, made) == [("x/c c.png", "y/c.png")]
    assert layout.rule == "listed in my.csv but for 1 of the split test; images not read: 1 in x/"


def test_a_table_without_splits_and_one_of_something_else(folder):
    made = folder("a.png", "b.png", my_csv="\ufeffimage,mask\na.png,b.png\n", other_csv="id,diagnosis\n1,none\n")
    check(made, ["a.png b.png"], None, "listed in my.csv")


def test_cityscapes(folder):
    parts = [{"split": "train", "city": "aachen", "number": 1}, {"split": "train", "city": "bonn", "number": 1}]
    parts.append({"split": "val", "city": "ulm", "number": 7})
    others = [CITY_MASK.format(**part).replace("labelIds", kind) for part in parts for kind in ("color", "instanceIds")]
    made = folder(*(name.format(**part) for part in parts for name in (CITY, CITY_MASK)), *others)
    pairs = [f"{CITY} {CITY_MASK}".format(**part) for part in parts]
    check(made, pairs[:2], pairs[2:], "Cityscapes, leftImg8bit/ and the labelIds of gtFine/")
    (made / CITY_MASK.format(**parts[1])).unlink()
    with pytest.raises(
        KsegError, match=r"1 files have no mask: .*bonn_1_leftImg8bit.png. Expected .* in .*gtFine/train"
    ):
        find_layout(made)


@pytest.mark.parametrize(
    ("names", "texts", "message"),
    [
        (["images/a.png", "masks/a.png", "train/images/b.png"], {}, r"/train and .*/images say two things about which"),
        (["images/a.png", "masks/a.png", "a.png", "a_mask.png"], {}, r"/images and .*/a_mask.png say two things"),
        (["images/a.png", "masks/a.png", "labels/a.png"], {}, r"/masks and .*/labels say two things"),
        (["images/train/a.png", "masks/train/a.png", "train/a.png"], {}, r"/train and .*/images/train say two things"),
        (["a.png"], {"train_txt": "", "x_csv": "image,mask\n"}, r"/train.txt and .*/x.csv say two things"),
        (["a.png"], {"x_csv": "image,mask\n", "y_csv": "mask,image\n"}, r"/x.csv and .*/y.csv say two things"),
        (["train/a.png", "train/a_mask.png", "val/a.png", "valid/a.png"], {}, r"/val and .*/valid say two things"),
        (
            ["images/a.png", "masks/a.png", "masks/a_seg.png"],
            {},
            r"/a.png and .*/a_seg.png are both masks of .*images/a",
        ),
        (["images/a.png", "masks/a_mask.png", "masks/a_gt.png"], {}, r"/a_gt.png and .*/a_mask.png are both masks of"),
        (["a.png", "a.jpg", "a_mask.png"], {}, r"/a.jpg and .*/a.png have the same stem; expected one file for each"),
        (["a.png", "b.png", "a_mask.png"], {}, r"1 files have no mask: .*/b.png. .* may have a suffix such as _mask"),
        (["a.png", "a_mask.png", "b_mask.png"], {}, r"1 files have no image: .*/b_mask.png"),
        (["a.png"], {}, r"There is no folder .*images. Expected .* to hold images/ and masks/ .* or a list: train.txt"),
        (["train/a.png", "train/b.png"], {}, r"There is no folder .*train/images. Expected .*/train to hold images/"),
        (
            ["images/a.png"],
            {"labels__a_txt": "0 0.5 0.5"},
            r"labels has no image files; expected any of .bmp, .gif, .j",
        ),
        (["images/train/a.png", "masks/b.png"], {}, r"There is no folder .*masks/train"),
        (
            ["images/a.png", "masks/a.png"],
            {"train_txt": "a\nb\n"},
            r"train.txt, line 2: 'b' is not the stem of an image",
        ),
        (["images/a.png", "masks/a.png"], {"train_txt": "\n"}, r"train.txt lists no images; expected at least one"),
        (
            ["images/a.png", "masks/a.png"],
            {"train_txt": "a\na\n"},
            r"images/a.png is listed in .*train.txt and again in",
        ),
        (
            ["images/a.png", "masks/a.png"],
            {"train_txt": "a", "val_txt": "a"},
            r"train.txt and again in .*val.txt; expec",
        ),
        (
            ["a.png"],
            {"train_txt": "a.png b.png"},
            r"train.txt, line 1: 'b.png' is no image file in .*; expected a path",
        ),
        (["a.png"], {"train_txt": "a.png train.txt"}, r"train.txt, line 1: 'train.txt' is no image file"),
        (
            ["a.png"],
            {"train_txt": "a.png /etc/passwd"},
            r"line 1: '/etc/passwd' leads out of .*; expected a path in it",
        ),
        (["a.png"], {"x_csv": "image,mask\n../a.png,a.png\n"}, r"x.csv, line 2: '../a.png' leads out of"),
        (["a.png"], {"x_csv": "image,mask\na.png,x\0y\n"}, r"x.csv, line 2: 'x.*y' (cannot be a path|is no image)"),
        (["a.png"], {"x_csv": "image,mask\na.png\n"}, r"x.csv, line 2: '' is no image file"),
        (
            ["a.png"],
            {"x_csv": "image,mask,split\na.png,a.png,\n"},
            r"x.csv, line 2: split is ''; expected train, val or",
        ),
        (["a.png"], {"x_csv": "image,mask,split\na.png,a.png,val\n"}, r"x.csv \(train\) lists no images"),
        (["a.png"], {"x_csv": f"image,mask\n{'a' * 200000},a.png\n"}, r"x.csv, line 1 is not CSV: field larger than"),
    ],
)
def test_what_is_not_one_layout_is_refused_by_name(folder, names, texts, message):
    made = folder(*names, **texts)
    with pytest.raises(KsegError, match=message):
        find_layout(made)


def test_lists_that_are_no_text(folder):
    made = folder("a.png")
    (made / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KsegError, match=r"train.txt cannot be read: .* Expected text in UTF-8"):
        find_layout(made)


def test_folders_that_may_not_be_read(folder, monkeypatch):
    made = folder("images/a.png", "masks/a.png")

    def iterdir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(KsegError, match=r"/test_folders.* cannot be read: Permission denied. See to its permissions"):
        find_layout(made)


def test_links_may_lead_to_the_folder_and_not_out_of_it(folder, tmp_path):
    folder("set/a.png", "set/b.png", "elsewhere/c.png", set__train_txt="a.png b.png\n")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    check(tmp_path / "link", ["a.png b.png"], None, "listed in train.txt")
    (tmp_path / "set/c.png").symlink_to(tmp_path / "elsewhere/c.png")
    (tmp_path / "set/train.txt").write_text("a.png c.png\n")
    with pytest.raises(
        KsegError, match=r"line 1: 'c.png' leads out of .*set; expected a path in it. Copy the file there"
    ):
        find_layout(tmp_path / "set")


def test_absolute_paths_into_the_folder_are_fine(folder):
    made = folder("a.png", "b.png", "x/c.png")
    (made / "train.txt").write_text(f"{made}/a.png {made}/x/../b.png\n")
    layout = find_layout(made)
    assert [path.resolve() for path in layout.training.pairs[0]] == [made / "a.png", made / "b.png"]
    assert isinstance(layout.training.pairs[0][0], Path)


STEMS = st.sampled_from(["a", "a_mask", "a_seg", "a_mask_gt", "b", "b-mask", "mask", "_mask", "c.d", "c.d_mask"])


@given(st.sets(STEMS), st.sets(STEMS), st.booleans())
def test_no_mask_is_given_to_an_image_of_another_stem(tmp_path_factory, images, masks, beside):
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


@given(st.binary(max_size=60) | st.text('a.png,"\n\r\t /~\0\ufeff', max_size=60).map(str.encode), st.booleans())
@example(b"image,mask\n" + b"a" * 5000 + b".png,a.png", True)
@example(b"a.png " + b"a/" * 3000 + b".png", False)
def test_lists_of_anything_are_read_or_refused_by_name(tmp_path_factory, content, table):
    folder = tmp_path_factory.getbasetemp() / f"lists{table}"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").touch()
    path = folder / ("x.csv" if table else "train.txt")
    path.write_bytes(b"image,mask\n" + content if table else content)
    said = str(path)
    try:
        assert find_layout(folder).training.pairs
    except KsegError as error:
        said = str(error)
    assert str(path) in said
