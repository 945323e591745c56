"""A folder of images and masks: `images/*` and `masks/*` of the same stem, with or without split folders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from kseg.data.sources import Example, contents
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_VALIDATION_NAMES = ("val", "valid", "validation")

# Pillow's modes of 8 bits a channel; it would clip, not scale, the 16-bit ones.
_IMAGE_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})


@dataclass(frozen=True)
class FolderSource:
    """Pairs of an image file and a mask file; see `kseg.data.Source`."""

    name: str
    images: Sequence[Path]
    masks: Sequence[Path]

    def __len__(self) -> int:
        return len(self.images)

    def contents(self) -> str:
        files = [*self.images, *self.masks]
        return contents(len(self), ((path.parent.name, path.name, path.stat().st_size) for path in files))

    def take(self, count: int) -> "FolderSource":
        return self.subset(range(min(count, len(self))))

    def subset(self, indices: Sequence[int]) -> "FolderSource":
        """The examples at these indices, in this order."""
        return replace(self, images=[self.images[i] for i in indices], masks=[self.masks[i] for i in indices])

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        import tensorflow as tf

        images = tf.constant([str(path) for path in self.images])
        masks = tf.constant([str(path) for path in self.masks])
        order = tf.data.Dataset.range(len(self))
        if key is not None:
            order = order.map(lambda position: shuffled(position, key, len(self)))
        return order.map(lambda index: (index, {"image": images[index], "mask": masks[index]}))

    def decode(self, example: Example) -> tuple["tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        image, mask = tf.numpy_function(
            _read_pair, [example["image"], example["mask"]], [tf.uint8, tf.int32], stateful=False
        )
        return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(mask, (None, None, 1))

    def decode_mask(self, example: Example) -> "tf.Tensor":
        import tensorflow as tf

        mask = tf.numpy_function(_read_mask_bytes, [example["mask"]], tf.int32, stateful=False)
        return tf.ensure_shape(mask, (None, None, 1))


def shuffled(position: "tf.Tensor", key: "tf.Tensor", size: "int | tf.Tensor") -> "tf.Tensor":
    """Which of `size` examples stands at a position of the order of `key`: a permutation without a buffer."""
    import tensorflow as tf

    return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.uint32), size - 1)


def open_folder(folder: Path, *, val_fraction: float, seed: int) -> tuple[FolderSource, FolderSource]:
    """The training and the validation source of a folder.

    Raises:
        KsegError: there are no images, or images and masks do not pair.
    """
    train = folder / "train" if (folder / "train").is_dir() else folder
    pairs = _pair(train)
    for name in _VALIDATION_NAMES:
        if (folder / name).is_dir():
            return pairs, _pair(folder / name)
    return _split(pairs, val_fraction, seed)


def _split(source: FolderSource, val_fraction: float, seed: int) -> tuple[FolderSource, FolderSource]:
    if len(source) < 2:
        raise KsegError(f"{source.name} has one image; expected two or more, to train and to validate on.")
    held_out = min(max(round(len(source) * val_fraction), 1), len(source) - 1)
    order = np.random.default_rng(seed).permutation(len(source))
    return source.subset(sorted(order[held_out:])), source.subset(sorted(order[:held_out]))


def _pair(folder: Path) -> FolderSource:
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    for here, there, kind in ((images, masks, "mask"), (masks, images, "image")):
        alone = sorted(here.keys() - there.keys())
        if alone:
            raise KsegError(
                f"{len(alone)} files have no {kind}: {here[alone[0]]}"
                + (" and others" if len(alone) > 1 else "")
                + f". Expected a file of the same stem in {folder / (kind + 's')}."
            )
    stems = sorted(images)
    return FolderSource(str(folder), [images[stem] for stem in stems], [masks[stem] for stem in stems])


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise KsegError(
            f"There is no folder {folder}. Expected {folder.parent} to hold images/ and masks/, "
            "or train/ (and val/) with those two in each."
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
            continue
        if path.stem in files:
            raise KsegError(f"{files[path.stem]} and {path} have the same stem; expected one file for each.")
        files[path.stem] = path
    if not files:
        raise KsegError(f"{folder} has no image files; expected any of {', '.join(sorted(EXTENSIONS))}.")
    return files


def _read_pair(image_path: bytes, mask_path: bytes) -> tuple[np.ndarray, np.ndarray]:
    image, mask = read_image(image_path.decode()), read_mask(mask_path.decode())
    if image.shape[:2] != mask.shape[:2]:
        raise KsegError(
            f"{image_path.decode()} is {image.shape[1]} x {image.shape[0]} and its mask {mask.shape[1]} x "
            f"{mask.shape[0]} (width x height); expected one size. Make a new mask, or take the pair out."
        )
    return image, mask


def _read_mask_bytes(path: bytes) -> np.ndarray:
    return read_mask(path.decode())


def read_image(path: str) -> np.ndarray:
    """An image file as uint8 `(H, W, 3)`; grey becomes three equal channels.

    Raises:
        KsegError: the file cannot be read, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            if file.mode not in _IMAGE_MODES:
                raise KsegError(f"{path} has Pillow's mode {file.mode!r}; expected 8 bits a channel. Convert it first.")
            return np.asarray(file.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise KsegError(f"{path} cannot be read: {error}") from error


def read_mask(path: str) -> np.ndarray:
    """A mask file as int32 `(H, W, 1)` of the values stored: of a palette image, the indices.

    Raises:
        KsegError: the file cannot be read, or holds colours.
    """
    try:
        with Image.open(path) as file:
            values = np.asarray(file)
    except (OSError, Image.DecompressionBombError) as error:
        raise KsegError(f"{path} cannot be read: {error}") from error
    if values.ndim == 3:
        colours = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
        if (colours != colours[..., :1]).any():
            raise KsegError(f"{path} is a mask in colours; expected one channel of class indices, or 0 and 255.")
        values = colours[..., 0]
    if not np.can_cast(values.dtype, np.int64) or values.min(initial=0) < 0:
        raise KsegError(f"{path} holds {values.dtype} from {values.min()}; expected integers, 0 or more.")
    # Beyond 65535 only "not background" can matter: such masks hold instance ids.
    return np.minimum(values.astype(np.int64), 65535).astype(np.int32)[..., None]
