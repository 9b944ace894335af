"""edgevision: from a camera to detections, in real time, on the machine beside it."""

import contextlib as _contextlib

# Before PyAV, wherever that is imported: the other order hangs cv2.imshow. Where OpenCV does not load, who
# needs it says so; 'edgevision doctor' must start all the same, to say what is missing.
with _contextlib.suppress(ImportError):
    import cv2 as _cv2  # noqa: F401

__version__ = "0.1.0"
