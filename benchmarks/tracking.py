"""Tracks by the lowest score that the tracker uses: number and length, and accuracy on ground truth.

    python benchmarks/tracking.py [CLIP.mp4 ...] [--truth FOLDER ...] [--model NAME] [--conf C] [--json PATH]

Each clip goes through the detector once, and its detections through one tracker per threshold. Ideally there
are as many ids as objects, which are counted by eye.

- ``numbers``: track ids in total.
- ``median_frames``: median number of frames from an id's first to its last.
- ``boxes``: boxes with an id; more are better only if they are correct.
- ``update_ms``: median time per frame, single-threaded.

A folder of ``--truth`` is a sequence of MOTChallenge: ``gt/gt.txt`` beside one clip. Persons with an id are
compared with the truth by TrackEval (``uv pip install --group bench``), overlap 0.5 or more:

- ``MOTA``: 1 - (missed + false + switched) / true boxes (Bernardin and Stiefelhagen, 2008).
- ``IDF1``: F1 of boxes with the right id (Ristani et al., 2016).
- ``HOTA``: mean of detection and association over overlaps of 0.05 to 0.95 (Luiten et al., 2021).
- ``precision``, ``recall``, ``switches``, ``ids``: of the boxes with an id; ``objects`` are the true ids.

Prints JSON.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import Figures, commit, new_parser, report

from edgevision.boxes import iou, xywh_to_xyxy
from edgevision.engines import load_engine
from edgevision.errors import UsageError
from edgevision.model import Model, detect
from edgevision.tracking.tracker import RECOVER_THRESHOLD, Tracker
from edgevision.types import Detections
from edgevision.video import open_source
from edgevision.zoo import default_model, find_model

CLIP_SUFFIXES = {".avi", ".mkv", ".mov", ".mp4", ".webm"}
WEAKEST = (0.1, 0.15, 0.2, 0.25)


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="video file")
    parser.add_argument(
        "--truth",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="a sequence of MOTChallenge with its clip",
    )
    parser.add_argument("--model", default=default_model("detection").name, help="detector, a name or a file")
    parser.add_argument("--conf", type=float, default=0.35, help="score from which a box begins a track")
    options = parser.parse_args()
    if not options.clips and not options.truth:
        parser.error("expected a CLIP or --truth FOLDER")
    return report(lambda: measure(options.model, options.clips, options.conf, options.truth), options.json)


def measure(model: str, clips: Sequence[str], conf: float, truths: Sequence[Path] = ()) -> Figures:
    """Every clip and sequence with every threshold."""
    with load_engine(find_model(model)) as engine:
        detector = Model(engine, min(WEAKEST))
        return {
            "model": engine.manifest.name,
            "conf": conf,
            "default_weakest": RECOVER_THRESHOLD,
            "commit": commit(),
            "command": command(),
            "clips": {Path(clip).name: measure_clip(clip, detector, conf) for clip in clips},
            "truth": {folder.name: measure_truth(folder, detector, conf) for folder in truths},
        }


def command() -> str:
    """The command of this run, with folders and files by their names."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(["python", "benchmarks/tracking.py", *words])


def measure_clip(clip: str, detector: Model, conf: float) -> Figures:
    frames, rate = detect_all(clip, detector)
    found: Figures = {"frames": len(frames)}
    for weakest in (*WEAKEST, conf):
        found["none" if weakest == conf else f"{weakest:g}"] = follow(frames, rate, conf, weakest)
    return found


def detect_all(clip: str, detector: Model) -> tuple[list[tuple[float, Detections]], float | None]:
    """Pairs of time in seconds and detections, and the frame rate.

    Raises:
        UsageError: the model is not a detector.
    """
    with open_source(clip) as source:
        frames = [(frame.time_s, detect(detector, frame.image)) for frame in source]
        return frames, source.info.frame_rate


def measure_truth(folder: Path, detector: Model, conf: float) -> Figures:
    """One sequence with every threshold."""
    clips = sorted(path for path in folder.glob("*") if path.suffix.lower() in CLIP_SUFFIXES)
    truth = folder / "gt" / "gt.txt"
    if len(clips) != 1 or not truth.is_file():
        raise UsageError(f"{folder} is no sequence; expected one clip and gt/gt.txt")
    rows = np.loadtxt(truth, delimiter=",", ndmin=2)
    rows = rows[rows[:, 6] != 0]  # a mark of 0 means: not to be counted
    frames, rate = detect_all(str(clips[0]), detector)
    persons = [
        (time_s, found[np.array([one.name == "person" for one in found], np.bool_)])
        for time_s, found in frames
    ]
    measured: Figures = {"frames": len(frames), "objects": len(np.unique(rows[:, 1]))}
    for weakest in (*(one for one in WEAKEST if one < conf), conf):
        name = "none" if weakest == conf else f"{weakest:g}"
        measured[name] = accuracy(rows, persons, Tracker(rate, conf), weakest)
    return measured


def accuracy(
    rows: np.ndarray, frames: Sequence[tuple[float, Detections]], tracker: Tracker, weakest: float
) -> dict[str, float]:
    """TrackEval's figures of one tracker.

    Args:
        rows: of the truth, ``[N, 7+]``: frame from 1, id, left, top, width, height, mark.
        frames: pairs of time in seconds and detections.
        tracker: new.
        weakest: lowest score that it is given.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise UsageError("ground truth needs trackeval; run uv pip install --group bench") from error
    true_numbers: list[float] = np.unique(rows[:, 1]).tolist()
    numbers: dict[int | None, int] = {}
    true_ids, ids, overlaps = [], [], []
    for i, (time_s, found) in enumerate(frames):
        tracked = tracker.update(found[found.scores >= weakest], time_s)
        tracked = tracked[np.array([one.track_id is not None for one in tracked], np.bool_)]
        here = rows[rows[:, 0] == i + 1]
        true_ids.append(np.array([true_numbers.index(one) for one in here[:, 1]], int))
        ids.append(np.array([numbers.setdefault(one.track_id, len(numbers)) for one in tracked], int))
        overlaps.append(iou(xywh_to_xyxy(here[:, 2:6]), tracked.boxes.astype(float)))
    data = {
        "num_timesteps": len(frames),
        "num_gt_ids": len(true_numbers),
        "num_tracker_ids": len(numbers),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, ids)),
        "gt_ids": true_ids,
        "tracker_ids": ids,
        "similarity_scores": overlaps,
    }
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        clear, identity, hota = (metric().eval_sequence(data) for metric in (CLEAR, Identity, HOTA))
    return {
        "MOTA": round(float(clear["MOTA"]), 3),
        "IDF1": round(float(identity["IDF1"]), 3),
        "HOTA": round(float(np.mean(hota["HOTA"])), 3),
        "precision": round(float(clear["CLR_Pr"]), 3),
        "recall": round(float(clear["CLR_Re"]), 3),
        "switches": int(clear["IDSW"]),
        "ids": len(numbers),
    }


def follow(
    frames: Sequence[tuple[float, Detections]], rate: float | None, conf: float, weakest: float
) -> dict[str, float]:
    """What a tracker makes of these frames: pairs of time in seconds and detections."""
    tracker = Tracker(rate, conf)
    lives: dict[int, list[int]] = {}
    boxes, times_ms = 0, []
    for i, (time_s, found) in enumerate(frames):
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
