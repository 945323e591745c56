import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from kseg import distribution
from kseg.errors import KsegError

ROOT = Path(__file__).parent.parent
ON_JAX = keras.config.backend() == "jax"


@pytest.mark.backend_free
@pytest.mark.parametrize(("batch", "devices", "near"), [(6, 4, "4 and 8"), (2, 4, "4"), (9, 8, "8 and 16")])
def test_a_batch_that_does_not_divide_is_refused_with_the_near_sizes(batch, devices, near):
    with pytest.raises(
        KsegError, match=f"A batch of {batch} images does not divide by {devices} devices; near it are {near}"
    ):
        distribution.check_batch(batch, devices)
    distribution.check_batch(8, devices)
    distribution.check_batch(7, 0)


def test_devices_that_are_not_there():
    assert distribution.find_devices(1) == []
    message = "this machine has" if ON_JAX else "Keras splits batches over devices on JAX alone"
    with pytest.raises(KsegError, match=message):
        distribution.find_devices(64)
    with distribution.over_devices([]):
        assert keras.distribution.distribution() is None


@pytest.mark.slow
@pytest.mark.skipif(not ON_JAX, reason="Keras splits batches over devices on JAX alone")
def test_setup_in_a_script_of_ones_own(tmp_path):
    script = """if True:
        import kseg, keras, numpy as np
        assert kseg.distribution.setup() == 4
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", loss="mse")
        model.fit(np.ones((16, 3)), np.ones((16, 1)), batch_size=8, verbose=0)
        assert len(model.weights[0].value.devices()) == 4

        images = np.ones((18, 3))
        for call in (
            lambda: model.fit(images, images[:, :1], batch_size=8, verbose=0, shuffle=False),
            lambda: model.evaluate(images, images[:, :1], batch_size=8, verbose=0),
            lambda: model.predict(images, batch_size=8, verbose=0),
        ):
            try:
                call()
            except kseg.errors.KsegError as error:
                print(error)
            model.jax_state_sync()
            assert model.predict(images[:8], verbose=0).shape == (8, 1)
    """
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.count("A batch of 2 images does not divide by 4 devices. Pass batches that do") == 3


@pytest.mark.slow
@pytest.mark.skipif(not ON_JAX, reason="Keras splits batches over devices on JAX alone")
def test_a_model_made_before_setup_is_refused_in_fit(tmp_path):
    script = """if True:
        import kseg, keras, numpy as np
        images, masks = np.ones((8, 8, 8, 1)), np.zeros((8, 8, 8, 1))
        masks[:, :4] = 1
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
        kseg.distribution.setup()
        metrics = [kseg.metrics.PredictionMonitor(), kseg.metrics.ThresholdCurve()]
        model.compile("sgd", kseg.losses.DiceLoss(), metrics=metrics)
        for check in (
            lambda: kseg.preflight(model, images, masks),
            lambda: model.fit(images, masks, verbose=0, callbacks=[kseg.callbacks.CollapseDetector()]),
        ):
            try:
                check()
            except kseg.errors.KsegError as error:
                print(error)
    """
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    said = "The model is on 1 device, and batches are split over 4: it was made before kseg.distribution.setup()"
    assert done.stdout.count(said) == 2
