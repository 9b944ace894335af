"""Recordings that run for days: rotated files, a budget of disk, clips around what matters."""

import edgevision.video.opencv_first  # noqa: F401  (before whatever imports PyAV)
from edgevision.recording.limits import Rotation, parse_rotation, parse_size
from edgevision.recording.recorder import Recorder
from edgevision.recording.store import SegmentStore
from edgevision.recording.trigger import SightTrigger

__all__ = ["Recorder", "Rotation", "SegmentStore", "SightTrigger", "parse_rotation", "parse_size"]
