"""A network's answers on probe images, and the tensors from which its suppression may have chosen them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.export.importers.core import Core
from edgevision.export.importers.ends import WEAKEST, chooses, lowered
from edgevision.export.importers.probing import Session, probe_images
from edgevision.export.importers.reading import MOST_KEPT, Reading
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.network import reads

Array = NDArray[np.float64]

_DEPTH = 16
"""How many nodes before the first choosing a tensor may lie."""
_LEARNS = frozenset({"Conv", "ConvTranspose", "Gemm", "QLinearConv"})
_PROBES = ("noise", "dim")


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The file's own answers on one probe image, and the tensors before its suppression.

    Attributes:
        boxes: ``[K, 4]`` corners in pixels of the input.
        scores, labels: ``[K]``.
        further: what stands beside the boxes, ``[K, ...]`` each.
        dense: tensors by name, without the batch.
        unbatched: those that have no batch.
    """

    boxes: Array
    scores: Array
    labels: NDArray[np.int64]
    further: Mapping[str, Array]
    dense: Mapping[str, NDArray[Any]]
    unbatched: frozenset[str] = frozenset()


def dense_tensors(model: onnx.ModelProto) -> list[str]:
    """Tensors shortly before the first choosing, the last ones first."""
    after: set[str] = set()
    image = {entry.name for entry in model.graph.input}
    makers: dict[str, onnx.NodeProto] = {}
    wanted: list[str] = []
    for node in model.graph.node:
        read = reads(node)
        if image.intersection(read):
            image.update(node.output)
        if chooses(node) or after.intersection(read):
            after.update(node.output)
            wanted += sorted(read)
        else:
            makers.update(dict.fromkeys(node.output, node))
    level = [name for name in dict.fromkeys(wanted) if name in makers and name in image]
    found: dict[str, None] = {}
    for _ in range(_DEPTH):
        found.update(dict.fromkeys(level))
        before = [
            name
            for made in level
            if makers[made].op_type not in _LEARNS
            for name in makers[made].input
            if name in makers and name in image and name not in found
        ]
        level = list(dict.fromkeys(before))
    return list(found)


def run_probes(core: Core, reading: Reading, names: Sequence[str]) -> list[Answers]:
    """Answers and dense tensors on the probe images, with the file's limits lowered."""
    g = GraphBuilder("probe/")
    candidates = reading.decode(g, core)
    ends = [candidates.boxes, candidates.scores, *([candidates.labels] if candidates.labels else [])]
    ends += candidates.further.values()
    model = lowered(core.model)[0]
    model.graph.node.extend(g.nodes)
    model.graph.initializer.extend(g.constants)
    del model.graph.output[:]
    every = list(dict.fromkeys([*ends, *names]))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in every)
    session = Session(model, Path(core.origin))
    images = probe_images(core.layout, (core.batch or 1, core.height, core.width), core.dtype)
    found = []
    for probe in _PROBES:
        values = dict(zip(every, session(images[probe]), strict=True))
        boxes, scores = values[candidates.boxes][0], values[candidates.scores][0]
        if candidates.labels:
            labels = values[candidates.labels][0]
        else:
            labels, scores = scores.argmax(axis=1), scores.max(axis=1)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > WEAKEST][:MOST_KEPT]
        further = {name: values[made][0][order] for name, made in candidates.further.items()}
        found.append(
            Answers(
                boxes[order].astype(np.float64),
                scores[order].astype(np.float64),
                labels[order].astype(np.int64),
                {name: rows.reshape(len(order), -1).astype(np.float64) for name, rows in further.items()},
                {name: table for name in names if (table := _plain(values[name])) is not None},
                frozenset(name for name in names if values[name].ndim == 2 and len(values[name]) > 1),
            )
        )
    return found


def _plain(values: NDArray[Any]) -> NDArray[Any] | None:
    """``[1, A, B]`` without its batch, ``[1, N]`` as ``[N, 1]``, or ``[A, B]``; None for others, and bool."""
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or (values.ndim == 3 and len(values) != 1):
        return None
    if values.ndim == 3:
        table: NDArray[Any] = values[0]
        return table
    return values.reshape(-1, 1) if len(values) == 1 else values
