"""Every setting of a training run: its default, its unit, its check."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kseg import IGNORE
from kseg.config.base import readable
from kseg.errors import KsegError
from kseg.interval import Interval

_IMAGE_MULTIPLE = 8  # the U-Net halves height and width three times


class TrainConfig(BaseModel):
    """The settings of one run. Immutable, checked when made, refused with one message if anything is wrong.

    >>> TrainConfig(epochs=5).image_shape
    (128, 128)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Data
    dataset: str = Field(
        "shapes",
        description="A folder with images and masks, or annotations (see README), or one that TFDS prepared, kseg "
        "convert wrote, or Hugging Face saved (to disk or as parquet); the built-in shapes or shapes/rare, or a TFDS "
        "name; a TFDS builder's .py, which is run.",
    )
    data_dir: Path | None = Field(None, description="Where TFDS keeps its data sets; None: ~/tensorflow_datasets.")
    train_split: str | None = Field(
        None,
        description="What to train on, of TFDS or Hugging Face: a split, a slice such as 'train[:10%]', or "
        "'train+test'; None: train.",
    )
    val_split: str | None = Field(
        None,
        description="What to validate on, likewise, apart from that; None: the first of validation, val, valid and "
        "test, else the val fraction.",
    )
    val_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the images to validate on, if the data set has no split for it."
    )
    foreground: Literal["auto", "any", "classes"] | tuple[int, ...] = Field(
        "auto",
        description="Mask values that are foreground. any: all but 0; classes: all but 0, 255 ignored; "
        "auto: 255 if the masks hold 0 and 255 only, else classes.",
    )
    colours: Literal["auto"] | tuple[str, ...] = Field(
        "auto",
        description="Colours of a folder's masks as '#ff0000', quoted, in the order of the classes, and those to "
        "ignore as 'ignore=#ffffff'; auto: there are none, and masks in colours are refused with a list of them.",
    )
    bit_depth: Literal["auto", 8, 10, 12, 14, 16] = Field(
        "auto",
        description="Bits that hold the largest value of a folder's 16-bit images, for scaling them to 8; auto: as few "
        "as hold those of 64 training images.",
    )
    image_size: int | tuple[int, int] = Field(
        128, description="Side, or height and width, that images are resized to: pixels, multiples of 8."
    )
    resize: Literal["stretch", "pad", "crop"] = Field(
        "stretch",
        description="How images come to that size. pad: keep the aspect ratio, ignore what is left over; crop: keep "
        "it, cut off what is too much.",
    )
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        "auto",
        description="Where decoded images are kept. disk: in a temporary file, for which TMPDIR says where; none: they "
        "are decoded in every epoch; auto: memory if they take at most half of what is free, else none.",
    )
    augment: Literal["none", "light", "medium", "heavy"] = Field(
        "light",
        description="How much training images are changed. light: mirror, turns, crop, brightness, contrast; medium: "
        "also rotation, shear, gamma, hue, noise, blur; heavy: also JPEG, holes, mosaics. kseg audit --show-augment "
        "draws them.",
    )
    foreground_crops: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of each batch that is cropped around a random foreground pixel, for rare foreground.",
    )
    on_bad_example: Literal["error", "skip"] = Field(
        "error",
        description="What to do about an image or mask that cannot be read. error: stop and name it; skip: read all "
        "once before training, leave those out of every epoch, and list them in skipped.txt.",
    )
    dev_mode: bool = Field(False, description="Take only the first images: an answer in seconds to minutes.")
    dev_samples: int = Field(
        100, ge=2, description="Training images in dev mode, and at most that many validation images."
    )

    # Model and loss
    filters: int = Field(
        16,
        ge=8,
        multiple_of=8,
        description="U-Net filters at full resolution, a multiple of 8; doubled at each of 3 levels.",
    )
    mixed_precision: bool = Field(False, description="Compute in bfloat16, keep weights and logits in float32.")
    loss: Literal["bce", "combined", "dice", "focal", "iou", "tversky"] = Field(
        "combined", description="What to minimise; combined is BCE, Dice and focal together."
    )
    loss_arguments: dict[str, float] = Field(
        default_factory=dict, description="Arguments of the loss by name, such as alpha 0.3 beta 0.7."
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = Field(
        0.5,
        description="Probability above which a pixel is predicted foreground. auto: the best model is that with the "
        "best F1 over all thresholds, and this its threshold.",
    )
    output_bias: Literal["auto", "zero", "prior"] = Field(
        "auto",
        description="Where the bias of the logits starts. prior: at the share of foreground in the masks; auto: prior "
        "where that is below 2%, else zero.",
    )

    # Optimisation
    epochs: int = Field(50, ge=1, description="Epochs in all, those before a checkpoint included.")
    batch_size: int = Field(4, ge=1, description="Images a step.")
    lr: float = Field(3e-3, gt=0, description="Peak learning rate of AdamW, reached after the warm-up.")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of all steps in which the learning rate rises from 0.")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's weight decay, a share of the learning rate a step.")
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of all gradients together; larger ones are scaled.")
    steps_per_execution: int = Field(1, ge=1, description="Steps in one call of the compiled function; JAX only.")
    seed: int = Field(0, ge=0, description="Decides weights, order, augmentation, and a folder's split.")

    # The run
    collapse_every: int = Field(50, ge=1, description="Batches between two looks of the collapse detector.")
    on_collapse: Literal["warn", "stop", "recover"] = Field(
        "recover", description="What to do when a run fails: say so, stop, or go back and lower the learning rate."
    )
    max_recoveries: int = Field(3, ge=0, description="How often to go back before the run is stopped.")
    checkpoint_every: str = Field(
        "auto",
        description="How much work a kill may cost: auto (about a minute, more if writing held the run up for over 2% "
        "of the time), or '200 batches', '30 s', '5 minutes', '1 epoch'.",
    )
    keep: int = Field(2, ge=1, description="Checkpoints to keep; if the newest is damaged, the one before is used.")
    run_dir: Path | None = Field(
        None, description="Where the run goes; None: runs/<dataset>-<time>, or the folder of --checkpoint."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise KsegError(readable(error, type(self))) from None

    @model_validator(mode="after")
    def _image_size_fits(self) -> Self:
        for side in self.image_shape:
            if side < _IMAGE_MULTIPLE or side % _IMAGE_MULTIPLE:
                below = max(side // _IMAGE_MULTIPLE, 1) * _IMAGE_MULTIPLE
                raise ValueError(
                    f"image_size: {side} is not a multiple of {_IMAGE_MULTIPLE}; near it are {below} and "
                    f"{below + _IMAGE_MULTIPLE}"
                )
        return self

    @field_validator("colours")
    @classmethod
    def _are_colours(cls, colours: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if colours == "auto":
            return colours
        colours = tuple(colour.lower() for colour in colours)
        for colour in colours:
            if not re.fullmatch("(ignore=)?#[0-9a-f]{6}", colour):
                raise ValueError(
                    f"colours: {colour!r} is not allowed; expected auto, or colours such as '#ff0000'. "
                    "Those of what is to be ignored: 'ignore=#ffffff'."
                )
        classes = [colour for colour in colours if colour.startswith("#")]
        each_once = len({colour[-7:] for colour in colours}) == len(colours)
        if not (each_once and 2 <= len(classes) <= IGNORE):
            raise ValueError(
                f"colours: {', '.join(colours)} is not allowed; expected 2 to {IGNORE}, each of them once. "
                "Those to ignore do not count."
            )
        return colours

    @field_validator("checkpoint_every")
    @classmethod
    def _is_an_interval(cls, text: str) -> str:
        try:
            Interval.parse(text)
        except ValueError as error:
            raise ValueError(f"checkpoint_every: {error}") from None
        return text

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    def settings(self) -> dict[str, Any]:
        """All settings as plain values, for YAML and JSON."""
        return self.model_dump(mode="json")


# Without these a run that goes on would be another run.
_FIXED = (
    "train_split",
    "val_split",
    "val_fraction",
    "foreground",
    "colours",
    "bit_depth",
    "image_size",
    "resize",
    "dev_mode",
    "dev_samples",
    "filters",
    "mixed_precision",
    "batch_size",
    "steps_per_execution",
    "seed",
)
# Where a run goes and where its data lies may differ from machine to machine.
_PLACES = ("dataset", "data_dir", "run_dir")


def changed_settings(before: dict[str, Any], config: TrainConfig) -> list[str]:
    """What differs from the settings of a checkpoint, as `lr 0.003 -> 0.001`.

    Raises:
        KsegError: a setting that cannot be changed in mid-run; names each, with both values.
    """
    now = config.settings()
    changes = {
        name: f"{name} {before[name]} -> {value}"
        for name, value in now.items()
        if name in before and before[name] != value and name not in _PLACES
    }
    refused = [change for name, change in changes.items() if name in _FIXED]
    if refused:
        raise KsegError(
            "These settings cannot be changed in mid-run: "
            + ", ".join(refused)
            + ". Go on with those of the checkpoint, or start another run."
        )
    return list(changes.values())


def write_yaml(config: TrainConfig, path: Path) -> None:
    """Write all settings to a YAML file, in their own order."""
    path.write_text(yaml.safe_dump(config.settings(), sort_keys=False))
