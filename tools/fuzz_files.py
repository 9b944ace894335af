"""Fuzzing of files: damaged videos, images and sound files through ``edgevision run`` with every output.

    python tools/fuzz_files.py [--minutes M | --cases N] [--seed S] [--keep FOLDER] [--json PATH]

Small files are made in each of the containers of ``SEEDS`` and damaged: bytes changed, parts cut out,
repeated, swapped or taken from another file, the end missing. Each goes through the whole program, with two
small models (boxes and class maps), tracking, zones, a video or images, JSON lines, masks, events, recordings
and statistics. A case is a finding unless the exit code is 0, 1 or 3, in time and memory, without a
traceback, with an error line where the code is 1, and with JSON lines that can be read.

Cases run one after the other in forks of one process, so that a library that aborts ends its case only. The
same seed gives the same cases. Findings are kept with their file and messages in ``--keep``. Needs the extras
``track`` and ``train`` (which brings onnx). Prints the figures as JSON; the exit code is 1 where something
was found.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from needed import installed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with installed():
    import av
    import numpy as np

    from edgevision.cli import main as run_program
    from edgevision.files import json_text, write_json
    from tests.support.manifests import SIZE
    from tests.support.models import image_with_block, write_bright_segmenter, write_colour_model

GOOD_CODES = (0, 1, 3)
TIMEOUT_S = 120.0
MEMORY_MIB = 1500
FRAMES = 12

SEEDS: dict[str, tuple[str, str | None, str]] = {
    "mp4": ("libx264", "aac", "yuv420p"),
    "mkv": ("libx264", "libmp3lame", "yuv420p"),
    "webm": ("libvpx", "libopus", "yuv420p"),
    "avi": ("mpeg4", "libmp3lame", "yuv420p"),
    "ts": ("libx264", "aac", "yuv420p"),
    "flv": ("flv", "aac", "yuv420p"),
    "mpg": ("mpeg1video", "mp2", "yuv420p"),
    "wmv": ("wmv2", "wmav2", "yuv420p"),
    "mov": ("mjpeg", "pcm_s16le", "yuvj420p"),
    "3gp": ("mpeg4", None, "yuv420p"),
    "gif": ("gif", None, "rgb8"),
    "mjpeg": ("mjpeg", None, "yuvj420p"),
    "h264": ("libx264", None, "yuv420p"),
    "apng": ("apng", None, "rgb24"),
    "y4m": ("wrapped_avframe", None, "yuv420p"),
}
"""For each container by its suffix: codecs of images and of sound, and the pixel format. There is also a
``wav``, which holds no image."""

ZONES = """
units: relative
zones: [{name: left, polygon: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}]
lines: [{name: door, from: [0.5, 0], to: [0.5, 1]}]
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one case ended.

    Attributes:
        outcome: the exit code as text, ``signal N`` or ``time-out``.
        problem: why it is a finding, else None.
    """

    outcome: str
    problem: str | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="begin no case after this time, default 10"
    )
    parser.add_argument("--cases", type=int, help="so many cases, whatever the time")
    parser.add_argument("--seed", type=int, default=0, help="other cases for another, default 0")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for what is found")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    start = time.monotonic()
    end = start + 60 * options.minutes
    outcomes: Counter[str] = Counter()
    by_format: Counter[str] = Counter()
    findings: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as name:
        material = make_material(Path(name))
        load_libraries()
        number = 0
        while number < options.cases if options.cases is not None else time.monotonic() < end:
            source, verdict = run_case(material, options.seed, number)
            outcomes[verdict.outcome] += 1
            by_format[source.suffix[1:]] += 1
            if verdict.problem is not None:
                folder = options.keep / f"{options.seed}-{number}-{source.suffix[1:]}"
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(source.parent, folder, symlinks=True)
                findings.append({"case": folder.name, "problem": verdict.problem})
                sys.stderr.write(f"FOUND {folder}: {verdict.problem}\n")
            shutil.rmtree(source.parent)
            number += 1
    figures = {
        "seed": options.seed,
        "cases": number,
        "seconds": round(time.monotonic() - start, 1),
        "outcomes": dict(sorted(outcomes.items())),
        "formats": dict(sorted(by_format.items())),
        "findings": findings,
    }
    sys.stdout.write(json_text(figures))
    if options.json is not None:
        write_json(options.json, figures)
    return 1 if findings else 0


def make_material(folder: Path) -> Path:
    """Writes the models, the zones and one whole file in each format; returns the folder."""
    write_colour_model(folder / "colours.onnx")
    write_bright_segmenter(folder / "brightness.onnx", SIZE)
    (folder / "zones.yaml").write_text(ZONES)
    (folder / "seeds").mkdir()
    for suffix, (codec, sound, pixels) in SEEDS.items():
        write_seed(folder / "seeds" / f"whole.{suffix}", codec, sound, pixels)
    with wave.open(str(folder / "seeds" / "whole.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.zeros(8000, np.int16).tobytes())
    return folder


def write_seed(path: Path, codec: str, sound: str | None, pixels: str) -> None:
    """A red block that moves through ``FRAMES`` images of 176 x 144, with a second of sound."""
    formats = {".wmv": "asf", ".mjpeg": "mjpeg", ".ts": "mpegts", ".y4m": "yuv4mpegpipe", ".mpg": "mpeg"}
    with av.open(str(path), "w", format=formats.get(path.suffix)) as container:
        video = container.add_stream(codec, rate=25 if codec == "mpeg1video" else 10)  # it has few rates
        video.width, video.height, video.pix_fmt = 176, 144, pixels
        video.options = {"g": "8"} if codec.startswith(("libx264", "mpeg", "wmv", "flv")) else {}
        audio = None if sound is None else container.add_stream(sound, rate=48_000, layout="mono")
        if audio is not None:
            audio.bit_rate = 64_000  # without one, there is no WMA
        for i in range(FRAMES):
            image = image_with_block(176, 144, (5 + 10 * i, 40, 45 + 10 * i, 90))
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=pixels)))
        container.mux(video.encode())
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.int16), "s16", "mono")
            samples.sample_rate = 48_000
            resampler = av.AudioResampler(
                audio.codec_context.format, "mono", 48_000, audio.codec_context.frame_size or 1024
            )
            for frame in [*resampler.resample(samples), *resampler.resample(None)]:
                container.mux(audio.encode(frame))
            container.mux(audio.encode())


def load_libraries() -> None:
    """Loads what every run needs, once: a fork of this process begins with it."""
    import cv2
    import onnxruntime
    import trackers

    import edgevision.session.run

    with contextlib.suppress(ImportError):  # of the command line's library, depending on its version
        importlib.import_module("pydantic")
    assert all((cv2, onnxruntime, trackers, edgevision.session.run))


def damaged(whole: bytes, other: bytes, random_: random.Random) -> bytes:
    """One to six kinds of damage, one on another, of which half lie in the first kilobyte."""
    data = bytearray(whole)
    for _ in range(random_.randint(1, 6)):
        if not data:
            break
        reach = min(len(data), 1024) if random_.random() < 0.5 else len(data)
        at = random_.randrange(reach)
        length = min(random_.choice((1, 2, 4, 16, 188, 1024)), len(data) - at)
        random_.choice(DAMAGES)(data, at, length, other, random_)
    return bytes(data)


def _change(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    data[at : at + length] = random_.randbytes(length)


def _flip_bit(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    data[at] ^= 1 << random_.randrange(8)


def _fill(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    data[at : at + length] = bytes([random_.choice((0, 1, 127, 128, 255))]) * length


def _cut_out(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    del data[at : at + length]


def _cut_off(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    del data[random_.randrange(len(data)) :]


def _repeat(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    data[at:at] = data[at : at + length] * random_.choice((1, 2, 50))


def _swap(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    to = random_.randrange(len(data) - length + 1)
    data[at : at + length], data[to : to + length] = data[to : to + length], data[at : at + length]


def _take(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    begin = random_.randrange(len(other))
    data[at : at + length] = other[begin : begin + length]


def _join(data: bytearray, at: int, length: int, other: bytes, random_: random.Random) -> None:
    data += other


Damage = Callable[[bytearray, int, int, bytes, random.Random], None]
DAMAGES: tuple[Damage, ...] = (
    _change, _change, _flip_bit, _flip_bit, _fill, _cut_out, _cut_off, _repeat, _swap, _take, _join,
)  # fmt: skip


def run_case(material: Path, seed: int, number: int) -> tuple[Path, Verdict]:
    """Makes and runs one case in a folder of its own, which is left; returns its file."""
    random_ = random.Random(f"{seed}-{number}")
    seeds = sorted((material / "seeds").iterdir())
    whole = seeds[number % len(seeds)]
    other = random_.choice(seeds)
    folder = material / "case"
    folder.mkdir()
    source = folder / f"input{whole.suffix}"
    source.write_bytes(damaged(whole.read_bytes(), other.read_bytes(), random_))
    output = random_.choice(("out.mp4", "frames/%03d.jpg"))
    if "/" in output:
        (folder / "frames").mkdir()
    recording = random_.choice(([], ["--record-on", "red,green,blue", "--pre", "1s", "--post", "1s"]))
    models = ["--model", str(material / "colours.onnx"), "--model", str(material / "brightness.onnx")]
    arguments = [
        "run", "--source", source.name, *models, "--threads", "1",
        "--track", "--zones", str(material / "zones.yaml"), "--output", output,
        "--save-json", "out.jsonl", "--save-masks", "masks",
        "--events", "events.jsonl", "--event-pictures", "objects",
        "--record", "clips", "--rotate", "1s", *recording, "--stats", "stats.json",
    ]  # fmt: skip
    (folder / "arguments.txt").write_text("\n".join(arguments))
    return source, judge(folder, *fork(folder, arguments))


def fork(folder: Path, arguments: list[str]) -> tuple[int | None, int]:
    """Runs the program in a fork of this process.

    Returns:
        The status of ``os.wait4``, None where it ran out of time, and the most memory in MiB.
    """
    child = os.fork()
    if child == 0:
        _be_program(folder, arguments)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage.ru_maxrss // 1024
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage.ru_maxrss // 1024
        time.sleep(0.01)


def _be_program(folder: Path, arguments: list[str]) -> None:
    """What the fork does; it never returns."""
    code = 99
    try:
        os.chdir(folder)
        said = os.open("messages.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["edgevision", *arguments]
        try:
            run_program()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def judge(folder: Path, status: int | None, memory_mib: int) -> Verdict:
    """Whether what a case left is as it should be."""
    said = (folder / "messages.txt").read_text(errors="replace")
    if status is None:
        return Verdict("time-out", f"not over after {TIMEOUT_S:g} s")
    if os.WIFSIGNALED(status):
        name = f"signal {os.WTERMSIG(status)}"
        return Verdict(name, f"killed by {name}")
    code = os.WEXITSTATUS(status)
    problems = []
    if code not in GOOD_CODES:
        problems.append(f"exit code {code}: {said.strip()[-300:]}")
    if "Traceback" in said:
        problems.append("a traceback")
    if code == 1 and "error:" not in said:
        problems.append("exit code 1 without a line that says why")
    if memory_mib > MEMORY_MIB:
        problems.append(f"{memory_mib} MiB of memory")
    lines = [folder / name for name in ("out.jsonl", "events.jsonl") if (folder / name).exists()]
    problems += [f"{path.name} cannot be read" for path in lines if not _is_json_lines(path)]
    return Verdict(str(code), "; ".join(problems) or None)


def _is_json_lines(path: Path) -> bool:
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
