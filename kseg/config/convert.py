"""The settings of a conversion."""

from typing import Literal

from pydantic import Field

from kseg.config.data import LabelOptions, UnreadableOptions


class ConvertConfig(UnreadableOptions, LabelOptions):
    """The settings of a conversion."""

    format: Literal["array_record", "tfrecord"] = Field(
        "array_record",
        description="array_record gives training the same order as files do; tfrecord is the format that tfds.load "
        "reads.",
    )
