"""What a localiser of the largest object is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.bounds import NonNegative, ShareBelowOne, Side, Width
from edgevision.models.settings import BackboneConfig


class LargestObjectConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="largest-object"
):
    """A network that says of an image what its largest object is, and where: one class and one box.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        channels: of a 1x1 convolution before the two heads' shared layer.
        hidden: width of that layer.
        dropout: probability that a feature is dropped before it and after it.
        class_weight: factor of the cross-entropy beside the mean distance of the box in pixels of an input of
            224. Cross-entropy begins near ``ln C``, 3 for 20 classes, and distances near 50: 20 makes them
            alike, so that neither drowns the other.
    """

    backbone: BackboneConfig
    input_size: Side
    channels: Width = 64
    hidden: Width = 256
    dropout: ShareBelowOne = 0.3
    class_weight: NonNegative = 20.0

    @property
    def places(self) -> int:
        """Its one box."""
        return 1
