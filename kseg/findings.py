"""What is wrong with a data set, a model or a run: the cause, the numbers that show it, what to do about it."""

from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The worst first: training fails or learns something wrong; it may; worth knowing."""

CAUSES = {
    # Images
    "images_not_finite": "an image has NaN or infinity",
    "constant_images": "images of one colour",
    "black_images": "images that are nearly black",
    "scaled_twice": "the images are scaled, and the model scales them again",
    "not_scaled": "the images have large values, and no layer scales or normalises them",
    "odd_aspect": "images much longer or wider than most",
    "mixed_channels": "images with another number of channels than most",
    "mixed_depths": "images with another number of bits per channel than most",
    "leak": "the same image in training and in validation",
    "near_leak": "nearly the same image in training and in validation",
    "duplicate": "the same image more than once",
    "near_duplicate": "nearly the same image more than once",
    # Masks
    "mask_values": "mask values that are no class indices",
    "mixed_values": "masks that write foreground as white beside masks that write it as 1",
    "unexpected_values": "mask values that nearly no other mask has",
    "soft_masks": "masks with interpolated edges",
    "missing_classes": "classes that one split has and another has not",
    "empty_masks": "masks without foreground",
    "full_masks": "masks without background",
    "inverted_masks": "masks in which foreground and background look swapped",
    "mostly_foreground": "foreground on most of the pixels",
    "rare_foreground": "foreground on few of the pixels",
    "specks": "objects of one or two pixels",
    "shuffled_masks": "masks that fit other images as well as their own",
    "several_classes": "masks of several classes, and a model that tells foreground alone",
    "one_hot_masks": "one-hot masks, whose background would count as foreground",
    "mask_shape": "masks whose shape differs from that of the model's output",
    "size_mismatch": "an image and its mask have different sizes",
    # Files
    "missing_masks": "images without a mask",
    "missing_images": "masks without an image",
    "same_stem": "two files with the same stem",
    "unreadable": "files that cannot be read",
    "mislabelled": "files whose extension names another format",
    "exif_rotation": "an EXIF tag turns an image but not its mask",
    # The model before the first step
    "sigmoid_twice": "the model ends in an activation that the loss applies again",
    "logits_as_probabilities": "the model gives logits, and the loss expects probabilities",
    "same_names": "metrics that hide each other in the logs",
    "no_gradient": "parameters that get no gradient",
    "loss_not_finite": "the loss of the first batch is NaN or infinite",
    "gradient_not_finite": "a gradient of the first batch is NaN or infinite",
    # The run
    "not_finite": "the loss or the predictions are NaN or infinite",
    "exploding": "the logits grow without limit",
    "constant_output": "the same prediction everywhere, whatever the image",
    "validation_only": "training is healthy, and validation has collapsed",
    "under_confident": "pixels are ranked well, and none crosses the threshold",
    "over_confident": "pixels are ranked well, and all cross the threshold",
    "all_background": "nearly everything is predicted background",
    "all_foreground": "nearly everything is predicted foreground",
    "class_missing": "a class of the masks is never predicted, while the others are learned",
    "classes_swapped": "the indices of classes are exchanged, or shifted by one, in one split",
    "not_learning": "no better than without looking at the images",
}
"""Every cause that preflight, audit and the collapse detector name, with its meaning."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Raises:
        ValueError: the cause is not in `CAUSES`.

    >>> print(Finding("empty_masks", "warning", "all 12 masks have no foreground", "Look at them."))
    empty_masks: all 12 masks have no foreground. Look at them.
    """

    cause: str
    """A name in `CAUSES`, on which code can act."""
    severity: Severity
    evidence: str
    """What was seen, in numbers; a clause without a full stop."""
    remedy: str
    """What to do, in sentences."""
    effect: str = ""
    """What it does to training, in sentences."""
    files: tuple[str, ...] = ()
    """All files that it is true of, relative to the data set's folder."""
    details: tuple[str, ...] = ()
    """What was seen in each of the files, in a few words; may be empty."""
    epoch: int | None = None
    """The epoch in which it was seen, from 1; None before training."""
    batch: int | None = None
    """The batch, counted from the beginning of `fit`, from 1; None before training."""

    def __post_init__(self) -> None:
        if self.cause not in CAUSES:
            raise ValueError(f"There is no cause {self.cause!r}; expected one of {', '.join(CAUSES)}.")

    @property
    def count(self) -> int:
        """Number of files that it is true of."""
        return len(self.files)

    def as_warning(self) -> Self:
        """Return this finding as a warning."""
        return replace(self, severity="warning")

    def __str__(self) -> str:
        return f"{self.cause}: {self.evidence}. {self.effect} {self.remedy}".replace("  ", " ")
