import numpy as np
import pytest
from PIL import Image

from kseg.data import open_sources
from kseg.data.folder import read_image, read_mask
from kseg.errors import KsegError

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
    decoded = training.examples().map(lambda index, example: (index, *training.decode(example)))
    for index, image, mask in decoded:
        stem = training.images[int(index)].stem
        np.testing.assert_array_equal(image, pairs[stem][0])
        np.testing.assert_array_equal(mask[..., 0], pairs[stem][1])


def test_take_touches_only_what_it_takes(make_folder, pairs):
    folder = make_folder(pairs)
    for path in sorted((folder / "images").iterdir())[4:]:
        path.write_bytes(b"never read")
    training, _ = open_sources(str(folder), val_fraction=0.01, seed=3)
    taken = training.take(3)
    assert len(taken) == 3
    assert len(list(taken.examples().map(lambda index, example: taken.decode(example)))) == 3
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


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB"])
def test_masks_are_read_as_they_were_stored(mode, tmp_path):
    values = np.uint8([[0, 1, 2], [1, 1, 0]])
    if mode == "1":
        values, picture = values > 0, Image.fromarray(values > 0)
    elif mode == "P":
        picture = Image.fromarray(values)
        picture = picture.convert("P")
        picture.putdata(values.ravel().tolist())
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])  # as in Pascal VOC
    elif mode == "I;16":
        values = values.astype(np.uint16) * 300
        picture = Image.fromarray(values)
    elif mode == "RGB":
        picture = Image.fromarray(np.repeat(values[..., None], 3, -1))
    else:
        picture = Image.fromarray(values)
    assert picture.mode == mode
    picture.save(tmp_path / "mask.png")
    found = read_mask(str(tmp_path / "mask.png"))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found[..., 0], values)


def test_bad_files_are_named(tmp_path):
    path = str(tmp_path / "bad.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for read in (read_image, read_mask):
        with pytest.raises(KsegError, match=r"bad.png cannot be read: cannot identify image"):
            read(path)
        with pytest.raises(KsegError, match=r"none.png cannot be read: .*No such file"):
            read(str(tmp_path / "none.png"))
    Image.fromarray(np.uint8([[[255, 0, 0], [0, 0, 255]]])).save(path)
    with pytest.raises(KsegError, match=r"bad.png is a mask in colours; expected one channel"):
        read_mask(path)
    Image.fromarray(np.uint16([[300, 70]])).save(path)
    with pytest.raises(KsegError, match=r"bad.png has Pillow's mode 'I;16'; expected 8 bits a channel"):
        read_image(path)
    whole = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(whole)
    whole.write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(KsegError, match=r"cut.png cannot be read: .*truncated"):
        read_mask(str(whole))


def test_grey_images_become_three_equal_channels(tmp_path):
    Image.fromarray(np.uint8([[7, 200]])).save(tmp_path / "grey.png")
    assert read_image(str(tmp_path / "grey.png")).tolist() == [[[7] * 3, [200] * 3]]
