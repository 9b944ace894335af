"""DETR and its kin: ``logits [1, Q, K]`` and ``boxes [1, Q, 4]``, centre and size as shares; no suppression.

DETR and YOLOS put a softmax over the classes and one column for no object; RT-DETR, D-FINE, DEIM and RF-DETR
a
sigmoid. Those have two stages or deformable attention in their graph (TopK, GridSample), and DETR has
neither,
while its last column is the largest of most queries on noise.
"""

from __future__ import annotations

from edgevision.contract.manifest import MaskForm
from edgevision.export.importers import decoding, notes
from edgevision.export.importers.core import Core
from edgevision.export.importers.families import libreyolo
from edgevision.export.importers.numbers import are_probabilities
from edgevision.export.importers.reading import (
    IMAGENET_STRETCH,
    RGB_UNIT_STRETCH,
    Candidates,
    Choices,
    Pixels,
    Reading,
)
from edgevision.graph.builder import GraphBuilder

KINDS = ("detr", "rtdetr-logits", "rfdetr")
_PATCH = 8
"""Kernels of the first convolution from here up cut the image into patches, as vision transformers do."""
_COCO_COLUMNS = 91
_SIZE_OF_DETR = (750, 1333)
_FAMILIES = ("detr", "rtdetr", "rtdetrv2", "rtdetrv4", "dfine", "deim", "deimv2", "rfdetr")


def read(core: Core, choices: Choices) -> Reading | None:
    """The reading of a file in this form, or None; ``choices.kind`` is set where the user says so."""
    if len(core.outputs) < 2 or notes.task(core) not in ("detect", "segment") or core.end is not None:
        return None
    first, second = core.outputs[:2]
    if len(first.shape) != 3 or len(second.shape) != 3 or first.shape[1] != second.shape[1]:
        return None
    if len(core.outputs) > 2 and any(len(output.shape) != 4 for output in core.outputs[2:]):
        return None
    for boxes_at, logits_at in ((0, 1), (1, 0)):
        boxes, logits = core.answers(boxes_at), core.answers(logits_at)
        shares = core.outputs[boxes_at].shape[2] == 4 and are_probabilities(boxes)
        if shares and not are_probabilities(logits) and float(logits.min()) < 0:
            return _read(core, choices, boxes_at, logits_at)
    return None


def _read(core: Core, choices: Choices, boxes_at: int, logits_at: int) -> Reading | None:
    told = notes.family(core)
    if told is not None and told not in _FAMILIES:
        return None
    total, width = core.outputs[logits_at].shape[1:]
    noise = core.noise(logits_at)
    last = float((noise.argmax(axis=1) == width - 1).mean())
    sampled = core.operators & {"TopK", "GridSample"}
    softmax = not sampled and (last > 0.5 or "detr" in (told, choices.kind))
    if not sampled and not softmax and told is None and choices.kind is None:
        return None  # neither a two-stage graph nor a column for no object
    kind, pixels, dropped = _kind(core, softmax, width)
    if choices.kind not in (None, kind) or (told is not None and (told == "detr") != softmax):
        return None
    classes = width - dropped
    masks = None
    if len(core.outputs) == 3 and core.outputs[2].shape[1] == total:
        rows, columns = core.outputs[2].shape[2:]
        masks = MaskForm(form="input", width=columns, height=rows)
    coco = classes == _COCO_COLUMNS

    def decode(g: GraphBuilder, core: Core) -> Candidates:
        logits = decoding.as_float(g, core.outputs[logits_at])
        scores = g("Softmax", logits, axis=2) if softmax else g("Sigmoid", logits)
        scores = decoding.columns(g, scores, 0, classes) if dropped else scores
        boxes = decoding.corners(g, decoding.as_float(g, core.outputs[boxes_at]))
        further = {} if masks is None else {"masks": decoding.as_float(g, core.outputs[2])}
        return Candidates(
            decoding.from_shares(g, core, boxes), scores, total, classes=classes, further=further
        )

    why = (
        f"no TopK and no GridSample in its graph, and the last column is the largest in {last:.0%} of the "
        f"queries{'; `kind` says softmax' if last <= 0.5 and told is None else ''}"
        if softmax
        else f"its graph holds {' and '.join(sorted(sampled)) or 'no TopK'}, so scores are sigmoids"
    )
    title = {
        "detr": "DETR or YOLOS (softmax, the last column is no object)",
        "rtdetr-logits": "RT-DETR, D-FINE or DEIM (sigmoid)",
        "rfdetr": "RF-DETR (sigmoid, the last column is no class)" if dropped else "RF-DETR (sigmoid)",
    }[kind]
    notes_: tuple[str, ...] = ()
    if coco:
        notes_ = ("its 91 columns are COCO's category numbers in most files: `classes` coco names them so",)
    if softmax and core.assumed_size:
        notes_ += (
            "DETR keeps the image's own ratio (short side 800, long side at most 1333); here one size serves",
        )
    return Reading(
        kind,
        title,
        f"boxes wholly in 0..1, logits down to {noise.min():.3g}; {why}",
        libreyolo.pixels(core) if told else pixels,
        decode,
        libreyolo.TOLD_BY if told else "as the family's own exporter has it",
        classes=classes,
        several=not softmax,
        size=_SIZE_OF_DETR if softmax else None,
        notes=notes_,
        coco_numbers=coco,
        task="detection" if masks is None else "instance-segmentation",
        masks=masks,
    )


def _kind(core: Core, softmax: bool, width: int) -> tuple[str, Pixels | None, int]:
    """The kind, what it takes, and how many columns at the end are no class."""
    if softmax:
        return "detr", IMAGENET_STRETCH, 1
    told = notes.family(core)
    patches = core.stem is not None and core.stem >= _PATCH
    names = {output.original for output in core.outputs[:2]} == {"dets", "labels"}
    if told == "rfdetr" or (told is None and patches and names):
        return "rfdetr", IMAGENET_STRETCH, 0 if width == _COCO_COLUMNS else 1
    # Without a choice of queries it is Deformable DETR or another that takes something else.
    if told is not None or (not (patches or names) and "TopK" in core.operators):
        return "rtdetr-logits", RGB_UNIT_STRETCH, 0
    return "rtdetr-logits", None, 0
