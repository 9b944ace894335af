"""What teachers of dense distillation know, alone and averaged: their cells' answers, measured on labels.

    python benchmarks/dense_teachers.py nanodet-plus.onnx picodet_s_416_coco.onnx --data instances_val.json \\
        --images val [--classes coco] [--over voc] [--size 416] [--json PATH]

Each file is one that ``distillation.teacher`` takes. Its scores and boxes of every cell, of images as a
student without augmentation gets them, go through non-maximum suppression (IoU 0.6, 100 boxes an image,
scores from 0.05 up), and what is left is compared with people's boxes. Several files are measured one by one
and then as ``distillation.teacher: [A, B]`` averages them, so that a pair can be chosen before it trains
anything.

Prints JSON: ``ap50_mean`` (classes with ten boxes or more), ``ap50``, ``ap`` and ``ar`` of each.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import numpy as np
import torch
from common import Figures, commit, new_parser, report
from torch import Tensor
from torchvision.ops import batched_nms

from edgevision.contract.manifest import Resize
from edgevision.data.classes import parse_classes
from edgevision.data.detection.loading import DetectionData
from edgevision.data.detection.sources import CocoSource, load_source
from edgevision.evaluation.detection import evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.models.backbone import normalise
from edgevision.models.distillation import TeacherAnswers, average_answers
from edgevision.training.teacher import DenseTeacher
from edgevision.types import Detections

SCORE, OVERLAP, CANDIDATES, MOST = 0.05, 0.6, 1000, 100


def main() -> int:
    parser = new_parser(__doc__)
    parser.add_argument("teachers", nargs="+", metavar="TEACHER", help="ONNX files without postprocessing")
    parser.add_argument("--data", required=True, help="COCO json")
    parser.add_argument("--images", required=True, help="folder of its images")
    parser.add_argument("--classes", default="coco", help="the teachers', in the order of their outputs")
    parser.add_argument("--over", default="voc", help="the classes to measure on")
    parser.add_argument("--size", type=int, default=416, help="the teachers' input")
    options = parser.parse_args()

    def measured() -> Figures:
        wanted = parse_classes(options.over)
        teachers = {
            path: DenseTeacher(path, options.classes, wanted, options.size) for path in options.teachers
        }
        labelled = load_source(CocoSource(options.data, options.images), wanted)
        images = DetectionData([labelled], options.size, Resize(rule="letterbox", fill=114), None)
        return {"commit": commit(), "command": shlex.join(sys.argv), **measure(teachers, images, wanted)}

    return report(measured, options.json)


def measure(teachers: dict[str, DenseTeacher], images: DetectionData, classes: Sequence[str]) -> Figures:
    """The figures of each teacher, and of all together where there are several."""
    found: dict[str, dict[int, Detections]] = {name: {} for name in teachers}
    if len(teachers) > 1:
        found["averaged"] = {}
    truth: dict[int, GroundTruth] = {}
    for index in range(len(images)):
        sample = images[index, index]
        truth[index] = GroundTruth(
            sample.boxes.numpy().astype(np.float64),
            sample.labels.numpy().astype(np.int32),
            sample.ignore.numpy(),
        )
        batch = normalise(sample.image[None])
        answers = {name: teacher(batch) for name, teacher in teachers.items()}
        if "averaged" in found:
            answers["averaged"] = average_answers(list(answers.values()))
        for name, answer in answers.items():
            found[name][index] = suppress(answer)
    return {
        "images": len(images),
        "classes": list(classes),
        **{name: figures_of(per_image, truth, classes) for name, per_image in found.items()},
    }


def figures_of(
    found: dict[int, Detections], truth: dict[int, GroundTruth], classes: Sequence[str]
) -> Figures:
    figures = evaluate_detections(found, truth, classes).figures
    return {
        "ap50_mean": None if figures.ap50_mean is None else round(figures.ap50_mean, 4),
        **{name: round(getattr(figures, name), 4) for name in ("ap50", "ap", "ar")},
    }


def suppress(answers: TeacherAnswers) -> Detections:
    """What is left of the cells' answers of one image: boxes in pixels of the input."""
    scores, boxes = answers.scores[0], answers.boxes[0]
    cell, label = torch.where(scores > SCORE)
    score = scores[cell, label]
    first = score.argsort(descending=True)[:CANDIDATES]
    cell, label, score = cell[first], label[first], score[first]
    kept: Tensor = batched_nms(boxes[cell], score, label, OVERLAP)[:MOST]
    return Detections(
        boxes[cell][kept].numpy().astype(np.float32),
        score[kept].numpy().astype(np.float32),
        label[kept].numpy().astype(np.int32),
    )


if __name__ == "__main__":
    sys.exit(main())
