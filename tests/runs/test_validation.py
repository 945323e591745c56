import keras
import pytest

from kseg.data import find_foreground, open_sources, validation_batches
from kseg.losses import CombinedSegmentationLoss
from kseg.metrics import FalseAlarmRate, ImageF1, SegmentationMetrics


@pytest.mark.parametrize("batch_size", [4, 5, 9, 20])
def test_the_loss_and_the_metrics_of_validation_are_those_of_one_whole_batch(folder, batch_size):
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 16, 3), dtype="uint8")
    model = keras.Model(images, keras.layers.Conv2D(1, 3, padding="same")(keras.layers.Rescaling(1 / 99)(images)))
    model.compile(loss=CombinedSegmentationLoss(), metrics=[SegmentationMetrics(), ImageF1(), FalseAlarmRate()])
    source = open_sources(str(folder), val_fraction=0.25)[0]
    rule = find_foreground(source)
    (batch,) = validation_batches(source, rule, image_size=(16, 16), batch_size=9)
    expected = model.evaluate(*batch, batch_size=9, verbose=0, return_dict=True)
    batches = validation_batches(source, rule, image_size=(16, 16), batch_size=batch_size)
    found = model.evaluate(batches.dataset, verbose=0, return_dict=True)
    assert found.pop("loss") == pytest.approx(expected.pop("loss"), rel=1e-6)
    assert found == expected
