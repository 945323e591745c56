"""Streaming metrics for segmentation, exact for any number of pixels.

Over all pixels: `SegmentationMetrics` (a dict of five), `F1Score`, `IoU`, `Precision`, `Recall`, `PixelAccuracy`.
Averaged over images: `ImageF1`, `ImageIoU`, `FalseAlarmRate`. Over all thresholds: `ThresholdCurve`.
Statistics of the predictions: `PredictionMonitor`, which returns `PredictionCounts`.
"""

from kseg.metrics.curve import ThresholdCurve
from kseg.metrics.predictions import PredictionCounts, PredictionMonitor
from kseg.metrics.segmentation import (
    F1Score,
    FalseAlarmRate,
    ImageF1,
    ImageIoU,
    IoU,
    PixelAccuracy,
    Precision,
    Recall,
    SegmentationMetrics,
)

__all__ = [
    "F1Score",
    "FalseAlarmRate",
    "ImageF1",
    "ImageIoU",
    "IoU",
    "PixelAccuracy",
    "Precision",
    "PredictionCounts",
    "PredictionMonitor",
    "Recall",
    "SegmentationMetrics",
    "ThresholdCurve",
]

# Old names, which still work. Keras's MeanIoU is a mean over classes.
MeanF1, MeanIoU = ImageF1, ImageIoU
