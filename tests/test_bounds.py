"""Every number of every file has a range; one line says what was found and what is expected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from edgevision.bounds import Side
from edgevision.config import config_faults
from edgevision.export.plans.targets import DeviceProfile
from edgevision.session.spec import StreamsFile, understand_streams
from edgevision.tracking.zones import ZoneLayout
from edgevision.training.config import ClassifierTraining, DetectorTraining, SegmenterTraining

FILES = (DetectorTraining, SegmenterTraining, ClassifierTraining, StreamsFile, ZoneLayout, DeviceProfile)
NUMBERS = (inspect.IntType, inspect.FloatType)

FREE = {
    "Certainty.middle": "of a curve that is fitted to a teacher, whose middle may lie beyond its scores",
    "Resize.fill": "model files have it too; a training's is checked by check_run",
    "Resize.share": "as Resize.fill",
    "Zone.polygon[0][0]": "the range depends on the file's units: load_zones",
    "Zone.polygon[0][1]": "as Zone.polygon[0][0]",
    **{f"Line.{end}[{axis}]": "as Zone.polygon[0][0]" for end in ("from", "to") for axis in (0, 1)},
    **{
        f"{kind}.{name}": "checked by StreamSpec, for the command line sets it too"
        for kind in ("StreamEntry", "StreamsFile")
        for name in ("conf", "max_latency", "every", "alpha", "max_frames")
    },
}
"""Numbers without a range in their type, each with the reason."""


def structures(kinds: tuple[type[msgspec.Struct], ...]) -> list[inspect.StructType]:
    """The structures of files and all structures in them."""
    found: dict[type, inspect.StructType] = {}

    def look(info: Any) -> None:
        if isinstance(info, inspect.StructType):
            if info.cls in found:
                return
            found[info.cls] = info
            for field in info.fields:
                look(field.type)
        for part in (*getattr(info, "types", ()), *getattr(info, "item_types", ())):
            look(part)
        for name in ("item_type", "value_type"):
            if hasattr(info, name):
                look(getattr(info, name))

    for kind in kinds:
        look(inspect.type_info(kind))
    return list(found.values())


def numbers(info: Any, at: str, wrap: Any = lambda value: value) -> Iterator[tuple[str, Any, Any]]:
    """Numbers of a field: the key as messages have it, the type, and a function from a number to a value.

    A list has as many elements as it needs; the number is the first of them.
    """
    if isinstance(info, NUMBERS):
        yield at, info, wrap
    elif isinstance(info, inspect.UnionType):
        for part in info.types:
            yield from numbers(part, at, wrap)
    elif isinstance(info, inspect.TupleType):
        for place, part in enumerate(info.item_types):
            rest = [1] * len(info.item_types)
            yield from numbers(
                part, f"{at}[{place}]", lambda v, p=place, r=rest: wrap([*r[:p], v, *r[p + 1 :]])
            )
    elif isinstance(info, (inspect.ListType, inspect.VarTupleType)):
        yield from numbers(info.item_type, f"{at}[0]", lambda v: wrap([v] * max(info.min_length or 0, 1)))
    elif isinstance(info, inspect.DictType):
        yield from numbers(info.value_type, f"{at}.any", lambda v: wrap({"any": v}))


CASES = [
    pytest.param(struct.cls, at, info, wrap, id=f"{struct.cls.__name__}.{at}")
    for struct in structures(FILES)
    for field in struct.fields
    for at, info, wrap in numbers(field.type, field.encode_name)
]


def outside(info: Any) -> list[float]:
    """Numbers just outside the range of a type."""
    step = 1 if isinstance(info, inspect.IntType) else 1e-6
    return [
        bound
        for bound in (
            None if info.ge is None else info.ge - step,
            info.gt,
            None if info.le is None else info.le + step,
            info.lt,
            None if info.multiple_of is None else 2 * info.multiple_of + 1,
        )
        if bound is not None
    ]


@pytest.mark.parametrize(("kind", "at", "info", "wrap"), CASES)
def test_a_number_outside_its_range_is_named_with_what_is_expected(
    kind: type[msgspec.Struct], at: str, info: Any, wrap: Any
) -> None:
    field = at.partition("[")[0].partition(".")[0]
    values = outside(info)
    assert bool(values) != (f"{kind.__name__}.{at}" in FREE), "give it a range, or say why it has none"
    if isinstance(info, inspect.FloatType):
        values += [math.nan, math.inf, -math.inf]
    for value in values:
        faults = [fault for fault in config_faults({field: wrap(value)}, kind) if f"`{at}`" in fault]
        assert len(faults) == 1, value
        assert faults[0].startswith(f"`{at}` is {value}; expected a ")
        assert "\n" not in faults[0]


def test_every_free_number_is_one_that_there_is() -> None:
    assert {f"{case.values[0].__name__}.{case.values[1]}" for case in CASES} >= FREE.keys()
    assert len(CASES) > 100, "the walk finds them all"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"conf": 3}, "expected 0 to 1"),
        ({"alpha": -1}, "expected 0 to 1"),
        ({"max_frames": 0}, "expected 1 or more"),
        ({"max_latency": -2}, "expected a number with a unit"),
        ({"every": 0}, "every"),
        *[
            ({name: math.nan}, f"`streams[0].{name}` is nan; expected a finite number")
            for name in ("conf", "alpha", "max_latency")
        ],
    ],
)
def test_what_streams_check_themselves(setting: dict[str, float], words: str) -> None:
    document = {"streams": [{"source": "demo", **setting}]}
    faults = understand_streams(document, {}).faults
    assert len(faults) == 1
    assert words in faults[0]


class Window(msgspec.Struct, frozen=True):
    side: Side


@pytest.mark.parametrize(
    ("side", "fault"),
    [
        (33, "`side` is 33; expected a multiple of 32 from 32 to 16384"),
        (64.5, "`side` is a number; expected a whole number"),
        (10**30, f"`side` is {10**30}; expected a multiple of 32 from 32 to 16384"),
        ("64", "`side` is text; expected a whole number"),
        (64, None),
    ],
)
def test_a_side_is_a_whole_number_of_cells(side: object, fault: str | None) -> None:
    assert config_faults({"side": side}, Window) == ([fault] if fault else [])
