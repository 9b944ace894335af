"""The int8 model of a run: ranges from its training images, the loss measured on its validation labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgevision.cache import cache_folder
from edgevision.calibration.job import Calibrated, CalibrationRequest, run_calibration
from edgevision.data.detection.sources import CocoSource, load_source
from edgevision.data.segmentation.dataset import SegmentationSource
from edgevision.data.segmentation.dataset import load_source as load_segmentation_source
from edgevision.errors import CalibrationError, DataError
from edgevision.evaluation.labelled import LabelledData
from edgevision.finetune.prepare import Prepared
from edgevision.progress import Note, Progress, no_note, no_progress
from edgevision.training.config import TrainingRun

TOLD_FROM = 0.02
"""The loss of the figure above which a warning is given where no budget was asked for."""

_FRAMES = 300


def quantise_run(
    folder: Path,
    run: TrainingRun,
    prepared: Prepared,
    figure: tuple[str, float],
    max_drop: float | None = None,
    *,
    command: str = "",
    note: Note = no_note,
    progress: Progress = no_progress,
) -> Calibrated:
    """Writes ``model.int8.onnx`` beside a run's ``model.onnx``, with its report and its list of frames.

    Args:
        folder: of the run.
        run: its configuration.
        prepared: its data.
        figure: the name and value of the float model's figure.
        max_drop: how far the figure may fall; where it falls further, nothing is written. None takes the
            ranges that lose least, and warns of a loss above :data:`TOLD_FROM`. Where the float model finds
            nothing there is nothing to compare: the model is then written with a warning.
        command: how this was called, for the report.
        note, progress: see :func:`~edgevision.calibration.job.run_calibration`.

    Raises:
        CalibrationError: the budget cannot be kept, or the figure is 0 and there is a budget.
        DataError: there are too few images.
    """
    is_comparable = figure[1] > 0
    if not is_comparable and max_drop is not None:
        raise CalibrationError(
            f"{figure[0]} of the float model is 0: it finds nothing that an int8 model could lose, so no "
            "`max_drop` can be held and no int8 model is written"
        )
    paths = _training_images(run, prepared)
    places = np.linspace(0, len(paths) - 1, min(_FRAMES, len(paths))).round().astype(int)
    request = CalibrationRequest(
        model=str(folder / "model.onnx"),
        sources=tuple(str(paths[place]) for place in places),
        out=folder / "model.int8.onnx",
        frames=max(2, len(places)),  # one of each image
        labelled=_labelled(prepared) if is_comparable else None,
        max_drop=(TOLD_FROM if max_drop is None else max_drop) if is_comparable else None,
        must_hold=max_drop is not None,
        min_boxes=1,  # the figure is ap50 then, as that of the float model at the end of a training
        cache=cache_folder("calibration"),
        overwrite=True,
    )
    return run_calibration(request, command=command, note=note, progress=progress)


def _training_images(run: TrainingRun, prepared: Prepared) -> list[Path]:
    if isinstance(prepared.train, CocoSource):
        return [one.path for one in load_source(prepared.train, run.classes).images]
    if isinstance(prepared.train, SegmentationSource):
        return [one.image for one in load_segmentation_source(prepared.train, run.classes).images]
    raise DataError("ranges are measured on the training images")


def _labelled(prepared: Prepared) -> LabelledData:
    val = prepared.val
    if isinstance(val, CocoSource):
        return LabelledData(data=Path(val.annotations), images=Path(val.images))
    return LabelledData(data=Path(val.folder), split=val.split)
