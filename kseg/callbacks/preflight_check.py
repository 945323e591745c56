"""The check before the first step: errors stop the run, doubts are logged."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras

from kseg.checks.batches import Batch, has_foreground, masks_of
from kseg.checks.models import Values
from kseg.checks.preflight import examine, report
from kseg.keras_private import jax_state_variables, mark_jax_state_synced, replace_train_function


class Preflight(keras.callbacks.Callback):
    """`kseg.preflight` in any `fit`, on the first batch, before the first step.

    One batch shows less than `preflight` sees. Where 255 means ignored and foreground is rare, a first batch without
    foreground looks like masks of 0 and 255, and is refused. `batches` above 1 has the check wait for foreground.

    Args:
        batches: the most batches to wait for foreground, at least 1; the check comes at the end of the first epoch at
            the latest. Steps go on meanwhile.

    Raises:
        KsegError: in `fit`; see `preflight`.
        ValueError: `batches` is below 1.
    """

    def __init__(self, batches: int = 1) -> None:
        super().__init__()
        if batches < 1:
            raise ValueError(f"Preflight waits for {batches} batches; expected 1 or more.")
        self.batches = batches
        self._waiting = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Replace the function that `fit` calls for each step, until the check."""
        # Only here: on JAX, `self.model` puts a former state back into the model.
        self._fitted = self.model
        self._seen: list[Batch] = []
        self._waiting = True
        self._train_function = replace_train_function(self._fitted, self._check_and_train)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check now, if no batch had foreground."""
        if self._waiting and self._seen:
            self._stop_waiting()
            report(examine(self.model, None, self._seen, masks_of(self._seen)))

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the function, in case there was no step."""
        if self._waiting:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._waiting = False
        function, self._train_function = replace_train_function(self._fitted, self._train_function), None
        if function != self._check_and_train:  # something else has replaced it since
            replace_train_function(self._fitted, function)

    def _check_and_train(self, *arguments: Any) -> Any:
        """Check the first batches, then train on them. The arguments are those of `replace_train_function`."""
        *state, batches = arguments
        first = list(itertools.islice(batches, self._fitted.steps_per_execution))
        if state:
            batches = itertools.chain(first, batches)
        self._seen += map(Batch.of, first)
        if first and (len(self._seen) >= self.batches or any(has_foreground(batch.y) for batch in self._seen)):
            train_function = self._train_function
            self._stop_waiting()
            self._check(*state)
            return train_function(*state, batches)
        return self._train_function(*state, batches)

    def _check(self, state: Sequence[Any] | None = None) -> None:
        try:
            report(examine(self._fitted, Values.of(self._fitted, state), self._seen, masks_of(self._seen)))
        except Exception:
            if state:
                _restore_variables(self._fitted, state)
            raise


def _restore_variables(model: keras.Model, state: Sequence[Sequence[Any]]) -> None:
    """Give the variables their values back, which `fit` on JAX has moved into a state; without a step it would not."""
    for variable, value in zip(itertools.chain(*jax_state_variables(model)), itertools.chain(*state), strict=True):
        variable.assign(value)
    mark_jax_state_synced(model)
