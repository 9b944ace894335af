"""Measures how well the gate without labels predicts the drop on labels (docs/benchmarks/int8.md).

    .venv/bin/python tools/int8_gate.py retinanet-light --from PHOTOS --from CLIP.mp4 --frames 213 \\
        --data instances_val.json --images val --classes voc
    .venv/bin/python tools/int8_gate.py unet-light --from camvid/images/train --frames 128 \\
        --data camvid --split val

Every way of choosing ranges gives an int8 model with all candidates in int8. Each is compared with the float
model twice: on frames held out from the calibration, without labels, and on labelled images. Prints a row for
each as Markdown, as soon as it is known.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from needed import installed

with installed():
    from edgevision.cache import Cache, cache_folder
    from edgevision.calibration.agreement import hold_out, open_agreement
    from edgevision.calibration.equalise import equalise_if_quieter
    from edgevision.calibration.float_model import load_float_model
    from edgevision.calibration.loud import spare_loud_layers
    from edgevision.calibration.outcome import Settings
    from edgevision.calibration.pixels import read_whole_pixels
    from edgevision.calibration.quantiser import Quantiser
    from edgevision.calibration.ranges import METHODS, Method
    from edgevision.calibration.rounding import round_together_if_quieter
    from edgevision.calibration.sampling.sample import sample_frames
    from edgevision.calibration.sensitivity import decibels
    from edgevision.calibration.simulate import SimulatedEngine
    from edgevision.errors import EdgeVisionError
    from edgevision.evaluation.detection import DEFAULT_MIN_BOXES
    from edgevision.evaluation.labelled import LabelledData, chosen_classes
    from edgevision.evaluation.yardstick import Measurement, Yardstick
    from edgevision.progress import no_progress
    from edgevision.zoo import find_model

PERCENTILES = (99.9, 99.99, 99.999)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="in float, a name or an ONNX file")
    parser.add_argument(
        "--from", dest="sources", action="append", required=True, help="folder or video; repeat it for more"
    )
    parser.add_argument("--frames", type=int, default=213, help="how many to draw, default 213")
    parser.add_argument("--data", type=Path, required=True, help="labels, as in 'edgevision eval'")
    parser.add_argument("--images", type=Path, help="folder of the images of --data, where it is a COCO json")
    parser.add_argument("--split", help="of --data, where it is a folder")
    parser.add_argument("--classes", help="measure on these only, as in 'edgevision eval'")
    options = parser.parse_args()
    try:
        compare(options)
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def compare(options: argparse.Namespace) -> None:
    """Prints the table.

    Raises:
        EdgeVisionError: a file cannot be read, or a step failed.
    """
    model = load_float_model(find_model(options.model))
    manifest = model.manifest
    labelled = LabelledData(data=options.data, images=options.images, split=options.split)
    names = {options.model: manifest.classes}
    on_labels = labelled.open(
        lambda known: chosen_classes(options.classes, names, known, labelled.data), manifest=manifest
    )
    size = (manifest.input_width, manifest.input_height)
    with tempfile.TemporaryDirectory() as folder:
        frames, held = hold_out(
            sample_frames(options.sources, options.frames, size, manifest.resize, 0, Path(folder))
        )
        without = open_agreement(model, held, DEFAULT_MIN_BOXES, options.classes)
        say(f"{len(frames)} frames for the ranges, {len(held)} held out; {on_labels.images} labelled images")
        yardsticks: tuple[Yardstick, ...] = (without, on_labels)
        as_float = [one.measure(SimulatedEngine(model.graph, manifest)) for one in yardsticks]
        say(f"float: {as_float[0].required():.4f} without labels, {as_float[1].required():.4f} on labels")
        say(
            "| Ranges | Signal over noise at the heads "
            "| Drop without labels, 95 % interval | Drop on labels, 95 % interval |"
        )
        say("|---|---|---|---|")
        cache = Cache(cache_folder("calibration"))
        settings = Settings(method="auto")
        whole = read_whole_pixels(model)
        equal, _ = equalise_if_quieter(whole, frames, settings, cache, no_progress)
        ready, _ = spare_loud_layers(equal, frames, settings, cache, no_progress)
        rounded, _ = round_together_if_quieter(ready, frames, settings, cache, no_progress)
        ways: list[tuple[Method, float]] = [(method, 99.99) for method in METHODS if method != "percentile"]
        ways += [("percentile", percentile) for percentile in PERCENTILES]
        for method, percentile in ways:
            one = Settings(method=method, percentile=percentile)
            quantiser = Quantiser(ready, frames, one, cache, no_progress, rounded)
            engine = SimulatedEngine(quantiser.graph(method, ready.candidates), manifest)
            drops = [
                drop(yardstick.measure(engine), before)
                for yardstick, before in zip(yardsticks, as_float, strict=True)
            ]
            name = f"{method} {percentile:g}" if method == "percentile" else method
            signal_over_noise = decibels(quantiser.noises()[method])
            say(f"| {name} | {signal_over_noise:.1f} dB | {drops[0]} | {drops[1]} |")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def drop(after: Measurement, before: Measurement) -> str:
    """By how much the figure fell, with its 95 % interval."""
    gain = after.gain_over(before)
    if gain is None:
        return "no class has enough labels"
    return f"{-gain.value:.4f} ({-gain.high:.4f} to {-gain.low:.4f})"


if __name__ == "__main__":
    sys.exit(main())
