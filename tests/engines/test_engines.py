"""Engines load without the packages that they do not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Without())
import {module}
"""


@pytest.mark.parametrize(
    "module",
    [
        "edgevision.engines",
        "edgevision.engines.trt.engine",
        "edgevision.engines.onnxrt",
        "edgevision.engines.ov",
    ],
)
def test_no_engine_needs_opencv(module: str) -> None:
    """A device without libGL runs plans all the same, as long as no frame is drawn."""
    code = _WITHOUT.format(names=("cv2", "av"), module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
