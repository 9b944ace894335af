"""UNet: sizes, every kind of decoder, block and encoder, and what its parts promise."""

from __future__ import annotations

import itertools

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.config import config_faults
from edgevision.errors import ConfigError
from edgevision.models.settings import BackboneConfig, BackboneName, UNetConfig
from edgevision.models.unet import Block, DecoderStage, UNet

SMALL = UNetConfig(BackboneConfig("shufflenet_v2_x1_0", "random"), 96, 64, (16, 16, 8, 8, 8))


def changed(**fields: object) -> UNetConfig:
    return msgspec.structs.replace(SMALL, **fields)


@pytest.mark.parametrize(
    ("decoder", "block", "depthwise"),
    list(itertools.product(["transposed", "bilinear"], ["plain", "residual"], [False, True])),
)
def test_every_kind_gives_logits_at_input_size_and_learns_everywhere(
    decoder: str, block: str, depthwise: bool
) -> None:
    torch.manual_seed(0)
    net = UNet(changed(decoder=decoder, block=block, depthwise=depthwise), 5)
    logits = net(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 5, 64, 96)
    logits.square().mean().backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert not without
    # A bias before a BatchNorm cannot learn; every weight can.
    still = [
        name
        for name, weight in net.stages.named_parameters()
        if weight.ndim > 1 and weight.grad is not None and not weight.grad.any()
    ]
    assert not still


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x1_0", "resnet18", "resnet34", "resnet50"])
def test_every_encoder_fits(name: BackboneName) -> None:
    net = UNet(changed(backbone=BackboneConfig(name, "random")), 3).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, 3, 64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize(("stages", "factor"), [(1, 16), (3, 4), (4, 2), (5, 1)])
def test_fewer_stages_leave_the_rest_to_one_enlargement(stages: int, factor: int) -> None:
    net = UNet(changed(channels=(8,) * stages), 4).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        coarse = net.coarse(images)
        assert (net.factor, coarse.shape) == (factor, (1, 4, 64 // factor, 96 // factor))
        wanted = F.interpolate(coarse, size=(64, 96), mode="bilinear")
        torch.testing.assert_close(net(images), wanted)


def test_each_skip_connection_reaches_the_answer() -> None:
    torch.manual_seed(1)
    net = UNet(SMALL, 3).eval()
    features = [
        torch.randn(1, size, 64 >> i, 96 >> i) for i, size in enumerate(net.backbone.channels, start=1)
    ]

    def answer(maps: list[torch.Tensor]) -> torch.Tensor:
        net.backbone.forward = lambda images: maps  # type: ignore[method-assign]
        with torch.inference_mode():
            return net.coarse(torch.zeros(1))

    before = answer(features)
    for i in range(5):
        other = [torch.zeros_like(one) if j == i else one for j, one in enumerate(features)]
        assert (answer(other) - before).abs().max() > 1e-5, f"the map at stride {2 << i} is not used"


def test_a_residual_block_adds_its_input() -> None:
    block = Block(8, 8, changed(block="residual")).eval()
    nn.init.zeros_(block.second[0].weight)  # type: ignore[arg-type]
    x = torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(block(x), F.relu(x))
    assert not Block(8, 8, changed(block="plain")).shortcut


def test_enlarging_after_the_1x1_convolution_is_the_same_as_before_it() -> None:
    stage = DecoderStage(6, 0, 4, changed(decoder="bilinear"))
    stage.block = nn.Identity()  # type: ignore[assignment]
    x = torch.randn(1, 6, 5, 7)
    wanted = stage.up(F.interpolate(x, scale_factor=2.0, mode="bilinear"))
    torch.testing.assert_close(stage(x, None), wanted, atol=1e-5, rtol=1e-5)


def test_depthwise_convolutions_are_smaller() -> None:
    def size(config: UNetConfig) -> int:
        return sum(weight.numel() for weight in UNet(config, 3).stages.parameters())

    wide = (64, 64, 64, 64)
    assert size(changed(channels=wide, depthwise=True)) < 0.5 * size(changed(channels=wide))


@pytest.mark.parametrize(
    ("channels", "fault"),
    [
        ([], "`channels` is a list of 0; expected 1 to 5"),
        ([8] * 6, "`channels` is a list of 6; expected 1 to 5"),
        ([8, 0], "`channels[1]` is 0; expected a whole number from 1 to 16384"),
    ],
)
def test_impossible_decoders_are_refused(channels: list[int], fault: str) -> None:
    assert config_faults({**msgspec.to_builtins(SMALL), "channels": channels}, UNetConfig) == [fault]


def test_one_class_is_no_choice() -> None:
    with pytest.raises(ConfigError, match="two classes or more"):
        UNet(SMALL, 1)
