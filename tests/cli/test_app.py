import errno
import json
import re
import subprocess
import sys

import cv2
import msgspec
import numpy as np
import pytest

from edgevision import __version__, zoo
from edgevision.cli import main
from edgevision.cli.app import EXIT_BUG
from edgevision.errors import ConfigError, EdgeVisionError, UsageError
from tests.support.models import colour_manifest, write_bright_segmenter, write_colour_model


@pytest.fixture
def call(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def failing(monkeypatch):
    """Makes 'edgevision models' raise what a test wants."""

    def fail(error):
        def raise_it():
            raise error

        monkeypatch.setattr(zoo, "list_models", raise_it)

    return fail


def test_version_and_help(call):
    assert call("--version") == (0, f"edgevision {__version__}\n", "")
    code, out, _ = call("--help")
    assert code == 0
    for word in ("run", "models", "--debug", "edgevision run --source webcam", "Exit codes"):
        assert word in out
    code, out, _ = call("run", "--help")
    assert code == 0
    options = "source model engine conf classes output save-json display max-frames stats overwrite"
    for option in options.split():
        assert f"--{option}" in out
    assert "edgevision run --source street.mp4" in out


def test_help_starts_without_the_heavy_parts():
    code = (
        "import sys; from edgevision.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('onnxruntime', 'av', 'torch', 'onnx')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "code"), [(EdgeVisionError("found a, expected b"), 1), (UsageError("found a, expected b"), 2)]
)
def test_an_error_is_one_line_and_its_exit_code(call, failing, error, code):
    failing(error)
    assert call("models") == (code, "", "error: found a, expected b\n")


def test_an_error_of_several_lines_becomes_one(call, failing):
    failing(EdgeVisionError("first\n  second\n"))
    assert call("models")[2] == "error: first second\n"


def test_a_setting_is_called_by_the_option_of_the_command_that_runs(call, failing):
    failing(UsageError("`json` and `as_json`: `record_on` needs `as_json`"))
    assert call("models")[2] == "error: --json and --json: `record_on` needs --json\n"
    failing(ConfigError("a.yaml: `json` is not a key"))
    assert call("models")[2] == "error: a.yaml: `json` is not a key\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep", "1GB"], "--keep needs --record"),
        (["--metrics-host", "0.0.0.0"], "--metrics-host 0.0.0.0 needs --metrics-port"),
        (
            ["--output", "a.mp4", "--stats", "a.mp4"],
            "--output and --stats both name a.mp4; choose different files",
        ),
        (["--max-frames", "0"], "--max-frames 0 is not valid; expected 1 or more"),
    ],
)
def test_a_wrong_setting_of_the_library_is_a_wrong_option_here(call, place, arguments, message):
    assert call("run", "--source", "demo", *arguments) == (2, "", f"error: {message}\n")
    assert list(place.iterdir()) == []


def test_a_command_of_a_group_knows_its_options(call, monkeypatch):
    from edgevision.cli import app

    monkeypatch.setattr(app.Commands, "running", None)
    call("data", "check", "--help")
    names = {parameter.name for parameter in app.Commands.running.params}
    assert "images" in names


def test_a_bug_is_one_line_that_asks_for_a_report(call, failing):
    failing(ZeroDivisionError("division by zero"))
    code, _, err = call("models")
    assert code == EXIT_BUG == 70
    assert err.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in err
    assert "--debug" in err


@pytest.mark.parametrize("arguments", [("--debug", "models"), ("models", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(call, failing, arguments):
    failing(UsageError("nonsense"))
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" in err
    assert err.endswith("error: nonsense\n")
    assert "Traceback" not in call("models")[2]


def test_an_interrupt_is_130(call, failing):
    failing(KeyboardInterrupt())
    assert call("models") == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "no source; name one with --source"),
        (["models", "--jsn"], "No such option: --jsn"),
        (["models", "extra"], "extra"),
        (["--foo"], "No such option: --foo"),
        (["--foo", "models"], "No such option: --foo"),
    ],
)
def test_a_wrong_command_line_is_one_line(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert "--help" in err


def test_models_of_an_empty_zoo(call, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    code, out, _ = call("models")
    assert code == 0
    assert "no models ship" in out
    assert call("models", "--json")[1].strip() == "[]"


def test_models_lists_the_default_of_each_task_first(call, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    write_bright_segmenter(tmp_path / "unet.onnx")
    write_colour_model(tmp_path / "light.onnx")
    int8 = msgspec.structs.replace(colour_manifest(), precision="int8", figures={"drop": 0.001})
    write_colour_model(tmp_path / "light.int8.onnx", int8)
    code, out, err = call("models", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["name"] for row in rows] == ["light", "unet"]
    precisions = rows[0].pop("precisions")
    assert [one["precision"] for one in precisions] == ["fp32", "int8"]
    assert precisions[1] == {
        "precision": "int8",
        "size": (tmp_path / "light.int8.onnx").stat().st_size,
        "figures": {"drop": 0.001},
        "path": str(tmp_path / "light.int8.onnx"),
    }
    assert rows[0] == {
        "name": "light",
        "task": "detection",
        "classes": ["blue", "green", "red"],
        "input": [64, 64],
        "size": (tmp_path / "light.onnx").stat().st_size,
        "figures": {"ap50_mean": 0.5},
        "training_data": "",
        "licence": "made by a test",
        "path": str(tmp_path / "light.onnx"),
    }
    out = call("models")[1]
    assert re.search(r"fp32 0\.0, int8 0\.0", out)
    assert "ap50_mean 0.5" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--output", "a.mp4", "--source", "demo", "--output", "b.jsonl"],
        ["run", "--source", "demo", "--output=a.mp4", "--output", "a.mp4"],
    ],
)
def test_an_option_that_takes_one_value_is_not_given_twice(call, arguments):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err == "error: --output is given twice; it takes one value, so one of them would be lost\n"


def test_options_that_take_several_values_and_flags_may_stand_twice(call):
    code, _, err = call(
        *("run", "--source", "absent-1.mp4", "--source", "absent-2.mp4", "--overwrite", "--overwrite")
    )
    assert code == 1
    assert "given twice" not in err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OSError(errno.EACCES, "Permission denied", "a\nb"),
            "error: cannot use a b: Permission denied; check",
        ),
        (
            OSError(errno.EACCES, "Permission denied", b"\xff"),
            r"error: cannot use \xff: Permission denied; check",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "error: cannot use: No space left on device; check",
        ),
        (MemoryError(), "error: out of memory; use a smaller input or fewer streams"),
    ],
)
def test_what_the_system_refuses_is_one_line(call, failing, error, text):
    failing(error)
    code, _, err = call("models")
    assert code == 1
    assert err.startswith(text)
    assert err.count("\n") == 1


LONG = "n" * 300
CLIP, MODEL = "in.png", "model.onnx"


@pytest.mark.parametrize(
    "line",
    [
        f"run --source {CLIP} --model {LONG}",
        f"run --source {CLIP} --model {MODEL} --then {LONG}",
        f"run --source {CLIP} --model {MODEL} --events {LONG}",
        f"run --source {CLIP} --model {MODEL} --stats {LONG}",
        f"run --source {CLIP} --model {MODEL} --save-json {LONG}",
        f"run --source {CLIP} --model {MODEL} --output {LONG}.mp4",
        f"inspect {LONG}",
        f"label {CLIP} --model {LONG} --out out.json",
        f"process {LONG} --out results",
        f"import {LONG} --out out.onnx",
        f"export {LONG} --out out.onnx",
        f"calibrate {LONG} --from {CLIP} --out out.onnx",
        f"parity {LONG} --source {CLIP}",
        f"train --data {LONG}",
        f"data check {LONG}",
        f"data check set.json --images {LONG}",
        f"data split {LONG} --out split",
    ],
)
def test_a_name_that_is_too_long_is_one_line(call, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    write_colour_model(tmp_path / MODEL)
    cv2.imwrite(CLIP, np.zeros((64, 64, 3), np.uint8))
    images = [{"id": 1, "file_name": f"{LONG}.jpg", "width": 64, "height": 64}]
    document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (tmp_path / "set.json").write_text(json.dumps(document))
    code, _, err = call(*line.split())
    assert code in (1, 2)
    assert err.splitlines()[-1].startswith("error: ")
    assert "nnnn" in err
    assert "internal error" not in err
