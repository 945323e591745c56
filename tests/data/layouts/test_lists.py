"""Lists of images and masks: text files and CSV."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.expect import check_layout, relative_pairs

pytestmark = pytest.mark.backend_free


def test_a_list_of_stems_gives_the_pairs_in_its_order(make_files):
    names = [f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abc"]
    folder = make_files(*names, "images/d.png", train_txt="c\n\n a \n", val_txt="b\n")
    training = ["images/c.png masks/c.png", "images/a.png masks/a.png"]
    check_layout(folder, training, ["images/b.png masks/b.png"], "listed in train.txt; images not read: 1 in images/")


def test_a_list_may_name_an_image_and_a_mask_a_line(make_files):
    folder = make_files("x/a.png", "y/1.png", "x/b.png", "y/2.png", train_txt="x/a.png y/2.png\r\nx/b.png\ty/1.png\r\n")
    check_layout(folder, ["x/a.png y/2.png", "x/b.png y/1.png"], None, "listed in train.txt")


def test_paths_in_a_list_may_have_blanks(make_files):
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
        folder = make_files(*names, train_txt=line)
        assert relative_pairs(find_layout(folder).training, folder) == [pair]
    folder = make_files(*names, train_txt="./images/a b.png\nx/d e.png x/f g.png")
    assert relative_pairs(find_layout(folder).training, folder) == [
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
        (["a b.png"], "a b.png\tc.png", r"line 1: 'c.png' is not an image file in"),
        (["images/a.png", "masks/a.png"], "/etc/passwd", r"line 1: '/etc/passwd' leads out of"),
        (["images/a.png", "masks/a.png"], "a " * 100_000, r"is not the stem of an image"),
    ],
)
def test_an_ambiguous_or_unknown_line_is_refused(make_files, names, line, message):
    with pytest.raises(KsegError, match=message):
        find_layout(make_files(*names, train_txt=line))


def test_a_csv_may_name_splits(make_files):
    rows = "Image, MASK ,split,note\nx/a.png,y/a.png,train,\n'x/c c.png',y/c.png,Valid,\nx/b.png,y/b.png,test,\n"
    folder = make_files(
        *(f"x/{n}.png" for n in ("a", "b", "c c")), *(f"y/{n}.png" for n in "abc"), my_csv=rows.replace("'", '"')
    )
    layout = find_layout(folder)
    assert relative_pairs(layout.training, folder) == [("x/a.png", "y/a.png")]
    assert relative_pairs(layout.validation, folder) == [("x/c c.png", "y/c.png")]
    assert layout.rule == "listed in my.csv; not read: 1 of split test; images not read: 1 in x/"


def test_a_csv_without_the_columns_of_a_list_is_not_read(make_files):
    folder = make_files("a.png", "b.png", my_csv="\ufeffimage,mask\na.png,b.png\n", other_csv="id,diagnosis\n1,none\n")
    check_layout(folder, ["a.png b.png"], None, "listed in my.csv")


def test_a_list_that_is_not_utf_8_is_refused(make_files):
    folder = make_files("a.png")
    (folder / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KsegError, match=r"train.txt cannot be read: .* Expected text in UTF-8"):
        find_layout(folder)


@given(st.binary(max_size=60) | st.text('a.png,"\n\r\t /~\0\ufeff', max_size=60).map(str.encode), st.booleans())
@example(b"image,mask\n" + b"a" * 5000 + b".png,a.png", True)
@example(b"a.png " + b"a/" * 3000 + b".png", False)
def test_any_list_is_read_or_refused_by_name(tmp_path_factory, content, table):
    folder = tmp_path_factory.getbasetemp() / f"lists{table}"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").touch()
    path = folder / ("x.csv" if table else "train.txt")
    path.write_bytes(b"image,mask\n" + content if table else content)
    message = str(path)
    try:
        assert find_layout(folder).training.pairs
    except KsegError as error:
        message = str(error)
    assert str(path) in message


@pytest.mark.parametrize(
    ("names", "texts", "message"),
    [
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
            r"train.txt and again in .*val.txt; expected once. Remove one entry",
        ),
        (
            ["a.png"],
            {"train_txt": "a.png b.png"},
            r"train.txt, line 1: 'b.png' is not an image file in .*; expected a path",
        ),
        (["a.png"], {"train_txt": "a.png train.txt"}, r"train.txt, line 1: 'train.txt' is not an image file"),
        (
            ["a.png"],
            {"train_txt": "a.png /etc/passwd"},
            r"line 1: '/etc/passwd' leads out of .*; expected a path in it",
        ),
        (["a.png"], {"x_csv": "image,mask\n../a.png,a.png\n"}, r"x.csv, line 2: '../a.png' leads out of"),
        (["a.png"], {"x_csv": "image,mask\na.png,x\0y\n"}, r"x.csv, line 2: 'x.*y' is not (a path|an image file)"),
        (["a.png"], {"x_csv": "image,mask\na.png\n"}, r"x.csv, line 2: '' is not an image file"),
        (
            ["a.png"],
            {"x_csv": "image,mask,split\na.png,a.png,\n"},
            r"x.csv, line 2: split is ''; expected train, val or",
        ),
        (["a.png"], {"x_csv": "image,mask,split\na.png,a.png,val\n"}, r"x.csv \(train\) lists no images"),
        (["a.png"], {"x_csv": f"image,mask\n{'a' * 200000},a.png\n"}, r"x.csv, line 1 is not CSV: field larger than"),
    ],
)
def test_a_faulty_list_is_refused(make_files, names, texts, message):
    folder = make_files(*names, **texts)
    with pytest.raises(KsegError, match=message):
        find_layout(folder)


def test_paths_of_windows_and_semicolons_are_read(make_files):
    names = ("images/a.png", "masks/a.png", "images/b.png", "masks/b.png")
    pairs = ["images/a.png masks/a.png", "images/b.png masks/b.png"]
    text = "images\\a.png;masks\\a.png\nimages\\b.png\n"
    check_layout(make_files(*names, train_txt=text), pairs, None, "listed in train.txt")
    for separator in ",;":
        rows = [("image", "mask"), ("images\\a.png", "masks\\a.png"), ("images/b.png", "masks/b.png")]
        folder = make_files(*(f"{separator == ','}/{name}" for name in names))
        table = folder / f"{separator == ','}/pairs.csv"
        table.write_text("\n".join(separator.join(row) for row in rows))
        check_layout(table.parent, pairs, None, "listed in pairs.csv")


@pytest.mark.parametrize(
    "cell", ["{kind}/{name}", " {kind}/{name} ", "{name}", "/home/me/{kind}/{name}", r"C:\set\{name}"]
)
def test_a_csv_may_name_files_alone_or_as_another_machine_has_them(make_files, cell):
    rows = [[cell.format(kind=kind, name=f"{stem}.png") for kind in ("imgs", "masks")] for stem in "ab"]
    table = "\n".join(map(",".join, [["image", "mask"], *rows]))
    folder = make_files(*(f"{kind}/{stem}.png" for kind in ("imgs", "masks") for stem in "ab"), x_csv=table)
    check_layout(folder, ["imgs/a.png masks/a.png", "imgs/b.png masks/b.png"], None, "listed in x.csv")


def test_a_csv_names_no_file_outside_of_its_folder(make_files, tmp_path):
    make_files("a.png", "set/images/a.png", "set/masks/a.png", set__x_csv="image,mask\n../a.png,a.png\n")
    with pytest.raises(KsegError, match=r"x.csv, line 2: '../a.png' leads out of"):
        find_layout(tmp_path / "set")
