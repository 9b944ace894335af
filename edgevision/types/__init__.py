"""The vocabulary that crosses every stage: frames in, :class:`FrameResult` out; a module for each result."""

from edgevision.types.arrays import IGNORE_ID, FloatArray, Image, IntArray, ObjectArray
from edgevision.types.classification import Classification, Label
from edgevision.types.detections import Attribute, Detection, Detections, KeyPoint, Skeleton, no_attributes
from edgevision.types.frame import Frame
from edgevision.types.result import FrameResult, Result
from edgevision.types.segmentation import SegmentationMap
from edgevision.types.zones import LineCount, ZoneCount, ZoneEvent, ZoneEventKind, ZoneReport

__all__ = [
    "IGNORE_ID",
    "Attribute",
    "Classification",
    "Detection",
    "Detections",
    "FloatArray",
    "Frame",
    "FrameResult",
    "Image",
    "IntArray",
    "KeyPoint",
    "Label",
    "LineCount",
    "ObjectArray",
    "Result",
    "SegmentationMap",
    "Skeleton",
    "ZoneCount",
    "ZoneEvent",
    "ZoneEventKind",
    "ZoneReport",
    "no_attributes",
]
