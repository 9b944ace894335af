"""The network: shapes, the class prior, normalisation by level, and starting weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import shufflenet_v2_x1_0

from edgevision.errors import CheckpointError, ConfigError
from edgevision.models.anchors import AnchorConfig
from edgevision.models.backbone import build_backbone, normalise
from edgevision.models.retinanet import RetinaNet
from edgevision.models.settings import BackboneConfig, BackboneName, HeadConfig, RetinaNetConfig
from tests.support.training import RunsCode

LIGHT = HeadConfig(layers=2, depthwise=True, kernel=5)


def network(
    name: BackboneName = "shufflenet_v2_x1_0", head: HeadConfig = LIGHT, classes: int = 3
) -> RetinaNet:
    torch.manual_seed(0)
    config = RetinaNetConfig(BackboneConfig(name, "random"), 64, 32, head, AnchorConfig())
    return RetinaNet(config, classes)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("shufflenet_v2_x1_0", (116, 232, 464)),
        ("mobilenet_v2", (32, 96, 320)),
        ("resnet18", (128, 256, 512)),
        ("resnet34", (128, 256, 512)),
        ("resnet50", (512, 1024, 2048)),
        ("efficientnet_lite0", (40, 112, 320)),
        ("efficientnet_lite1", (40, 112, 320)),
        ("efficientnet_lite2", (48, 120, 352)),
    ],
)
def test_backbones_give_maps_at_strides_8_16_and_32(name: BackboneName, channels: tuple[int, ...]) -> None:
    backbone = build_backbone(BackboneConfig(name, "random")).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert tuple(x.shape[1] for x in maps) == backbone.channels
    assert backbone.channels[-3:] == channels
    for x, stride in zip(maps, backbone.strides, strict=True):
        assert x.shape[2:] == (64 // stride, 96 // stride)


@pytest.mark.parametrize("head", [LIGHT, HeadConfig(layers=1)])
def test_head_maps_have_one_channel_for_each_anchor_and_class(head: HeadConfig) -> None:
    model = network(head=head).eval()
    with torch.no_grad():
        maps = model(torch.zeros(2, 3, 64, 64))
    sides = [8, 4, 2, 1, 1]
    assert [tuple(x.shape) for x in maps.logits] == [(2, 27, side, side) for side in sides]
    assert [tuple(x.shape) for x in maps.deltas] == [(2, 36, side, side) for side in sides]


def test_a_pyramid_of_four_levels_ends_at_stride_64() -> None:
    anchors = AnchorConfig(strides=(8, 16, 32, 64), scales=(1.0,), ratios=(1.0,))
    config = RetinaNetConfig(BackboneConfig("shufflenet_v2_x1_0", "random"), 128, 32, LIGHT, anchors)
    model = RetinaNet(config, 3).eval()
    with torch.no_grad():
        maps = model(torch.zeros(1, 3, 128, 128))
    assert [tuple(x.shape) for x in maps.logits] == [(1, 3, side, side) for side in (16, 8, 4, 2)]
    assert not any(name.startswith("fpn.p7") for name in model.state_dict())


def test_anchors_on_levels_that_the_pyramid_does_not_have_are_refused() -> None:
    config = RetinaNetConfig(
        BackboneConfig("shufflenet_v2_x1_0", "random"), 64, 32, LIGHT, AnchorConfig(strides=(8, 16, 32))
    )
    with pytest.raises(
        ConfigError, match=r"strides is \[8, 16, 32\]; expected \[8, 16, 32, 64\] or \[8, 16, 32, 64, 128\]"
    ):
        RetinaNet(config, 3)


def test_scores_start_at_the_prior() -> None:
    model = network().eval()
    with torch.no_grad():
        scores = torch.sigmoid(model(torch.randn(1, 3, 64, 64)).logits[0])
    assert float(scores.mean()) == pytest.approx(0.01, rel=0.1)


def test_each_level_has_its_own_batch_norm_and_shares_its_convolutions() -> None:
    model = network()
    tower = model.class_tower
    assert len(tower.convolutions) == 4  # two depthwise, two 1x1
    assert [len(norms) for norms in tower.norms] == [5, 5, 5, 5]  # type: ignore[arg-type]
    model(torch.randn(4, 3, 64, 64))
    means = [norm.running_mean for norm in tower.norms[0]]  # type: ignore[union-attr]
    assert not torch.allclose(means[0], means[2])


def test_a_head_of_each_level_has_its_own_convolutions_and_answers_as_the_shared_one_with_equal_weights() -> (
    None
):
    shared, own = network(), network(head=HeadConfig(layers=2, depthwise=True, kernel=5, shared=False))
    state = {}
    for key in own.state_dict():
        parts = key.split(".")
        if parts[0].endswith("_tower") and parts[1] == "convolutions":
            del parts[3]
        state[key] = shared.state_dict()[".".join(parts)]
    own.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted, found = shared.eval()(images), own.eval()(images)
        for one, other in zip((*wanted.logits, *wanted.deltas), (*found.logits, *found.deltas), strict=True):
            torch.testing.assert_close(one, other)
        own.class_tower.convolutions[0][1].weight.zero_()  # type: ignore[index,union-attr,operator]
        changed = own(images)
    assert torch.equal(changed.logits[0], found.logits[0])
    assert not torch.equal(changed.logits[1], found.logits[1])


def test_a_kernel_without_a_middle_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel is 4; expected an odd number"):
        HeadConfig(kernel=4)


def test_weights_load_from_a_file_in_half_precision_with_another_activation(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = shufflenet_v2_x1_0(weights=None)
    file = tmp_path / "weights.pth"
    state = {key: v.half() if v.ndim == 4 else v for key, v in source.state_dict().items() if "fc" not in key}
    torch.save(state, file)
    backbone = build_backbone(BackboneConfig("shufflenet_v2_x1_0", str(file), leaky=0.1))
    stem = backbone.stages[0]
    torch.testing.assert_close(stem[0].weight, source.conv1[0].weight.half().float())  # type: ignore[index]
    kinds = {type(module) for module in backbone.modules()}
    assert torch.nn.LeakyReLU in kinds
    assert torch.nn.ReLU not in kinds


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"does not fit ShuffleNetV2: features\.0\.weight"):
        build_backbone(BackboneConfig("shufflenet_v2_x1_0", str(file)))
    file.write_text("text")
    with pytest.raises(CheckpointError, match="not a PyTorch state dict"):
        build_backbone(BackboneConfig("shufflenet_v2_x1_0", str(file)))
    with pytest.raises(CheckpointError, match="not found"):
        build_backbone(BackboneConfig("shufflenet_v2_x1_0", str(tmp_path / "none.pth")))


def test_nothing_in_a_file_of_weights_can_run_code(tmp_path: Path) -> None:
    torch.save({"conv1.0.weight": RunsCode(tmp_path / "trace")}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="not a PyTorch state dict, or it is damaged"):
        build_backbone(BackboneConfig("shufflenet_v2_x1_0", str(tmp_path / "weights.pth")))
    assert not (tmp_path / "trace").exists()


def test_normalisation_turns_bgr_to_rgb_and_scales() -> None:
    frames = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    frames[..., 0] = 255  # blue
    out = normalise(frames)
    assert out.shape == (1, 3, 2, 2)
    expected = [(0 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor(expected))
