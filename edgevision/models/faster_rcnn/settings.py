"""What a Faster R-CNN is built with; read without torch."""

from __future__ import annotations

import msgspec

from edgevision.bounds import Limit, Share, ShareAboveZero, ShareBetween, Side, Width
from edgevision.models.anchors import AnchorConfig
from edgevision.models.settings import BackboneConfig, PyramidName, RegionConfig, Samples, check_overlaps

PROPOSAL_STRIDES = (8, 16, 32, 64)
"""Input pixels a cell of the maps that regions are proposed from, P3 to P6."""


class ProposalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The region proposal network (Ren et al. 2015, section 3.1) and what it learns from.

    Attributes:
        anchors: what stands at each cell of P3 to P6.
        foreground_iou, background_iou: an anchor that overlaps an object by the first learns that there is
            one, an anchor that overlaps none by the second that there is none (section 3.1.2).
        samples: anchors of an image that learn; 256 in the paper.
        positive_share: the largest share of them that show an object.
        level_candidates: best boxes of each level that enter suppression.
        iou_threshold: overlap above which the worse of two proposals goes.
        rounds: rounds of that suppression, see :class:`~edgevision.contract.manifest.NmsLimits`.
        count: proposals of an image.
    """

    anchors: AnchorConfig = AnchorConfig(PROPOSAL_STRIDES, 3.0, (1.0, 1.5), (0.5, 1.0, 2.0))
    foreground_iou: ShareBetween = 0.7
    background_iou: ShareBetween = 0.3
    samples: Samples = 128
    positive_share: ShareAboveZero = 0.5
    level_candidates: Limit = 100
    iou_threshold: Share = 0.7
    rounds: Limit = 8
    count: Limit = 100

    def __post_init__(self) -> None:
        if self.anchors.strides != PROPOSAL_STRIDES:
            raise ValueError(
                f"anchors.strides is {list(self.anchors.strides)}; expected {list(PROPOSAL_STRIDES)}"
            )
        check_overlaps(self.background_iou, self.foreground_iou)


class FasterRcnnConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="faster-rcnn"
):
    """A whole Faster R-CNN.

    Attributes:
        input_size: sides of the square input in pixels, a multiple of 32.
        channels: of the pyramid.
        pyramid: its kind, see :class:`~edgevision.models.settings.RetinaNetConfig`; with that of a trained
            RetinaNet, `initial` takes its pyramid.
    """

    backbone: BackboneConfig
    input_size: Side
    channels: Width = 128
    proposals: ProposalConfig = ProposalConfig()
    regions: RegionConfig = RegionConfig()
    pyramid: PyramidName = "fpn"

    @property
    def places(self) -> int:
        """Proposals of an image: a small input has fewer anchors than are asked for."""
        proposals = self.proposals
        anchors = proposals.anchors
        grids = anchors.grids(self.input_size, self.input_size)
        best = (min(proposals.level_candidates, rows * columns * anchors.per_cell) for rows, columns in grids)
        return min(proposals.count, sum(best))
