"""Arithmetic in half the bits where the device gains from it."""

from __future__ import annotations

from typing import Literal

import torch

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]


class MixedPrecision:
    """Autocast for the forward pass, and scaled gradients where the type needs them.

    Args:
        name: what the configuration asks for.
        device: where the model is.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self._device = device
        self._dtype = _choose(name, device)
        # bfloat16 has the range of float32; float16 loses small gradients unless they are scaled.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)

    def autocast(self) -> torch.autocast:
        """The context of a forward pass and its losses."""
        dtype = self._dtype or torch.bfloat16
        return torch.autocast(self._device.type, dtype=dtype, enabled=self._dtype is not None)


def _choose(name: PrecisionName, device: torch.device) -> torch.dtype | None:
    if name == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
