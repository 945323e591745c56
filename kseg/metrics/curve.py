"""F1 at every threshold, from two histograms of logits: foreground and background pixels.

A model may rank pixels well while none of them exceeds 0.5: its F1 is 0.000, but it has learned. The best F1 over all
thresholds, its threshold, and the distance between foreground and background logits show the difference.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from kseg.metrics.counts import ExactSums, leave_out, with_output
from kseg.metrics.histogram import (
    BINS,
    FINE_BINS,
    NO_WINDOW,
    count_batch,
    fold,
    read_histogram,
)
from kseg.targets import Activation, find_activation, foreground_view, logit
from kseg.task import safe_names

_ALL_BINS = BINS + FINE_BINS


@keras.saving.register_keras_serializable("kseg")
class ThresholdCurve(keras.metrics.Metric):
    """Best F1 over all thresholds, its threshold, and the gap between foreground and background logits.

    `result()` is a dict, and Keras logs each value: `best_f1`, `best_threshold`, `gap`. `best_f1` is never above the
    best F1 of the exact curve, and at most 0.002 below it if no bin holds more than 0.1% of the foreground. A bin is
    0.15% of a logit wide, and a thousandth of that near the best threshold of the first batch, so that another first
    batch may give another `best_f1` within these 0.002. The thresholds are those that float32 tells from 0 and 1:
    logits of -80 to 16. The gap is the mean foreground logit minus the mean background logit, divided by their standard
    deviation: d' of signal detection (Green and Swets, "Signal detection theory and psychophysics", 1966). Below 0.5 a
    model sees hardly anything; above 2 it separates most pixels.

    Masks, predictions, ignored pixels and `sample_weight` are as in `kseg.metrics.SegmentationMetrics`; NaN is
    background. Of several classes or labels it sees foreground against background; see `kseg.targets.foreground_view`.
    With `label_names` there is a curve for each label beside it, `best_f1_cat` and `best_threshold_cat`; NaN for a
    label that no mask contains. The state is 98,304 integers a curve; an update takes little longer than that of the
    other metrics.

    Args:
        from_logits: whether predictions are logits.
        name: the name of the metric; the logs have the names of its values.
        dtype: has no effect; the state is int32 and the result float32.
        output_name: in a model of several outputs the name of the output, which is put before the names in the logs.
        activation: "softmax" for one-hot masks with their background; None: the shapes decide.
        label_names: a name for each channel of a prediction that is read by sigmoid; none: no curves of labels.

    Raises:
        ValueError: in `update_state`, the shapes do not match, or there is not a name for each channel.

    >>> curve = ThresholdCurve(from_logits=False)
    >>> curve.update_state(np.uint8([[1, 1, 0, 0, 255]]), np.float32([[0.3, 0.2, 0.1, 0.25, 0.9]])[..., None])
    >>> {name: round(float(value), 2) for name, value in curve.result().items()}
    {'best_f1': 0.8, 'best_threshold': 0.2, 'gap': 1.23}
    """

    def __init__(
        self,
        from_logits: bool = True,
        name: str | None = "threshold_curve",
        dtype: Any = None,
        output_name: str | None = None,
        activation: Activation | None = None,
        label_names: Sequence[str] = (),
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.output_name = output_name
        self.activation = activation
        self.from_logits = from_logits
        self.label_names = tuple(label_names)
        self._curves = 1 + len(self.label_names)
        self._sums = ExactSums(self, self._curves * 2 * _ALL_BINS)
        self._window = self.add_variable(
            (self._curves,), keras.initializers.Constant(NO_WINDOW), dtype="int32", name="window"
        )

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        y_true, y_pred = leave_out(y_true, y_pred, sample_weight)
        masks, logits = foreground_view(y_true, y_pred, self.from_logits, self.activation)
        if self.label_names:
            self._check_labels(y_true, y_pred)
            masks = ops.concatenate([masks, y_true], axis=-1)
            logits = ops.concatenate([logits, y_pred if self.from_logits else logit(y_pred)], axis=-1)
        histogram, window = count_batch(masks, logits, ops.convert_to_tensor(self._window))
        self._window.assign(window)
        self._sums.add(ops.reshape(histogram, (1, -1)))

    def _check_labels(self, y_true: KerasTensor, y_pred: KerasTensor) -> None:
        activation, channels = find_activation(y_true, y_pred, self.activation), y_pred.shape[-1]
        if activation == "softmax" or channels != len(self.label_names):
            raise ValueError(
                f"label_names are {', '.join(self.label_names)}, and the prediction has {channels} channels, read by "
                f"{activation}; expected a name for each channel, and sigmoid. Classes have one curve: foreground."
            )

    def result(self) -> dict[str, KerasTensor]:
        histogram = ops.reshape(self._sums.as_tensor(), (self._curves, 2, _ALL_BINS))
        points = read_histogram(histogram, ops.convert_to_tensor(self._window))
        results = {name: value[0] for name, value in points._asdict().items()}
        contained = ops.greater(ops.sum(histogram[:, 1], axis=-1), 0)
        for index, label in enumerate(safe_names(self.label_names), start=1):
            for name in ("best_f1", "best_threshold"):
                value = getattr(points, name)[index]
                results[f"{name}_{label}"] = ops.where(contained[index], value, float("nan"))
        return with_output(self.output_name, results)

    def reset_state(self) -> None:
        super().reset_state()
        self._window.assign(ops.full((self._curves,), NO_WINDOW, dtype="int32"))

    def histogram(self) -> np.ndarray:
        """Return the pixels in each coarse bin since the last reset, background and foreground, int64 `(2, BINS)`.

        On JAX, inside a batch, call `model.jax_state_sync()` first.
        """
        window = int(ops.convert_to_numpy(self._window)[0])
        return fold(self._sums.as_array().reshape(-1, 2, _ALL_BINS)[0], window)

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "output_name": self.output_name, "activation": self.activation}
        return {**super().get_config(), **own, "label_names": self.label_names}
