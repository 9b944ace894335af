"""Panoptic maps: the objects of one model joined with the class map of another, and how they are written."""

from edgevision.panoptic.coco import panoptic_colours, panoptic_ids
from edgevision.panoptic.draw import draw_panoptic
from edgevision.panoptic.folder import PanopticFolder
from edgevision.panoptic.job import PanopticOutcome, PanopticRequest, write_panoptic_maps
from edgevision.panoptic.join import PanopticMap, Segment, join_panoptic

__all__ = [
    "PanopticFolder",
    "PanopticMap",
    "PanopticOutcome",
    "PanopticRequest",
    "Segment",
    "draw_panoptic",
    "join_panoptic",
    "panoptic_colours",
    "panoptic_ids",
    "write_panoptic_maps",
]
