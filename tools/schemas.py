"""Writes the JSON Schemas of every YAML file that edgevision reads, from the structures that it becomes.

    .venv/bin/python tools/schemas.py

They lie in edgevision/schemas, ship in the wheel, and ``edgevision schema`` prints them.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from pathlib import Path
from typing import Any

from needed import installed

with installed():
    import msgspec

    from edgevision.export.plans.targets import DeviceProfile
    from edgevision.session.settings import STREAM_SETTINGS
    from edgevision.session.spec import StreamSettings, StreamsFile
    from edgevision.tracking.zones import ZoneLayout
    from edgevision.training.config import ClassifierTraining, DetectorTraining, SegmenterTraining

FOLDER = Path(__file__).parent.parent / "edgevision" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

KINDS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "streams": (StreamsFile,),
    "zones": (ZoneLayout,),
    "train": (DetectorTraining, SegmenterTraining, ClassifierTraining),
    "device": (DeviceProfile,),
}
"""For each kind of file, what it is read into; one of several."""

DEFAULT_FAMILIES = ("retinanet", "unet", "classifier")
"""Those of a model that names none; see :func:`edgevision.models.families.with_family`."""

_ATTRIBUTES = re.compile(r"^Attributes:\n((?:[ ]+.*\n?|\n)*)", re.MULTILINE)


def schema_of(name: str) -> dict[str, Any]:
    """The schema of a kind of file, as JSON writes it; unknown keys are refused, as the reader does."""
    kinds = KINDS[name]
    found, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    schemas = list(found)
    classes = {one.__name__: one for one in msgspec_classes(kinds)}
    for title, part in parts.items():
        _complete(part, classes.get(title))
    return {
        "$schema": DIALECT,
        "title": f"{name} of edgevision",
        **(schemas[0] if len(schemas) == 1 else {"oneOf": schemas}),
        "$defs": dict(sorted(parts.items())),
    }


def text_of(name: str) -> str:
    """What the file of a schema holds."""
    return json.dumps(schema_of(name), indent=2) + "\n"


def msgspec_classes(kinds: tuple[type[msgspec.Struct], ...]) -> list[type[msgspec.Struct]]:
    """The structures and all that they are made of."""
    found: list[Any] = []

    def look(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in found:
                return
            found.append(info.cls)
            for field in info.fields:
                look(field.type)
        for part in (*getattr(info, "types", ()), *getattr(info, "item_types", ())):
            look(part)
        for name in ("item_type", "key_type", "value_type"):
            if hasattr(info, name):
                look(getattr(info, name))

    for kind in kinds:
        look(msgspec.inspect.type_info(kind))
    return found


def described(kind: type[msgspec.Struct]) -> dict[str, str]:
    """What the docstring of a structure says of each attribute."""
    match = _ATTRIBUTES.search(inspect.getdoc(kind) or "")
    if match is None:
        return {}
    said: dict[str, str] = {}
    entries = re.split(r"\n(?=    \S)", "\n" + match[1].rstrip())
    for entry in entries:
        names, colon, text = entry.strip().partition(": ")
        if colon:
            plain = " ".join(re.sub(r":\w+:`[~]?([^`]*)`", r"\1", text).replace("``", "`").split())
            for one in names.split(", "):
                said[one] = plain[0].upper() + plain[1:]
    return said


def _complete(part: dict[str, Any], kind: type[msgspec.Struct] | None) -> None:
    properties = part.get("properties")
    if properties is None:
        return
    part["additionalProperties"] = False
    if properties.get("family", {}).get("enum", [""])[0] in DEFAULT_FAMILIES:
        part["required"].remove("family")
    part.pop("description", None)
    if kind is None:
        return
    text = (inspect.getdoc(kind) or "").partition("\n\n")[0]
    part["description"] = " ".join(text.replace("``", "`").split())
    said = described(kind)
    if issubclass(kind, StreamSettings):
        said |= {
            setting.name: setting.help + (f" Default: {setting.default}." if setting.default else "")
            for setting in STREAM_SETTINGS
        }
        said["streams"] = "What runs together; where one sets nothing, what is set beside `streams` holds."
    for field in msgspec.structs.fields(kind):
        shown = properties[field.encode_name]
        if issubclass(kind, StreamSettings) and not field.required:  # `zones:` sets nothing
            properties[field.encode_name] = shown = _or_nothing(shown)
        if field.name in said:
            shown["description"] = said[field.name]


def _or_nothing(shown: dict[str, Any]) -> dict[str, Any]:
    default = {"default": shown.pop("default")} if "default" in shown else {}
    choices = shown.pop("anyOf") if "anyOf" in shown else [shown]
    if {"type": "null"} not in choices:
        choices = [*choices, {"type": "null"}]
    return {"anyOf": choices, **default}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for name in KINDS:
        (FOLDER / f"{name}.schema.json").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()
