"""Streaming metrics for segmentation, exact on any stream.

Over all pixels: `SegmentationMetrics` (a dict of five), `F1Score`, `IoU`, `Precision`, `Recall`,
`PixelAccuracy`. Averaged over images: `ImageF1`, `ImageIoU`, `FalseAlarmRate`. Over all thresholds:
`ThresholdCurve`. What is being predicted: `PredictionMonitor`.
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

# The former names: Keras means another thing by MeanIoU, the mean over classes.
MeanF1, MeanIoU = ImageF1, ImageIoU
