"""edgevision beside ultralytics and supervision: the same clip, the same detector, the same boxes.

In an environment of its own (its packages are no dependency of ours):

    uv venv peers
    uv pip install --python peers -c constraints.txt -e . -r benchmarks/peers-requirements.txt
    peers/bin/python benchmarks/peers.py --source CLIP.mp4 [--rounds 5] [--quiet] --out docs/benchmarks/peers

The detector is yolo11n with random weights (benchmarks/peers_model.py) as ultralytics exports it; ours is
the same file after ``edgevision import``. Each measurement is a process of its own, see
benchmarks/peers_sides.py. The sides take turns, and in every round the bare network runs too: the time
*beside inference* is a side's time a frame less the bare network's, so our NMS inside the graph counts
against us. ``--quiet`` gives each process the machine before all others (SCHED_RR, needs root), for machines
that are never idle. Writes OUT.json and OUT.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGES = ("ultralytics", "supervision", "onnxruntime", "torch", "opencv-python", "av", "numpy")
SIDES = ("edgevision", "ultralytics")
WRITING = {
    "off": "boxes only, nothing drawn or written",
    "mjpeg": "drawn, Motion JPEG through OpenCV (what `save=True` writes)",
    "h264": "drawn, H.264 through edgevision's MP4 sink",
}
_QUIET = ("chrt", "-r", "10")
_LIMIT_S = 300
# It must neither install packages nor call home while it is measured.
_STILL = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}

Figures = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", required=True, help="a video file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quiet", action="store_true", help="measure before all other processes")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json and OUT.md")
    options = parser.parse_args()
    prefix = _QUIET if options.quiet else ()
    clip = str(Path(options.source).resolve())
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        raw, ours = build(prefix, clip, Path(folder))
        rounds = [measure(prefix, clip, raw, ours, folder, turn) for turn in range(options.rounds)]
        overlay = json.loads(run([*prefix, *script("peers_overlay.py"), clip, str(ours), "7"], folder))
    result = {
        "machine": machine(load),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit(),
        "command": "python " + shlex.join([f"benchmarks/{Path(__file__).name}", *sys.argv[1:]]),
        "clip": Path(clip).name,
        "summary": {writing: summary(rounds, writing) for writing in WRITING},
        "overlay": overlay,
        "rounds": rounds,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    options.out.with_suffix(".md").write_text(table(result))
    print(table(result))
    return 0


def build(prefix: tuple[str, ...], clip: str, folder: Path) -> tuple[Path, Path]:
    """The ONNX file as ultralytics exports it, and the same after ``edgevision import``."""
    raw, ours = folder / "yolo11n.onnx", folder / "imported.onnx"
    run([*prefix, *script("peers_model.py"), clip, str(raw)], str(folder))
    run(
        [
            *prefix,
            sys.executable,
            "-m",
            "edgevision",
            "import",
            str(raw),
            "--kind",
            "yolo",
            "--out",
            str(ours),
        ],
        str(folder),
    )
    return raw, ours


def measure(prefix: tuple[str, ...], clip: str, raw: Path, ours: Path, folder: str, turn: int) -> Figures:
    """One round: every side in every way of writing, and the bare network."""
    models = {"edgevision": str(ours), "ultralytics": str(raw), "bare": str(raw)}
    order = SIDES if turn % 2 == 0 else SIDES[::-1]
    found: Figures = {}
    for writing in WRITING:
        # Next to each pair, so that a machine that slows down slows both.
        found[writing] = {
            side: json.loads(
                run([*prefix, *script("peers_sides.py"), side, writing, clip, models[side], folder], folder)
            )
            for side in ("bare", *order)
        }
    return found


def script(name: str) -> list[str]:
    return [sys.executable, str(HERE / name)]


def run(command: list[str], folder: str) -> str:
    """The last line that a process prints."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **_STILL}, capture_output=True, text=True, timeout=_LIMIT_S
    )
    if done.returncode:
        sys.exit(f"error: {shlex.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def summary(rounds: list[Figures], writing: str) -> Figures:
    """Medians over the rounds; what lies beside inference is taken round by round."""
    found: Figures = {}
    for side in (*SIDES, "bare"):
        runs = [each[writing][side] for each in rounds]
        found[side] = {
            name: round(statistics.median(each[name] for each in runs), 2)
            for name in ("ms", "cpu_ms", "peak_mib")
        }
        if side == "bare":
            continue
        for name in ("ms", "cpu_ms"):
            beside = [each[writing][side][name] - each[writing]["bare"][name] for each in rounds]
            found[side][f"beside_{name}"] = round(statistics.median(beside), 2)
        found[side]["boxes_a_frame"] = round(runs[0]["boxes"] / runs[0]["frames"], 1)
    ours, theirs = found["edgevision"]["beside_ms"], found["ultralytics"]["beside_ms"]
    return {**found, "beside_ratio": round(ours / theirs, 2)}


def table(result: Figures) -> str:
    """The figures as Markdown."""
    machine, versions = result["machine"], result["versions"]
    lines = [
        "# Beside the peers",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; commit {result['commit']}.",
        "",
        f"`{result['command']}`",
        "",
        f"Load average before: {machine['load_before']}. Clip: {result['clip']}; medians of "
        f"{len(result['rounds'])} rounds. How it is measured stands in "
        "[benchmarks/peers.py](../../benchmarks/peers.py).",
        "",
        "## The whole run",
        "",
        "*Beside inference* is the time a frame less that of the bare network in ONNX Runtime with its "
        "default settings, measured in the same round. Ours does NMS in the graph, which is counted.",
        "",
        "| written | side | ms a frame | beside inference | CPU ms a frame | peak MiB | boxes a frame |",
        "|---|---|---|---|---|---|---|",
    ]
    for writing, text in WRITING.items():
        figures = result["summary"][writing]
        for side in SIDES:
            one = figures[side]
            lines.append(
                f"| {text} | {side} | {one['ms']} | {one['beside_ms']} | {one['cpu_ms']} "
                f"| {one['peak_mib']:.0f} | {one['boxes_a_frame']} |"
            )
        lines.append(
            f"| | bare network | {figures['bare']['ms']} | | {figures['bare']['cpu_ms']} | | |\n"
            f"| | ours / theirs | | {figures['beside_ratio']} | | | |"
        )
    overlay = result["overlay"]
    lines += [
        "",
        f"## Drawing {overlay['boxes']} boxes with labels",
        "",
        "| picture | edgevision, ms | supervision, ms | ultralytics, ms | supervision / ours |",
        "|---|---|---|---|---|",
    ]
    for size, times in overlay["ms_a_frame"].items():
        ours, theirs = times["edgevision"], times["supervision"]
        lines.append(
            f"| {size} | {ours:.3f} | {theirs:.3f} | {times['ultralytics']:.3f} | {theirs / ours:.1f} |"
        )
    return "\n".join(lines) + "\n"


def machine(load: float) -> Figures:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load_before": round(load, 2),
    }


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
