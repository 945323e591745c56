"""The settings of an export."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from kseg.config.base import Settings

Format = Literal["onnx", "saved_model", "litert", "torch"]


class ExportConfig(Settings):
    """The settings of an export."""

    format: Format = Field(
        "onnx",
        description="onnx: for ONNX Runtime, OpenVINO, TensorRT and more; saved_model: TensorFlow; litert: phones and "
        "small devices; torch: PyTorch, by torch.export.",
    )
    size: int | tuple[int, int] | None = Field(
        None,
        description="Side, or height and width, that images will have, in pixels. None: any size where the format can, "
        "else the size of training.",
    )
    out: Path | None = Field(None, description="The file, or for saved_model the folder; None: beside the model.")
    dataset: str | None = Field(
        None, description="Data set on which the exported model is compared; None: that of the model's run, or shapes."
    )
    images: int = Field(20, ge=1, description="Number of its images to compare on.")
    overwrite: bool = Field(False, description="Replace a file that is there already.")
