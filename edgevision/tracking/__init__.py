"""Polygons and lines in the picture: who is inside, for how long, and who crossed. docs/tracking.md."""

from edgevision.tracking.zone_monitor import ZoneMonitor
from edgevision.tracking.zones import Anchor, Line, Zone, ZoneLayout, load_zones

__all__ = ["Anchor", "Line", "Zone", "ZoneLayout", "ZoneMonitor", "load_zones"]
