"""The command line: parse, wire, delegate.

Each command is a function in a file of its own, listed here, and loaded when it is asked for: the help of all
of them, or an option of any, costs more than the command that runs. A command imports what it needs inside
the function, so that its help starts fast and a device needs only the runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgevision.cli.app import Commands, Place, run_app
from edgevision.cli.app import app as program

_RUN, _MODELS, _TRAIN, _MACHINE = "Cameras and recordings", "Models", "Data and training", "This machine"
"""Under which heading of the help a command stands."""

Commands.places = {
    "init": Place(_RUN, "init", "init_command"),
    "run": Place(_RUN, "run", "run_command"),
    "check": Place(_RUN, "check", "check_command"),
    "serve": Place(_RUN, "serve", "serve_command"),
    "process": Place(_RUN, "process", "process_command"),
    "snapshot": Place(_RUN, "snapshot", "snapshot_command"),
    "panoptic": Place(_RUN, "panoptic", "panoptic_command"),
    "zones": Place(_RUN, "zones", "zones_app"),
    "web-password": Place(_RUN, "web_password", "web_password_command"),
    "models": Place(_MODELS, "models", "models_command"),
    "bench": Place(_MODELS, "bench", "bench_command"),
    "import": Place(_MODELS, "import_model", "import_command"),
    "inspect": Place(_MODELS, "inspect", "inspect_command"),
    "eval": Place(_MODELS, "eval", "eval_command"),
    "export": Place(_MODELS, "export", "export_command"),
    "calibrate": Place(_MODELS, "calibrate", "calibrate_command"),
    "compile": Place(_MODELS, "compile", "compile_command"),
    "parity": Place(_MODELS, "parity", "parity_command"),
    "data": Place(_TRAIN, "data_write", "data_app"),
    "train": Place(_TRAIN, "train", "train_command"),
    "label": Place(_TRAIN, "label", "label_command"),
    "explain": Place(_TRAIN, "explain", "explain_command"),
    "lr-find": Place(_TRAIN, "lr_find", "lr_find_command"),
    "doctor": Place(_MACHINE, "doctor", "doctor_command"),
    "soak": Place(_MACHINE, "soak", "soak_command"),
    "schema": Place(_MACHINE, "schema", "schema_command"),
}

__all__ = ["main", "program"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The ``edgevision`` program. Ends in :class:`SystemExit` with the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    run_app(list(sys.argv[1:] if arguments is None else arguments))
