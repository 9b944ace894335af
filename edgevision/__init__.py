"""edgevision: from a camera to detections, in real time, on the machine beside it."""

import cv2 as _cv2  # noqa: F401  (before PyAV, wherever that is imported: the other order hangs cv2.imshow)

__version__ = "0.1.0"
