"""Training with the rounding of int8 in every convolution, so that calibration afterwards costs less.

Quantisation-aware training (Jacob et al. 2018, arXiv:1712.05877, section 3): in the forward pass a
convolution sees its input and its weights as int8 would hold them, in the form that ``edgevision calibrate``
writes: symmetric, one scale for each input, one for each output channel of the weights. A BatchNorm that
follows scales whole output channels, so that folding it into the weights moves none to another step.
Gradients pass the rounding as if it were not there (straight-through, Bengio et al. 2013, arXiv:1308.3432)
and stop where a value is clipped.

The range of an input is that of each batch anew, or is measured before the first step and then kept
(:func:`with_ranges`). Kept ranges go with the checkpoint's configuration into the exported file, and
``edgevision calibrate`` takes them: what was trained is what runs. They are not learnt as steps are in LSQ
(Esser et al. 2020, arXiv:1902.08153, section 2.1): convolutions that read one tensor have one range in the
file, which measured ranges give by themselves.

The network itself stays as it is: its checkpoints, its validation and its export are those of float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgevision.errors import ConfigError
from edgevision.training.config import QuantiseConfig

_STEPS = 127
_LOOKED_AT = 65_536  # values of an input, evenly spaced, that its range is taken from


class _OnConvolutions(TorchFunctionMode):
    """Within it, each call of a model's convolutions goes through :meth:`convolve`."""

    def __init__(self, model: nn.Module, in_float: Sequence[str] = ()) -> None:
        super().__init__()
        self._names = {
            id(module.weight): name
            for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d)
            and not f"{name}.".startswith(tuple(f"{one}." for one in in_float))
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and id(args[1]) in self._names:
            data, weight, *rest = args
            args = (*self.convolve(self._names[id(weight)], data, weight), *rest)
        return func(*args, **(kwargs or {}))

    def convolve(self, name: str, data: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What the convolution ``name`` computes with in place of its input and its weights."""
        raise NotImplementedError


class Int8Convolutions(_OnConvolutions):
    """Within it, convolutions compute with what int8 would hold of their inputs and weights.

    Args:
        model: its convolutions are meant.
        in_float: names of modules whose convolutions stay in float: those that feed the heads.
        config: the ranges of inputs.

    Raises:
        ConfigError: the ranges are those of another network.
    """

    def __init__(self, model: nn.Module, in_float: Sequence[str], config: QuantiseConfig) -> None:
        super().__init__(model, in_float)
        self._percentile = config.percentile
        self._limits = {name: torch.tensor(limit) for name, limit in config.ranges.items()}
        different = set(self._names.values()).symmetric_difference(self._limits)
        if self._limits and different:
            raise ConfigError(
                f"quantise.ranges: {min(different)} is no convolution of this network, or lacks its range; "
                "leave them out, and set quantise.images to have them measured"
            )

    def convolve(self, name: str, data: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Both rounded."""
        limit = self._limits.get(name)
        rounded = rounded_input(data, self._percentile) if limit is None else rounded_within(data, limit)
        return rounded, rounded_weight(weight)


class _Inputs(_OnConvolutions):
    """Keeps the greatest magnitudes of each convolution's inputs, in float, and how many were above 0.

    Attributes:
        order: the name of each call's convolution.
    """

    def __init__(self, model: nn.Module, in_float: Sequence[str] = (), share: float = 0.0) -> None:
        super().__init__(model, in_float)
        self._share = share  # of the magnitudes of all batches
        self._seen: dict[str, list[Tensor]] = {}
        self._counts: dict[str, int] = {}
        self.order: list[str] = []

    def convolve(self, name: str, data: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Both as they are."""
        self.order.append(name)
        magnitudes = data.detach().abs().flatten()
        kept = min(magnitudes.numel(), int(magnitudes.numel() * self._share) + 2)
        self._seen.setdefault(name, []).append(magnitudes.topk(kept).values)
        self._counts[name] = self._counts.get(name, 0) + int(magnitudes.count_nonzero())
        return data, weight

    def limits(self, percentile: float) -> dict[str, float]:
        """For each convolution the magnitude that ``percentile`` of those above 0 do not exceed."""
        found = {}
        for name, seen in self._seen.items():
            magnitudes = torch.cat(seen)
            beyond = round(self._counts[name] * (1 - percentile / 100))
            found[name] = float(magnitudes.topk(beyond + 1).values[-1])
        return found


def with_ranges(
    model: nn.Module,
    in_float: Sequence[str],
    config: QuantiseConfig | None,
    batches: Callable[[], Iterable[Tensor]],
) -> QuantiseConfig | None:
    """``config`` with its ranges measured where it asks for that and has none yet, otherwise as it is.

    As ``edgevision calibrate`` measures them by ``percentile``: of the magnitudes above 0, over all images.

    Args:
        model: with the weights that the training starts from; it is left in evaluation mode.
        in_float: see :class:`Int8Convolutions`.
        config: of the run.
        batches: gives the model's input, float ``[N, 3, H, W]``, ``config.images`` in all.
    """
    if config is None or not config.images or config.ranges:
        return config
    given = list(batches())
    inputs = _Inputs(model.eval(), in_float, (1 - config.percentile / 100) * len(given))
    with torch.inference_mode(), inputs:
        for images in given:
            model(images)
    return msgspec.structs.replace(config, ranges=inputs.limits(config.percentile))


def call_order(model: nn.Module, images: Tensor) -> tuple[str, ...]:
    """Names of a model's convolutions in the order of their calls; one that is called twice is there twice.

    Args:
        model: in evaluation mode.
        images: an input, float ``[N, 3, H, W]``.
    """
    with torch.inference_mode(), _Inputs(model) as inputs:
        model(images)
    return tuple(inputs.order)


def rounding(
    model: nn.Module, in_float: Sequence[str], config: QuantiseConfig | None
) -> AbstractContextManager[object]:
    """What a step's forward pass runs within: :class:`Int8Convolutions`, or nothing without a ``config``."""
    return nullcontext() if config is None else Int8Convolutions(model, in_float, config)


def rounded_input(data: Tensor, percentile: float) -> Tensor:
    """What int8 holds of a convolution's input with one scale, ``[N, C, H, W]`` to the same shape.

    Args:
        percentile: share of the magnitudes that are not clipped, in per cent.
    """
    magnitudes = data.detach().abs().flatten()
    if percentile < 100:
        magnitudes = magnitudes[:: max(1, magnitudes.numel() // _LOOKED_AT)]
        above = max(1, round(magnitudes.numel() * (1 - percentile / 100)))
        limit = magnitudes.topk(above).values[-1]
    else:
        limit = magnitudes.max()
    return rounded_within(data, limit)


def rounded_weight(weight: Tensor) -> Tensor:
    """What int8 holds of weights ``[out, in / groups, h, w]`` with a scale for each output channel."""
    return rounded_within(weight, weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True))


def rounded_within(values: Tensor, limit: Tensor) -> Tensor:
    """What int8 holds of values with the scale ``limit / 127``: 255 steps from ``-limit`` to ``limit``."""
    step = (limit / _STEPS).clamp_min(torch.finfo(limit.dtype).tiny)
    inside = torch.minimum(torch.maximum(values, -limit), limit)
    return inside + (torch.round(inside.detach() / step) * step - inside.detach())
