"""Numbers that have a range: the types of a configuration's fields.

:mod:`edgevision.config` refuses what lies outside when a YAML file is read, with the key, what was found and
the range in words; and NaN and infinity everywhere. The JSON Schemas that ship say the same ranges. As with
all types of msgspec, code that builds a structure itself is not checked.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
"""0 switches something off."""
Limit = Annotated[int, Meta(ge=1, le=10_000)]
"""How many of something an image has: detections, proposals, what enters suppression."""
Width = Annotated[int, Meta(ge=1, le=16_384)]
"""Channels of a layer."""
WidthOrNone = Annotated[int, Meta(ge=0, le=16_384)]
Depth = Annotated[int, Meta(ge=1, le=100)]
"""Layers, or cells along a side of what is taken from a map."""
Side = Annotated[int, Meta(ge=32, le=16_384, multiple_of=32)]
"""Pixels of an input, a whole number of the backbones' last cells; the contract knows no larger ones."""
SideOrNone = Annotated[int, Meta(ge=0, le=16_384, multiple_of=32)]
Byte = Annotated[int, Meta(ge=0, le=255)]
"""Of a colour."""
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""What numpy and torch both take."""

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
"""A share, a probability, a score or an overlap, both ends included."""
ShareBelowOne = Annotated[float, Meta(ge=0, lt=1)]
ShareAboveZero = Annotated[float, Meta(gt=0, le=1)]
ShareBetween = Annotated[float, Meta(gt=0, lt=1)]
Enlargement = Annotated[float, Meta(ge=1, le=10)]
"""Factor by which a side, or the form of an image, grows at most; 1 for not at all."""
Angle = Annotated[float, Meta(ge=0, le=180)]
"""Degrees, either way."""

Positives = Annotated[tuple[Positive, ...], Meta(min_length=1)]
