"""Records what OpenCV's reader of darknet files answers, for tests/models/yolo_v3/test_darknet.py.

OpenCV 5 has no such reader any more, so run it with OpenCV 4 in an environment of its own:

    python -m venv cv4 && cv4/bin/pip install "opencv-python-headless<5" msgspec
    PYTHONPATH=. cv4/bin/python tools/record_darknet.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from tests.support import darknet

OUT = Path(__file__).parent.parent / "tests" / "models" / "yolo_v3" / "opencv.npz"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cfg = Path(folder) / "net.cfg"
        cfg.write_text(darknet.CFG)
        weights = darknet.write_weights(Path(folder) / "net.weights", darknet.weights(darknet.plan()))
        net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setInput(darknet.image())
    rows = net.forward(net.getUnconnectedOutLayersNames())
    np.savez_compressed(
        OUT, version=np.array(cv2.__version__), **{f"map{i}": one for i, one in enumerate(rows)}
    )


if __name__ == "__main__":
    main()
