"""Convert a saved model, in a process of its own: `python -m kseg.inference.converter MODEL OUT FORMAT SHAPE METADATA`.

Most converters take Keras models of one backend only, mostly TensorFlow's, and Keras's backend is fixed in a process.
The file of a model is the same for all of them.
"""

import json
import sys
from pathlib import Path

import keras

import kseg.models  # noqa: F401 (registers what a saved model may hold)
from kseg.inference.runtimes import FORMATS
from kseg.keras_private import quick_initializers

_KERAS_NAMES = {"saved_model": "tf_saved_model"}
"""Keras's own name of a format, where it differs."""


def main(model: str, out: str, name: str, shape: str, metadata: str) -> None:
    """Convert a model, and write its metadata into the result.

    Args:
        model: the `.keras` file.
        out: the file or folder to write.
        name: of the format.
        shape: batch, height and width, as JSON; null for any.
        metadata: JSON text.
    """
    with quick_initializers():
        loaded = keras.models.load_model(model, compile=False)
    signature = [keras.InputSpec(shape=(*json.loads(shape), loaded.input_shape[-1]), dtype="uint8", name="image")]
    loaded.export(out, format=_KERAS_NAMES.get(name, name), input_signature=signature, verbose=False)
    FORMATS[name].describe(Path(out), metadata)


if __name__ == "__main__":
    main(*sys.argv[1:])
