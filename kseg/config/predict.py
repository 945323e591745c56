"""The settings of a prediction."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kseg.config.base import OutputFolder, Settings

_Threshold = Annotated[float, Field(gt=0, lt=1)]


class UseOptions(Settings):
    """How a model is used: which models, how large images are seen, what counts as foreground."""

    ensemble: tuple[Path, ...] = Field(
        (), description="More models of the same task; the mean of all probabilities is taken."
    )
    tile: int | None = Field(
        None,
        ge=1,
        description="Side of tiles, in pixels, at the images' own size; for images much larger than those of training. "
        "None: each image as in training, resized, and its probabilities resized back.",
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="Share of a tile that the next tile covers too.")
    tta: tuple[Literal["mirrors", "turns", "scales"], ...] = Field(
        (),
        description="Test-time augmentation: which other views of an image are predicted, and averaged with it. turns: "
        "by quarters; scales: 0.75 and 1.25 times as large.",
    )
    threshold: _Threshold | Annotated[tuple[_Threshold, ...], Field(min_length=2)] | None = Field(
        None,
        description="A pixel is foreground if its probability is above this; several: one for each label. None: the "
        "model's own threshold.",
    )
    batch_size: int = Field(
        1,
        ge=1,
        description="Tiles that go through the model at once. More is faster on a GPU, and slower on most CPUs.",
    )

    @model_validator(mode="after")
    def _overlap_is_of_tiles(self) -> Self:
        if self.tile is None and self.overlap != type(self).model_fields["overlap"].default:
            raise ValueError(f"overlap: {self.overlap:g} is not allowed without tiles; expected also --tile.")
        return self

    def loading(self) -> dict[str, Any]:
        """Return the keyword arguments of `kseg.load`."""
        return {name: getattr(self, name) for name in ("tile", "overlap", "tta", "threshold", "batch_size")}


class PredictConfig(UseOptions):
    """The settings of a prediction."""

    out: OutputFolder = Field(
        description="Folder to write to; a new one, or that of the same command before, which goes on."
    )
    probabilities: Literal["none", "png", "npy"] = Field(
        "none",
        description="Probabilities besides the masks. png: of 16 bits, 65535 is 1, one file a class; npy: float32, "
        "(height, width, outputs).",
    )
    overlays: bool = Field(False, description="Draw each mask over its image.")
    polygons: Literal["none", "coco", "labelme", "yolo"] = Field(
        "none",
        description="The connected areas as objects for labelling tools. coco: one file, run lengths; labelme, yolo: "
        "outlines, holes filled, one file an image.",
    )
    overwrite: bool = Field(False, description="Replace results that are there already.")
