"""Ranges of a training in the exported graph: what was trained is what runs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgevision.calibration.qdq import insert_qdq
from edgevision.errors import ExportError
from edgevision.export.ranges import trained_ranges
from edgevision.export.trace import trace
from edgevision.graph.convolutions import find_convolutions
from edgevision.training.config import QuantiseConfig
from edgevision.training.quantise import Int8Convolutions, with_ranges

SIZE = 12


class Network(nn.Module):
    """Two convolutions read one tensor, one is called twice, and the last stays in float."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.left = nn.Conv2d(8, 8, 1)
        self.right = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8))
        self.predict = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = torch.relu(torch.cat([self.left(x), self.right(x)], dim=2))
        answer: Tensor = self.predict(torch.relu(self.left(x)))
        return answer


def test_the_exported_graph_answers_as_the_network_did_in_training() -> None:
    torch.manual_seed(3)
    network = Network().eval()
    for norm in (network.stem[1], network.right[1]):
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.uniform_(norm.running_var, 0.2, 3)
    images = torch.randn(2, 3, SIZE, SIZE)
    quantise = with_ranges(network, ("predict",), QuantiseConfig(percentile=99, images=2), lambda: [images])
    assert quantise is not None
    core = trace(network, SIZE, SIZE, ["heads"])
    ranges = trained_ranges(core, network, quantise, SIZE, SIZE)
    reads = [node.input[0] for node in core.graph.node if node.op_type == "Conv"]
    assert len(reads) == 5
    assert reads[0] == "images"
    assert reads[1] == reads[2]
    kept = quantise.ranges
    both = max(kept["left"], kept["right.0"])
    assert ranges == {reads[0]: kept["stem.0"], reads[1]: both, reads[3]: kept["left"]}
    # As the file holds it: what both read has the greater of their ranges.
    shared = {**kept, "right.0": both, "left": both}
    ranges[reads[3]] = both
    with torch.inference_mode():
        plain = network(images).numpy()
        with Int8Convolutions(network, ("predict",), QuantiseConfig(ranges=shared)):
            trained = network(images).numpy()
    layers = [layer for layer in find_convolutions(core, ["heads"]) if not layer.feeds_head]
    made = insert_qdq(core, layers, ranges).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    # A value on the edge of two steps may fall to the other, for BatchNorm is folded into the weights.
    assert np.mean(np.abs(found - trained) > 1e-4) < 0.02
    assert np.abs(plain - trained).mean() > 20 * np.abs(found - trained).mean()

    # Without kept ranges there are none, and those of another network are refused.
    assert trained_ranges(core, network, None, SIZE, SIZE) == {}
    assert trained_ranges(core, network, QuantiseConfig(), SIZE, SIZE) == {}
    other = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)).eval()
    with pytest.raises(ExportError, match="the exported graph has other convolutions than the network"):
        trained_ranges(core, other, QuantiseConfig(ranges={"0": 1.0, "1": 1.0}), SIZE, SIZE)
