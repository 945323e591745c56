"""What the file of a model says about its use: the task, and how images become what the network takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError

from kseg.data.files.pair import MaskExif
from kseg.data.mask_reading import Rule
from kseg.data.transforms.resize import Resize
from kseg.errors import KsegError
from kseg.task import Task

_Threshold = Annotated[float, Field(ge=0, le=1)]
_Side = Annotated[int, Field(ge=1, le=2**20)]


@dataclass(frozen=True)
class Metadata:
    """How to use a model: what its outputs mean, and what its images looked like in training.

    `RunCheckpoint` writes it into `best.keras` and `last.keras`, as plain data, and `kseg.load` reads it.

    >>> Metadata.read(Metadata(Task("binary", ("cell",)), threshold=0.4).as_data()).threshold
    0.4
    """

    task: Task = field(default_factory=Task)
    """What the channels of the logits mean."""
    threshold: _Threshold | tuple[_Threshold, ...] = 0.5
    """A pixel is foreground if its probability is above this; one for each label, where there are several; several
    classes by softmax have none."""
    image_size: tuple[_Side, _Side] | None = None
    """Height and width, in pixels, that training images were resized to; None: their own."""
    resize: Resize = "stretch"
    """How they were fitted: as the setting of this name."""
    native_size: tuple[_Side, _Side] | None = None
    """Median height and width of the training images before that; None: not known."""
    size_multiple: _Side = 1
    """Height and width of a batch are multiples of this."""
    channels: Annotated[int, Field(ge=1, le=64)] = 3
    """Channels of an image; 3 for colour and grey."""
    bit_depth: Annotated[int, Field(ge=8, le=16)] = 8
    """Bits of the largest value of 16-bit images; they are scaled to 8 bits."""
    colours: tuple[str, ...] = ()
    """The colours of the classes in the masks, as in the setting of this name; empty if masks hold numbers."""
    mask_exif: MaskExif = "own"
    """Which EXIF tag turned the masks."""
    rule: Rule | None = None
    """How the values of the masks were read; None: not known."""
    version: str = ""
    """The version of kseg that trained the model."""

    def as_data(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        data: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return data

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Return the metadata in plain values.

        Raises:
            KsegError: a value is missing its type or its range; names it.
        """
        try:
            metadata: Self = TypeAdapter(cls).validate_python(dict(data))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            # Where several types are allowed, pydantic names the one that it tried.
            tried = ("constrained-", "tuple[")
            place = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(tried))
            raise KsegError(f"The metadata of the model: {place} is {fault['input']!r:.80}; {fault['msg']}.") from None
        return metadata
