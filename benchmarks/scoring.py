"""How scripts that train in a loop of their own score a network."""

from collections.abc import Callable

import numpy as np

from kseg.data import Batches
from kseg.metrics import SegmentationMetrics
from kseg.runs.data import RunData


def score(logits_of: Callable[[np.ndarray], object], validation: Batches, data: RunData) -> tuple[float, float]:
    """Return the mean F1 and the mean IoU of what a network gives for the validation images."""
    metric = SegmentationMetrics(class_names=data.task.classes)
    for images, masks, *weights in validation:
        logits = logits_of(images)
        metric.update_state(masks, logits, sample_weight=weights[0] > 0 if weights else None)
    found = metric.result()
    return float(found["f1"]), float(found["iou"])
