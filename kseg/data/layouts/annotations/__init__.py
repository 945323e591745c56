"""Annotations: outlines and runs of pixels in text, of which masks are drawn when they are read.

A pair of an annotated image has a `kseg.data.files.opening.DrawnMask` where others have a mask file. All of
them hold class indices, from 1 on; 0 is background, and 255, which is ignored, is no class.
"""

from kseg.data.layouts.annotations.coco import find_coco
from kseg.data.layouts.annotations.labelme import is_labelme, read_labelme
from kseg.data.layouts.annotations.yolo import find_yolo

__all__ = ["find_coco", "find_yolo", "is_labelme", "read_labelme"]
