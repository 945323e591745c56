"""A model that stops predicting anything, noticed while it happens."""

import logging
from typing import Any

import keras

from kseg.metrics import PredictionCounts, PredictionMonitor

_log = logging.getLogger("kseg")

# Fewer predicted pixels than this share of the masks' foreground is "next to none".
_NEXT_TO_NONE = 0.01

_NOTHING = PredictionCounts(0, 0, 0, 0, 0, 0)


class CollapseDetector(keras.callbacks.Callback):
    """Warns when the masks had foreground and next to no pixel was predicted foreground.

    Looks every `every` batches, at what came since its last look: whole counts, not the epoch's running mean.
    It never warns of a window whose masks were all empty. An epoch shorter than `every` is looked at
    at its end; the batches that a longer one has after its last look are not looked at.
    The warning goes to the logger `kseg`, and its batch number counts from the beginning of `fit`.

    Needs `kseg.metrics.PredictionMonitor` among the model's metrics. Between looks it costs nothing: the
    state is fetched from the device only to look, and logs stay asynchronous.

    Args:
        every: batches between two looks, at least 1.

    Raises:
        ValueError: `every` is below 1; or, when training begins to be looked at, there is no
            `PredictionMonitor`.
    """

    def __init__(self, every: int = 50) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"CollapseDetector looks every {every} batches; expected 1 or more.")
        self.every = every
        self._in_training = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to count batches."""
        self._batches_before = 0  # this epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin a window: Keras has just reset the metrics."""
        self._begun = 0
        self._looked_at = 0
        self._seen = _NOTHING
        self._in_training = True

    # Looks happen where Keras calls back from the thread that trains, which it does not at a batch's end;
    # overriding that one would also have it wait for every step's logs.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Look, if it is time."""
        if batch - self._looked_at >= self.every:
            self._look(batch)
        self._begun = batch + self.model.steps_per_execution

    def on_test_begin(self, logs: Any = None) -> None:
        """Before validation resets the metrics: the epoch's training is over."""
        self._end_of_training_epoch()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Without validation, the epoch's training is over here."""
        self._end_of_training_epoch()

    def _end_of_training_epoch(self) -> None:
        if not self._in_training:
            return
        self._in_training = False
        steps = min(self._begun, self.params["steps"] or self._begun)
        if steps - self._looked_at >= min(self.every, steps):
            self._look(steps)
        self._batches_before += steps

    def _look(self, batches: int) -> None:
        if keras.config.backend() == "jax":
            self.model.jax_state_sync()
        counts = _monitor(self.model).counts()
        window, self._seen, self._looked_at = counts - self._seen, counts, batches
        if window.foreground and window.predicted < _NEXT_TO_NONE * window.foreground:
            _log.warning(
                f"⚠️  Predictions may be collapsing! Batch {self._batches_before + batches}: "
                f"pred_mean={window.pred_mean:.6f}, target_mean={window.target_mean:.4f}"
            )


def _monitor(model: keras.Model) -> PredictionMonitor:
    for metric in model.metrics:
        # compile(metrics=…) arrives as one metric that holds the others.
        for inner in getattr(metric, "metrics", [metric]):
            if isinstance(inner, PredictionMonitor):
                return inner
    raise ValueError(
        "CollapseDetector found no PredictionMonitor among the model's metrics; expected "
        "model.compile(…, metrics=[kseg.metrics.PredictionMonitor()])."
    )
