"""The wheel and the sdist: built, installed into empty environments, and used from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import edgevision
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
import importlib.metadata, importlib.util, json
from edgevision.config import config_folder
import edgevision
files = importlib.metadata.files("edgevision")
def found(name): return importlib.util.find_spec(name) is not None
print(json.dumps({
    "torch": found("torch"), "onnx": found("onnx"), "pytest": found("pytest"),
    "package": edgevision.__file__, "configs": str(config_folder()),
    "files": sorted(path.name for path in config_folder().rglob("*")),
    "tops": sorted({path.parts[0] for path in files if path.parts[0] not in ("..", "__pycache__")}),
}))
"""

# What a user's own program does with the parts that lie in folders of their own.
TYPED = """
from pathlib import Path

from edgevision.calibration.ranges import percentile_bin
from edgevision.export.to_half import HalfModel, export_half

made: HalfModel = export_half(Path("a.onnx"), Path("b.onnx"))
wrong: int = export_half(Path("a.onnx"), Path("b.onnx"))
reveal_type(percentile_bin)
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


def build(kind: str, source: Path, folder: Path) -> Path:
    """Builds a ``wheel`` or an ``sdist`` of a source tree or an sdist."""
    if not UV.exists():
        pytest.skip("uv, which builds packages, is not installed beside this Python")
    call(UV, "build", f"--{kind}", "--quiet", "--out-dir", folder, source)
    (built,) = [path for path in folder.iterdir() if path.suffix in (".whl", ".gz")]
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def install(what: str, folder: Path) -> Path:
    """Installs into a new environment that holds nothing else; returns its folder of programs."""
    python = folder / "bin" / "python"
    call(UV, "venv", "--quiet", "--python", sys.executable, folder)
    call(UV, "pip", "install", "--quiet", "--python", python, "-c", ROOT / "constraints.txt", what)
    return folder / "bin"


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and its own dependencies, nothing else."""
    return install(str(wheel), tmp_path_factory.mktemp("bare") / "venv")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_one_package_with_types_and_configs_and_no_checkpoint(wheel: Path) -> None:
    names = contents(wheel).keys()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgevision"}
    assert "edgevision/py.typed" in names
    assert {"edgevision/export/to_half.py", "edgevision/calibration/job.py"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    expected = {
        f"edgevision/configs/{path.relative_to(ROOT / 'configs')}"
        for path in (ROOT / "configs").rglob("*")
        if path.is_file()
    }
    assert expected
    assert expected <= names
    assert not [name for name in names if name.endswith(".pt")]
    assert len(names) == len({name.lower() for name in names})


def test_the_wheel_installs_one_name_without_torch_or_onnx(bare: Path, tmp_path: Path) -> None:
    found = json.loads(call(bare / "python", "-c", INSTALLED, cwd=tmp_path))
    assert (found["torch"], found["onnx"], found["pytest"]) == (False, False, False)
    inside = str(bare.parent.resolve())
    assert found["package"].startswith(inside)
    assert found["configs"].startswith(inside)
    assert {path.name for path in (ROOT / "configs").rglob("*.yaml")} <= set(found["files"])
    assert found["tops"] == ["edgevision", f"edgevision-{edgevision.__version__}.dist-info"]


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert tops == {
        *("edgevision", "configs", "pyproject.toml", "PKG-INFO", ".gitignore"),
        *("README.md", "LICENSE", "CHANGELOG.md"),
    }
    assert contents(build("wheel", sdist, tmp_path)) == contents(wheel)


@pytest.mark.slow
def test_the_sdist_installs_with_the_demo_and_runs_it(sdist: Path, tmp_path: Path) -> None:
    programs = install(f"edgevision[demo] @ {sdist.as_uri()}", tmp_path / "venv")
    empty = tmp_path / "empty"
    empty.mkdir()
    call(
        *(programs / "edgevision", "run", "--source", "demo", "--max-frames", "20", "--output", "out.jsonl"),
        cwd=empty,
    )
    lines = (empty / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(20))
    assert any(json.loads(line)["detections"] for line in lines)


@pytest.mark.slow
def test_a_users_program_is_checked_against_our_types(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TYPED)
    command = (sys.executable, "-m", "mypy", "--strict", "--python-executable", bare / "python", "mine.py")
    done = subprocess.run([str(word) for word in command], cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert errors[0].startswith(
        'mine.py:8: error: Incompatible types in assignment (expression has type "HalfModel"'
    )
    assert 'Revealed type is "def' in done.stdout


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
