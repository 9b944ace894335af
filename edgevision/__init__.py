"""edgevision: from a camera to detections, in real time, on the machine beside it."""

__version__ = "0.1.0"
