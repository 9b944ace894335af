"""Twenty images of one new class, two minutes: AP of the class before and after, from two starting points.

Trains a detector of that class alone, once from the shipped detector and once from a classifier's ImageNet
weights, each for the same time on this machine, and measures both on images that neither training has seen.
The shipped detector has: its own training showed it these photographs, without the boxes of a class that
COCO does not have.

    python benchmarks/finetune.py [--minutes 2] [--images 20] [--class Ambulance] [--threads N]

The images are those of ``detection/instances_vehicles_{train,valid}.json`` in the folder of shared data.
Prints JSON: AP at IoU 0.5 before and after each training, and how many images each has seen in its time.
On a machine with other load both see fewer.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import torch
from common import SHARED, Figures, commit, machine, new_parser, report

from edgevision.data.layouts.recognise import recognise
from edgevision.errors import DataError
from edgevision.finetune.budget import images_within
from edgevision.finetune.prepare import Prepared, prepare
from edgevision.finetune.recipe import find_base, make_run, with_images
from edgevision.models.settings import RetinaNetConfig
from edgevision.training.config import DetectorTraining, TrainingRun
from edgevision.training.distributed import World
from edgevision.training.loop import Trainer, Watcher
from edgevision.training.tasks import build_task

DATA = SHARED / "detection"
IMAGENET = SHARED / "weights" / "mobilenet_v2_imagenet_ptq.pth"


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    parser.add_argument("--images", type=int, default=20, help="of the class, to train on")
    parser.add_argument("--class", dest="name", default="Ambulance", help="the new class")
    parser.add_argument("--threads", type=int, help="of the arithmetic; default: all cores")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    def measure() -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            return compare(Path(folder), options.name, options.images, options.minutes)

    return report(measure, options.json)


def compare(folder: Path, name: str, count: int, minutes: float) -> Figures:
    """Both trainings, one after the other."""
    here = machine()
    write_set(folder / "set", name, count)
    prepared = prepare(recognise(folder / "set"), folder / "data")
    base, initial, note = find_base("", "detection")
    if note:
        raise DataError(note)
    shipped, _ = make_run(prepared, base, initial, "shipped", 1)
    return {
        "benchmark": "finetune",
        "commit": commit(),
        "machine": here,
        "class": name,
        "train_images": prepared.train_images,
        "val_images": prepared.val_images,
        "minutes": minutes,
        "from_shipped": train(shipped, minutes, folder / "shipped"),
        "from_imagenet": train(from_imagenet(prepared, base), minutes, folder / "imagenet"),
    }


def from_imagenet(prepared: Prepared, base: TrainingRun) -> TrainingRun:
    """The same heads and pyramid on a classifier that has seen ImageNet alone."""
    if not isinstance(base, DetectorTraining) or not IMAGENET.is_file():
        raise DataError(f"expected {IMAGENET}, a classifier's weights to start from")
    run, _ = make_run(prepared, base, "", "imagenet", 1)
    assert isinstance(run, DetectorTraining)
    assert isinstance(run.model, RetinaNetConfig)  # as the base is
    backbone = msgspec.structs.replace(
        run.model.backbone, name="mobilenet_v2", weights=str(IMAGENET), leaky=None
    )
    optimiser = msgspec.structs.replace(run.optimiser, lr_factors={"backbone": 0.1})
    model = msgspec.structs.replace(run.model, backbone=backbone)
    return msgspec.structs.replace(run, model=model, optimiser=optimiser)


def train(run: TrainingRun, minutes: float, folder: Path) -> Figures:
    """AP of the class before and after the time is over."""
    started = time.monotonic()
    task = build_task(run)
    task.model.eval()
    before = task.validate(task.model, World().device)
    begun = time.monotonic()
    images, validations = images_within(run, task, 60 * minutes, World())
    run = with_images(run, images, min(validations, 3))
    task.config = run
    end = begun + 60 * minutes
    trainer = Trainer(run, task, folder, watcher=Watcher(is_over=lambda: time.monotonic() > end))
    figures = trainer.run()
    return {
        "ap50_before": before["ap50"],
        "ap50": trainer.best,
        "ap50_at_the_end": figures["ap50"],
        "images_seen": trainer.seen,
        "seconds": round(time.monotonic() - begun, 1),
        "seconds_of_start": round(begun - started, 1),
    }


def write_set(folder: Path, name: str, count: int) -> None:
    """COCO's layout with one class: ``count`` images that show it to train, all others to validate."""
    (folder / "annotations").mkdir(parents=True)
    for split, source in (("train", "vehicles_train"), ("val", "vehicles_valid")):
        path = DATA / f"instances_{source}.json"
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"labelled images not found: {path}") from error
        wanted = next((one["id"] for one in document["categories"] if one["name"] == name), None)
        if wanted is None:
            known = ", ".join(one["name"] for one in document["categories"])
            raise DataError(f"{path} has no class '{name}'; it has: {known}")
        labels = [one for one in document["annotations"] if one["category_id"] == wanted]
        showing = sorted({one["image_id"] for one in labels})
        kept = set(showing[:count]) if split == "train" else {one["id"] for one in document["images"]}
        document["categories"] = [one for one in document["categories"] if one["id"] == wanted]
        document["annotations"] = [one for one in labels if one["image_id"] in kept]
        document["images"] = [one for one in document["images"] if one["id"] in kept]
        (folder / split).symlink_to(DATA / "images" / source)
        (folder / "annotations" / f"instances_{split}.json").write_text(
            json.dumps(document), encoding="utf-8"
        )


if __name__ == "__main__":
    sys.exit(main())
