"""``edgevision compile`` from the outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevision.cli import main
from edgevision.engines.trt.plan import read_plan_info
from tests.support.models import image_with_block
from tests.support.paths import ROOT
from tests.support.plans import needs_rtx, write_conv_segmenter

PROGRAM = "from edgevision.cli import main; main()"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_conv_segmenter(folder / "m.onnx")
    return folder


@pytest.fixture
def call(capsys):
    def run(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["compile", *line.split()])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@needs_rtx
def test_a_plan_is_built_kept_refused_and_replaced(call, folder) -> None:
    code, out, err = call("m.onnx --out m.engine --target rtx-sm89 --batch 1 2 4")
    assert (code, err) == (0, "")
    assert out.startswith("m.engine: TensorRT for RTX ")
    assert ", rtx40 (compute capability 8.9), batch 1 2 4, " in out
    assert " MB, built in " in out
    built = read_plan_info(folder / "m.engine")
    code, out, _ = call("m.onnx --out m.engine --target rtx40 --batch 1 2 4")
    assert (code, out.rstrip().endswith("up to date, kept")) == (0, True)
    assert read_plan_info(folder / "m.engine") == built
    code, out, err = call("m.onnx --out m.engine --target rtx30")
    assert (code, out) == (2, "")
    assert err == "error: output exists: m.engine; choose another name or pass --overwrite\n"
    assert call("m.onnx --out m.engine --target rtx30 --overwrite")[0] == 0
    assert read_plan_info(folder / "m.engine").compute_capability == "8.6"
    assert sorted(path.name for path in folder.iterdir()) == ["m.engine", "m.engine.json", "m.onnx"]


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("nope.onnx --out m.engine --target rtx40", 1, "model file not found: nope.onnx"),
        ("retinanet-lihgt --out m.engine --target rtx40", 1, "did you mean 'retinanet-light'"),
        ("m.onnx --out m.trt --target rtx40", 2, "--out m.trt: expected a file name that ends in .engine"),
        ("m.onnx --out no/m.engine --target rtx40", 1, "output folder does not exist: no; create it first"),
        ("m.onnx --out m.engine --target rtx4o", 2, "unknown target 'rtx4o'; did you mean 'rtx40'"),
        ("m.onnx --out m.engine --target rtx40 --batch 4 2 8", 2, "batch sizes 4 2 8: expected 1 <= MIN"),
        ("m.onnx --out m.engine --target rtx40 --batch 1 2", 2, "--batch"),
        (
            "m.onnx --batch 4 --out m.engine",
            2,
            "expected three whole numbers, MIN OPT MAX, as in '1 4 8'; found",
        ),
        ("m.onnx --out m.engine --target rtx40 --workspace 0", 2, "--workspace"),
        (
            "m.onnx --out m.engine --target rtx40 --dla 0",
            2,
            "--dla 0: GeForce RTX 40 series (Ada Lovelace) has no DLA; leave --dla out",
        ),
        ("m.onnx --out m.engine --target rtx40 --timing-cache t", 2, "leave --timing-cache out"),
        (
            "m.onnx --out m.engine --target jetson-thor --batch 1 1 2",
            2,
            "copy the model there and run: edgevision compile m.onnx --out m.engine --batch 1 1 2 "
            "--target jetson-thor",
        ),
        (
            "m.onnx --out m.engine --target jetson-agx-orin --workspace 9 --dla 1 --timing-cache t",
            2,
            "copy the model there and run: edgevision compile m.onnx --out m.engine --workspace 9 --dla 1 "
            "--timing-cache t --target jetson-agx-orin",
        ),
        ("image.onnx --out m.engine --target rtx40", 1, "image.onnx"),
        ("plain.onnx --out m.engine --target rtx40", 1, "without edgevision metadata"),
        ("old.engine --out m.engine --target rtx40", 2, "old.engine is a plan already"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(call, folder, line, code, says) -> None:
    import cv2
    import onnx

    cv2.imwrite("image.png", image_with_block(8, 8, (1, 1, 4, 4)))
    Path("image.png").rename("image.onnx")
    plain = onnx.load("m.onnx")
    plain.ClearField("metadata_props")
    onnx.save(plain, "plain.onnx")
    Path("old.engine").touch()
    before = sorted(folder.iterdir())
    found, out, err = call(line)
    assert (found, out) == (code, "")
    assert says in err
    assert err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_auto_without_a_gpu_names_what_builds_without_one(call, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, out, err = call("m.onnx --out m.engine")
    assert (code, out) == (1, "")
    assert err.rstrip().endswith("built without a GPU: rtx20, rtx30, rtx40, rtx50")


def test_help_names_every_target(call) -> None:
    from edgevision.export.plans.targets import load_targets

    code, out, _ = call("--help")
    text = " ".join(out.split())
    assert code == 0
    assert [target for target in load_targets() if target not in text] == []


@needs_rtx
@pytest.mark.parametrize(
    ("sent", "code", "says"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "")]
)
def test_a_signal_ends_the_build_and_leaves_nothing(folder, sent, code, says) -> None:
    """In a process of its own, on a model whose build takes seconds."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROGRAM,
            "compile",
            "retinanet-light",
            "--out",
            "r.engine",
            "--target",
            "rtx40",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    libraries = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and "tensorrt_rtx" not in libraries.read_text():
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, says)
    assert [path.name for path in folder.iterdir()] == ["m.onnx"]


def test_the_command_for_the_device_is_printed(call) -> None:
    options = "--batch 1 2 4 --workspace 9 --dla 1 --timing-cache t"
    code, _, err = call(f"m.onnx --out m.engine --target jetson-agx-orin {options}")
    assert code == 2
    assert err.endswith(
        "copy the model there and run: edgevision compile m.onnx --out m.engine "
        f"{options} --target jetson-agx-orin\n"
    )
