import io
import shutil
import sys
from itertools import islice

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from PIL import Image

from kseg.audit import audit
from kseg.data import find_foreground, open_sources, training_batches, validation_batches
from kseg.data.sources.order import index_order
from kseg.data.sources.tfds import find_features, open_tfds
from kseg.errors import KsegError
from tests.data.reading import decoded, indices

pytestmark = pytest.mark.backend_free


class OddSizes(tfds.core.GeneratorBasedBuilder):
    """A mask that is not as large as its image."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(), "mask": tfds.features.Image(shape=(None, None, 1))}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(4):
            yield index, {"image": np.zeros((8, 8, 3), np.uint8), "mask": np.ones((8, 9, 1), np.uint8)}


class TwentyPictures(tfds.core.GeneratorBasedBuilder):
    """As a data set of somebody else's: other names, an extra feature, several shards, only a training split."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "file_name": tfds.features.Text(),
                    "photo": tfds.features.Image(shape=(None, None, 3)),
                    "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
                    "species": tfds.features.ClassLabel(num_classes=2),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(20):
            mask = np.full((12 + index, 16, 1), 2, np.uint8)  # as in Oxford-IIIT Pet: 2 is background
            mask[:4] = 1
            photo = np.full((12 + index, 16, 3), 10 * index, np.uint8)
            yield (
                index,
                {"file_name": str(index), "photo": photo, "segmentation_mask": mask, "species": index % 2},
            )


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture
def sources(data_dir):
    builder = TwentyPictures(data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return open_sources("twenty_pictures", data_dir=data_dir, val_fraction=0.25)


def photos(source, key=None):
    """The pictures of a source, by their greys."""
    return [int(image[0, 0, 0]) // 10 for _, image, _ in decoded(source, key)]


@pytest.mark.slow
def test_it_is_read_without_a_warning_and_its_length_is_known(sources, caplog):
    for source in sources:
        for examples in (source.examples(), source.indices(), source.examples((0, 1)), source.indices((0, 1))):
            assert len(list(examples)) == len(source)
        for key in (None, (0, 1)):
            assert list(source.examples(key, 3)) == list(source.examples(key))[3:]
            assert list(source.indices(key, 3)) == list(source.indices(key))[3:]
    assert caplog.text == ""


def test_a_set_without_validation_is_cut_at_its_end(sources):
    training, validation = sources
    assert photos(training) == list(range(15))
    assert photos(validation) == list(range(15, 20))
    assert validation.name == "twenty_pictures/1.0.0 train[15:20]"


def test_take_and_indices(sources):
    training, validation = sources
    assert photos(training.take(4)) == [0, 1, 2, 3]
    assert len(training.take(99)) == 15
    assert indices(validation) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_streamed_order_follows_seed_and_epoch_and_indices_follow_examples(sources):
    training, _ = sources
    orders = {(seed, epoch): photos(training, (seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert all(sorted(order) == list(range(15)) for order in orders.values())
    assert len(set(map(tuple, orders.values()))) == 4
    assert photos(training, (1, 1)) == orders[1, 1]
    for index, image, _ in decoded(training, (0, 0)):
        assert index == image[0, 0, 0] // 10
    for key in (None, (0, 0), (1, 1)):
        assert indices(training, key) == [index for index, _, _ in decoded(training, key)]


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["none", "memory"])
def test_batches_start_at_any_epoch(sources, cache):
    settings = {"image_size": (16, 16), "batch_size": 5, "seed": 3, "cache": cache}
    rule = find_foreground(sources[0], (1,))
    whole = list(islice(training_batches(sources[0], rule, **settings), 9))[6:]
    from_epoch_2 = list(islice(training_batches(sources[0], rule, **settings, start=(2, 0)), 3))
    inside = list(islice(training_batches(sources[0], rule, **settings, start=(1, 2)), 6))[3:]
    for some in (from_epoch_2, inside):
        for (images, masks), (images_2, masks_2) in zip(whole, some, strict=True):
            np.testing.assert_array_equal(images, images_2)
            np.testing.assert_array_equal(masks, masks_2)


def test_contents_tell_one_part_from_another(sources):
    training, validation = sources
    assert training.summary().startswith("15 images (")
    assert len({training.summary(), validation.summary(), training.take(5).summary()}) == 3


def test_what_is_foreground_can_be_said_and_has_to_be(sources):
    training, validation = sources
    with pytest.raises(KsegError, match="hold 1, 2; expected 0, the background, among them. Set the"):
        find_foreground(training)
    batches = validation_batches(validation, find_foreground(training, (1,)), image_size=(16, 16), batch_size=9)
    masks = np.concatenate([masks[weights > 0] for _, masks, weights in batches])
    assert set(np.unique(masks)) == {0, 1}
    assert 0.1 < masks.mean() < 0.2  # 4 rows of 27 to 31


def test_an_image_that_is_not_the_size_of_its_mask_is_refused(data_dir):
    training, _ = open_sources("odd_sizes", data_dir=data_dir)
    with pytest.raises(KsegError, match=r"odd_sizes/1.0.0 train\[0:3\], example 0, \w+ is .* and its mask"):
        validation_batches(training, find_foreground(training, "any"), image_size=(8, 8), batch_size=2)


# Slices, other forms, other places


@pytest.mark.slow
def test_slices_of_two_splits_are_one_source(data_dir):
    TwentyPictures(data_dir=data_dir).download_and_prepare()
    training, validation = open_sources(
        "twenty_pictures", data_dir=data_dir, train_split="train[15:]+train[:3]", val_split="train[50%:70%]"
    )
    assert photos(training) == [15, 16, 17, 18, 19, 0, 1, 2]
    assert photos(validation) == [10, 11, 12, 13]
    assert photos(training.take(6)) == [15, 16, 17, 18, 19, 0]
    assert indices(training) == list(range(8))
    assert training.name == "twenty_pictures/1.0.0 train[15:20]+train[0:3]"
    assert sorted(photos(training, (0, 1))) == sorted(photos(training))


def test_a_cut_is_made_inside_the_slice(data_dir):
    training, validation = open_sources("twenty_pictures", data_dir=data_dir, train_split="train[:50%]")
    assert (photos(training), photos(validation)) == (list(range(8)), [8, 9])


def test_slices_in_the_name_are_sent_where_they_belong():
    with pytest.raises(KsegError, match="no data set 'pets:train.:10%.'.* Slices are given as --train-split"):
        open_sources("pets:train[:10%]")


def test_slices_of_a_folder_are_refused(make_folder, pairs):
    with pytest.raises(KsegError, match="train_split train and val_split None are not allowed for the folder"):
        open_sources(str(make_folder(pairs)), train_split="train")


@pytest.fixture(scope="session")
def array_records(tmp_path_factory):
    """As somebody else prepared it."""
    builder = TwentyPictures(data_dir=tmp_path_factory.mktemp("array_record"))
    config = tfds.download.DownloadConfig(num_shards=3)
    builder.download_and_prepare(download_config=config, file_format="array_record")
    return builder


def test_array_records_are_read_by_place(array_records):
    training, validation = open_sources("twenty_pictures", data_dir=array_records.data_path.parent.parent)
    assert training.layout == "TFDS, array_record, features photo and segmentation_mask"
    assert (photos(training), photos(validation)) == (list(range(16)), list(range(16, 20)))
    for key in ((0, 0), (3, 1)):
        order = photos(training, key)
        assert sorted(order) == list(range(16))
        assert order == indices(training, key)
        assert order == [index for (index,) in index_order(16, key)]  # that of a folder
    _, image, mask = decoded(training.take(1))[0]
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((12, 16, 3), "uint8", (12, 16, 1), "uint16")


def test_what_is_done_is_not_read_again(array_records, monkeypatch):
    training, _ = open_sources(str(array_records.data_path), val_fraction=0.5)
    get, read = ArrayRecordDataSource.__getitem__, []
    spy = lambda reader, position: read.append(int(position)) or get(reader, position)  # noqa: E731
    monkeypatch.setattr(ArrayRecordDataSource, "__getitem__", spy)
    rest = [index for (index,) in training.examples((0, 0), 7)]
    for index in rest:
        training.read(index)
    assert read == rest
    assert len(rest) == 3


def test_a_damaged_array_record_is_named(array_records, tmp_path):
    shutil.copytree(array_records.data_path, tmp_path / "set")
    shard = next((tmp_path / "set").glob("*00000-of*"))
    shard.write_bytes(shard.read_bytes()[:100])
    training, _ = open_sources(str(tmp_path / "set"))
    with pytest.raises(
        KsegError, match=r"Example 0 of twenty_pictures/1.0.0 train.0:16. cannot be read: .* Replace the"
    ):
        find_foreground(training)


def test_without_the_package_array_records_are_refused(array_records, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_data_source", None)
    with pytest.raises(KsegError, match=r"the package array_record is not installed .* run kseg convert"):
        open_sources(str(array_records.data_path))


@pytest.mark.slow
def test_a_prepared_folder_is_opened_where_it_lies(sources, data_dir, tmp_path):
    shutil.copytree(data_dir / "twenty_pictures/1.0.0", tmp_path / "copied")
    for here, there in zip(open_sources(str(tmp_path / "copied"), val_fraction=0.25), sources, strict=True):
        assert photos(here) == photos(there)
        assert here.summary() == there.summary()
    assert len(audit(str(tmp_path / "copied"), foreground=(1,)).pairs) == 20
    (tmp_path / "copied/features.json").write_text("{")
    with pytest.raises(KsegError, match=r"copied cannot be read as a data set of TFDS: .* Prepare it again"):
        open_sources(str(tmp_path / "copied"))


def test_one_mask_an_image_is_refused_as_labels(array_records):
    with pytest.raises(KsegError, match="task: multilabel is not allowed for .*have one channel.*packed by kseg conv"):
        open_sources(str(array_records.data_path), multilabel=True)


def test_another_form_is_refused(tmp_path):
    TwentyPictures(data_dir=tmp_path).download_and_prepare(file_format="parquet")
    with pytest.raises(KsegError, match="twenty_pictures/1.0.0 holds parquet; expected tfrecord or array_record"):
        open_sources("twenty_pictures", data_dir=tmp_path)


SCRIPT = """
from pathlib import Path
import numpy as np
import tensorflow_datasets as tfds
{more}
Path({ran!r}).touch()

class {name}(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        kinds = {{"image": tfds.features.Image(), "mask": tfds.features.Image(shape=(None, None, 1))}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(kinds))

    def _split_generators(self, dl_manager):
        return {{"train": ((i, {{"image": np.zeros((8, 8, 3), np.uint8), "mask": np.ones((8, 8, 1), np.uint8)}})
                          for i in range(5))}}

    def _generate_examples(self):
        pass
"""


def test_somebodys_script_is_run_if_it_is_named_and_only_then(tmp_path):
    folder, ran = tmp_path / "own_cells", tmp_path / "ran"
    folder.mkdir()
    script = folder / "own_cells_dataset_builder.py"
    script.write_text(SCRIPT.format(name="Builder", ran=str(ran), more=""))
    with pytest.raises(KsegError, match=rf"There is no folder .* Or give {script}, and TFDS runs the code in it"):
        open_sources(str(folder))
    assert not ran.exists()
    training, validation = open_sources(str(script), data_dir=tmp_path / "prepared")
    assert ran.exists()
    assert (len(training), len(validation)) == (4, 1)
    assert training.name == "own_cells/1.0.0 train[0:4]"


def test_a_builder_in_a_package_may_import_its_neighbours(tmp_path):
    folder = tmp_path / "own_roads"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "neighbour.py").touch()
    script = folder / "own_roads.py"
    script.write_text(SCRIPT.format(name="OwnRoads", ran=str(tmp_path / "ran"), more="from . import neighbour"))
    assert len(open_sources(str(script), data_dir=tmp_path / "prepared")[0]) == 4


@pytest.mark.parametrize("code", ["nonsense nonsense", "raise OSError('no')", "import numpy"])
def test_a_script_that_gives_no_builder_is_refused(code, tmp_path):
    script = tmp_path / f"script_{abs(hash(code))}.py"
    with pytest.raises(KsegError, match=rf"There is no file {script}"):
        open_sources(str(script))
    script.write_text(code)
    with pytest.raises(KsegError, match=rf"{script} gives no builder: .*Expected a script with one subclass"):
        open_sources(str(script))


def features(**kinds):
    return tfds.features.FeaturesDict(kinds)


PHOTO = tfds.features.Image(shape=(None, None, 3))
GREY = tfds.features.Image(shape=(None, None, 1))


def test_features_are_found_by_type_then_by_name():
    labelled = tfds.features.LabeledImage(labels=3, shape=(None, None, 1))
    assert find_features("a", features(x=PHOTO, y=labelled)) == ("x", "y")
    assert find_features("a", features(x=PHOTO, y=GREY)) == ("x", "y")
    assert find_features("a", features(image=GREY, mask=GREY)) == ("image", "mask")
    assert find_features("a", features(image=PHOTO, depth=GREY, segmentation=GREY)) == ("image", "segmentation")
    labels = features(cat=GREY, dog=GREY)
    assert find_features("a", features(image=PHOTO, found=labels)) == ("image", "found")
    assert find_features("a", features(image=GREY, found=labels)) == ("image", "found")
    assert find_features("a", features(image=PHOTO, found=labels, mask=GREY)) == ("image", "mask")
    assert find_features("a", features(x=PHOTO, found=labels, y=GREY)) == ("x", "y")


def test_masks_of_labels_of_another_type_are_refused():
    labels = features(cat=GREY, dog=tfds.features.Image(shape=(None, None, 1), dtype=np.float32))
    with pytest.raises(KsegError, match="a has image of uint8 and found of uint8, float32; expected images of uint8"):
        find_features("a", features(image=PHOTO, found=labels))


@pytest.mark.parametrize("labels", [{}, {"cat": GREY, "dog": PHOTO}])
def test_a_group_that_holds_more_than_masks_is_not_of_labels(labels):
    with pytest.raises(KsegError, match="Expected one image and one mask of a single channel"):
        find_features("a", features(image=PHOTO, found=features(**labels)))


@pytest.mark.parametrize(
    "kinds", [{"x": PHOTO}, {"x": GREY}, {"x": GREY, "y": GREY}, {"x": PHOTO, "y": PHOTO, "mask": GREY}]
)
def test_features_that_cannot_be_told_are_listed(kinds):
    with pytest.raises(KsegError, match=r"some/set has the features x Image.*Expected one image and one mask"):
        find_features("some/set", features(**kinds))


def test_an_unknown_configuration_is_refused(data_dir):
    with pytest.raises(KsegError, match="mnist/nonsense: .*not found"):
        open_tfds("mnist/nonsense", data_dir=data_dir, val_fraction=0.2)


@pytest.mark.parametrize(
    "kinds",
    [
        {"image": tfds.features.Image(shape=(None, None, 1), dtype=np.float32), "mask": GREY},
        {"image": tfds.features.Image(dtype=np.uint16), "mask": GREY},
        {"image": PHOTO, "mask": tfds.features.Image(shape=(None, None, 1), dtype=np.float32)},
    ],
)
def test_features_of_other_numbers_are_refused(kinds):
    with pytest.raises(KsegError, match=r"a has image of \w+ and mask of \w+; expected images of uint8, and masks of"):
        find_features("a", features(**kinds))


class Turned(TwentyPictures):
    """Pictures with an EXIF tag that says to turn them, of which TFDS knows nothing."""

    def _generate_examples(self):
        rows = np.repeat(np.uint8([200, 50]), 8)[:, None, None]
        tag = Image.Exif()
        tag[0x0112] = 6
        for index, form in enumerate(("JPEG", "PNG")):
            buffer = io.BytesIO()
            Image.fromarray(np.tile(rows, (1, 16, 3))).save(buffer, form, exif=tag)
            buffer.seek(0)
            mask = np.tile(rows, (1, 16, 1))
            yield index, {"file_name": "", "photo": buffer, "segmentation_mask": mask, "species": 0}


def test_an_exif_tag_turns_no_image_away_from_its_mask(tmp_path):
    for source in open_sources("turned", data_dir=tmp_path, val_fraction=0.5):
        for _, image, mask in decoded(source):
            np.testing.assert_allclose(image, np.repeat(mask, 3, axis=2), atol=2)


# The built-in set


def test_what_is_for_folders_is_refused(data_dir):
    for setting in ({"bit_depth": 12}, {"colours": ("#000000", "#ff0000")}):
        with pytest.raises(
            KsegError, match=r"bit_depth .* and colours .* are not allowed for twenty_pictures: its images"
        ):
            open_sources("twenty_pictures", data_dir=data_dir, **setting)
