"""Streaming metrics for segmentation, exact on any stream.

Over all pixels: `SegmentationMetrics` (a dict of five), `F1Score`, `IoU`, `Precision`, `Recall`,
`PixelAccuracy`. Averaged over images: `MeanF1`, `MeanIoU`, `FalseAlarmRate`. Over all thresholds:
`ThresholdCurve`. What is being predicted: `PredictionMonitor`.
"""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.metrics.curve import ThresholdCurve
from kseg.metrics.predictions import PredictionCounts, PredictionMonitor
from kseg.metrics.segmentation import (
    F1Score,
    FalseAlarmRate,
    IoU,
    MeanF1,
    MeanIoU,
    PixelAccuracy,
    Precision,
    Recall,
    SegmentationMetrics,
)

__all__ = [
    "F1Score",
    "FalseAlarmRate",
    "IoU",
    "MeanF1",
    "MeanIoU",
    "PixelAccuracy",
    "Precision",
    "PredictionCounts",
    "PredictionMonitor",
    "Recall",
    "SegmentationMetrics",
    "ThresholdCurve",
]
