"""The model files that benchmarks/engines.py measures, and the images used to calibrate them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
from common import SHARED
from numpy.typing import NDArray

from edgevision.calibration.float_model import load_float_model
from edgevision.calibration.qdq import insert_qdq
from edgevision.calibration.ranges import measure_ranges, thresholds
from edgevision.config import config_folder, load_config
from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Manifest, Precision
from edgevision.contract.model_file import write_manifest
from edgevision.export.to_half import export_half
from edgevision.zoo import shipped_model

RESNET18 = "retinanet-resnet18"
_CALIBRATION_IMAGES = 48


def precisions(
    source: Path, folder: Path, images: Sequence[NDArray[np.uint8]], shipped: Path | None
) -> dict[Precision, Path]:
    """An FP32 file and its FP16 and INT8 variants; what does not ship is written into ``folder``.

    Args:
        source: the FP32 file.
        folder: for what is made.
        images: to calibrate on.
        shipped: the INT8 file that ships; without one it is plain calibration.
    """
    half = folder / "model.fp16.onnx"
    export_half(source, half)
    int8 = shipped or _calibrated(source, folder / "model.int8.onnx", images)
    return {"fp32": source, "fp16": half, "int8": int8}


def shipped_int8(name: str) -> Path | None:
    """The INT8 file that ships under a model's name, or lies beside an ONNX file as ``STEM.int8.onnx``."""
    beside = Path(name).with_suffix(".int8.onnx")
    if name.endswith(".onnx") and beside.is_file():
        return beside
    model = shipped_model(name)
    files = () if model is None else model.files
    return next((one.path for one in files if one.manifest.precision == "int8"), None)


def _calibrated(source: Path, int8: Path, images: Sequence[NDArray[np.uint8]]) -> Path:
    model = load_float_model(source)
    tensors = [layer.data for layer in model.candidates]
    ranges = measure_ranges(model.graph, tensors, lambda: images, histograms=True)
    onnx.save(insert_qdq(model.graph, model.candidates, thresholds(ranges, "percentile")), int8)
    write_manifest(int8, msgspec.structs.replace(model.manifest, precision="int8"))
    return int8


def write_resnet18(path: Path) -> Path:
    """Writes a RetinaNet on ResNet-18 with random weights: a smaller version of the detector for GPUs."""
    import torch

    from edgevision.export.detector import export_detector
    from edgevision.models.retinanet import RetinaNet
    from edgevision.models.settings import RetinaNetConfig
    from edgevision.training.config import DetectorTraining

    large = load_config(config_folder() / "models" / "retinanet-resnet50.yaml", DetectorTraining)
    assert isinstance(large.model, RetinaNetConfig)  # as its file says
    backbone = msgspec.structs.replace(large.model.backbone, name="resnet18", weights="random")
    model = msgspec.structs.replace(large.model, backbone=backbone, input_size=320, channels=128)
    config = msgspec.structs.replace(large, name=RESNET18, model=model)
    torch.manual_seed(0)
    export_detector(RetinaNet(model, len(config.classes)), config, {}, path)
    return path


def letterboxed(manifest: Manifest) -> list[NDArray[np.uint8]]:
    """Photographs as model inputs, uint8 ``[1, H, W, 3]``: from the training data, or from scikit-image."""
    sub = "detection/images/train_real" if manifest.task == "detection" else "camvid/images/train"
    files = sorted((SHARED / sub).rglob("*.[jp][pn]g"))
    step = max(1, len(files) // _CALIBRATION_IMAGES)
    read = (cv2.imread(str(file)) for file in files[::step][:_CALIBRATION_IMAGES])
    images = [np.asarray(image, np.uint8) for image in read if image is not None]
    if not images:
        from skimage import data

        photographs: Sequence[Callable[[], NDArray[np.uint8]]] = (data.astronaut, data.chelsea, data.rocket)
        images = [np.ascontiguousarray(one()[..., ::-1]) for one in photographs]
    size = (manifest.input_width, manifest.input_height)
    return [
        Letterbox.fit(image.shape[1], image.shape[0], *size, manifest.resize).image(image)[None]
        for image in images
    ]
