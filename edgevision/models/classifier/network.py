"""The network of a classifier: one vector for an image, and a score for each class."""

from __future__ import annotations

from torch import Tensor, nn

from edgevision.models.backbone import build_backbone
from edgevision.models.classifier.settings import ClassifierConfig


class Classifier(nn.Module):
    """A classifier of one label on any backbone.

    Args:
        config: the architecture.
        classes: number of classes.

    Attributes:
        class_layers: what keeps fresh weights where a checkpoint has other classes.
    """

    class_layers: tuple[str, ...] = ("classify",)

    def __init__(self, config: ClassifierConfig, classes: int) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        width = config.channels or self.backbone.channels[-1]
        self.neck = channel_mixer(self.backbone.channels[-1], config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """``images`` float ``[N, 3, S, S]``, normalised, to the map before the pooling, ``[N, D, h, w]``."""
        return self.neck(self.backbone(images)[-1])  # type: ignore[no-any-return]

    def scores(self, features: Tensor) -> Tensor:
        """``[N, D, h, w]`` to logits ``[N, C]``."""
        return self.classify(self.dropout(features.mean(dim=(2, 3))))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """``images`` float ``[N, 3, S, S]``, normalised, to logits ``[N, C]``."""
        return self.scores(self.features(images))


def channel_mixer(before: int, after: int) -> nn.Module:
    """A 1x1 convolution with BatchNorm and ReLU, ``[N, before, h, w] -> [N, after, h, w]``.

    With ``after`` 0, what is given is returned.
    """
    if not after:
        return nn.Identity()
    convolution = nn.Conv2d(before, after, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
