import pytest

from edgevision import engines
from edgevision.engines import ENGINES, describe, load_engine
from edgevision.engines.choose import (
    EngineChoice,
    FileFacts,
    MachineFacts,
    choose_engines,
    has_int8_sums,
    machine_facts,
)
from edgevision.errors import EngineError, UsageError
from edgevision.extras import install_command
from tests.support.models import write_colour_model

PC = MachineFacts(providers=("cpu",), openvino=True)
BARE = MachineFacts(providers=("cpu",), openvino=False)
GPU = MachineFacts(providers=("tensorrt", "cuda", "cpu"), openvino=True)
OLD_PC = MachineFacts(providers=("cpu",), openvino=True, int8_sums=False)
OPENVINO_ONLY = MachineFacts(providers=(), openvino=True)
NOTHING = MachineFacts(providers=(), openvino=False)


@pytest.mark.parametrize(
    ("machine", "precision", "expected", "reason"),
    [
        (PC, "fp32", ["onnxruntime"], "the model is FP32 and runs on the CPU"),
        (PC, "fp16", ["onnxruntime"], "the model is FP16 and runs on the CPU"),
        (PC, "int8", ["openvino", "onnxruntime"], "INT8 and runs on the CPU, where OpenVINO is the fastest"),
        (PC, "int8+fp16", ["openvino", "onnxruntime"], "the model is INT8+FP16"),
        (OLD_PC, "int8", ["openvino", "onnxruntime"], "this processor has no VNNI"),
        (OLD_PC, "fp32", ["onnxruntime"], "the model is FP32 and runs on the CPU"),
        (BARE, "fp32", ["onnxruntime"], "runs on the CPU"),
        (BARE, "int8", ["onnxruntime"], f"faster ({install_command('openvino')})"),
        (GPU, "fp32", ["onnxruntime-cuda", "onnxruntime"], "CUDA provider"),
        (GPU, "int8", ["onnxruntime-cuda", "openvino", "onnxruntime"], "CUDA provider"),
        (OPENVINO_ONLY, "fp32", ["openvino"], "ONNX Runtime is not installed"),
        (OPENVINO_ONLY, "int8", ["openvino"], "OpenVINO is the fastest"),
        (NOTHING, "fp32", ["onnxruntime"], "FP32"),
        (PC, None, ["tensorrt"], "plan"),
        (GPU, None, ["tensorrt"], "plan"),
    ],
)
def test_auto_decides_by_machine_and_file(machine, precision, expected, reason):
    choices = choose_engines(machine, FileFacts(precision))
    assert [choice.engine for choice in choices] == expected
    assert reason in choices[0].reason


def test_what_this_machine_has():
    pytest.importorskip("openvino")
    facts = machine_facts()
    assert "cpu" in facts.providers
    assert facts.openvino


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni sse", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("Features\t: fp asimd asimddp", True),
        ("Features\t: fp asimd", False),
        ("model name : something", True),
    ],
)
def test_what_a_processor_says_of_int8(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}\n")
    assert has_int8_sums(tmp_path / "cpuinfo") is expected
    assert has_int8_sums(tmp_path / "absent") is True


def test_auto_says_what_it_took_and_why_and_a_name_needs_no_reason(tmp_path):
    path = write_colour_model(tmp_path / "m.onnx")
    with load_engine(path) as chosen, load_engine(path, "onnxruntime") as named:
        assert describe(chosen) == f"{named.name}: the model is FP32 and runs on the CPU"
        assert describe(named) == named.name


def test_auto_falls_back_and_says_so_and_a_name_is_an_error(tmp_path, monkeypatch):
    # The provider that this machine lacks is the failure of a real GPU build without its libraries.
    path = write_colour_model(tmp_path / "m.onnx")
    choices = (EngineChoice("onnxruntime-cuda", "first"), EngineChoice("onnxruntime", "second"))
    monkeypatch.setattr(engines, "choose_engines", lambda machine, file: choices)
    with load_engine(path) as engine:
        assert "(CPU)" in engine.name
        assert engine.reason.startswith("second; ONNX Runtime")
        assert "CUDA provider" in engine.reason
    with pytest.raises(EngineError, match=r"CUDA provider; run: .*'onnxruntime-gpu\[cuda,cudnn\]'"):
        load_engine(path, "onnxruntime-cuda")
    with pytest.raises(UsageError, match="unknown engine 'onnxruntime-tensorrt'"):
        load_engine(path, "onnxruntime-tensorrt")  # builds anew at every start, without the file's precision
    monkeypatch.setattr(engines, "choose_engines", lambda machine, file: choices[:1])
    with pytest.raises(EngineError, match="CUDA provider"):
        load_engine(path)


def test_an_engine_refuses_the_other_kind_of_file(tmp_path):
    path = write_colour_model(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"m.onnx is not a TensorRT plan"):
        load_engine(path, "tensorrt")
    with pytest.raises(UsageError, match=r"m.plan is a TensorRT plan; engine 'openvino' runs ONNX files"):
        load_engine(tmp_path / "m.plan", "openvino")


def test_the_help_names_every_engine(capsys):
    from edgevision.cli import main

    for command in ("run", "eval", "label"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = "".join(capsys.readouterr().out.split())  # long names are broken at their hyphens
        for name in ENGINES:
            assert name in text
