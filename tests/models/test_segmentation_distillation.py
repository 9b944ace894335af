"""What a segmenter learns from another one: its distribution, and what its maps hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from edgevision.models.segmentation_distillation import StageMaps, divergence, explained
from edgevision.models.settings import BackboneConfig, UNetConfig
from edgevision.models.unet import UNet


def test_the_divergence_is_that_of_the_distributions() -> None:
    wanted = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    assert float(divergence(wanted.log() + 3, wanted)) == pytest.approx(0, abs=1e-6)
    even = torch.zeros(2, 3, 4, 4)
    exact = 0.5 * np.log(0.5 * 3) + 0.5 * np.log(0.25 * 3)
    assert float(divergence(even, wanted)) == pytest.approx(exact, rel=1e-5)
    sure = torch.zeros(1, 3, 1, 1)
    sure[0, 1] = 1.0
    assert float(divergence(torch.zeros(1, 3, 1, 1), sure)) == pytest.approx(np.log(3), rel=1e-5)


def test_of_classes_in_groups_only_the_sum_is_learnt() -> None:
    """Three classes of which the teacher tells the second from the rest."""
    logits = torch.tensor([0.2, 0.5, 0.3]).log().view(1, 3, 1, 1).requires_grad_()
    said = torch.tensor([0.4, 0.6]).view(1, 2, 1, 1)  # of the rest, of the second
    exact = 0.4 * np.log(0.4 / 0.5) + 0.6 * np.log(0.6 / 0.5)
    loss = divergence(logits, said, (0, 1, 0))
    assert float(loss.detach()) == pytest.approx(exact, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    # softmax minus what is wanted; within the group as the student divides it: 0.4 * (0.2, 0.3) / 0.5
    assert gradient.flatten().tolist() == pytest.approx([0.2 - 0.16, 0.5 - 0.6, 0.3 - 0.24], abs=1e-6)
    assert float(divergence(logits.detach(), said.new_tensor([0.5, 0.5]).view(1, 2, 1, 1), (0, 1, 0))) == (
        pytest.approx(0, abs=1e-6)
    )


def test_what_a_linear_map_explains_is_r_squared() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(4, 6, 16, 16, generator=generator)
    mixed = torch.einsum("nchw,dc->ndhw", own, torch.randn(5, 6, generator=generator)) + 2
    assert float(explained(own, mixed)) == pytest.approx(1, abs=0.01)
    noise = torch.randn(4, 5, 16, 16, generator=generator)
    assert float(explained(own, noise)) == pytest.approx(0, abs=0.02)
    wanted = mixed + noise * mixed.std(dim=(0, 2, 3), keepdim=True)
    assert float(explained(own, wanted)) == pytest.approx(0.5, abs=0.05)
    still = torch.ones(4, 1, 16, 16)
    assert float(explained(own, still)) == pytest.approx(1, abs=0.01)
    student = own.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(explained(student, noise), student)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) > 0


def test_maps_are_kept_within_the_context_alone() -> None:
    config = UNetConfig(BackboneConfig("shufflenet_v2_x1_0", "random"), 96, 64, (16, 16, 16, 16))
    model = UNet(config, 3)
    with StageMaps(model.stages) as stages:
        model(torch.zeros(2, 3, 64, 96))
    assert [tuple(one.shape[-2:]) for one in stages.maps.values()] == [(4, 6), (8, 12), (16, 24), (32, 48)]
    before = dict(stages.maps)
    model(torch.zeros(2, 3, 64, 96))
    assert all(stages.maps[stage] is before[stage] for stage in before)
    with StageMaps(()) as none:
        pass
    assert none.maps == {}


class Stacked(torch.nn.Module):
    """Two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = torch.nn.ModuleList([torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 5, 1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            x = stage(x)
        return x


def test_a_compiled_network_is_compiled_once_and_keeps_the_maps_of_each_call() -> None:
    model = Stacked()
    made: list[object] = []

    def backend(graph: torch.fx.GraphModule, given: list[torch.Tensor]) -> Callable[..., object]:
        made.append(graph)
        return graph.forward

    network = torch.compile(model, backend=backend)
    stages = StageMaps(model.stages)
    for value in (0.0, 1.0, 2.0):
        images = torch.full((1, 3, 2, 2), value)
        with stages:
            network(images)
        torch.testing.assert_close(stages.maps[0], model.stages[0](images))
        torch.testing.assert_close(stages.maps[1], model(images))
        stages.maps[1].sum().backward()
    assert len(made) == 1


def test_what_is_not_finite_gives_a_loss_that_is_not() -> None:
    """The loop then names the images of the batch."""
    wanted = torch.rand(2, 3, 8, 8)
    for wrong in (float("nan"), float("inf")):
        assert not bool(explained(torch.full((2, 4, 8, 8), wrong), wanted).isfinite())
