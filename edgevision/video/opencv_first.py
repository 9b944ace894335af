"""OpenCV, loaded before PyAV: the other order hangs ``cv2.imshow``.

Packages that use PyAV import this before anything else. Where OpenCV does not load, who needs it says so;
``edgevision doctor`` must start all the same, to say what is missing.

OpenCV reads its limit on the pixels of an image as it is loaded; without one it decodes up to 2 ** 30.
"""

import contextlib
import os

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "250000000")  # MAX_PIXELS, which PyAV's modules hold

with contextlib.suppress(ImportError):
    import cv2  # noqa: F401
