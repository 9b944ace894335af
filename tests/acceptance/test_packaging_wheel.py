"""The wheel, alone: built, installed into a bare environment, and used from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import ROOT

UV = Path(sys.executable).with_name("uv")

# How uv and pip say that the registry is out of reach. Anything else they say is a real failure.
UNREACHABLE = (
    "error sending request",
    "Failed to fetch",
    "dns error",
    "Connection refused",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "NewConnectionError",
    "timed out",
)

INSTALLED = """
import importlib.util, json
from edgevision.config import config_folder
import edgevision
def found(name): return importlib.util.find_spec(name) is not None
print(json.dumps({
    "torch": found("torch"), "onnx": found("onnx"), "pytest": found("pytest"),
    "package": edgevision.__file__, "configs": str(config_folder()),
    "files": sorted(path.name for path in config_folder().rglob("*")),
}))
"""


def call(*command: str | Path, cwd: Path = ROOT) -> str:
    """Runs a command that may need the registry; skips when it cannot be reached, fails on anything else."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=600
    )
    if done.returncode != 0:
        said = done.stdout + done.stderr
        if any(sign in said for sign in UNREACHABLE):
            pytest.skip("the package registry cannot be reached")
        pytest.fail(f"{' '.join(str(part) for part in command)}\n{said}")
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    if UV.exists():
        call(UV, "build", "--wheel", "--quiet", "--out-dir", folder, ROOT)
    else:
        call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment that holds the wheel and its own dependencies, nothing else."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    if UV.exists():
        call(UV, "venv", "--quiet", "--python", sys.executable, folder)
        call(UV, "pip", "install", "--quiet", "--python", python, "-c", constraints, wheel)
    else:
        call(sys.executable, "-m", "venv", folder)
        call(python, "-m", "pip", "install", "--quiet", "-c", constraints, wheel)
    return folder / "bin"


def test_the_wheel_holds_the_three_packages_and_the_configs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgevision"}
    assert "edgevision/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    expected = {
        f"edgevision/configs/{path.relative_to(ROOT / 'configs')}"
        for path in (ROOT / "configs").rglob("*")
        if path.is_file()
    }
    assert expected
    assert expected <= set(names)


def test_the_wheel_installs_without_torch_or_onnx(bare: Path, tmp_path: Path) -> None:
    found = json.loads(call(bare / "python", "-c", INSTALLED, cwd=tmp_path))
    assert (found["torch"], found["onnx"], found["pytest"]) == (False, False, False)
    inside = str(bare.parent.resolve())
    assert found["package"].startswith(inside)
    assert found["configs"].startswith(inside)
    assert {path.name for path in (ROOT / "configs").rglob("*.yaml")} <= set(found["files"])


def write_video(path: Path, frames: int) -> None:
    """A bright square that moves over a dark ground, 320x240."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (320, 240))
    for index in range(frames):
        image = np.full((240, 320, 3), 40, np.uint8)
        image[80:160, 10 * index : 10 * index + 80] = 220
        writer.write(image)
    writer.release()


@pytest.mark.slow
def test_the_wheel_alone_runs_a_video_from_an_empty_folder(bare: Path, tmp_path: Path) -> None:
    if not list((ROOT / "edgevision" / "zoo").glob("*.onnx")):
        pytest.skip("no model ships yet")
    clip = tmp_path / "clip.mp4"
    write_video(clip, frames=12)
    empty = tmp_path / "empty"
    empty.mkdir()
    call(
        *(bare / "edgevision", "run", "--source", clip, "--output", "out.mp4", "--save-json", "out.jsonl"),
        cwd=empty,
    )
    lines = (empty / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(12))
    assert sorted(path.name for path in empty.iterdir()) == ["out.jsonl", "out.mp4"]

    import cv2

    video = cv2.VideoCapture(str(empty / "out.mp4"))
    read = 0
    while video.read()[0]:
        read += 1
    assert read == 12
