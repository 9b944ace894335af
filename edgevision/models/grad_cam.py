"""Where a classifier looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgevision.models.classifier.network import Classifier
from edgevision.models.multi_label.network import MultiLabel


def grad_cam(model: Classifier | MultiLabel, images: Tensor, class_id: int) -> Tensor:
    """How much each place of the image speaks for a class.

    ``ReLU(sum_k a_k A_k)`` over the maps A before the pooling, where ``a_k`` is the mean over all places of
    the gradient of the class's logit with respect to ``A_k`` (equations 1 and 2); scaled to a maximum of 1.

    Args:
        model: in evaluation mode.
        images: float ``[N, 3, S, S]``, normalised.
        class_id: column of the logits.

    Returns:
        float ``[N, S, S]``, 0 to 1; all 0 where no place speaks for the class.
    """
    with torch.no_grad():
        features = model.features(images)
    with torch.enable_grad():
        features.requires_grad_()
        logit = model.scores(features)[:, class_id].sum()
        (gradient,) = torch.autograd.grad(logit, features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = torch.relu((weights * features.detach()).sum(dim=1, keepdim=True))
    heat = F.interpolate(heat, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
