"""A darknet network as a model file: the same boxes and scores as its layers in torch, and its messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgevision.contract.manifest import INPUT_NAME
from edgevision.engines import load_engine
from edgevision.errors import CheckpointError, ConfigError
from edgevision.export.darknet import import_darknet
from edgevision.export.importers import Choices
from edgevision.graph.lint import check_tensorrt
from edgevision.graph.load import load_onnx
from edgevision.models.yolo_v3.decoding import YoloV3Decoding
from edgevision.models.yolo_v3.network import Darknet
from edgevision.models.yolo_v3.weights import load_weights
from tests.support.darknet import CFG, HEIGHT, WIDTH, image, plan, weights, write_weights


def test_the_file_answers_as_its_layers_do(tmp_path: Path) -> None:
    cfg = tmp_path / "net.cfg"
    cfg.write_text(CFG)
    path = write_weights(tmp_path / "net.weights", weights(plan()))
    out = tmp_path / "net.onnx"
    choices = Choices(classes=("cat", "dog"), name="small", min_score=0.3, iou=1.0)
    imported = import_darknet(cfg, None, out, choices)
    manifest = imported.manifest
    assert (manifest.name, manifest.classes) == ("small", ("cat", "dog"))
    assert (manifest.input_width, manifest.input_height) == (WIDTH, HEIGHT)
    assert (manifest.resize.rule, manifest.resize.fill) == ("letterbox", 128)
    assert (imported.kind, imported.batch) == ("darknet", None)
    assert "23 layers, 2 classes and predicts on maps of 12x8, 24x16" in imported.conclusion
    assert check_tensorrt(load_onnx(out)) == []

    pixels = (image() * 255).round().astype(np.uint8)
    frames = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)[..., ::-1])
    with load_engine(out, "onnxruntime", threads=1) as engine:
        found = engine.infer({INPUT_NAME: frames})
    network = Darknet(plan()).eval()
    load_weights(network, path)
    with torch.inference_mode():
        boxes, scores = YoloV3Decoding(plan())(network(torch.from_numpy(pixels / np.float32(255))))
    best = scores[0].flatten().sort(descending=True)
    count = int(found["count"][0])
    assert count == 100
    np.testing.assert_allclose(found["scores"][0], best.values[:count].numpy(), atol=1e-4)
    limit = torch.tensor([WIDTH, HEIGHT] * 2)
    wanted = torch.minimum(boxes[0].clamp(min=0), limit)[best.indices[:5] // 2].numpy()
    np.testing.assert_allclose(found["boxes"][0, :5], wanted, atol=0.05)
    np.testing.assert_array_equal(found["labels"][0, :5], best.indices[:5].numpy() % 2)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"darknet .cfg not found: .*none.cfg"):
        import_darknet(tmp_path / "none.cfg", None, tmp_path / "x.onnx")
    cfg = tmp_path / "net.cfg"
    cfg.write_text(CFG)
    with pytest.raises(CheckpointError, match=r"darknet weights not found: .*net.weights"):
        import_darknet(cfg, None, tmp_path / "x.onnx")
    cfg.write_text("[net]\nwidth=32\n[reorg]\nstride=2\n")
    with pytest.raises(ConfigError, match=r"net.cfg, \[reorg\] in line 3: .* which is not known"):
        import_darknet(cfg, None, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
