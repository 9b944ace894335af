"""Only the command line names its options: the library's messages and docstrings name parameters."""

import ast
import re

import pytest
from typer.main import get_command

from edgevision.cli.app import app
from tests.acceptance.test_mirror import MODULES

OTHER_PROGRAMS = {
    ("edgevision.doctor.video", "--version"),
    ("edgevision.contract.foreign", "--model"),
    ("edgevision.contract.foreign", "--output"),
    ("edgevision.contract.foreign", "--weights"),
}
"""Options of other programs (here gst-inspect-1.0, paddle2onnx and tf2onnx) that edgevision has too."""


def options(command):
    """Every long option of a command and of the commands below it."""
    found = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for below in getattr(command, "commands", {}).values():
        found |= options(below)
    return {option for option in found if option.startswith("--")}


OPTIONS = options(get_command(app)) | {"--help"}
LIBRARY = [name for name in MODULES if not name.startswith("edgevision.cli")]


def named(path):
    """The options in a module's string constants, with their lines; comments may name them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", node.value):
                yield option, node.lineno


def test_the_options_are_known():
    assert {"--source", "--overwrite", "--max-latency", "--metrics-port", "--trust"} <= OPTIONS


@pytest.mark.parametrize("name", LIBRARY)
def test_a_module_of_the_library_names_no_option(name):
    found = [
        f"line {line}: {option}"
        for option, line in named(MODULES[name])
        if option in OPTIONS and (name, option) not in OTHER_PROGRAMS
    ]
    assert not found, f"{name} names options; name the parameter in backticks instead: {', '.join(found)}"
