"""The one table of what can be set for a stream: names, kinds and help.

The options of ``edgevision run``, ``serve`` and ``check`` are made from it, and the descriptions in the JSON
Schema of ``streams.yaml``; :class:`edgevision.session.spec.StreamSettings` has a field for each row. It
imports nothing of the runtime, so that help is shown fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "texts", "path", "number", "count", "flag", "yes_no"]
"""Text, a list of it, a path, a number, a whole number, or something that is on or off: off unless one asks
for it, or the other way round."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table.

    Attributes:
        name: as in a file and in Python; a command line has dashes in place of underscores.
        kind: what it takes.
        help: one or two sentences; other settings are named in backticks.
        default: what holds where nobody sets it, in words; empty for nothing.
        is_live: a change takes effect in a stream that runs, which otherwise begins again.
    """

    name: str
    kind: Kind
    help: str
    default: str = ""
    is_live: bool = False


STREAM_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "model",
        "texts",
        "Name of a model that ships, or path of an ONNX file or plan. Several draw on the same image.",
        "the first detector",
    ),
    Setting(
        "fallback_model",
        "text",
        "A faster model with the same classes, for when `max_latency` cannot be held otherwise.",
    ),
    Setting(
        "then",
        "text",
        "A second model, a classifier or one that finds objects, on what the first found "
        "(docs/guides/python.md, docs/reference/jsonl.md: attributes).",
    ),
    Setting("on", "text", "Classes that the second model looks at: person,car.", "all"),
    Setting("every_track", "flag", "The second model looks at each object once; implies `track`."),
    Setting("engine", "text", "auto, onnxruntime, onnxruntime-cuda, openvino or tensorrt.", "auto"),
    Setting(
        "precision",
        "text",
        "Of a model that ships: fp32, fp16, int8, or auto: the quickest here whose card says a drop of at "
        "most 0.005 (docs/guides/int8.md).",
        "auto",
    ),
    Setting("conf", "number", "Leave out detections below this score, 0 to 1.", "0.35", is_live=True),
    Setting("classes", "text", "Only these classes, separated by commas: person,car.", "all", is_live=True),
    Setting("track", "flag", "Give each object a number that stays with it (docs/guides/zones.md)."),
    Setting(
        "zones",
        "path",
        "YAML file of zones and lines to watch; implies `track` (docs/guides/zones.md).",
        is_live=True,
    ),
    Setting(
        "max_latency",
        "text",
        "Hold the time from capture to output under this, as in 150ms (live sources): frames are "
        "skipped, then the fallback model is used.",
    ),
    Setting("every", "text", "One frame of 5, as in 5, or the first of every second, as in 1s.", "all"),
    Setting("start", "text", "Of a recording, from here on: 90s or 1:30."),
    Setting("end", "text", "Of a recording, up to here."),
    Setting(
        "tiles",
        "text",
        "For small objects: look at 2x2 overlapping tiles of each image too, or 3x2:0.2 (overlap).",
    ),
    Setting(
        "output",
        "text",
        "Where the drawn images go: .mp4, .jpg, frames/%06d.jpg, a folder, or as a stream to rtsp://, "
        "rtmp://, udp://, tcp://, whip+https://, live.m3u8, hls/, - or -.mjpg (docs/guides/cameras.md).",
    ),
    Setting("save_json", "path", "Where the results go as JSON lines: .jsonl, or a folder."),
    Setting(
        "save_masks",
        "path",
        "Folder for class maps as PNGs of class ids, at the source's size (segmentation).",
    ),
    Setting(
        "events",
        "texts",
        "Where events of objects go: a .jsonl file, a folder, or mqtt[s]://user@host/prefix. May be "
        "given several times; implies `track` (docs/reference/events.md).",
    ),
    Setting(
        "event_classes",
        "text",
        "Events of these only: person,car. With `then` also person:helmet (docs/reference/events.md).",
        "all",
    ),
    Setting("event_pictures", "path", "Folder for a JPEG of each object in the events."),
    Setting("record", "path", "Folder for continuous recording (docs/guides/recording.md)."),
    Setting("rotate", "text", "Start a new file every 10m, 1h or 500MB.", "10m"),
    Setting("keep", "text", "Remove the oldest recordings beyond this size, as in 20GB.", "keep all"),
    Setting("record_on", "text", "Record only clips around these classes: person,car."),
    Setting("pre", "text", "Pre-roll of a clip.", "5s"),
    Setting("post", "text", "Post-roll of a clip.", "10s"),
    Setting(
        "record_drawn",
        "yes_no",
        "no: record without drawings, and keep the boxes beside; the page draws them.",
        "yes",
    ),
    Setting("alpha", "number", "Opacity of class maps, 0 to 1.", "0.45"),
    Setting("display", "flag", "Show a window, recordings at their own speed; q or Esc ends the run."),
    Setting("max_frames", "count", "End after this many frames.", "all"),
)
