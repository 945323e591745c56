"""The settings of an evaluation."""

from typing import Literal

from pydantic import Field

from kseg.config.base import OutputFolder
from kseg.config.data import TaskOptions
from kseg.config.predict import UseOptions


class EvaluateConfig(UseOptions, TaskOptions):
    """The settings of an evaluation."""

    split: Literal["validation", "training", "all"] = Field(
        "validation", description="Which part of the data set: as in training, or all of it."
    )
    group_by: str | None = Field(
        None,
        description="Scores by group besides those of all images: folder, the folder that an image is in; a column of "
        "the CSV that lists the images; or a regular expression with one group in brackets, such as '(site[0-9]+)', "
        "searched for in its path.",
    )
    out: OutputFolder | None = Field(
        None, description="Folder for evaluation.json, images.csv and pictures; None: evaluation, beside the model."
    )
