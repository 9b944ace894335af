"""What a classifier of several labels is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.bounds import Positive, ShareBelowOne, Side, WidthOrNone
from edgevision.models.settings import BackboneConfig


class MultiLabelConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="multi-label"
):
    """A classifier of several labels, each with a probability of its own.

    A backbone, averages and maxima over all places joined (of which the maximum is that of Oquab et al. 2015,
    "Is object localization for free?", section 3.1), dropout, and one linear layer.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        channels: of a 1x1 convolution before the pooling; 0 for none.
        dropout: probability that a pooled feature is dropped.
        positive_weight: factor of the loss where the class holds; above 1 where labels are rare and finding
            all matters more than being right.
    """

    backbone: BackboneConfig
    input_size: Side
    channels: WidthOrNone = 0
    dropout: ShareBelowOne = 0.5
    positive_weight: Positive = 1.0
