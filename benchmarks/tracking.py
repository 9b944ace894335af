"""Number and length of tracks, by the lowest score that the tracker uses.

    python benchmarks/tracking.py CLIP.mp4 ... [--model retinanet-light] [--conf 0.35] [--json PATH]

Each clip goes through the detector once, and its detections through one tracker per threshold. Ideally there
are as many ids as objects, which are counted by eye.

- ``numbers``: track ids in total.
- ``median_frames``: median number of frames from an id's first to its last.
- ``boxes``: boxes with an id; more are better only if they are correct.
- ``update_ms``: median time per frame, single-threaded.

Prints JSON.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Figures, new_parser, report

from edgevision.engines import load_engine
from edgevision.model import Model
from edgevision.tracking.tracker import RECOVER_THRESHOLD, Tracker
from edgevision.types import Detections
from edgevision.video import open_source
from edgevision.zoo import default_model, find_model

WEAKEST = (0.1, 0.15, 0.2, 0.25)


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("clips", nargs="+", metavar="CLIP")
    parser.add_argument("--model", default=default_model("detection").name)
    parser.add_argument("--conf", type=float, default=0.35)
    options = parser.parse_args()
    return report(lambda: measure(options.model, options.clips, options.conf), options.json)


def measure(model: str, clips: Sequence[str], conf: float) -> Figures:
    """Every clip with every threshold."""
    with load_engine(find_model(model)) as engine:
        detector = Model(engine, min(WEAKEST))
        return {
            "model": engine.manifest.name,
            "conf": conf,
            "default_weakest": RECOVER_THRESHOLD,
            "clips": {Path(clip).name: measure_clip(clip, detector, conf) for clip in clips},
        }


def measure_clip(clip: str, detector: Model, conf: float) -> Figures:
    with open_source(clip) as source:
        frames = [(frame.time_s, detector([frame.image])[0]) for frame in source]
        rate = source.info.frame_rate
    found: Figures = {"frames": len(frames)}
    for weakest in (*WEAKEST, conf):
        found["none" if weakest == conf else f"{weakest:g}"] = follow(frames, rate, conf, weakest)
    return found


def follow(
    frames: Sequence[tuple[float, Any]], rate: float | None, conf: float, weakest: float
) -> dict[str, float]:
    """What a tracker makes of these frames: pairs of time in seconds and detections."""
    tracker = Tracker(rate, conf)
    lives: dict[int, list[int]] = {}
    boxes, times_ms = 0, []
    for i, (time_s, found) in enumerate(frames):
        assert isinstance(found, Detections)
        given = found[found.scores >= weakest]
        start = time.perf_counter()
        tracked = tracker.update(given, time_s)
        times_ms.append((time.perf_counter() - start) * 1e3)
        for one in tracked:
            if one.track_id is not None:
                lives.setdefault(one.track_id, []).append(i)
                boxes += 1
    lengths = [life[-1] - life[0] + 1 for life in lives.values()]
    return {
        "numbers": len(lives),
        "median_frames": statistics.median(lengths) if lengths else 0,
        "boxes": boxes,
        "update_ms": round(statistics.median(times_ms), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
