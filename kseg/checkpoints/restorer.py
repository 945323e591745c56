"""Give a model in training, and its callbacks, what a checkpoint holds."""

import keras
import numpy as np

from kseg.checkpoints.extras import matching_extras, write_extras
from kseg.checkpoints.file import Checkpoint, load_weights
from kseg.checkpoints.memory import Memory
from kseg.optimizers import adjustable_schedule, stored_variables


class Restorer:
    """Restores a checkpoint as often as needed: Keras calls hooks that change things on the way to its batch.

    Args:
        model: a compiled model; its weights and its optimizer are loaded at once.
        memory: of the callbacks of the `fit`.
        checkpoint: what to restore.

    Raises:
        KsegError: the checkpoint does not fit the model.
    """

    def __init__(self, model: keras.Model, memory: Memory, checkpoint: Checkpoint) -> None:
        self._model, self._memory, self._memories = model, memory, checkpoint.memories
        load_weights(model, checkpoint)
        variables = [*model.weights, *stored_variables(model.optimizer)]
        self._weights = [(variable, np.array(keras.ops.convert_to_numpy(variable))) for variable in variables]
        self._extras = matching_extras(model, checkpoint.extras)

    def restore(self) -> None:
        """Give callbacks and variables their values.

        Raises:
            KsegError: what a callback remembered does not fit it.
        """
        self._memory.write(self._memories)
        for variable, value in self._weights:
            variable.assign(value)
        if schedule := adjustable_schedule(self._model.optimizer):
            schedule.write()
        write_extras(self._model, self._extras)
