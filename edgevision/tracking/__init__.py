"""Track ids, zones and lines: see docs/guides/zones.md."""

from edgevision.tracking.zone_monitor import ZoneMonitor
from edgevision.tracking.zones import BoxPoint, Line, Zone, ZoneLayout, load_zones

__all__ = ["BoxPoint", "Line", "Zone", "ZoneLayout", "ZoneMonitor", "load_zones"]
