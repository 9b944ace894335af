"""Weights that are not ONNX yet: what they are, and the command of their own project that exports them.

Nothing is unpickled: of PyTorch's files only the names of the modules in them are looked for.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

_IMPORT = "then 'edgevision import'"
_OWN_PICKLE = b"optimiser"
"""A key of our checkpoints, which others write with a z."""

_PROJECTS = (
    (b"ultralytics", "ultralytics", "yolo export model={file} format=onnx"),
    (b"rfdetr", "RF-DETR", "model.export() in Python"),
    (b"yolox", "YOLOX", "python tools/export_onnx.py -c {file}"),
    (b"super_gradients", "YOLO-NAS", 'model.export("{stem}.onnx") in Python'),
    (b"nanodet", "NanoDet", "python tools/export_onnx.py --cfg_path CONFIG --model_path {file}"),
    (b"mmengine", "OpenMMLab", "tools/deploy.py of mmdeploy"),
    (b"segmentation_models_pytorch", "segmentation_models_pytorch", "torch.onnx.export in Python"),
    (b"effdet", "effdet", "torch.onnx.export in Python"),
    (b"torchvision", "torchvision", "torch.onnx.export in Python"),
    (b"models.yolo", "YOLOv5 or YOLOv7", "python export.py --weights {file} of that project"),
)
"""What a file of PyTorch names, whose it is, and how that project exports."""

_TORCH = (
    "weights of PyTorch; export them with the project that trained them, such as "
    "'yolo export model={file} format=onnx' (ultralytics), 'python tools/export_onnx.py' (YOLOX), "
    "model.export() (RF-DETR) or torch.onnx.export (torchvision)"
)
_DEVICE = "a file for one kind of device; take the ONNX file that it was made from"
_TF2ONNX = "python -m tf2onnx.convert"

_FILES = {
    ".safetensors": "weights of Hugging Face without their network; export the model's folder with "
    "'optimum-cli export onnx -m FOLDER OUT'",
    ".tflite": f"a TensorFlow Lite model; convert it with '{_TF2ONNX} --tflite {{file}} --output "
    "{stem}.onnx'",
    ".pb": f"a TensorFlow graph; convert it with '{_TF2ONNX} --graphdef {{file}} --output {{stem}}.onnx "
    "--inputs NAME:0 --outputs NAME:0'",
    ".h5": f"a Keras model; convert it with '{_TF2ONNX} --keras {{file}} --output {{stem}}.onnx'",
    ".keras": 'a Keras model; export it in Python with model.export("{stem}.onnx", format="onnx")',
    ".pdmodel": "a PaddlePaddle model; convert it with 'paddle2onnx --model_dir FOLDER --model_filename "
    "{file} --params_filename {stem}.pdiparams --save_file {stem}.onnx'",
    ".pdparams": "weights of PaddlePaddle; export them with 'python tools/export_model.py' of their project, "
    "then convert them with 'paddle2onnx'",
    ".xml": "an OpenVINO model; take the ONNX file that it was converted from, or export that again with its "
    "own project",
    ".mlmodel": "a Core ML model; export ONNX with the project that trained it",
    ".param": "a network of ncnn; tools/ncnn_to_onnx.py in edgevision's repository brings it to ONNX",
    ".weights": "weights of Darknet, which have no network; give the .cfg that they belong to",
    ".cfg": "a network of Darknet, with its weights beside it",
    ".caffemodel": "a Caffe model; export ONNX with a newer release of its project",
    ".msgpack": "weights of Flax; export the model's folder with 'optimum-cli export onnx -m FOLDER OUT'",
    ".trt": "a plan of TensorRT, machine code for one GPU; take the ONNX file that it was built from",
    **dict.fromkeys((".rknn", ".hef", ".om", ".dlc", ".mnn", ".nb", ".blob", ".tnnmodel"), _DEVICE),
}
_FILES |= dict.fromkeys((".pdiparams",), _FILES[".pdmodel"])
_FILES |= dict.fromkeys((".hdf5",), _FILES[".h5"])


def export_advice(path: Path) -> str:
    """What a file or folder is that is no ONNX model, and how its own project makes one of it.

    Args:
        path: what the user gave as a model; it may be missing.

    Returns:
        A clause for the end of a message; empty where the name and the content say nothing.

    Example:
        >>> export_advice(Path("model.tflite"))[:24]
        'a TensorFlow Lite model;'
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        text = _of_folder(path, suffix)
    elif suffix in (".pt", ".pth", ".ckpt"):
        text = _of_torch(path)
    else:
        text = _FILES.get(suffix, "")
        if suffix in (".bin",) and path.with_suffix(".xml").is_file():
            text = _FILES[".xml"]
    if not text:
        return ""
    shown = text.replace("{file}", str(path)).replace("{stem}", path.stem)
    return shown if shown.endswith("'edgevision export'") else f"{shown}, {_IMPORT}"


def _of_folder(path: Path, suffix: str) -> str:
    if (path / "saved_model.pb").is_file():
        command = f"{_TF2ONNX} --saved-model {{file}} --output {{stem}}.onnx"
        return f"a TensorFlow SavedModel; convert it with '{command}'"
    if suffix == ".mlpackage":
        return _FILES[".mlmodel"]
    if any(path.glob("*.safetensors")) or (path / "pytorch_model.bin").is_file():
        return "a model of Hugging Face; export it with 'optimum-cli export onnx -m {file} OUT'"
    if any(path.glob("*.pdmodel")) or any(path.glob("*.pdiparams")):
        return (
            "a PaddlePaddle model; convert it with 'paddle2onnx --model_dir {file} --model_filename "
            "NAME.pdmodel --params_filename NAME.pdiparams --save_file {stem}.onnx'"
        )
    found = sorted(path.glob("*.onnx"))
    if found:
        return f"a folder; give the file in it, such as {found[0]}, if need be after its import"
    return ""


def _of_torch(path: Path) -> str:
    """Which project's weights a file holds, by the names in its pickle."""
    names = _pickle(path)
    if _OWN_PICKLE in names:
        return "a checkpoint of edgevision; export it with 'edgevision export'"
    for name, project, command in _PROJECTS:
        if name in names:
            return f"weights of {project}; export them with: {command}"
    return _TORCH


def _pickle(path: Path) -> bytes:
    """The pickle in a file of PyTorch 1.6 or newer, which lists the classes that it holds; else nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [one for one in archive.infolist() if one.filename.endswith("/data.pkl")]
            if inside and inside[0].file_size < _LARGEST_PICKLE:
                return archive.read(inside[0])
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        pass
    return b""


_LARGEST_PICKLE = 1 << 26
"""In bytes: it holds names and shapes, no weights."""
