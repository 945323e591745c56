import keras
import numpy as np
import pytest

import kseg
from kseg.backend import check_backend, one_program
from kseg.errors import KsegError


def test_jax_and_torch_are_accepted():
    assert check_backend() == keras.config.backend()


def test_another_backend_is_refused_and_both_are_named(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(KsegError, match="Keras runs on tensorflow; kseg trains on jax or torch"):
        check_backend()


def test_one_program_is_traced_once_for_each_shape_and_static_value():
    calls = []

    @one_program("power")
    def raised(x, power):
        """Return a power."""
        calls.append(power)
        return x**power

    for array, power in ((np.ones(3), 2), (np.ones(3), 2), (np.ones(3), 3), (np.ones(4), 3)):
        assert np.asarray(raised(keras.ops.convert_to_tensor(array), power)).tolist() == array.tolist()
    assert calls == ([2, 3, 3] if keras.config.backend() == "jax" else [2, 2, 3, 3])
    assert raised.__doc__ == "Return a power."


@pytest.mark.skipif(keras.config.backend() != "jax", reason="JAX alone compiles")
def test_metrics_compile_nothing_in_a_second_batch_of_the_same_shape():
    import jax

    metrics = [kseg.metrics.SegmentationMetrics(), kseg.metrics.PredictionMonitor(), kseg.metrics.ThresholdCurve()]
    masks, logits = np.eye(9, dtype=np.uint8)[None, ..., None], np.random.default_rng(0).normal(size=(1, 9, 9, 1))

    def update():
        for metric in metrics:
            metric.update_state(masks, logits)
            metric.result()

    update()
    with jax.no_tracing():
        update()
