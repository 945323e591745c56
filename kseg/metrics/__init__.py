"""Streaming metrics for segmentation, exact for any number of pixels.

Over all pixels: `SegmentationMetrics` (a dict of five), `F1Score`, `IoU`, `Precision`, `Recall`, `PixelAccuracy`,
`MeanIoU`, `ConfusionMatrix`.
Averaged over images: `ImageF1`, `ImageIoU`, `FalseAlarmRate`. Over all thresholds: `ThresholdCurve`.
Statistics of the predictions: `PredictionMonitor`, which returns `PredictionCounts`.
"""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.metrics.curve import ThresholdCurve
from kseg.metrics.predictions import PredictionCounts, PredictionMonitor
from kseg.metrics.segmentation import (
    ConfusionMatrix,
    F1Score,
    FalseAlarmRate,
    ImageF1,
    ImageIoU,
    IoU,
    MeanIoU,
    PixelAccuracy,
    Precision,
    Recall,
    SegmentationMetrics,
)

__all__ = [
    "ConfusionMatrix",
    "F1Score",
    "FalseAlarmRate",
    "ImageF1",
    "ImageIoU",
    "IoU",
    "MeanIoU",
    "PixelAccuracy",
    "Precision",
    "PredictionCounts",
    "PredictionMonitor",
    "Recall",
    "SegmentationMetrics",
    "ThresholdCurve",
]

# An old name, which still works.
MeanF1 = ImageF1
