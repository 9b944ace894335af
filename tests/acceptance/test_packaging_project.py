"""What the project's own files promise: versions, markers, and set-up that happens once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import edgevision
from tests.support.paths import ROOT

JETPACK_6 = {"python_version": "3.10", "python_full_version": "3.10.12", "platform_machine": "aarch64"}


def pins(environment: dict[str, str]) -> dict[str, Version]:
    """The version of each package that constraints.txt chooses in an environment."""
    linux = {"sys_platform": "linux", "platform_python_implementation": "CPython", **environment}
    chosen: dict[str, Version] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(linux):
            assert pin.name not in chosen, f"{pin.name} is pinned twice for {environment}"
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            chosen[pin.name] = Version(specifier.version)
    return chosen


def test_constraints_name_no_registry_and_no_vendor_library() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--" not in text
    # TensorRT for RTX is whole in the registry, and no JetPack brings one of its own.
    assert not re.search(r"^(tensorrt(?!-rtx-cu13)|cuda-|nvidia-)", text, re.MULTILINE)


def test_constraints_fit_jetpack_6() -> None:
    chosen = pins(JETPACK_6)
    assert (chosen["av"].major, chosen["av"].minor) == (17, 1)  # the newest with a wheel there
    assert (chosen["onnxruntime"].major, chosen["onnxruntime"].minor) == (1, 23)


@pytest.mark.parametrize("minor", [10, 11, 12])
def test_constraints_pin_the_runtime_once_on_every_python(minor: int) -> None:
    chosen = pins({"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.4"})
    runtime = {"numpy", "opencv-python", "av", "onnxruntime", "typer", "rich", "msgspec", "pyyaml"}
    assert runtime <= chosen.keys()


def test_the_version_has_a_changelog_entry() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog or f"## [{edgevision.__version__}]" in changelog


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the set-up script, where uv is a recorder and .venv runs this Python."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path / "tools" / "setup.sh")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    recorder = tmp_path / "fake" / "uv"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo "$@" >> {tmp_path}/calls\n')
    recorder.chmod(0o755)
    return tmp_path


def installs(checkout: Path, extra: str) -> list[str]:
    """Runs the set-up and returns what it asked uv to install."""
    calls = checkout / "calls"
    calls.unlink(missing_ok=True)
    path = f"{checkout / 'fake'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["tools/setup.sh", extra], cwd=checkout, env={**os.environ, "PATH": path}, check=True)
    return [line.split()[-1] for line in calls.read_text().splitlines()] if calls.exists() else []


def test_a_second_set_up_installs_nothing(checkout: Path) -> None:
    assert installs(checkout, "demo") == [".[demo]"]
    assert installs(checkout, "demo") == []
    assert installs(checkout, "dev") == [".[dev]"]
    assert installs(checkout, "dev") == []
    assert installs(checkout, "demo") == []


def test_dev_serves_the_demo_too(checkout: Path) -> None:
    assert installs(checkout, "dev") == [".[dev]"]
    assert installs(checkout, "demo") == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(checkout: Path, name: str) -> None:
    assert installs(checkout, "demo") == [".[demo]"]
    with (checkout / name).open("a") as stream:
        stream.write("# changed\n")
    assert installs(checkout, "demo") == [".[demo]"]


def test_an_interrupted_install_is_tried_again(checkout: Path) -> None:
    recorder = checkout / "fake" / "uv"
    working = recorder.read_text()
    recorder.write_text('#!/bin/sh\n[ "$1" = --version ]\n')
    with pytest.raises(subprocess.CalledProcessError):
        installs(checkout, "demo")
    recorder.write_text(working)
    assert installs(checkout, "demo") == [".[demo]"]
