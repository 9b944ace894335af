"""Names of the arrays that results are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""An image as OpenCV gives it: uint8 ``[H, W, 3]``, BGR."""

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
ObjectArray = NDArray[np.object_]

IGNORE_ID = 255
"""Label of pixels that training and evaluation leave out, in every segmentation data set."""
