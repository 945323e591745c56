"""How far each pixel is from the boundary of a class: what `kseg.losses.BoundaryLoss` takes in place of a mask."""

import numpy as np

from kseg import IGNORE


def signed_distances(mask: np.ndarray, outputs: int = 1) -> np.ndarray:
    """Return the distance of each pixel to the boundary of each class, negative inside it.

    It takes milliseconds an image, so it belongs into the pipeline, such as `Dataset.map` with `tf.numpy_function`. The
    distances are exact (SciPy), and as in Kervadec et al.: outside, to the nearest pixel inside; inside, to the nearest
    outside, less 1. A class that no pixel or every pixel has is at 0 everywhere, and has no effect.

    Args:
        mask: class indices `(H, W, 1)`, or 0 and 1 of each label `(H, W, outputs)`; 255 is ignored.
        outputs: number of logits: 1 for foreground, K for labels, or C classes with background first.

    Returns:
        float32 `(H, W, outputs)`, in pixels; NaN where pixels are ignored.

    Raises:
        ValueError: the mask has another number of channels than 1 and `outputs`.

    >>> signed_distances(np.uint8([[[0], [0], [1], [1], [0], [255]]]))[0, :, 0].tolist()
    [2.0, 1.0, -0.0, -0.0, 1.0, nan]
    """
    if mask.ndim != 3 or mask.shape[2] not in (1, outputs):
        raise ValueError(f"The mask has shape {mask.shape}; expected (H, W, 1) or (H, W, {outputs}).")
    if mask.shape[2] == 1 and outputs > 1:
        layers = np.where(mask == IGNORE, np.uint8(IGNORE), (mask == np.arange(outputs)).astype(np.uint8))
    else:
        layers = mask
    return np.stack([_of_layer(layers[..., index]) for index in range(outputs)], axis=-1)


def _of_layer(layer: np.ndarray) -> np.ndarray:
    from scipy import ndimage  # takes 0.2 s, and only this needs it

    inside = layer == 1
    if inside.all() or not inside.any():
        distances = np.zeros(layer.shape)
    else:
        inner = ndimage.distance_transform_edt(inside) - 1
        distances = np.where(inside, -inner, ndimage.distance_transform_edt(~inside))
    return np.where(layer == IGNORE, np.nan, distances).astype(np.float32)
