import numpy as np
import pytest
import tensorflow_datasets as tfds

from kseg.data import find_foreground, open_sources, shapes, training_batches, validation_batches
from kseg.data.records import find_features, open_records
from kseg.errors import KsegError

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


@pytest.fixture
def photos(decoded):
    """The pictures of a source, by their greys."""
    return lambda source, key=None: [int(image[0, 0, 0]) // 10 for _, image, _ in decoded(source, key)]


def test_a_set_without_validation_is_cut_at_its_end(sources, photos):
    training, validation = sources
    assert photos(training) == list(range(15))
    assert photos(validation) == list(range(15, 20))
    assert validation.name == "twenty_pictures/1.0.0 train[15:20]"


def test_take_and_indices(sources, photos):
    training, validation = sources
    assert photos(training.take(4)) == [0, 1, 2, 3]
    assert len(training.take(99)) == 15
    assert [int(index) for (index,) in validation.order()] == [0, 1, 2, 3, 4]


def test_streamed_order_follows_seed_and_epoch_and_indices_follow_examples(sources, photos, decoded):
    training, _ = sources
    orders = {(seed, epoch): photos(training, (seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert all(sorted(order) == list(range(15)) for order in orders.values())
    assert len(set(map(tuple, orders.values()))) == 4
    assert photos(training, (1, 1)) == orders[1, 1]
    for index, image, _ in decoded(training, (0, 0)):
        assert index == image[0, 0, 0] // 10
    for key in (None, (0, 0), (1, 1)):
        assert [int(index) for (index,) in training.order(key)] == [index for index, _, _ in decoded(training, key)]


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_batches_start_at_any_epoch(sources, cache):
    settings = {"image_size": (16, 16), "batch_size": 5, "seed": 3, "cache": cache}
    rule = find_foreground(sources[0], (1,))
    whole = list(training_batches(sources[0], rule, **settings).dataset.take(9))[6:]
    from_epoch_2 = list(training_batches(sources[0], rule, **settings, start=(2, 0)).dataset.take(3))
    inside = list(training_batches(sources[0], rule, **settings, start=(1, 2)).dataset.take(6))[3:]
    for some in (from_epoch_2, inside):
        for (images, masks), (images_2, masks_2) in zip(whole, some, strict=True):
            np.testing.assert_array_equal(images, images_2)
            np.testing.assert_array_equal(masks, masks_2)


def test_contents_tell_one_part_from_another(sources):
    training, validation = sources
    assert training.contents().startswith("15 images (")
    assert len({training.contents(), validation.contents(), training.take(5).contents()}) == 3


def test_what_is_foreground_can_be_said_and_has_to_be(sources):
    training, validation = sources
    with pytest.raises(KsegError, match="hold 1, 2, and 0, the background, nowhere. Say which"):
        find_foreground(training)
    batches = validation_batches(validation, find_foreground(training, (1,)), image_size=(16, 16), batch_size=9)
    masks = np.concatenate([masks for _, masks in batches.dataset])
    assert set(np.unique(masks)) == {0, 1}
    assert 0.1 < masks.mean() < 0.2  # 4 rows of 27 to 31


def test_an_image_that_is_not_the_size_of_its_mask_is_refused(data_dir):
    training, _ = open_sources("odd_sizes", data_dir=data_dir)
    with pytest.raises(KsegError, match=r"odd_sizes/1.0.0 train\[0:3\], example 0, \w+ is .* and its mask"):
        validation_batches(training, find_foreground(training, "any"), image_size=(8, 8), batch_size=2)


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


@pytest.mark.parametrize("kinds", [{"x": PHOTO}, {"x": GREY, "y": GREY}, {"x": PHOTO, "y": PHOTO, "mask": GREY}])
def test_features_that_cannot_be_told_are_listed(kinds):
    with pytest.raises(KsegError, match=r"some/set has the features x Image.*Expected one image and one mask"):
        find_features("some/set", features(**kinds))


def test_an_unknown_configuration_is_refused(data_dir):
    with pytest.raises(KsegError, match="shapes/nonsense: .*not found"):
        open_records("shapes/nonsense", data_dir=data_dir, val_fraction=0.2)


# The built-in set


@pytest.mark.parametrize("config", ["standard", "rare"])
def test_shapes_are_what_their_description_says(config):
    masks = np.stack([shapes.draw(config, "train", index)[1] for index in range(200)])
    empty = np.mean([not mask.any() for mask in masks])
    assert set(np.unique(masks)) == {0, 1}
    if config == "standard":
        assert 0.15 < empty < 0.28
        assert 0.06 < masks.mean() < 0.12
    else:
        assert 0.4 < empty < 0.6
        assert 0.006 < masks.mean() < 0.014


def test_shapes_are_deterministic_and_all_different():
    drawn = [shapes.draw(*address) for address in (("standard", "train", 0),) * 2]
    np.testing.assert_array_equal(*(image for image, _ in drawn))
    np.testing.assert_array_equal(*(mask for _, mask in drawn))
    addresses = [(c, s, i) for c in ("standard", "rare") for s in ("train", "validation") for i in range(5)]
    assert len({shapes.draw(*address)[0].tobytes() for address in addresses}) == 20


def test_shapes_can_be_opened_by_name(data_dir, monkeypatch, decoded):
    monkeypatch.setattr(shapes, "_EXAMPLES", {"train": 6, "validation": 3})
    training, validation = open_sources("shapes", data_dir=data_dir)
    assert (len(training), len(validation)) == (6, 3)
    _, image, mask = decoded(training.take(1))[0]
    assert (image.shape, mask.shape) == ((128, 128, 3), (128, 128, 1))


def test_what_is_for_folders_is_refused(data_dir):
    for setting in ({"bit_depth": 12}, {"colours": ("#000000", "#ff0000")}):
        with pytest.raises(
            KsegError, match=r"bit_depth .* and colours .* are not allowed for twenty_pictures: images of"
        ):
            open_sources("twenty_pictures", data_dir=data_dir, **setting)
