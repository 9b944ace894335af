"""What the command line does about plans that do not fit: refuse, trust, or build again."""

import hashlib
import json

import cv2
import msgspec
import numpy as np
import pytest

import edgevision.export.plans.compile
from edgevision.cli import main
from edgevision.cli.any_model import open_engine
from edgevision.engines.fake import fake_manifest
from edgevision.engines.trt.plan import write_plan
from edgevision.engines.trt.trust import record_built_plan
from edgevision.errors import EngineMismatchError
from edgevision.session.request import PlanPolicy
from edgevision.zoo import default_model
from tests.support.gpu import GpuMachine, plan_info
from tests.support.tensorrt_fake import fake_plan


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return GpuMachine(tmp_path, monkeypatch)


@pytest.fixture
def builds(monkeypatch):
    """Stands for the compiler, which needs a GPU: writes a plan for the fake machine, and is counted."""
    built = []

    def rebuild_plan(plan, watch=None):
        manifest = fake_manifest(width=64, height=64, max_detections=5)
        data = fake_plan(msgspec.json.encode(manifest))
        info = plan_info(
            manifest=manifest,
            flavour="tensorrt",
            tensorrt_version="10.3.0",
            plan_bytes=len(data),
            plan_sha256=hashlib.sha256(data).hexdigest(),
        )
        write_plan(plan, data, info)
        record_built_plan(plan, info.plan_sha256)
        built.append(plan)
        return edgevision.export.plans.compile.Compiled(info, is_reused=False, notes=("a note of the build",))

    monkeypatch.setattr(edgevision.export.plans.compile, "rebuild_plan", rebuild_plan)
    return built


def test_a_plan_that_fits_is_not_built_again(machine, builds):
    with open_engine(machine.plan(), "auto", PlanPolicy(rebuild=True)) as engine:
        assert engine.infer({"frames": np.zeros((1, 64, 64, 3), np.uint8)})["count"].tolist() == [0]
    assert builds == []


def test_a_plan_that_does_not_fit_is_refused_with_the_way_out(machine, builds):
    plan = machine.plan(compute_capability="8.7")
    with pytest.raises(EngineMismatchError, match="pass `rebuild`"):
        open_engine(plan, "auto", PlanPolicy())
    assert builds == []


def test_a_plan_that_does_not_fit_is_built_again(machine, builds, capsys):
    plan = machine.plan(compute_capability="8.7")
    with open_engine(plan, "tensorrt", PlanPolicy(rebuild=True)) as engine:
        assert engine.infer({"frames": np.zeros((1, 64, 64, 3), np.uint8)})["count"].tolist() == [0]
    assert builds == [plan]
    said = capsys.readouterr().err
    assert "built for compute capability 8.7" in said
    assert "building it again" in said
    assert "rebuild`" not in said
    assert "note: a note of the build" in said


def test_a_stranger_is_built_again_rather_than_trusted(machine, builds):
    plan = machine.plan(built_here=False)
    with open_engine(plan, "auto", PlanPolicy(rebuild=True)):
        assert builds == [plan]
    with open_engine(machine.plan({"dla_cores": 1}, built_here=False), "auto", PlanPolicy(trust=True)):
        assert len(builds) == 1


@pytest.mark.parametrize("command", ["run", "eval", "label", "parity"])
def test_the_commands_know_both_options(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert "--trust" in shown
    assert "--rebuild" in shown


def test_run_takes_a_plan(machine, builds, tmp_path, capsys):
    plan = machine.plan(built_here=False)
    command = ["run", "--source", "demo", "--max-frames", "2", "--save-json", str(tmp_path / "o.jsonl")]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--model", str(plan)])
    assert ended.value.code == 1
    assert "--trust" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*command, "--model", str(plan), "--trust"])
    assert ended.value.code == 0
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) >= 2


def refused_then_trusted(command, capsys):
    """Runs a command on a stranger's plan, as it is and then with ``--trust``; gives what that printed."""
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 1
    assert "--trust" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*command, "--trust"])
    shown = capsys.readouterr()
    assert not ended.value.code, shown.out + shown.err
    return shown.out


def test_label_takes_a_plan(machine, tmp_path, capsys):
    image = np.full((64, 64, 3), 20, np.uint8)
    image[10:30, 20:50] = 230
    cv2.imwrite(str(tmp_path / "one.png"), image)
    out = tmp_path / "labels.json"
    plan = machine.plan(built_here=False)
    refused_then_trusted(
        ["label", str(tmp_path / "one.png"), "--model", str(plan), "--out", str(out)], capsys
    )
    (box,) = json.loads(out.read_text())["annotations"]
    assert box["bbox"] == [20, 10, 30, 20]


def test_parity_takes_a_plan_beside_its_onnx_file(machine, tmp_path, capsys):
    """The shipped detector and the stand-in of its contract: neither shows anything in a grey image."""
    model = default_model("detection")
    facts = {"manifest": msgspec.json.encode(model.manifest).decode()}
    plan = machine.plan(facts, built_here=False, manifest=model.manifest)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((416, 416, 3), 114, np.uint8))
    shown = refused_then_trusted(
        ["parity", str(model.path), str(plan), "--source", str(tmp_path / "grey.png")], capsys
    )
    assert "street.engine in TensorRT 10.3.0 (NVIDIA Fake) against retinanet-light.onnx in ONNX" in shown
