"""The classifier families: for each kind of configuration its network and criterion."""

from __future__ import annotations

from torch import nn

from edgevision.models.classifier.criterion import ClassifierLoss
from edgevision.models.classifier.network import Classifier
from edgevision.models.classifier.settings import ClassifierConfig
from edgevision.models.families import ClassifierModel
from edgevision.models.multi_label.criterion import MultiLabelLoss
from edgevision.models.multi_label.network import MultiLabel


def build_classifier(model: ClassifierModel, classes: int) -> Classifier | MultiLabel:
    """The network with its starting weights.

    Raises:
        CheckpointError, ConfigError: see :func:`edgevision.models.backbone.build_backbone`.
    """
    return Classifier(model, classes) if isinstance(model, ClassifierConfig) else MultiLabel(model, classes)


def build_label_criterion(model: ClassifierModel) -> nn.Module:
    """The criterion, called with logits, labels and what is known of them, each ``[N, C]``."""
    return ClassifierLoss(model) if isinstance(model, ClassifierConfig) else MultiLabelLoss(model)
