"""Records what OpenCV's reader of darknet files answers, for tests/models/yolo_v3/test_darknet.py.

OpenCV 5 has no such reader any more, so run it with OpenCV 4 in an environment of its own:

    python -m venv cv4 && cv4/bin/pip install "opencv-python-headless<5" msgspec
    cv4/bin/python tools/record_darknet.py

It writes tests/models/yolo_v3/opencv.npz.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "tests" / "models" / "yolo_v3" / "opencv.npz"
INSTALL = "python -m venv cv4 && cv4/bin/pip install 'opencv-python-headless<5' msgspec"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    sys.path.insert(0, str(ROOT))
    try:
        import cv2
        import numpy as np

        from tests.support import darknet
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is not installed; try: {INSTALL}\n")
        return 1
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        sys.stderr.write(
            f"error: OpenCV {cv2.__version__} has no reader of darknet files; expected OpenCV 4, in an "
            f"environment of its own: {INSTALL}\n"
        )
        return 1
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
