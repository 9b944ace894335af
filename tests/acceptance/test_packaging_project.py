"""What the project's own files promise: versions, markers, and set-up that happens once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import edgevision
from tests.support.paths import ROOT
from tests.support.project import pyproject

JETPACK_6 = {"python_version": "3.10", "python_full_version": "3.10.12", "platform_machine": "aarch64"}


def project() -> dict[str, Any]:
    """The table ``[project]`` of pyproject.toml."""
    return dict(pyproject()["project"])


def requirements() -> list[Requirement]:
    """Every requirement on another package: the runtime's, the extras' and those for development."""
    document = pyproject()
    groups = (*document["project"]["optional-dependencies"].values(), *document["dependency-groups"].values())
    # A group that takes in another one says so in a table, and the other one is read by itself.
    listed = [line for group in groups for line in group if isinstance(line, str)]
    lines = [*document["project"]["dependencies"], *listed]
    return [found for found in map(Requirement, lines) if found.name != "edgevision"]


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


@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14])
def test_constraints_pin_the_runtime_once_on_every_python(minor: int) -> None:
    chosen = pins({"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.4"})
    runtime = {Requirement(line).name.lower() for line in project()["dependencies"]}
    assert runtime <= chosen.keys()


def test_every_pin_is_allowed_by_what_the_project_asks_for() -> None:
    chosen = pins({"python_version": "3.12", "python_full_version": "3.12.4", "platform_machine": "x86_64"})
    checked = [line for line in requirements() if line.name.lower() in chosen]
    assert len(checked) > 20
    assert not [str(line) for line in checked if chosen[line.name.lower()] not in line.specifier]


# The first release without a hole that is known, and what the hole was.
SOUND = {
    "opencv-python": "4.12",  # CVE-2025-53644: a made-up JPEG writes outside its memory
    "onnx": "1.21",  # CVE-2026-27489, -34446, -34447: a model reads files outside its folder
    "torch": "2.10",  # CVE-2025-32434, CVE-2026-24747: loading a checkpoint runs code
    "pillow": "12.2",  # CVE-2026-25990, -40192: PSD and FITS
    "pyyaml": "5.4",  # CVE-2020-14343
}


def test_the_lowest_versions_exclude_releases_with_known_holes() -> None:
    lowest: dict[str, list[Version]] = {}
    for line in requirements():
        bounds = [Version(one.version) for one in line.specifier if one.operator == ">="]
        lowest.setdefault(line.name.lower(), []).extend(bounds)
    for name, sound in SOUND.items():
        assert lowest[name], name
        assert min(lowest[name]) >= Version(sound), name


def test_the_metadata_name_every_python_and_ship_no_development_tools() -> None:
    metadata = project()
    supported = [f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)]
    assert [line for line in metadata["classifiers"] if re.search(r":: 3\.\d", line)] == supported
    assert "Typing :: Typed" in metadata["classifiers"]
    assert metadata["requires-python"] == ">=3.10"
    assert metadata["authors"] == [{"name": "edgevision contributors"}]
    assert "dev" not in metadata["optional-dependencies"]


def test_the_version_has_a_changelog_entry() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog or f"## [{edgevision.__version__}]" in changelog


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the set-up script, where uv is a recorder and .venv runs this Python."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tools").mkdir()
    for name in ("setup.sh", "usage.sh"):
        shutil.copy(ROOT / "tools" / name, tmp_path / "tools" / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    recorder = tmp_path / "fake" / "uv"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo "$@" >> {tmp_path}/calls\n')
    recorder.chmod(0o755)
    return tmp_path


DEMO, DEV = "-e .[demo]", "-e .[all] --group dev"


def installs(checkout: Path, purpose: str) -> list[str]:
    """Runs the set-up and returns what it asked uv to install."""
    calls = checkout / "calls"
    calls.unlink(missing_ok=True)
    path = f"{checkout / 'fake'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["tools/setup.sh", purpose], cwd=checkout, env={**os.environ, "PATH": path}, check=True)
    return (
        [line.split("-c constraints.txt ")[1] for line in calls.read_text().splitlines()]
        if calls.exists()
        else []
    )


def test_a_second_set_up_installs_nothing(checkout: Path) -> None:
    assert installs(checkout, "demo") == [DEMO]
    assert installs(checkout, "demo") == []
    assert installs(checkout, "dev") == [DEV]
    assert installs(checkout, "dev") == []
    assert installs(checkout, "demo") == []


def test_an_unknown_purpose_is_one_line(checkout: Path) -> None:
    done = subprocess.run(["tools/setup.sh", "test"], cwd=checkout, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "setup: unknown purpose 'test'; expected demo or dev\n"


def test_dev_serves_the_demo_too(checkout: Path) -> None:
    assert installs(checkout, "dev") == [DEV]
    assert installs(checkout, "demo") == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(checkout: Path, name: str) -> None:
    assert installs(checkout, "demo") == [DEMO]
    with (checkout / name).open("a") as stream:
        stream.write("# changed\n")
    assert installs(checkout, "demo") == [DEMO]


def test_an_interrupted_install_is_tried_again(checkout: Path) -> None:
    recorder = checkout / "fake" / "uv"
    working = recorder.read_text()
    recorder.write_text('#!/bin/sh\n[ "$1" = --version ]\n')
    with pytest.raises(subprocess.CalledProcessError):
        installs(checkout, "demo")
    recorder.write_text(working)
    assert installs(checkout, "demo") == [DEMO]
