"""The check before the first step: errors stop the run, doubts are logged."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras

from kseg.checks.batches import Batch, masks_of
from kseg.checks.models import Values
from kseg.checks.preflight import examine, report
from kseg.keras_private import jax_state_variables, mark_jax_state_synced, replace_train_function


class Preflight(keras.callbacks.Callback):
    """`kseg.preflight` in any `fit`, on the first batch, before the first step.

    One batch shows less than `preflight` sees. Where 255 means ignored and foreground is rare, a first batch without
    foreground looks like masks of 0 and 255, and is refused: call `preflight` on the data set instead.

    Raises:
        KsegError: in `fit`; see `preflight`.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Replace the function that `fit` calls for each step, until the first step."""
        # Only here: on JAX, `self.model` puts a former state back into the model.
        self._fitted = self.model
        self._train_function = replace_train_function(self._fitted, self._check_and_train)

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the function, in case there was no step."""
        replace_train_function(self._fitted, self._train_function)

    def _check_and_train(self, *arguments: Any) -> Any:
        """Check the first batch, then train on it. The arguments are those of `replace_train_function`."""
        replace_train_function(self._fitted, self._train_function)
        *state, batches = arguments
        first = list(itertools.islice(batches, self._fitted.steps_per_execution))
        if state:
            batches = itertools.chain(first, batches)
        if first:
            self._check([Batch.of(batch) for batch in first], *state)
        return self._train_function(*state, batches)

    def _check(self, batches: list[Batch], state: Sequence[Any] | None = None) -> None:
        try:
            report(examine(self._fitted, Values.of(self._fitted, state), batches, masks_of(batches)))
        except Exception:
            if state:
                _restore_variables(self._fitted, state)
            raise


def _restore_variables(model: keras.Model, state: Sequence[Sequence[Any]]) -> None:
    """Give the variables their values back, which `fit` on JAX has moved into a state; without a step it would not."""
    for variable, value in zip(itertools.chain(*jax_state_variables(model)), itertools.chain(*state), strict=True):
        variable.assign(value)
    mark_jax_state_synced(model)
