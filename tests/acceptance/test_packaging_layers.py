"""The runtime goes on a device: no module of it may need torch, onnx or the training side."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from typing import Any

import edgevision
from tests.support.project import pyproject

WORKSHOP = {
    "calibration",
    "data",
    "evaluation",
    "export",
    "finetune",
    "graph",
    "labelling",
    "models",
    "training",
}
COMMAND_LINE = {"__main__", "cli"}  # loads the workshop inside commands

# Blocks the modules of the first argument and all below them, then imports those of the second.
BLOCKED = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in sys.argv[1].split(",")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for name in sys.argv[2].split(","):
    importlib.import_module(name)
print(len(sys.argv[2].split(",")))
"""


def contract() -> Any:
    (found,) = [one for one in pyproject()["tool"]["importlinter"]["contracts"] if one["type"] == "forbidden"]
    return found


def runtime_modules() -> set[str]:
    """The top-level modules and packages of the runtime."""
    every = {module.name for module in pkgutil.iter_modules(edgevision.__path__)}
    assert every >= WORKSHOP | COMMAND_LINE
    return every - WORKSHOP - COMMAND_LINE


def test_the_contract_names_the_whole_runtime_and_the_whole_workshop() -> None:
    assert set(contract()["source_modules"]) == {f"edgevision.{name}" for name in runtime_modules()}
    forbidden = set(contract()["forbidden_modules"])
    assert forbidden == {"torch", "torchvision", "onnx"} | {f"edgevision.{name}" for name in WORKSHOP}


def test_every_module_of_the_runtime_loads_without_torch_onnx_and_the_workshop() -> None:
    found = [module.name for module in pkgutil.walk_packages(edgevision.__path__, "edgevision.")]
    wanted = [name for name in found if name.split(".")[1] in runtime_modules()]
    assert len(wanted) > 80
    # The command line, too, loads the workshop only inside commands.
    wanted += ["edgevision.cli"]
    arguments = (",".join(contract()["forbidden_modules"]), ",".join(wanted))
    done = subprocess.run([sys.executable, "-c", BLOCKED, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(wanted)
