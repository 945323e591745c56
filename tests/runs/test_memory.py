import pytest

from kseg.config.train import DataOptions, ModelOptions
from kseg.errors import KsegError
from kseg.models import unet
from kseg.runs.memory import check_memory


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ({"filters": 100000}, {}, r"more than 253,\d+\.\d GiB for a U-Net of 100000 filters and .* Lower --filters"),
        ({}, {"image_size": 100000}, r"4,768.4 GiB for 4 images of 100000 x 100000; this machine has \d"),
        (
            {"model": "fpn", "encoder": "resnet50v2"},
            {"image_size": 102400},
            r"^A step needs more than 781.2 GiB for 4 images of 102400 x 102400; .* GiB. Lower --image-size or --batch",
        ),
        ({"model": "networks:make"}, {"batch_size": 10**9}, r"^A step needs more than 305,175.8 GiB for 1000000000 im"),
        ({}, {"batch_size": 10**9}, r"1,953,125.0 GiB for 1000000000 images of 128 x 128"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_estimate(model, data, message):
    with pytest.raises(KsegError, match=message):
        check_memory(ModelOptions(**model), DataOptions(**data))


def test_what_people_train_is_not_refused():
    check_memory(ModelOptions(filters=64), DataOptions(image_size=512, batch_size=8))


@pytest.mark.slow
@pytest.mark.parametrize("filters", [8, 32])
def test_the_estimate_is_below_what_the_model_has(filters):
    needed = 4 * 4 * unet(filters=filters).count_params()
    assert 0.9 * needed < ModelOptions(filters=filters).least_step_bytes < needed
