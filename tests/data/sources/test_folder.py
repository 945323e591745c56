import os

import numpy as np
import pytest
from PIL import Image

from kseg.data import find_foreground, open_sources
from kseg.data.survey import stored_masks
from kseg.errors import KsegError
from tests.data.reading import decoded

pytestmark = pytest.mark.backend_free


def stems(source):
    return [path.stem for path in source.images]


def test_a_folder_without_val_is_split_by_seed(make_folder, pairs):
    folder = str(make_folder(pairs))
    training, validation = open_sources(folder, val_fraction=0.3, seed=1)
    assert (len(training), len(validation)) == (7, 3)
    assert sorted(stems(training) + stems(validation)) == sorted(pairs)
    again = open_sources(folder, val_fraction=0.3, seed=1)
    assert (stems(again[0]), stems(again[1])) == (stems(training), stems(validation))
    others = {tuple(stems(open_sources(folder, val_fraction=0.3, seed=seed)[1])) for seed in range(5)}
    assert len(others) > 1


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_split_folders_are_taken_as_they_are(make_folder, pairs, name):
    make_folder(dict(list(pairs.items())[:6]), "train")
    folder = make_folder(dict(list(pairs.items())[6:]), name)
    training, validation = open_sources(str(folder))
    assert (stems(training), stems(validation)) == (list(pairs)[:6], list(pairs)[6:])


def test_every_image_meets_its_own_mask_whatever_the_extension(make_folder, pairs):
    folder = make_folder(pairs)
    Image.open(folder / "images/picture3.png").save(folder / "images/picture3.bmp")
    (folder / "images/picture3.png").unlink()
    (folder / "masks/.hidden.png").touch()
    (folder / "masks/notes.txt").touch()
    for source in open_sources(str(folder)):
        assert [p.stem for p in source.images] == [p.stem for p in source.masks]


def test_decoding_gives_what_the_files_hold(make_folder, pairs):
    training, _ = open_sources(str(make_folder(pairs)))
    for index in range(len(training)):
        image, mask = training.read(index)
        stem = training.images[index].stem
        np.testing.assert_array_equal(image, pairs[stem][0])
        np.testing.assert_array_equal(mask[..., 0], pairs[stem][1])


def test_take_touches_only_what_it_takes(make_folder, pairs):
    folder = make_folder(pairs)
    for path in sorted((folder / "images").iterdir())[4:]:
        path.write_bytes(b"never read")
    training, _ = open_sources(str(folder), val_fraction=0.01, seed=3)
    taken = training.take(3)
    assert len(taken) == 3
    assert [taken.read(int(index))[0].shape[2] for (index,) in taken.examples()] == [3, 3, 3]
    assert len(training.take(1000)) == len(training)


def test_unpaired_files_are_named(make_folder, pairs):
    folder = make_folder(pairs)
    (folder / "masks/picture4.png").unlink()
    with pytest.raises(KsegError, match=r"1 files have no mask: .*images/picture4.png. Expected a file of the same"):
        open_sources(str(folder))
    (folder / "images/picture4.png").unlink()
    (folder / "images/picture5.png").unlink()
    (folder / "images/picture6.png").unlink()
    with pytest.raises(KsegError, match=r"2 files have no image: .*masks/picture5.png and others"):
        open_sources(str(folder))


def test_two_files_of_one_stem_are_refused(make_folder, pairs):
    folder = make_folder(pairs)
    Image.open(folder / "images/picture3.png").save(folder / "images/picture3.bmp")
    with pytest.raises(KsegError, match=r"picture3.bmp and .*picture3.png have the same stem"):
        open_sources(str(folder))


def test_other_things_that_are_no_data_set(make_folder, pairs, tmp_path):
    (tmp_path / "only/images").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "only/images/a.png")
    with pytest.raises(KsegError, match=r"There is no folder .*masks"):
        open_sources(str(tmp_path / "only"))
    (tmp_path / "empty/images").mkdir(parents=True)
    (tmp_path / "empty/masks").mkdir()
    with pytest.raises(KsegError, match=r"images has no image files; expected any of .bmp, .gif"):
        open_sources(str(tmp_path / "empty"))
    with pytest.raises(KsegError, match="There is no folder ./nowhere"):
        open_sources("./nowhere")
    with pytest.raises(KsegError, match="no data set 'nonsense': no folder of that name here, and TFDS has none"):
        open_sources("nonsense")
    with pytest.raises(KsegError, match="has one image; expected two or more"):
        open_sources(str(make_folder(dict(list(pairs.items())[:1]))))


def test_take_at_opening_reads_nothing_else(make_folder, pairs):
    folder = make_folder(pairs)
    whole, _ = open_sources(str(folder))
    for path in whole.images[2:]:
        Image.fromarray(np.full((12, 16), 65535, np.uint16)).save(path)
    assert open_sources(str(folder))[0].bit_depth == 16
    training, validation = open_sources(str(folder), take=2)
    assert (len(training), len(validation)) == (2, 2)
    assert training.images == whole.images[:2]
    assert training.bit_depth == 8


def test_one_bit_depth_for_training_and_validation(make_folder, tmp_path):
    mask = np.zeros((2, 2), np.uint8)
    make_folder({"a": (np.full((2, 2), 4000, np.uint16), mask), "b": (np.full((2, 2), 7, np.uint8), mask)}, "train")
    folder = str(make_folder({"c": (np.full((2, 2), 2048, np.uint16), mask)}, "val"))
    sources = open_sources(folder)
    assert [source.bit_depth for source in sources] == [12, 12]
    assert [int(image[0, 0, 0]) for source in sources for _, image, _ in decoded(source)] == [249, 7, 128]
    of_16_bits = open_sources(folder, bit_depth=16)
    assert [int(image[0, 0, 0]) for source in of_16_bits for _, image, _ in decoded(source)] == [16, 7, 8]
    Image.fromarray(np.full((2, 2), 5000, np.uint16)).save(tmp_path / "val/images/c.png")
    with pytest.raises(KsegError, match=r"val/images/c.png holds 5000; .* Give --bit-depth 14"):
        decoded(open_sources(folder)[1])


def test_masks_in_colours_need_to_be_told_and_then_are_class_indices(make_folder):
    colours = np.uint8([[[0, 0, 0], [255, 0, 0]], [[0, 0, 255], [255, 0, 0]]])
    pair = (np.zeros((2, 2, 3), np.uint8), colours)
    folder = str(make_folder({"a": pair, "b": pair}))
    with pytest.raises(KsegError, match=r"masks in colours, .* --colours '#000000' '#ff0000' '#0000ff'$"):
        open_sources(folder)
    training, validation = open_sources(folder, colours=["#000000", "#ff0000", "#0000ff"])
    for source in (training, validation):
        assert [mask[..., 0].tolist() for _, _, mask in decoded(source)] == [[[0, 1], [2, 1]]]
        assert [mask[..., 0].tolist() for mask in stored_masks(source)] == [[[0, 1], [2, 1]]]
    assert find_foreground(training).setting == "classes"


def test_a_colour_to_ignore_is_no_foreground_even_where_no_class_is_seen_beside_it(make_folder):
    pixels = np.uint8([[[0, 0, 0], [255, 255, 255]]])
    red = np.uint8([[[0, 0, 0], [255, 0, 0]]])
    make_folder({f"{n}": (pixels, pixels) for n in range(3)}, "train")
    folder = str(make_folder({"r": (red, red)}, "val"))
    colours = ("#000000", "#ff0000", "ignore=#ffffff")
    training, validation = open_sources(folder, colours=colours)
    assert dict(training.classes) == {1: "#ff0000"}
    assert [training.read_mask(place)[..., 0].tolist() for place in range(3)] == [[[0, 255]]] * 3
    with pytest.raises(KsegError, match=r"No mask of .* has any foreground: all pixels are 0, 255"):
        find_foreground(training)
    assert find_foreground(validation).table()[[0, 1, 255]].tolist() == [0, 1, 255]


def test_the_layout_is_said(make_folder, pairs):
    make_folder(dict(list(pairs.items())[:6]), "train")
    for source in open_sources(str(make_folder(dict(list(pairs.items())[6:]), "val"))):
        assert source.layout == "train/images/ and train/masks/ by stem"


def test_names_that_are_no_utf_8(make_folder, pairs):
    folder = make_folder(pairs)
    for kind in ("images", "masks"):
        (folder / kind / "picture3.png").rename(folder / kind / os.fsdecode(b"caf\xe9.png"))
    for source in open_sources(str(folder)):
        assert len(decoded(source)) == len(source)


def test_nothing_is_written(make_folder, pairs):
    folder = make_folder(pairs)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    for source in open_sources(str(folder)):
        decoded(source)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before
