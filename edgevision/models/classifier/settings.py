"""What an image classifier is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.bounds import ShareBelowOne, Side, WidthOrNone
from edgevision.models.settings import BackboneConfig


class ClassifierConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="classifier"
):
    """A classifier of one label: a backbone, global average pooling (Lin et al. 2014, arXiv:1312.4400,
    section 3.2) and one linear layer.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        channels: of a 1x1 convolution before the pooling; 0 for none.
        dropout: probability that a pooled feature is dropped.
        smoothing: share of the label that is spread over all classes (Szegedy et al. 2016, arXiv:1512.00567,
            section 7).
    """

    backbone: BackboneConfig
    input_size: Side
    channels: WidthOrNone = 0
    dropout: ShareBelowOne = 0.2
    smoothing: ShareBelowOne = 0.0
