"""From the contract's frames to what a network sees."""

from __future__ import annotations

import torch
from torch import Tensor

from edgevision.models.backbone import IMAGENET_MEAN, IMAGENET_STD


def normalise(frames: Tensor) -> Tensor:
    """uint8 ``[N, H, W, 3]`` BGR to float ``[N, 3, H, W]`` RGB with ImageNet's mean and deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=frames.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=frames.device).view(1, 3, 1, 1) * 255
    return (frames.permute(0, 3, 1, 2).flip(1).float() - mean) / std
