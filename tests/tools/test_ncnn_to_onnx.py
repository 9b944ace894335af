"""The tool that reads ncnn's files: every layer that it knows, against the same network by hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from edgevision.errors import ExportError
from tests.support.paths import ROOT

SIZE = 16
NET = """7767517
12 14
Input          data   0 1 data
Convolution    c1     1 1 data c1 0=8 1=3 3=2 4=1 5=1 6=216 9=2 -23310=1,1.000000e-01
Pooling        pool   1 1 c1 p 1=3 2=2 3=1 5=1
Split          s      1 2 p p0 p1
ShuffleChannel mix    1 1 p0 m 0=2
Crop           cut    1 1 m cut -23309=1,0 -23310=1,4 -23311=1,0
ConvolutionDepthWise d 1 1 cut d 0=4 1=3 4=1 5=1 6=36 7=4
Concat         cat    2 1 d p1 cat
Interp         up     1 1 cat up 0=2 1=2.0 2=2.0
Split          two    1 2 up up0 up1
BinaryOp       add    2 1 up0 up1 sum
Slice          parts  1 2 sum a b -23300=2,5,-233
Sigmoid        prob   1 1 a sa
Concat         back   2 1 sa b both
Reshape        flat   1 1 both rows 0=-1 1=12
Permute        turn   1 1 rows output 0=1
"""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("ncnn_to_onnx")


def write_net(folder: Path, text: str = NET, tail: bytes = b"") -> dict[str, np.ndarray]:
    """The files of the network above, its weights in FP16 for the first layer and FP32 for the second."""
    rng = np.random.default_rng(2)
    weights = {
        "c1": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float16).astype(np.float32),
        "b1": rng.normal(0, 0.3, 8).astype(np.float32),
        "d": rng.normal(0, 0.3, (4, 1, 3, 3)).astype(np.float32),
        "bd": rng.normal(0, 0.3, 4).astype(np.float32),
    }
    content = np.uint32(0x01306B47).tobytes() + weights["c1"].astype(np.float16).tobytes()
    content += weights["b1"].tobytes() + np.uint32(0).tobytes() + weights["d"].tobytes()
    (folder / "net.param").write_text(text)
    (folder / "net.bin").write_bytes(content + weights["bd"].tobytes() + tail)
    return weights


def by_hand(image: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    w = {name: torch.from_numpy(value) for name, value in weights.items()}
    x = F.leaky_relu(F.conv2d(torch.from_numpy(image), w["c1"], w["b1"], stride=2, padding=1), 0.1)
    p = F.max_pool2d(x, 3, 2, 1)
    mixed = p[:, [0, 4, 1, 5, 2, 6, 3, 7]]  # two groups of four, one of each in turn
    d = F.conv2d(mixed[:, :4], w["d"], w["bd"], padding=1, groups=4)
    up = F.interpolate(torch.cat([d, p], 1), scale_factor=2, mode="bilinear", align_corners=False)
    total = up + up
    both = torch.cat([total[:, :5].sigmoid(), total[:, 5:]], 1)
    return both.reshape(1, 12, -1).transpose(1, 2).numpy()


def test_the_onnx_file_answers_as_the_network_does(tool: ModuleType, tmp_path: Path) -> None:
    weights = write_net(tmp_path)
    model = tool.convert(tmp_path / "net.param", SIZE, tmp_path / "net.onnx")
    (output,) = model.graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [1, 64, 12]
    image = np.random.default_rng(1).normal(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["output"], {"data": image})
    np.testing.assert_allclose(found, by_hand(image, weights), atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("7767517", "1", "is not an ncnn .param file"),
        ("Sigmoid ", "Swish ", "layer prob is a Swish of a form that this tool does not know"),
        ("1=3 2=2 3=1 5=1", "0=1 1=3 2=2 3=1 5=1", "layer pool is a Pooling of a form"),
        ("6=216", "6=2160", "ends early"),
        ("9=2 ", "9=6 ", "layer c1: activation 6, which this tool does not know"),
        ("4=1 5=1 6=216", "4=-233 5=1 6=216", "padding of kind -233"),
        ("1 1 data c1", "x 1 data c1", "a line of it is no layer"),
        ("1 1 rows output", "1 1 nowhere output", "takes nowhere, which no layer before it makes"),
    ],
)
def test_what_cannot_be_read_is_named(
    tool: ModuleType, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in NET
    write_net(tmp_path, NET.replace(old, new, 1))
    with pytest.raises(ExportError, match=words):
        tool.convert(tmp_path / "net.param", SIZE, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_weights_that_are_too_many_or_missing_are_named(tool: ModuleType, tmp_path: Path) -> None:
    write_net(tmp_path, tail=b"1234")
    with pytest.raises(ExportError, match="4 bytes are left after the last layer"):
        tool.convert(tmp_path / "net.param", SIZE, tmp_path / "net.onnx")
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ExportError, match="cannot read the weights"):
        tool.convert(tmp_path / "net.param", SIZE, tmp_path / "net.onnx")
