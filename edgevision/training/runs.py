"""Any training run, told apart by the key ``task`` of its configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence

from edgevision.config import build_config, read_document
from edgevision.errors import ConfigError, nearest
from edgevision.training.config import DetectorTraining
from edgevision.training.segmentation_config import SegmenterTraining

TrainingRun = DetectorTraining | SegmenterTraining

_KINDS: dict[str, type[DetectorTraining] | type[SegmenterTraining]] = {
    "detection": DetectorTraining,
    "segmentation": SegmenterTraining,
}


def load_run(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> TrainingRun:
    """Reads the configuration of a training run of either task.

    Args:
        path: the YAML file.
        overrides: ``"loop.images=3000"``: a dotted key and a YAML value, applied over the file.

    Raises:
        ConfigError: see :func:`edgevision.config.load_config`; or ``task`` is missing or unknown.
    """
    document = read_document(path, overrides)
    task = document.get("task")
    kind = _KINDS.get(str(task))
    if kind is None:
        found = "no key 'task'" if task is None else f"unknown task '{task}'"
        raise ConfigError(
            f"{path}: {found}; expected {' or '.join(_KINDS)}{nearest(str(task), _KINDS) if task else ''}"
        )
    return build_config(document, kind, str(path))
