"""Mixed precision on a CPU: which layers stay in float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edgevision.training.optimiser import MixedPrecision

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),  # depthwise
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.Conv2d(8, 4, 1),
    )


def types_of(model: nn.Sequential, precision: MixedPrecision) -> list[torch.dtype]:
    found: list[torch.dtype] = []
    x = torch.randn(1, 3, 8, 8)
    with precision.autocast():
        for layer in model:
            x = layer(x)
            found.append(x.dtype)
    return found


def test_depthwise_convolutions_stay_in_float32_and_all_others_are_bf16() -> None:
    model, precision = network(), MixedPrecision("bf16", CPU)
    precision.prepare(model)
    assert types_of(model, precision) == [torch.bfloat16, torch.float32, torch.bfloat16, torch.bfloat16]


@pytest.mark.parametrize("name", ["fp32", "auto"])
def test_float32_changes_no_layer(name: str) -> None:
    model, precision = network(), MixedPrecision(name, CPU)  # type: ignore[arg-type]
    precision.prepare(model)
    assert [type(layer) for layer in model] == [nn.Conv2d] * 4
    assert types_of(model, precision) == [torch.float32] * 4


def test_a_gpu_has_all_layers_in_its_own_type() -> None:
    model = network()
    MixedPrecision("bf16", torch.device("cuda")).prepare(model)
    assert [type(layer) for layer in model] == [nn.Conv2d] * 4


def test_weights_names_and_gradients_are_those_of_the_network_as_it_was() -> None:
    plain = network()
    prepared, precision = copy.deepcopy(plain), MixedPrecision("bf16", CPU)
    precision.prepare(prepared)
    prepared.load_state_dict(plain.state_dict(), strict=True)
    x = torch.randn(2, 8, 9, 9).bfloat16()
    with precision.autocast():
        prepared[1](x).sum().backward()
    plain[1](x.float()).sum().backward()
    for name, parameter in plain[1].named_parameters():
        found = prepared[1].get_parameter(name)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.grad, parameter.grad, msg=name)
