"""The data options that several commands share: which data set, how its files are read, what is foreground."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from kseg import IGNORE
from kseg.config.base import MAY_CHANGE, PLACE, Settings, refuse_long_names


class SourceOptions(Settings):
    """Which data set is opened, which parts of it, and how its files are read."""

    dataset: str = Field(
        "shapes",
        json_schema_extra=PLACE,
        description="A folder with images and masks, or with COCO, LabelMe or YOLO files (see "
        "docs/layouts.md); a folder that TFDS prepared, kseg convert wrote, or Hugging Face saved (also parquet); the "
        "built-in shapes, shapes/rare or shapes/classes; a TFDS name; or the .py file of a TFDS builder, which is run.",
    )
    data_dir: Path | None = Field(
        None,
        json_schema_extra=PLACE,
        description="Where TFDS keeps its data sets, and kseg the built-in shapes; None: ~/tensorflow_datasets "
        "and ~/.cache/kseg.",
    )
    train_split: str | None = Field(
        None,
        description="Training split or slice of a TFDS or Hugging Face data set, such as 'train[:10%]' or "
        "'train+test'; None: train.",
    )
    val_split: str | None = Field(
        None,
        description="Validation split or slice; must not overlap --train-split. None: the first of validation, val, "
        "valid and test that exists, else the val fraction of the training split.",
    )
    val_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the images to validate on, if the data set has no split for it."
    )
    colours: Literal["auto"] | tuple[str, ...] = Field(
        "auto",
        description="Colours of the masks in the order of the classes, as '#ff0000' in quotes; 'ignore=#ffffff' is "
        "ignored. auto: masks hold numbers, and masks in colours are refused with a list of their colours.",
    )
    bit_depth: Literal["auto", 8, 10, 12, 14, 16] = Field(
        "auto",
        description="Number of bits that the largest value of 16-bit images needs, for scaling them to 8 bits; auto: "
        "found in 64 training images.",
    )
    mask_exif: Literal["own", "image"] = Field(
        "own",
        description="Which EXIF tag turns a mask file upright. own: its own; image: that of its image, if the mask was "
        "drawn on the stored pixels of the photograph.",
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="Decides all that is random: split, order, augmentation, initial weights."
    )

    @field_validator("dataset", "data_dir")
    @classmethod
    def _is_not_too_long(cls, place: str | Path | None) -> str | Path | None:
        return refuse_long_names(place)

    @field_validator("colours")
    @classmethod
    def _are_colours(cls, colours: Any) -> Any:
        if colours == "auto":
            return colours
        colours = tuple(colour.lower() for colour in colours)
        for colour in colours:
            if not re.fullmatch("(ignore=)?#[0-9a-f]{6}", colour):
                raise ValueError(
                    f"colours: {colour!r} is not allowed; expected auto, or colours such as '#ff0000'; "
                    "'ignore=#ffffff' for a colour to ignore."
                )
        classes = [colour for colour in colours if colour.startswith("#")]
        each_once = len({colour[-7:] for colour in colours}) == len(colours)
        if not (each_once and 2 <= len(classes) <= IGNORE):
            raise ValueError(
                f"colours: {', '.join(colours)} is not allowed; expected 2 to {IGNORE}, each of them once. "
                "Colours to ignore do not count."
            )
        return colours

    def opening(self) -> dict[str, Any]:
        """Return the keyword arguments of `kseg.data.open_sources` besides `dataset`."""
        return {name: getattr(self, name) for name in SourceOptions.model_fields if name != "dataset"}


class LabelOptions(SourceOptions):
    """A data set, and whether its labels may overlap."""

    task: Literal["auto", "multilabel"] = Field(
        "auto", description="multilabel: labels that may overlap, as for kseg train; auto: for folders masks/<label>/."
    )

    def opening(self) -> dict[str, Any]:
        """Return the keyword arguments of `kseg.data.open_sources` besides `dataset`."""
        return {**super().opening(), "multilabel": self.task == "multilabel"}


class ForegroundOptions(SourceOptions):
    """A data set, and which mask values are foreground."""

    foreground: (
        Literal["auto", "any", "classes", "white"]
        | Annotated[tuple[Annotated[int, Field(ge=0, le=65535)], ...], Field(min_length=1)]
    ) = Field(
        "auto",
        description="Mask values that are foreground, where there is one class. any: every value but 0; classes: every "
        "value but 0, and 255 is ignored; white: 128 to 255, for masks with soft edges, as in a JPEG; auto: 255 if the "
        "masks hold only 0 and 255, else classes.",
    )


class TaskOptions(ForegroundOptions):
    """A data set, and what a model tells apart in it."""

    task: Literal["auto", "binary", "multiclass", "multilabel"] = Field(
        "auto",
        description="binary: foreground against background; multiclass: each mask value, or each class that the data "
        "set names, is a class of its own; multilabel: labels that may overlap, each mask channel or each class of "
        "COCO, LabelMe or YOLO by itself. auto: multilabel for folders masks/<label>/, multiclass if there are several "
        "classes and --foreground is auto.",
    )
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="The classes to tell apart, by name or mask value, in the order of the channels; the others become "
        "--rest. None: all.",
    )
    class_names: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="Names for the mask values in ascending order, without 0 and 255. None: those of the data set.",
    )
    rest: Literal["background", "ignore"] = Field(
        "background", description="What becomes of the classes that are not among --classes."
    )

    def opening(self) -> dict[str, Any]:
        """Return the keyword arguments of `kseg.data.open_sources` besides `dataset`."""
        return {**super().opening(), "multilabel": self.task == "multilabel"}

    def reading(self) -> dict[str, Any]:
        """Return the keyword arguments of `kseg.data.mask_reading.read_masks_of_splits`."""
        return {name: getattr(self, name) for name in ("task", "foreground", "classes", "class_names", "rest")}


class UnreadableOptions(Settings):
    """What to do with files that cannot be read."""

    on_bad_example: Literal["error", "skip"] = Field(
        "error",
        json_schema_extra=MAY_CHANGE,
        description="What to do with an image or mask that cannot be read. error: stop and name it; skip: read "
        "everything once before the start, leave those out, and list them.",
    )
