"""SegNet and DeconvNet: pooling and unpooling against torch's own, mirrored kernels, and what is refused.

Also tests ``edgevision.models.unpooling.encoder``, ``edgevision.models.unpooling.settings``.
"""

from __future__ import annotations

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.config import config_faults
from edgevision.models.unpooling.deconvnet import DeconvNet, Tied
from edgevision.models.unpooling.encoder import Encoder, mirrored_widths
from edgevision.models.unpooling.pooling import max_pool, max_unpool
from edgevision.models.unpooling.segnet import SegNet
from edgevision.models.unpooling.settings import VGG16, DeconvNetConfig, SegNetConfig, StageConfig

STAGES = (StageConfig(6, 1), StageConfig(8, 2))
SEGNET = SegNetConfig(32, 64, STAGES)
DECONVNET = DeconvNetConfig(32, 64, STAGES, middle=10, middle_kernel=3)


def test_pooling_and_unpooling_by_hand() -> None:
    x = torch.tensor([[[[1.0, 4, 0, 0], [3, 2, 0, 0]]]])
    pooled = max_pool(x)
    assert pooled.values.tolist() == [[[[4, 0]]]]
    assert pooled.corners.tolist() == [[[[1, 0]]]]  # of four equal ones the first
    back = max_unpool(torch.tensor([[[[7.0, 5]]]]), pooled.corners)
    assert back.tolist() == [[[[0, 7, 5, 0], [0, 0, 0, 0]]]]


@pytest.mark.parametrize("values", ["different", "few, so that many are equal", "all below 0"])
def test_they_are_torchs_own_in_answers_and_gradients(values: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 12)
    if values.startswith("few"):
        x = torch.randint(0, 2, x.shape).float()
    x = (-x.abs() - 1 if values.endswith("0") else x).requires_grad_()
    weight = torch.randn(x.shape)

    pooled = max_pool(x)
    found = max_unpool(pooled.values * 2, pooled.corners)
    theirs, indices = F.max_pool2d(x, 2, return_indices=True)
    wanted = F.max_unpool2d(theirs * 2, indices, 2)
    assert torch.equal(pooled.values, theirs)
    assert torch.equal(found, wanted)
    gradients = [torch.autograd.grad((one * weight).sum(), x)[0] for one in (found, wanted)]
    assert torch.equal(*gradients)


def test_the_decoder_mirrors_the_encoder() -> None:
    assert list(mirrored_widths(VGG16)) == [
        [512, 512, 512, 512], [512, 512, 512, 256], [256, 256, 256, 128], [128, 128, 64], [64, 64, 64],
    ]  # fmt: skip
    encoder = Encoder(STAGES, 3)
    x, places = encoder(torch.randn(1, 3, 16, 8))
    assert x.shape == (1, 8, 4, 2)
    assert [place.shape for place in places] == [(1, 6, 8, 4), (1, 8, 4, 2)]


def test_a_tied_layer_is_a_convolution_with_kernels_turned_by_180_degrees() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 5, padding=2, bias=False)
    x = torch.randn(2, 6, 7, 8)
    turned = convolution.weight.flip(2, 3).transpose(0, 1)
    torch.testing.assert_close(Tied(convolution)(x), F.conv2d(x, turned, padding=2), atol=1e-5, rtol=1e-5)
    # It is the transpose: <convolution(a), x> is <a, tied(x)> for every a.
    a = torch.randn(2, 4, 7, 8)
    pair = [(convolution(a) * x).sum(), (a * Tied(convolution)(x)).sum()]
    torch.testing.assert_close(*pair, atol=1e-3, rtol=1e-4)


def test_the_tied_decoder_has_the_encoders_weights_and_they_stay_one() -> None:
    torch.manual_seed(0)
    free, tied = DeconvNet(DECONVNET, 3), DeconvNet(msgspec.structs.replace(DECONVNET, tied=True), 3)
    assert not any(isinstance(module, Tied) for module in free.modules())
    assert sum(isinstance(module, Tied) for module in tied.modules()) == 2  # of three, the first has colours
    sizes = [sum(weight.numel() for weight in net.parameters()) for net in (free, tied)]
    assert sizes[0] - sizes[1] == 9 * (8 * 8 + 8 * 6)
    optimiser = torch.optim.SGD(tied.parameters(), 0.1)
    tied(torch.randn(2, 3, 32, 64)).square().mean().backward()
    optimiser.step()
    state = tied.state_dict()
    again = DeconvNet(msgspec.structs.replace(DECONVNET, tied=True), 3)
    again.load_state_dict(state)
    first = again.encoder.stages[1][0][0].weight  # type: ignore[index]  # convolutions of the second stage
    assert again.decoder[0][1][0].weight is first  # type: ignore[index]
    images = torch.randn(1, 3, 32, 64)
    with torch.inference_mode():
        torch.testing.assert_close(again.eval()(images), tied.eval()(images))


@pytest.mark.parametrize(
    "net",
    [
        SegNet(SEGNET, 3),
        SegNet(msgspec.structs.replace(SEGNET, kernel=7), 3),
        DeconvNet(DECONVNET, 3),
        DeconvNet(msgspec.structs.replace(DECONVNET, middle=0, tied=True), 3),
    ],
    ids=["segnet", "segnet 7x7", "deconvnet", "tied, no middle"],
)
def test_logits_are_as_large_as_the_input_and_every_weight_learns(net: SegNet | DeconvNet) -> None:
    torch.manual_seed(0)
    logits = net.train()(torch.randn(2, 3, 64, 32))
    assert logits.shape == (2, 3, 64, 32)
    logits.square().mean().backward()
    still = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (SEGNET, {"kernel": 4}, "kernel is 4; expected an odd number"),
        (SEGNET, {"stages": []}, "`stages` is a list of 0; expected 1 to 5"),
        (SEGNET, {"stages": [{"channels": 0}]}, "`stages[0].channels` is 0; expected a whole number from 1"),
        (DECONVNET, {"middle_kernel": 2}, "middle_kernel is 2; expected an odd number"),
    ],
)
def test_impossible_settings_are_refused(
    config: SegNetConfig | DeconvNetConfig, fields: dict[str, object], message: str
) -> None:
    faults = config_faults({**msgspec.to_builtins(config), **fields}, type(config))
    assert len(faults) == 1
    assert message in faults[0]
