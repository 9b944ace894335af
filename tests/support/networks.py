"""Networks that answer something: small ones without a training."""

from __future__ import annotations

import torch
from torch import nn


def draw_weights(model: nn.Module, parts: tuple[str, ...], spread: float = 0.1) -> None:
    """Draws the weights of the parts with these names, so that answers differ from place to place."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(parts):
                parameter.normal_(0, spread)
