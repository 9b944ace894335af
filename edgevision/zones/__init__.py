"""Polygons and lines in the picture: who is inside, for how long, and who crossed. docs/tracking.md."""

from edgevision.zones.layout import Anchor, Line, Zone, ZoneLayout, load_zones
from edgevision.zones.monitor import ZoneMonitor

__all__ = ["Anchor", "Line", "Zone", "ZoneLayout", "ZoneMonitor", "load_zones"]
