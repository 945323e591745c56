"""The check before the first step: what cannot work is refused, what is doubtful is warned about."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras

from kseg.checks.batches import Batch, masks_of
from kseg.checks.models import Values
from kseg.checks.preflight import _examine, _report


class Preflight(keras.callbacks.Callback):
    """`preflight` in anyone's `fit`, on the first batch, before the first step.

    One batch shows less than `preflight` sees. Where 255 means ignored and foreground is rare, a first batch without
    any looks like masks of 0 and 255, and is refused: there, call `preflight` on the data set.

    Raises:
        KsegError: out of `fit`; see `preflight`.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Get between `fit` and the function that it calls for each step."""
        # Asked for here only: on JAX, `self.model` puts a former state back into the model.
        self._fitted = self.model
        self._train_function = self._fitted.train_function
        self._fitted.train_function = self._check_and_train

    def on_train_end(self, logs: Any = None) -> None:
        """Get out of the way, if there was no step."""
        self._fitted.train_function = self._train_function

    def _check_and_train(self, *arguments: Any) -> Any:
        """The first step. JAX calls it as `(state, iterator)`, torch as `(batches,)`."""
        self._fitted.train_function = self._train_function
        *state, batches = arguments
        seen = list(itertools.islice(batches, self._fitted.steps_per_execution))
        if state:
            batches = itertools.chain(seen, batches)
        if seen:
            self._check([Batch.of(batch) for batch in seen], *state)
        return self._train_function(*state, batches)

    def _check(self, batches: list[Batch], state: Sequence[Any] | None = None) -> None:
        try:
            _report(_examine(self._fitted, Values.of(self._fitted, state), batches, masks_of(batches)))
        except Exception:
            if state:
                _reattach(self._fitted, state)
            raise


def _reattach(model: keras.Model, state: Sequence[Sequence[Any]]) -> None:
    """Give the variables their values, which `fit` on JAX takes from them and, without a step, does not give back."""
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    for variable, value in zip(itertools.chain(*variables), itertools.chain(*state), strict=True):
        variable.assign(value)
    model._jax_state_synced = True  # or `fit`, on its way out, puts in what it may have of an earlier call
