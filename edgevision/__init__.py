"""edgevision: from a camera to detections, in real time, on the machine beside it.

    import edgevision as ev

    with ev.load("retinanet-light", conf=0.4) as model:
        for result in ev.stream(model, "street.mp4", track=True):
            for found in result.detections:
                print(result.frame.time_s, found.name, found.track_id)

docs/guides/python.md has more. A name is loaded when it is first used: importing the package costs nothing.
"""

__version__ = "0.2.0"

__all__ = [
    "Classification",
    "Detections",
    "EdgeVisionError",
    "Frame",
    "FrameResult",
    "Model",
    "SegmentationMap",
    "load",
    "open_source",
    "run",
    "stream",
]

TYPE_CHECKING = False  # as typing has it, which would take longer to import than all of this
if TYPE_CHECKING:
    from edgevision.api import load as load
    from edgevision.api import open_source as open_source
    from edgevision.api import run as run
    from edgevision.api import stream as stream
    from edgevision.errors import EdgeVisionError as EdgeVisionError
    from edgevision.model import Model as Model
    from edgevision.types import Classification as Classification
    from edgevision.types import Detections as Detections
    from edgevision.types import Frame as Frame
    from edgevision.types import FrameResult as FrameResult
    from edgevision.types import SegmentationMap as SegmentationMap

_HOMES = {
    "load": "edgevision.api",
    "open_source": "edgevision.video",
    "run": "edgevision.api",
    "stream": "edgevision.api",
    "EdgeVisionError": "edgevision.errors",
    "Model": "edgevision.model",
    "Classification": "edgevision.types",
    "Detections": "edgevision.types",
    "Frame": "edgevision.types",
    "FrameResult": "edgevision.types",
    "SegmentationMap": "edgevision.types",
}


def __getattr__(name: str) -> object:
    """Loads a public name when it is first used (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'edgevision' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
