"""OpenCV, loaded before PyAV: the other order hangs ``cv2.imshow``.

Packages that use PyAV import this before anything else. Where OpenCV does not load, who needs it says so;
``edgevision doctor`` must start all the same, to say what is missing.
"""

import contextlib

with contextlib.suppress(ImportError):
    import cv2  # noqa: F401
