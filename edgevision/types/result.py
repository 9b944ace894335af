"""All results of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgevision.types.classification import Classification
from edgevision.types.detections import Detections
from edgevision.types.frame import Frame
from edgevision.types.segmentation import SegmentationMap
from edgevision.types.zones import ZoneReport

Result = Detections | SegmentationMap | Classification
"""What one model says of one image."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """A frame with what the models found in it: what every stage after inference takes.

    Attributes:
        frame: the frame, without anything drawn on it.
        results: one for each model that ran, in the order of the models.
        zones: zones and lines after this frame; None where there are none.
        stream: name of the stream that the frame belongs to; the source's where it has none of its own.
        objects: tracked objects until now by class, each once; None where nothing is tracked.

    Raises:
        ValueError: a class map or masks are of another size than the frame.

    Example:
        >>> frame = Frame(np.zeros((48, 64, 3), np.uint8), 0, 0)
        >>> result = FrameResult(frame, (Detections([[0, 0, 9, 9]], [0.5], [0], ("dog",)),))
        >>> [(one.name, one.score, one.track_id) for one in result.detections]
        [('dog', 0.5, None)]
    """

    frame: Frame
    results: tuple[Result, ...]
    zones: ZoneReport | None = None
    stream: str = ""
    objects: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", tuple(self.results))
        size = self.frame.image.shape[:2]
        for one in self.results:
            if isinstance(one, Detections) and one.masks is not None and one.masks.size != size:
                raise ValueError(
                    f"masks are of an image of {list(one.masks.size)}; expected {list(size)}, the frame's"
                )
        for class_map in self.class_maps:
            if class_map.class_map.shape != size:
                raise ValueError(
                    f"a class map has shape {list(class_map.class_map.shape)}; "
                    f"expected {list(size)}, the frame's"
                )

    @property
    def detections(self) -> Detections:
        """The detections: those of the one model that gives any, or of all such models joined.

        See :meth:`Detections.join`; empty where no model detects.
        """
        return Detections.join([result for result in self.results if isinstance(result, Detections)])

    @property
    def classifications(self) -> tuple[Classification, ...]:
        """What each model that classifies says of the image."""
        return tuple(result for result in self.results if isinstance(result, Classification))

    @property
    def class_maps(self) -> tuple[SegmentationMap, ...]:
        """The class map of each model that segments."""
        return tuple(result for result in self.results if isinstance(result, SegmentationMap))
