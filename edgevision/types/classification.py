"""What a classification model says of one image."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from edgevision.types.arrays import FloatArray


class Label(msgspec.Struct, frozen=True):
    """A class that an image, or an object in it, was given.

    Attributes:
        name: of the class.
        score: its probability, 0..1.
        class_id: index into the class names.
        model: name of the model that says so.
    """

    name: str
    score: float
    class_id: int
    model: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """What one image shows as a whole.

    Attributes:
        probabilities: float32 ``[C]``, one for each of ``names``.
        names: class names.
        model: name of the model; empty where it is not known.
        multi_label: several classes may hold at once; otherwise exactly one does.
        threshold: least probability of what :meth:`labels` gives.
        class_thresholds: one for each of ``names``, in place of ``threshold``; empty where they have none of
            their own.

    Raises:
        ValueError: on a wrong shape, or a probability that is not within 0..1.

    Example:
        >>> shown = Classification([0.7, 0.2, 0.1], ("cat", "dog", "cow"), threshold=0.15)
        >>> shown.top(1)[0].name, [one.name for one in shown.labels()]
        ('cat', ['cat'])
    """

    probabilities: FloatArray
    names: tuple[str, ...]
    model: str = ""
    multi_label: bool = False
    threshold: float = 0.0
    class_thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        values = np.asarray(self.probabilities, np.float32)
        object.__setattr__(self, "probabilities", values)
        object.__setattr__(self, "names", tuple(self.names))
        if values.shape != (len(self.names),):
            raise ValueError(f"probabilities have shape {list(values.shape)}; expected [{len(self.names)}]")
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
            raise ValueError("probabilities must be numbers from 0 to 1")
        if len(self.class_thresholds) not in (0, len(self.names)):
            raise ValueError(f"{len(self.class_thresholds)} thresholds for {len(self.names)} classes")

    def __repr__(self) -> str:
        shown = [f"{one.name} {one.score:.2f}" for one in self.labels()]
        return f"<Classification: {', '.join(shown) or 'none'}>"

    def top(self, count: int) -> list[Label]:
        """The most probable classes, best first, at most ``count``; equal ones in the order of the names."""
        best: list[int] = np.argsort(-self.probabilities, kind="stable")[:count].tolist()
        return [Label(self.names[i], float(self.probabilities[i]), i, self.model) for i in best]

    def labels(self) -> list[Label]:
        """The classes that hold, best first: those of their threshold or more; one where one is given."""
        best = self.top(len(self.names) if self.multi_label else 1)
        limits = self.class_thresholds or (self.threshold,) * len(self.names)
        return [one for one in best if one.score >= limits[one.class_id]]
