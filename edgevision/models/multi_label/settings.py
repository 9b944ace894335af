"""What a classifier of several labels is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.models.settings import BackboneConfig, check_side


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
    input_size: int
    channels: int = 0
    dropout: float = 0.5
    positive_weight: float = 1.0

    def __post_init__(self) -> None:
        check_side("input_size", self.input_size)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; expected a share from 0 to below 1")
        if self.channels < 0:
            raise ValueError(f"channels is {self.channels}; expected 0 or more")
        if not self.positive_weight > 0:
            raise ValueError(f"positive_weight is {self.positive_weight}; expected a number above 0")
