"""Files that commit a602027 wrote, before the modules moved: they still open, load and resume."""

import csv
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from kseg.callbacks import CollapseDetector, HistoryFile, RunCheckpoint
from kseg.checkpoints import read_checkpoint, read_state
from kseg.config import TrainConfig
from kseg.data.sources.shapes import draw
from kseg.errors import KsegError
from kseg.losses import CombinedSegmentationLoss
from kseg.metrics import ImageF1, ImageIoU, PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.runs import train

FILES = Path(__file__).parent / "a602027"


def rows_of(path):
    """The numbers of a history.csv: an array of epochs by columns, and the names of the columns."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    # The column learning_rate is new.
    columns = [column for column in rows[0] if column not in ("finding", "learning_rate")]
    return np.array([[float(row[column]) for column in columns] for row in rows]), columns


def assert_same_history(history, untouched):
    """To a tolerance, because another processor rounds otherwise; on one machine they are equal to the bit."""
    (ours, columns), (theirs, expected) = rows_of(history), rows_of(untouched)
    assert columns == expected
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)


def fit_own_model(run):
    """The script that wrote `own-jax` and `own-torch`, in one of their three epochs.

    It said MeanF1 and MeanIoU for ImageF1 and ImageIoU; MeanIoU is now a mean over classes.
    """
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Conv2D(1, 1),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        loss=CombinedSegmentationLoss(),
        metrics=[SegmentationMetrics(), PredictionMonitor(), ThresholdCurve(), ImageF1(), ImageIoU()],
    )
    rng = np.random.default_rng(0)
    masks = (rng.random((16, 16, 16, 1)) < 0.2).astype("uint8")
    images = np.repeat(masks * 120, 3, -1) + rng.integers(0, 100, (16, 16, 16, 3)).astype("uint8")
    callbacks = [
        CollapseDetector(every=2, action="warn"),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=5),
        HistoryFile(run / "history.csv"),
        RunCheckpoint(run),
    ]
    model.fit(
        images,
        masks,
        batch_size=4,
        shuffle=False,
        validation_data=(images[:8], masks[:8]),
        epochs=3,
        verbose=0,
        callbacks=callbacks,
    )


@pytest.mark.slow
def test_a_fit_of_the_old_tree_resumes_as_if_nothing_had_moved(tmp_path):
    old = FILES / f"own-{keras.config.backend()}"
    shutil.copy(old / "last.keras", tmp_path)
    assert 0 < read_state(tmp_path / "last.keras").epoch < 3
    fit_own_model(tmp_path)
    assert_same_history(tmp_path / "history.csv", old / "untouched.csv")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.keras", "best.keras"])
def test_files_of_the_old_command_open_and_load_compiled(name):
    path = FILES / "command-jax" / name
    checkpoint = read_checkpoint(path)
    assert (checkpoint.state.epoch, checkpoint.state.settings["filters"]) == (1, 8)
    model = keras.models.load_model(path)
    assert int(model.optimizer.iterations) == 2
    assert model(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 32, 32, 1)


class Shapes(tfds.core.GeneratorBasedBuilder):
    """The built-in shapes, as the data set of TFDS that they were then."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="standard"),)

    def _info(self):
        features = {name: tfds.features.Image(shape=(128, 128, depth)) for name, depth in (("image", 3), ("mask", 1))}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples("train", 500),
            "validation": self._generate_examples("validation", 100),
        }

    def _generate_examples(self, split, count):
        for index in range(count):
            image, mask = draw("standard", split, index)
            yield index, {"image": image, "mask": mask}


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "jax", reason="another backend gives other numbers")
def test_a_run_of_the_old_command_resumes_on_the_shapes_that_tfds_keeps(tmp_path):
    old, run = FILES / "command-jax", tmp_path / "run"
    run.mkdir()
    shutil.copy(old / "last.keras", run)
    settings = read_state(old / "last.keras").settings | {"run_dir": run}
    with pytest.raises(KsegError, match="The data cannot be changed in mid-run"):
        train(TrainConfig(**settings), resume=True)
    shapes = Shapes(data_dir=tmp_path / "tfds")
    shapes.download_and_prepare(file_format=tfds.core.FileFormat.TFRECORD)
    result = train(TrainConfig(**settings | {"dataset": str(shapes.data_path)}), resume=True)
    assert result.state.epoch == 2
    assert_same_history(run / "history.csv", old / "untouched.csv")
