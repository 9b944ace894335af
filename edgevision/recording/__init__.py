"""Recordings that run for days: rotated files, a disk budget, clips around events."""

import edgevision.video.opencv_first  # noqa: F401  (before whatever imports PyAV)
from edgevision.recording.limits import Rotation, parse_rotation
from edgevision.recording.recorder import Recorder
from edgevision.recording.store import SegmentStore
from edgevision.recording.trigger import SightTrigger
from edgevision.units import parse_size

__all__ = ["Recorder", "Rotation", "SegmentStore", "SightTrigger", "parse_rotation", "parse_size"]
