"""The segmenter families: for each kind of configuration its network.

What trains, measures and exports asks here; all of them learn by
:class:`~edgevision.models.segmentation_losses.SegmentationLoss`.
"""

from __future__ import annotations

from edgevision.models.families import SegmenterModel
from edgevision.models.fcn.network import Fcn
from edgevision.models.fcn.settings import FcnConfig
from edgevision.models.segmentation import Segmenter
from edgevision.models.settings import UNetConfig
from edgevision.models.unet import UNet
from edgevision.models.unpooling.deconvnet import DeconvNet
from edgevision.models.unpooling.segnet import SegNet
from edgevision.models.unpooling.settings import SegNetConfig


def build_segmenter(model: SegmenterModel, classes: int) -> Segmenter:
    """The network with its starting weights.

    Raises:
        CheckpointError, ConfigError: see :func:`edgevision.models.backbone.build_backbone`; or there are
            fewer than two classes.
    """
    if isinstance(model, UNetConfig):
        return UNet(model, classes)
    if isinstance(model, FcnConfig):
        return Fcn(model, classes)
    return SegNet(model, classes) if isinstance(model, SegNetConfig) else DeconvNet(model, classes)
