"""edgevision compared with ultralytics and supervision: the same clip, detector and boxes.

In an environment of its own (its packages are no dependency of ours):

    uv venv peers
    uv pip install --python peers -c constraints.txt -e . -r benchmarks/peers-requirements.txt
    peers/bin/python benchmarks/peers.py --source CLIP.mp4 [--rounds 5] [--quiet] \\
        --json docs/benchmarks/peers.json --page docs/benchmarks/peers.md

The detector is yolo11n with random weights (benchmarks/peers_model.py) as ultralytics exports it; edgevision
uses the same file after ``edgevision import``. Each measurement is a separate process, see
benchmarks/peers_sides.py. The sides alternate, and in every round the bare network runs too: one inference
at a time on all cores as in ultralytics, and several at a time as edgevision does for recordings. *Beside
inference* is a side's time per frame minus that of the bare network one at a time, *beside its own* minus
that of the bare network as the side itself runs it. edgevision's NMS in the graph counts as its overhead.
``--quiet`` gives each process priority over all others (SCHED_RR, needs root), for busy machines. Prints
the page.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Figures, commit, machine, new_parser, report

from edgevision.errors import EdgeVisionError

HERE = Path(__file__).resolve().parent
PACKAGES = ("ultralytics", "supervision", "onnxruntime", "torch", "opencv-python", "av", "numpy")
SIDES = ("edgevision", "ultralytics")
BARE = {"edgevision": "bare-requests", "ultralytics": "bare"}
"""The bare network as each side runs it."""
WRITING = {
    "off": "boxes only, nothing drawn or written",
    "mjpeg": "drawn, Motion JPEG through OpenCV (what `save=True` writes)",
    "h264": "drawn, H.264 through edgevision's MP4 sink",
}
RATIOS = ("ms", "cpu_ms", "beside_ms", "own_beside_ms")
_QUIET = ("chrt", "-r", "10")
_LIMIT_S = 300
# It must neither install packages nor call home while it is measured.
_STILL = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--source", required=True, help="a video file")
    parser.add_argument("--rounds", type=int, default=5, help="in each of which every side runs")
    parser.add_argument("--quiet", action="store_true", help="measure before all other processes")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file too")
    options = parser.parse_args()
    prefix = _QUIET if options.quiet else ()
    clip = str(Path(options.source).resolve())
    return report(lambda: measure(prefix, clip, options.rounds), options.json, options.page, table)


def measure(prefix: tuple[str, ...], clip: str, count: int) -> Figures:
    """Several rounds of everything, and the drawing."""
    here = machine()
    with tempfile.TemporaryDirectory() as folder:
        raw, ours = build(prefix, clip, Path(folder))
        rounds = [measure_round(prefix, clip, raw, ours, folder, number) for number in range(count)]
        overlay = json.loads(run([*prefix, *script("peers_overlay.py"), clip, str(ours), "7"], folder))
    return {
        "machine": here,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit(),
        "command": "python " + shlex.join([f"benchmarks/{Path(__file__).name}", *sys.argv[1:]]),
        "clip": Path(clip).name,
        "summary": {writing: summary(rounds, writing) for writing in WRITING},
        "overlay": overlay,
        "rounds": rounds,
    }


def build(prefix: tuple[str, ...], clip: str, folder: Path) -> tuple[Path, Path]:
    """The ONNX file as ultralytics exports it, and the same after ``edgevision import``."""
    raw, ours = folder / "yolo11n.onnx", folder / "imported.onnx"
    run([*prefix, *script("peers_model.py"), clip, str(raw)], str(folder))
    importing = ["-m", "edgevision", "import", str(raw), "--kind", "yolo", "--out", str(ours)]
    run([*prefix, sys.executable, *importing], str(folder))
    return raw, ours


def measure_round(
    prefix: tuple[str, ...], clip: str, raw: Path, ours: Path, folder: str, number: int
) -> Figures:
    """One round: every side in every way of writing, and the bare network."""
    models = {"edgevision": str(ours)}
    order = SIDES if number % 2 == 0 else SIDES[::-1]
    found: Figures = {}
    for writing in WRITING:
        # Next to each pair, so that a machine that slows down slows both.
        found[writing] = {}
        for side in (*BARE.values(), *order):
            arguments = [side, writing, clip, models.get(side, str(raw)), folder]
            found[writing][side] = json.loads(run([*prefix, *script("peers_sides.py"), *arguments], folder))
    return found


def script(name: str) -> list[str]:
    return [sys.executable, str(HERE / name)]


def run(command: list[str], folder: str) -> str:
    """The last line that a process prints."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **_STILL}, capture_output=True, text=True, timeout=_LIMIT_S
    )
    if done.returncode:
        raise EdgeVisionError(f"{shlex.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def summary(rounds: list[Figures], writing: str) -> Figures:
    """Medians over the rounds; what lies beside inference is taken round by round."""
    found: Figures = {}
    for side in (*SIDES, *BARE.values()):
        runs = [each[writing][side] for each in rounds]
        found[side] = {
            name: round(statistics.median(each[name] for each in runs), 2)
            for name in ("ms", "cpu_ms", "peak_mib")
        }
        if side not in SIDES:
            continue
        for name, network in (("beside_ms", "bare"), ("own_beside_ms", BARE[side])):
            beside = [each[writing][side]["ms"] - each[writing][network]["ms"] for each in rounds]
            found[side][name] = round(statistics.median(beside), 2)
        found[side]["boxes_a_frame"] = round(runs[0]["boxes"] / runs[0]["frames"], 1)
    ours, theirs = found["edgevision"], found["ultralytics"]
    # Below zero a side needs less than the bare network, and a ratio says nothing.
    ratios = {
        f"{name}_ratio": round(ours[name] / theirs[name], 2) if min(ours[name], theirs[name]) > 0 else None
        for name in RATIOS
    }
    return {**found, **ratios}


def table(result: Figures) -> str:
    """The figures as Markdown."""
    here, versions = result["machine"], result["versions"]
    lines = [
        "# Beside the peers",
        "",
        f"{here['processor']}, {here['cores']} cores, {here['system']}, Python {here['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; commit {result['commit']}.",
        "",
        f"`{result['command']}`",
        "",
        f"Load average before: {here['load_before']}. Clip: {result['clip']}; medians of "
        f"{len(result['rounds'])} rounds. How it is measured stands in `benchmarks/peers.py`.",
        "",
        "## The whole run",
        "",
        "*Beside inference* is the time a frame less that of the bare network in ONNX Runtime with its "
        "default settings, one inference at a time, measured in the same round. Of recordings edgevision has "
        "several inferences in flight, of few threads each, which is quicker than one of many: it can need "
        "less time for everything than the bare network one at a time, and the figure is negative then. "
        "*Beside its own* is less the bare network as the side itself runs it. Ours does NMS in the graph, "
        "which is counted.",
        "",
        "| written | side | ms a frame | beside inference | beside its own | CPU ms a frame | peak MiB "
        "| boxes a frame |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for writing, text in WRITING.items():
        figures = result["summary"][writing]
        for side in SIDES:
            one = figures[side]
            lines.append(
                f"| {text} | {side} | {one['ms']} | {one['beside_ms']} | {one['own_beside_ms']} "
                f"| {one['cpu_ms']} | {one['peak_mib']:.0f} | {one['boxes_a_frame']} |"
            )
        for network, how in (("bare", "one at a time"), ("bare-requests", "several at a time")):
            one = figures[network]
            lines.append(f"| | bare network, {how} | {one['ms']} | | | {one['cpu_ms']} | | |")
        ratios = [figures[f"{name}_ratio"] for name in ("ms", "beside_ms", "own_beside_ms", "cpu_ms")]
        shown = " | ".join("none" if ratio is None else str(ratio) for ratio in ratios)
        lines.append(f"| | ours / theirs | {shown} | | |")
    overlay = result["overlay"]
    lines += [
        "",
        f"## Drawing {overlay['boxes']} boxes with labels",
        "",
        "Supervision's lines and texts have one size on every image by default; *sized* is with the "
        "thickness and scale that its own functions advise for the image, as ours and ultralytics' have.",
        "",
        "| image | edgevision, ms | supervision, ms | sized, ms | ultralytics, ms | supervision / ours "
        "| sized / ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for size, times in overlay["ms_a_frame"].items():
        ours, plain, sized = (times[name] for name in ("edgevision", "supervision", "supervision_sized"))
        lines.append(
            f"| {size} | {ours:.3f} | {plain:.3f} | {sized:.3f} | {times['ultralytics']:.3f} "
            f"| {plain / ours:.1f} | {sized / ours:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
