"""A commented file of streams to start with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from edgevision.address import Address
from edgevision.config import faulty
from edgevision.errors import UsageError
from edgevision.session.spec import understand_streams, unique_names

_TEXT = """\
# Streams of edgevision. Each setting may stand at the top, for all streams, or in one of them.
# All settings are options of 'edgevision run', too: edgevision run --help

{model}
# conf: 0.35                  # leave out detections below this score
{classes}
{track}

streams:
{streams}"""
_STREAM = """\
  - name: {name}
    source: {source}
    # zones: zones.yaml       # areas and lines to count at; edgevision zones check zones.yaml --on SOURCE
{record}
    # events: [events.jsonl]  # or mqtt://user@host/prefix
"""


def name_of(source: str) -> str:
    """What a stream of this source is called: the host of an address, the stem of a file."""
    address = Address.parse(source)
    if address.scheme:
        name = address.shown.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]
        return name or address.scheme
    return Path(address.text).stem or source


def starter_text(
    sources: Sequence[str],
    names: Sequence[str] = (),
    *,
    model: str = "",
    classes: Sequence[str] = (),
    record: str = "",
    track: bool = True,
) -> str:
    """The file, as text.

    Args:
        sources: addresses of the streams; at least one.
        names: of the first streams; the others are called after their source.
        model: of all streams; empty for the detector that ships.
        classes: of all streams; empty for all.
        record: a folder for recordings of all streams; empty for none.
        track: number the objects, which needs the extra ``track``.

    Raises:
        UsageError: there are more names than sources.
        ConfigError: a setting is not valid.
    """
    if len(names) > len(sources):
        raise UsageError(f"{len(names)} names for {len(sources)} sources; give one `name` for each `source`")
    given = [*names, *map(name_of, sources[len(names) :])]
    listed = ", ".join(map(_scalar, classes))
    no_track = "# track: true               # numbers for objects; needs: pip install 'edgevision[track]'"
    text = _TEXT.format(
        model=f"model: {_scalar(model)}"
        if model
        else "# model: mine.onnx          # instead of retinanet-light",
        classes=f"classes: [{listed}]" if classes else "# classes: [person, car]    # all without it",
        track="track: true                 # numbers for objects" if track else no_track,
        streams="\n".join(
            _STREAM.format(
                name=_scalar(name),
                source=_scalar(source),
                record=f"    record: {_scalar(record)}"
                if record
                else "    # record: recordings      # a folder",
            )
            for name, source in zip(unique_names(given), sources, strict=True)
        ),
    )
    faults = understand_streams(yaml.safe_load(text), {}).faults
    if faults:
        raise faulty("the streams", faults)
    return text


def _scalar(text: str) -> str:
    """A string as YAML reads it back: plain where that is safe, else in double quotes."""
    is_plain = text.replace("-", "").replace("_", "").isalnum() and not text[:1].isdigit() and text[0] != "-"
    if is_plain and isinstance(yaml.safe_load(text), str):
        return text
    return json.dumps(text, ensure_ascii=False)
