"""What an image classifier is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.models.settings import BackboneConfig, check_side


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
    input_size: int
    channels: int = 0
    dropout: float = 0.2
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_side("input_size", self.input_size)
        for name in ("dropout", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share from 0 to below 1")
        if self.channels < 0:
            raise ValueError(f"channels is {self.channels}; expected 0 or more")
