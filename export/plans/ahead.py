"""What only TensorRT for RTX has: plans for a GPU that is not here."""

from __future__ import annotations

from typing import Any

from edgevision.errors import EngineError
from edgevision.extras import local_command


def build_for(trt: Any, config: Any, compute_capability: str) -> None:
    """Sets the compute capability (``8.9``) that a plan is built for.

    Raises:
        EngineError: this release of TensorRT for RTX does not know it.
    """
    name = "SM" + compute_capability.replace(".", "")
    known = getattr(trt.ComputeCapability, name, None)
    config.num_compute_capabilities = 1
    if known is None or not config.set_compute_capability(known, 0):
        raise EngineError(
            f"TensorRT for RTX {trt.__version__} cannot build for compute capability {compute_capability}; "
            f"install a newer one: {local_command('pip install -U tensorrt-rtx-cu13')}"
        )
