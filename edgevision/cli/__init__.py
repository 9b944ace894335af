"""The command line: parse, wire, delegate.

Each command is a function in a file of its own, added here. A command imports what it needs inside the
function, so that ``edgevision --help`` starts fast and a device needs only the runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgevision.cli.app import app as program
from edgevision.cli.app import run_app
from edgevision.cli.calibrate import calibrate_command
from edgevision.cli.check import check_command
from edgevision.cli.compile import compile_command
from edgevision.cli.data import data_app
from edgevision.cli.data_write import convert_command, merge_command, split_command
from edgevision.cli.doctor import doctor_command
from edgevision.cli.eval import eval_command
from edgevision.cli.export import export_command
from edgevision.cli.import_model import import_command
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

program.command("run")(run_command)
program.command("process")(process_command)
program.command("check")(check_command)
program.command("serve")(serve_command)
program.command("snapshot")(snapshot_command)
program.add_typer(zones_app, name="zones")
program.command("models")(models_command)
data_app.command("convert")(convert_command)
data_app.command("split")(split_command)
data_app.command("merge")(merge_command)
program.add_typer(data_app, name="data")
program.command("lr-find")(lr_find_command)
program.command("train")(train_command)
program.command("eval")(eval_command)
program.command("label")(label_command)
program.command("export")(export_command)
program.command("calibrate")(calibrate_command)
program.command("compile")(compile_command)
program.command("import")(import_command)
program.command("inspect")(inspect_command)
program.command("doctor")(doctor_command)
program.command("soak")(soak_command)
program.command("schema")(schema_command)
program.command("parity")(parity_command)
program.command("web-password")(web_password_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The ``edgevision`` program. Ends in :class:`SystemExit` with the exit code.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    run_app(list(sys.argv[1:] if arguments is None else arguments))
