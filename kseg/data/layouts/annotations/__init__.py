"""Annotations: text with outlines or runs of pixels, from which masks are drawn when they are read.

Such a mask is a `kseg.data.files.masks.MaskAnnotation` in place of a mask file. It holds class indices from 1 on; 0 is
background, and 255, which is ignored, is no class.
"""

from kseg.data.layouts.annotations.coco import find_coco
from kseg.data.layouts.annotations.labelme import is_labelme, labelme_layout
from kseg.data.layouts.annotations.yolo import describes_data_set, find_yolo, yolo_lists

__all__ = ["describes_data_set", "find_coco", "find_yolo", "is_labelme", "labelme_layout", "yolo_lists"]
