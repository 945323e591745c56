import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, softmax

import kseg
from kseg.errors import KsegError
from kseg.inference import Predictor
from kseg.metadata import Metadata
from kseg.task import Task
from tests.inference.models import CLASSES, bright, save


@pytest.fixture
def image(rng):
    """An image with edges and detail, 61 x 83."""
    coarse = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    fine = cv2.resize(coarse, (83, 61), interpolation=cv2.INTER_CUBIC)
    return np.clip(fine + rng.normal(0, 20, fine.shape), 0, 255).astype(np.uint8)


def test_at_its_own_size_a_pixel_is_what_the_model_says(image):
    found = Predictor([bright()], Metadata()).predict(image)
    np.testing.assert_allclose(found.probabilities[..., 0], expit((image.mean(-1) - 127.5) / 12.75), atol=1e-5)
    assert found.mask.dtype == np.uint8
    np.testing.assert_array_equal(found.mask, image.astype(int).sum(-1) > 3 * 127.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 3), (200, 31), (64, 64)])
@pytest.mark.parametrize("how", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("tile", [None, 32])
def test_the_mask_has_the_size_of_the_image(shape, how, tile):
    metadata = Metadata(image_size=(32, 48), resize=how, size_multiple=8)
    predictor = Predictor([bright()], metadata, tile=tile)
    for value, expected in ((250, 1), (3, 0)):
        mask = predictor(np.full((*shape, 3), value, np.uint8))
        assert mask.shape == shape
        assert (mask == expected).all()


@pytest.mark.parametrize("how", ["stretch", "pad", "crop"])
def test_halves_stay_where_they_are(how):
    # Left dark, right bright: after resizing there and back the edge is within a pixel of the small image.
    image = np.zeros((120, 200, 3), np.uint8)
    image[:, 130:] = 255
    mask = Predictor([bright()], Metadata(image_size=(32, 32), resize=how, size_multiple=8))(image)
    assert not mask[:, : 130 - 7].any()
    assert mask[:, 130 + 7 :].all()


def test_several_classes_are_decided_by_the_most_probable(image):
    model = bright(outputs=3)
    found = Predictor([model], Metadata(CLASSES)).predict(image)
    logits = keras.ops.convert_to_numpy(model(image[None]))[0]
    np.testing.assert_allclose(found.probabilities, softmax(logits, axis=-1), atol=1e-5)
    np.testing.assert_array_equal(found.mask, logits.argmax(-1))


def test_labels_are_decided_each_by_itself(image):
    metadata = Metadata(Task("multilabel", ("dark", "grey", "bright")), threshold=0.7)
    found = Predictor([bright(outputs=3)], metadata).predict(image)
    assert found.mask.shape == (*image.shape[:2], 3)
    np.testing.assert_array_equal(found.mask, found.probabilities > 0.7)


def test_the_threshold_is_the_models_unless_another_is_given(image, tmp_path):
    path = save(tmp_path / "model.keras", threshold=0.9)
    for predictor, threshold in ((kseg.load(path), 0.9), (kseg.load(path, threshold=0.2), 0.2)):
        found = predictor.predict(image)
        np.testing.assert_array_equal(found.mask, found.probabilities[..., 0] > threshold)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_the_batch_size_changes_nothing(batch_size, image):
    whole = Predictor([bright(kernel=3)], Metadata(), tile=16, batch_size=5).predict(image)
    other = Predictor([bright(kernel=3)], Metadata(), tile=16, batch_size=batch_size).predict(image)
    np.testing.assert_allclose(other.probabilities, whole.probabilities, atol=1e-6)


@pytest.mark.parametrize(("side", "tiles", "calls"), [(16, 4, [4]), (48, 36, [4] * 9), (40, 25, [4] * 7), (1, 1, [1])])
def test_batches_take_tiles_of_several_rows_and_only_the_last_is_filled_up(side, tiles, calls, monkeypatch):
    predictor = Predictor([bright(kernel=3)], Metadata(), tile=16, overlap=0.5, batch_size=4)
    assert predictor.count_tiles(predictor.open(np.zeros((side, side, 3), np.uint8))) == tiles
    seen = []
    plain = keras.Model.predict_on_batch
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda self, x: seen.append(len(x)) or plain(self, x))
    predictor(np.zeros((side, side, 3), np.uint8))
    assert seen == calls


@pytest.mark.parametrize("tta", [["mirrors"], ["turns"], ["mirrors", "turns"]])
def test_a_model_without_direction_predicts_the_same_from_other_views(tta, image):
    # A kernel of equal weights: mirrored and turned images give mirrored and turned predictions.
    plain = Predictor([bright(kernel=3)], Metadata()).predict(image)
    turned = Predictor([bright(kernel=3)], Metadata(), tta=tta).predict(image)
    np.testing.assert_allclose(turned.probabilities, plain.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("tta", "views"),
    [
        (["mirrors"], [(k, m) for k in (0, 2) for m in (False, True)]),
        (["turns"], [(k, False) for k in range(4)]),
        (["mirrors", "turns"], [(k, m) for k in range(4) for m in (False, True)]),
    ],
)
def test_views_are_averaged(tta, views, image, rng):
    model = bright(kernel=3)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * rng.uniform(0, 2, kernel.shape).astype(np.float32), bias])
    expected = []
    for turns, mirrored in views:
        seen = np.rot90(image[:, ::-1] if mirrored else image, turns)
        logits = keras.ops.convert_to_numpy(model(np.ascontiguousarray(seen)[None]))[0]
        back = np.rot90(expit(logits), -turns)
        expected.append(back[:, ::-1] if mirrored else back)
    found = Predictor([model], Metadata(), tta=tta).predict(image)
    np.testing.assert_allclose(found.probabilities, np.mean(expected, axis=0), atol=1e-5)
    assert len(np.unique(np.round(expected, 3), axis=0)) == len(views)  # the views differ, so all of them count


@pytest.mark.parametrize(
    ("multiple", "sizes"), [(1, [(48, 72), (64, 96), (80, 120)]), (16, [(48, 64), (64, 96), (80, 128)])]
)
def test_scales_are_averaged(multiple, sizes, rng):
    image = cv2.resize(rng.integers(0, 256, (8, 12, 3), np.uint8), (96, 64))
    model = bright(kernel=3)
    expected = []
    for height, width in sizes:  # 0.75, 1 and 1.25 times the sides, to the nearest multiple
        logits = keras.ops.convert_to_numpy(model(cv2.resize(image, (width, height))[None]))[0]
        expected.append(cv2.resize(expit(logits), (96, 64)))
    found = Predictor([model], Metadata(size_multiple=multiple), tta=["scales"]).predict(image).probabilities
    np.testing.assert_allclose(found.squeeze(), np.mean(expected, axis=0), atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.01  # the views differ, so all of them count


def test_scales_keep_what_is_where_it_is():
    image = np.zeros((64, 96, 3), np.uint8)
    image[16:48, 32:64] = 255
    plain = Predictor([bright()], Metadata())(image)
    scaled = Predictor([bright()], Metadata(), tta=["scales"])(image)
    assert (plain != scaled).mean() < 0.01


def test_several_models_are_averaged(image, tmp_path):
    other = bright()
    other.layers[-1].set_weights([other.layers[-1].get_weights()[0] * 0.3, np.ones(1, np.float32)])
    paths = save(tmp_path / "a.keras"), save(tmp_path / "b.keras", other)
    alone = [kseg.load(path).predict(image).probabilities for path in paths]
    together = kseg.load(*paths).predict(image).probabilities
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-6)


def test_models_that_do_not_go_together_are_refused(tmp_path):
    one = save(tmp_path / "a.keras", threshold=0.5)
    for name, value, model in (("task", CLASSES, bright(outputs=3)), ("resize", "pad", None), ("bit_depth", 12, None)):
        other = save(tmp_path / "b.keras", model, **{name: value})
        with pytest.raises(KsegError, match=f"cannot predict together: {name} is "):
            kseg.load(one, other)


def test_files_arrays_and_lists(image, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    predictor = kseg.load(save(tmp_path / "model.keras"))
    expected = predictor(image)
    np.testing.assert_array_equal(predictor(path), expected)
    np.testing.assert_array_equal(predictor(str(path)), expected)
    for mask in predictor([path, image]):
        np.testing.assert_array_equal(mask, expected)


def test_grey_arrays_and_16_bits(rng):
    predictor = Predictor([bright()], Metadata(bit_depth=12))
    grey = rng.integers(0, 4096, (20, 30)).astype(np.uint16)
    np.testing.assert_array_equal(predictor(grey), np.rint(grey / 4095 * 255) > 127.5)
    np.testing.assert_array_equal(predictor(grey[..., None]), predictor(grey))


def test_pictures_of_pillow_are_read_as_their_files_are(tmp_path, rng):
    predictor = Predictor([bright()], Metadata())
    colours = Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    turned = colours.copy()
    turned.getexif()[274] = 6  # the EXIF orientation of a camera on its side
    pictures = [colours, colours.convert("RGBA"), colours.convert("L"), colours.convert("P"), turned]
    for number, (picture, mask) in enumerate(zip(pictures, predictor(pictures), strict=True)):
        picture.save(tmp_path / f"{number}.png", exif=picture.getexif())
        np.testing.assert_array_equal(mask, predictor(tmp_path / f"{number}.png"))
    assert turned.size == (30, 20)  # the caller's picture is as it was
    assert mask.shape == (30, 20)
    with pytest.raises(KsegError, match=r"The image has Pillow's mode 'F'; expected 8 or 16 bits a channel"):
        predictor(colours.convert("F"))


@pytest.mark.parametrize("image", [None, 3, [[1, 2], [3, 4]], keras.ops.zeros((4, 4, 3), "uint8")])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(KsegError, match=r"An image of type \w+; expected a path, an array .*convert_to_numpy"):
        Predictor([bright()], Metadata())(image)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64 values of shape \(4, 4, 3\); expected uint8 or uint16.*255 \* image"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\); expected \(H, W, 3\) or \(H, W\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\); expected \(H, W, 3\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"expected \(H, W, 3\)"),
        (np.full((4, 4), 4096, np.uint16), r"The array holds 4096; expected at most 255"),
    ],
)
def test_other_arrays_are_refused(array, message):
    with pytest.raises(KsegError, match=message):
        Predictor([bright()], Metadata())(array)


def test_a_tile_of_another_size_is_refused_with_the_near_ones():
    with pytest.raises(KsegError, match=r"tile: 100 is not a multiple of 8; near it are 96 and 104"):
        Predictor([bright()], Metadata(size_multiple=8), tile=100)


def test_files_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(KsegError, match=r"There is no model .*gone.keras"):
        kseg.load(tmp_path / "gone.keras")
    with pytest.raises(KsegError, match=r"photo.png is no model; expected a .keras file"):
        kseg.load(tmp_path / "photo.png")
    (tmp_path / "text.keras").write_text("text")
    with pytest.raises(KsegError, match=r"text.keras cannot be opened as a Keras model"):
        kseg.load(tmp_path / "text.keras")
    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    flat.save(tmp_path / "flat.keras")
    with pytest.raises(KsegError, match=r"goes from \(None, 4\) to \(None, 1\); expected one input of images"):
        kseg.load(tmp_path / "flat.keras")
    with pytest.raises(KsegError, match=r"threshold: 0.3 is not allowed: .* several classes"):
        kseg.load(save(tmp_path / "classes.keras", bright(outputs=3), task=CLASSES), threshold=0.3)


def test_code_in_a_file_is_not_run(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3), dtype="uint8"), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(KsegError, match=r"lambda.keras cannot be opened"):
        kseg.load(tmp_path / "lambda.keras")


def test_a_model_without_metadata_says_what_it_can(tmp_path, image):
    bright(outputs=3).save(tmp_path / "model.keras")
    metadata = kseg.load(tmp_path / "model.keras").metadata
    assert metadata.task.kind == "multiclass"
    assert metadata.task.classes == ("background", "1", "2")
    assert (metadata.image_size, metadata.size_multiple) == (None, 32)
    bright(size=(64, 64)).save(tmp_path / "fixed.keras")
    predictor = kseg.load(tmp_path / "fixed.keras")
    assert predictor.metadata.image_size == (64, 64)
    assert predictor(image).shape == image.shape[:2]


def test_each_label_has_its_own_threshold(image, tmp_path):
    labels = Task("multilabel", ("dark", "grey", "bright"))
    path = save(tmp_path / "model.keras", bright(outputs=3), task=labels)
    found = kseg.load(path, threshold=(0.3, 0.5, 0.9)).predict(image)
    np.testing.assert_array_equal(found.mask, found.probabilities > np.float32([0.3, 0.5, 0.9]))
    with pytest.raises(
        KsegError, match=r"threshold: 0.3 0.5 are 2, and .*model.keras is for 3 labels: .*; expected one"
    ):
        kseg.load(path, threshold=(0.3, 0.5))
    with pytest.raises(KsegError, match="expected one, or one for each label"):
        kseg.load(save(tmp_path / "one.keras"), threshold=(0.3, 0.5))
