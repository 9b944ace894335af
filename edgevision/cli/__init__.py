"""The command line: parse, wire, delegate.

Each command is a function in a file of its own, added here. A command imports what it needs inside the
function, so that ``edgevision --help`` starts fast and a device needs only the runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgevision.cli.app import app as program
from edgevision.cli.app import run_app
from edgevision.cli.bench import bench_command
from edgevision.cli.calibrate import calibrate_command
from edgevision.cli.check import check_command
from edgevision.cli.compile import compile_command
from edgevision.cli.data import data_app
from edgevision.cli.data_write import convert_command, merge_command, split_command
from edgevision.cli.doctor import doctor_command
from edgevision.cli.eval import eval_command
from edgevision.cli.explain import explain_command
from edgevision.cli.export import export_command
from edgevision.cli.import_model import import_command
from edgevision.cli.init import init_command
from edgevision.cli.inspect import inspect_command
from edgevision.cli.label import label_command
from edgevision.cli.lr_find import lr_find_command
from edgevision.cli.models import models_command
from edgevision.cli.parity import parity_command
from edgevision.cli.process import process_command
from edgevision.cli.run import run_command
from edgevision.cli.schema import schema_command
from edgevision.cli.serve import serve_command
from edgevision.cli.snapshot import snapshot_command
from edgevision.cli.soak import soak_command
from edgevision.cli.train import train_command
from edgevision.cli.web_password import web_password_command
from edgevision.cli.zones import zones_app

_RUN, _MODELS, _TRAIN, _MACHINE = "Cameras and recordings", "Models", "Data and training", "This machine"
"""Under which heading of the help a command stands."""

program.command("init", rich_help_panel=_RUN)(init_command)
program.command("run", rich_help_panel=_RUN)(run_command)
program.command("check", rich_help_panel=_RUN)(check_command)
program.command("serve", rich_help_panel=_RUN)(serve_command)
program.command("process", rich_help_panel=_RUN)(process_command)
program.command("snapshot", rich_help_panel=_RUN)(snapshot_command)
program.add_typer(zones_app, name="zones", rich_help_panel=_RUN)
program.command("web-password", rich_help_panel=_RUN)(web_password_command)
program.command("models", rich_help_panel=_MODELS)(models_command)
program.command("bench", rich_help_panel=_MODELS)(bench_command)
program.command("import", rich_help_panel=_MODELS)(import_command)
program.command("inspect", rich_help_panel=_MODELS)(inspect_command)
program.command("eval", rich_help_panel=_MODELS)(eval_command)
program.command("export", rich_help_panel=_MODELS)(export_command)
program.command("calibrate", rich_help_panel=_MODELS)(calibrate_command)
program.command("compile", rich_help_panel=_MODELS)(compile_command)
program.command("parity", rich_help_panel=_MODELS)(parity_command)
data_app.command("convert")(convert_command)
data_app.command("split")(split_command)
data_app.command("merge")(merge_command)
program.add_typer(data_app, name="data", rich_help_panel=_TRAIN)
program.command("train", rich_help_panel=_TRAIN)(train_command)
program.command("label", rich_help_panel=_TRAIN)(label_command)
program.command("explain", rich_help_panel=_TRAIN)(explain_command)
program.command("lr-find", rich_help_panel=_TRAIN)(lr_find_command)
program.command("doctor", rich_help_panel=_MACHINE)(doctor_command)
program.command("soak", rich_help_panel=_MACHINE)(soak_command)
program.command("schema", rich_help_panel=_MACHINE)(schema_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The ``edgevision`` program. Ends in :class:`SystemExit` with the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    run_app(list(sys.argv[1:] if arguments is None else arguments))
