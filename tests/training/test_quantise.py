"""Training with the rounding of int8: what a convolution sees, which ones, and where gradients stop."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgevision.errors import ConfigError
from edgevision.models.settings import DetectionLossConfig
from edgevision.models.ssd.settings import SsdConfig
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import QuantiseConfig, apply_overrides
from edgevision.training.detection import DetectionTask
from edgevision.training.loop import Trainer
from edgevision.training.quantise import (
    Int8Convolutions,
    call_order,
    rounded_input,
    rounded_weight,
    rounded_within,
    with_ranges,
)
from edgevision.training.segmentation import SegmentationTask
from tests.support import segmentation
from tests.support.training import small_run


def test_weights_have_a_scale_for_each_output_channel() -> None:
    # Two channels whose largest magnitudes are 1.27 and 127: steps of 0.01 and 1.
    weight = torch.tensor([[1.27, 0.014, -0.016], [-127.0, 0.4, 0.6]])[:, :, None, None]
    expected = torch.tensor([[1.27, 0.01, -0.02], [-127.0, 0.0, 1.0]])[:, :, None, None]
    torch.testing.assert_close(rounded_weight(weight), expected)
    assert not rounded_weight(torch.zeros(2, 1, 1, 1)).any()


def test_folding_a_batch_norm_moves_no_weight_to_another_step() -> None:
    torch.manual_seed(0)
    weight, factors = torch.randn(16, 8, 3, 3), torch.rand(16, 1, 1, 1) + 0.1
    torch.testing.assert_close(rounded_weight(weight * factors), rounded_weight(weight) * factors)


def test_an_input_has_one_scale_and_is_clipped_at_a_percentile() -> None:
    data = torch.linspace(-1, 1, 20_001).reshape(1, 1, 1, -1).clone()
    data[..., 0] = -50.0
    whole, cut = rounded_input(data, 100.0), rounded_input(data, 99.9)
    assert whole.min() == -50
    assert float((whole - data).abs().max()) <= 50 / 127 / 2 + 1e-6
    assert cut.min() == -cut.max() == pytest.approx(-0.999, abs=0.002)
    assert cut.unique().numel() == 255


def test_gradients_pass_the_rounding_and_stop_where_a_value_is_clipped() -> None:
    data = torch.linspace(-1, 1, 2001).reshape(1, 1, 1, -1).clone().requires_grad_()
    rounded_input(data, 90.0).sum().backward()
    assert data.grad is not None
    clipped = data.detach().abs() > 0.91
    assert not data.grad[clipped].any()
    assert (data.grad[data.detach().abs() < 0.89] == 1).all()


def test_a_kept_range_rounds_as_quantize_linear_does() -> None:
    """Values on, between and beyond the steps; half-way ones go to the even step."""
    scale = np.float32(0.5)
    values = np.array([-80, -63.5, -63.3, -0.75, -0.25, 0, 0.2, 0.25, 0.26, 0.75, 63.4, 70], np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["values", "scale", "zero"], ["steps"]),
        helper.make_node("DequantizeLinear", ["steps", "scale", "zero"], ["held"]),
    ]
    constants = [
        numpy_helper.from_array(scale, "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(values)]) for name in ("values", "held")
    ]
    graph = helper.make_graph(nodes, "pair", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    (held,) = ReferenceEvaluator(model).run(None, {"values": values})
    found = rounded_within(torch.from_numpy(values), torch.tensor(scale * 127)).numpy()
    np.testing.assert_array_equal(found[1:], held[1:])
    assert (found[0], held[0]) == (-63.5, -64)  # QuantizeLinear has a step more below


def test_ranges_hold_a_share_of_what_is_above_zero_over_all_images_and_stay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1))
    nn.init.constant_(model[0].weight, 2.0)
    nn.init.constant_(model[0].bias, 1.0)
    batches = [torch.arange(0.0, 11).reshape(1, 1, 1, 11), -torch.arange(0.0, 21, 2).reshape(1, 1, 1, 11)]
    config = QuantiseConfig(percentile=90, images=2)
    found = with_ranges(model, ("2",), config, lambda: batches)
    # Above 0: 1 to 10 and 2, 4 to 20. Two of the twenty are greater than 16. Behind 2x + 1 there are 1 to 21
    # and -3, -7 to -39 and a 1: two of the 22 are greater than 31.
    assert found == QuantiseConfig(percentile=90, images=2, ranges={"0": 16.0, "1": 31.0})
    assert with_ranges(model, ("2",), found, lambda: pytest.fail("measured again")) == found
    assert with_ranges(model, (), QuantiseConfig(), lambda: pytest.fail("measured")) == QuantiseConfig()
    assert call_order(model, batches[0]) == ("0", "1", "2")
    with Int8Convolutions(model, ("2",), QuantiseConfig(ranges={"0": 127.0, "1": 12.7})):
        seen = model(torch.full((1, 1, 1, 1), 2.6))
    torch.testing.assert_close(seen, model[2](model[1](torch.full((1, 1, 1, 1), 7.0))))  # 2 * 3 + 1
    with pytest.raises(ConfigError, match=r"quantise\.ranges: 1 is no convolution of this network, or lacks"):
        Int8Convolutions(model, ("2",), QuantiseConfig(ranges={"0": 1.0}))


def test_layers_before_the_heads_stay_in_float_and_so_does_all_outside() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 1))
    images = torch.randn(1, 3, 9, 9)
    rounded = model[0](rounded_input(images, 100.0)), rounded_weight(model[0].weight)
    inner = torch.conv2d(rounded_input(images, 100.0), rounded[1])
    plain = model(images)
    with Int8Convolutions(model, ("2",), QuantiseConfig(percentile=100)):
        seen = model(images)
    torch.testing.assert_close(seen, model[2](inner.relu()))
    assert float((seen - plain).detach().abs().max()) > 1e-4
    torch.testing.assert_close(model(images), plain)


def test_a_detector_and_a_segmenter_learn_with_it_and_their_checkpoints_are_of_float(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plain = small_run(tmp_path)
    run = apply_overrides(plain, ["quantise={percentile: 99.9}"])
    losses = []
    task = DetectionTask(apply_overrides(run, ["quantise.images=6"]))  # type: ignore[arg-type]
    kept = task.config
    assert kept.quantise is not None
    layers = {name for name, one in task.model.named_modules() if isinstance(one, nn.Conv2d)}
    assert kept.quantise.ranges.keys() == {name for name in layers if not name.endswith("predict")}
    assert min(kept.quantise.ranges.values()) > 0
    for one in (plain, run, kept):
        trainer = Trainer(one, DetectionTask(one), tmp_path / str(len(losses)))  # type: ignore[arg-type]
        batch = next(trainer.task.batches(0, trainer.world))
        losses.append([sum(trainer.step(batch).losses.values()) for _ in range(8)])
        assert set(trainer.model.state_dict()) == set(DetectionTask(plain).model.state_dict())
    trainer.save("kept.pt")
    assert load_checkpoint(tmp_path / "2" / "kept.pt").config == kept
    assert len({one[0] for one in losses}) == 3
    for one in losses[1:]:
        assert one[0] == pytest.approx(losses[0][0], rel=0.2)
        assert one[-1] < one[0]

    folder = segmentation.write_set(tmp_path / "set")
    segmenters = [segmentation.small_run(folder), segmentation.small_run(folder, "quantise.percentile=99.9")]
    first = []
    for number, segmenter in enumerate(segmenters):
        steps = Trainer(segmenter, SegmentationTask(segmenter), tmp_path / f"s{number}")
        first.append(sum(steps.step(next(steps.task.batches(0, steps.world))).losses.values()))
    assert first[0] != first[1]
    assert first[1] == pytest.approx(first[0], rel=0.2)


def test_another_family_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    other = msgspec.structs.replace(
        run,
        model=SsdConfig(input_size=64, backbone=run.model.backbone),
        loss=DetectionLossConfig(),
        quantise=QuantiseConfig(),
    )
    with pytest.raises(ConfigError, match="quantise: only family retinanet trains with int8's rounding"):
        DetectionTask(other)
