"""The day a GPU is lent is rehearsed, so that nothing of it fails for the first time there."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / "tools" / "gpu_day.sh"
STEPS = (
    "1-machine",
    "2-slots",
    "3-engine",
    "4-faults",
    "5-measure",
    "6-torch",
    "7-train",
    "8-compile",
)


@pytest.fixture(scope="module")
def day() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_day", ROOT / "tools" / "gpu_day.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rehearse(out: Path, *steps: str) -> dict[str, Any]:
    command = ["bash", str(SCRIPT), "--rehearse", str(out), *steps]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(out)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    results = {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("*.json"))}
    problems = {name: result["problems"] for name, result in results.items()}
    assert done.returncode == 0, (problems, done.stdout, done.stderr[-2000:])
    return results


def test_what_needs_no_torch_is_rehearsed(tmp_path: Path) -> None:
    results = rehearse(tmp_path, "2", "3", "4", "5")
    assert tuple(results) == STEPS[1:5]
    for result in results.values():
        assert (result["ok"], result["rehearsal"], result["exit_code"]) == (True, True, 0)
    engine = results["3-engine"]["found"]
    assert engine["bytes_checked"] > 5000
    assert engine["wrong"] == []
    assert sum(engine["graphs_captured"]) > 0
    faults = results["4-faults"]["found"]
    assert "an illegal memory access" in faults["illegal-address"]["said"]
    assert "out of memory" in faults["short-memory"]["said"]
    assert faults["refused-capture"]["said"] == "it waits for the device; 0 captured"
    assert "sees no GPU" in faults["hidden-gpu"]["said"]
    for batch in (1, 8):
        assert results["5-measure"]["found"][f"batch_{batch}"]["graph"]["median_ms"] > 0


@pytest.mark.slow
def test_the_rest_is_rehearsed_too(tmp_path: Path) -> None:
    results = rehearse(tmp_path, "1", "6", "7", "8")
    assert results["1-machine"]["found"]["target"] == "sm90"
    assert results["6-torch"]["found"]["fp32_largest_difference_of_a_head"] < 1e-3
    assert len(results["6-torch"]["found"]["largest_activations"]) == 5
    losses = results["7-train"]["found"]["losses"]
    assert losses[-1] < losses[0]
    assert results["8-compile"]["found"]["eager_ms"] > 0


def test_eight_steps_end_in_twelve_minutes(day: Any) -> None:
    limits = dict(
        word.strip("()").split(":")
        for line in SCRIPT.read_text().splitlines()
        if line.startswith("steps=(")
        for word in line.removeprefix("steps=").split()
    )
    assert tuple(limits) == STEPS == tuple(day.STEPS)
    assert sum(map(int, limits.values())) <= 720


@pytest.mark.parametrize(
    ("code", "written", "problem"),
    [
        (124, True, "it took longer than 30 s"),
        (-11, True, "its process ended with -11"),
        (139, False, "its process ended with 139"),
    ],
)
def test_a_step_that_hangs_or_crashes_keeps_what_it_found(day, tmp_path, code, written, problem) -> None:
    path = tmp_path / "3-engine.json"
    if written:
        day.Result(path, "3-engine", False).found(requests=7)
    assert day.ended(path, code, 30) == 1
    document = json.loads(path.read_text())
    assert (document["ok"], document["problems"]) == (False, [problem])
    assert document["found"] == ({"requests": 7} if written else {})


def test_a_wrong_byte_is_noticed(day: Any) -> None:
    import numpy as np

    frames = np.arange(7 * 4, dtype=np.uint8).reshape(7, 4)

    class Loaded:
        outputs = (type("Spec", (), {"name": "boxes"}),)

    answer = np.concatenate([day.mixed(frames[:4], 16, 0), day.mixed(frames[4:], 12, 0)]).reshape(7, 4)
    assert day.differences(Loaded, frames, {"boxes": answer}) == []
    answer[5, 2] ^= 1
    assert day.differences(Loaded, frames, {"boxes": answer}) == ["boxes of a batch of 7"]


@pytest.mark.parametrize("capability", ["8.7", "9.0"])
def test_the_kernels_compile_without_a_gpu(day: Any, capability: str) -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-python is not installed")
    try:
        code = day.compile_kernels(capability)
    except (RuntimeError, ImportError) as error:  # the bindings come without NVRTC itself
        pytest.skip(f"NVRTC is not here: {error}")
    assert code.startswith(b"\x7fELF")


def test_the_script_says_how_it_is_used() -> None:
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "tools/gpu_day.sh --rehearse OUT" in done.stderr
