"""The order in which OpenCV and PyAV are loaded, and a machine without OpenCV."""

import os
import subprocess
import sys

from edgevision.video import opencv_first

CODE = """
import runpy, sys
loaded = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("cv2", "av"):
            loaded[name] = True
            if name == "cv2" and MISSING:
                raise ImportError("no OpenCV")
sys.meta_path.insert(0, Watch())
"""


def loaded(statement, missing=False):
    code = CODE.replace("MISSING", str(missing)) + f"{statement}\nprint(*loaded)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_opencv_is_loaded_before_pyav():
    assert loaded("import edgevision.video.sources.file") == ["cv2", "av"]


def test_without_opencv_the_module_itself_still_loads():
    assert loaded(f"runpy.run_path({opencv_first.__file__!r})", missing=True) == ["cv2"]


def test_opencv_decodes_no_image_above_the_limit_whatever_its_format():
    code = (
        "from edgevision.video.codec.decode import MAX_PIXELS\n"
        "import cv2, os, numpy as np\n"
        "print(os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'] == str(MAX_PIXELS))\n"
        "try: cv2.imdecode(np.frombuffer(b'P5 16000 16000 255 ' + bytes(64), np.uint8), 0)\n"
        "except cv2.error as error: print('pixels <=' in str(error))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OPENCV_IO_MAX_IMAGE_PIXELS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["True", "True"]
