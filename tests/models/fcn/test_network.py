"""FCN by hand: the bilinear kernel, what is fixed and learnt, and what FCN-16s begins as.

Also tests ``edgevision.models.fcn.settings``.
"""

from __future__ import annotations

import msgspec
import pytest
import torch
import torch.nn.functional as F

from edgevision.config import config_faults
from edgevision.models.fcn.network import Enlargement, Fcn, bilinear_kernel
from edgevision.models.fcn.settings import FcnConfig
from edgevision.models.settings import BackboneConfig

SMALL = FcnConfig(BackboneConfig("shufflenet_v2_x1_0", "random"), 96, 64, dropout=0.0)


def changed(**fields: object) -> FcnConfig:
    return msgspec.structs.replace(SMALL, **fields)


def test_the_bilinear_kernel_by_hand() -> None:
    side = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(2), side[:, None] * side)
    assert bilinear_kernel(32).shape == (64, 64)
    assert bilinear_kernel(32)[31, 31].item() == pytest.approx((63 / 64) ** 2)


@pytest.mark.parametrize("factor", [2, 8, 32])
@pytest.mark.parametrize("learnt", [False, True])
def test_an_enlargement_begins_as_bilinear_interpolation(factor: int, learnt: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5)
    found = Enlargement(3, factor, learnt)(x)
    wanted = F.interpolate(x, scale_factor=float(factor), mode="bilinear")
    half = factor // 2
    inside = (..., slice(half, -half), slice(half, -half))
    torch.testing.assert_close(found[inside], wanted[inside], atol=1e-5, rtol=1e-5)
    # At the border the values fade, and the best class stays the best.
    torch.testing.assert_close(
        found[..., 0, half:-half] / wanted[..., 0, half:-half],
        torch.tensor(0.5 + 0.5 / factor).expand(2, 3, 4 * factor * 5 // 4 - factor),
        atol=1e-4,
        rtol=1e-4,
    )
    torch.testing.assert_close(found.argmax(dim=1), wanted.argmax(dim=1))


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_every_map_that_is_scored_learns(stride: int) -> None:
    torch.manual_seed(0)
    net = Fcn(changed(stride=stride, last="learnt"), 5)
    logits = net(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 5, 64, 96)
    logits.square().mean().backward()
    head = dict(net.head.named_parameters())
    assert len([name for name in head if name.startswith("scores.")]) == 2 * {32: 1, 16: 2, 8: 3}[stride]
    assert all(weight.grad is not None and weight.grad.any() for weight in head.values())


def test_the_last_enlargement_stays_as_it_is_unless_it_is_to_learn() -> None:
    fixed = {name for name, _ in Fcn(changed(stride=8), 3).head.named_parameters()}
    learnt = {name for name, _ in Fcn(changed(stride=8, last="learnt"), 3).head.named_parameters()}
    assert learnt - fixed == {"last.weight"}
    assert {"enlarge.0.weight", "enlarge.1.weight"} <= fixed


def test_fcn_16s_begins_as_the_enlarged_scores_of_the_deepest_map() -> None:
    torch.manual_seed(0)
    head = Fcn(changed(stride=16), 3).head
    maps = [torch.randn(1, width, 2 * size, 3 * size) for width, size in ((464, 1), (232, 2), (116, 4))]
    with torch.inference_mode():
        wanted = head.last(head.enlarge[0](head.scores[0](maps[0])))
        torch.testing.assert_close(head(maps), wanted)
    assert not head.scores[1].weight.any()


def test_a_stride_that_it_cannot_have_is_refused() -> None:
    faults = config_faults({**msgspec.to_builtins(SMALL), "stride": 4}, FcnConfig)
    assert faults == ["`stride` is 4; expected one of: 8, 16, 32"]
