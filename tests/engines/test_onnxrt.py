import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgevision.contract.model_file import write_manifest
from edgevision.engines import load_engine, onnxrt
from edgevision.engines.base import usable_cores
from edgevision.engines.onnxrt import OnnxRuntimeEngine
from edgevision.errors import EngineError, ManifestError, ModelError, UsageError
from tests.support.models import (
    colour_manifest,
    image_with_block,
    save_graph,
    write_bright_segmenter,
    write_colour_model,
)


@pytest.fixture
def model(tmp_path):
    return write_colour_model(tmp_path / "colours.onnx")


def batch(*images):
    return {"frames": np.stack(images)}


def test_it_runs_batches_of_any_length(model):
    red = image_with_block(64, 64, (10, 20, 30, 50))
    dark = image_with_block(64, 64, (0, 0, 0, 0))
    with load_engine(model) as engine:
        one, three = engine.infer(batch(red)), engine.infer(batch(dark, red, dark))
    assert one["boxes"][0, 0].tolist() == [10, 20, 30, 50]
    assert three["count"].tolist() == [0, 1, 0]
    assert three["labels"][1].tolist() == [2, -1]
    for name in one:
        assert (three[name][1] == one[name][0]).all()


def test_it_reports_the_contract(model):
    with load_engine(model) as engine:
        assert engine.manifest.name == "colours"
        assert "ONNX Runtime" in engine.name
        assert [spec.name for spec in engine.outputs] == ["boxes", "scores", "labels", "count"]
        assert engine.inputs[0].shape == (None, 64, 64, 3)


def test_segmentation_runs(tmp_path):
    image = image_with_block(64, 64, (0, 0, 32, 64))
    with load_engine(write_bright_segmenter(tmp_path / "s.onnx")) as engine:
        found = engine.infer(batch(image))["class_map"]
    assert found.dtype == np.uint8
    assert found[0, :, :32].all()
    assert not found[0, :, 32:].any()


def test_threads_default_to_the_cores_that_may_be_used(model):
    assert OnnxRuntimeEngine(model).threads == usable_cores()
    assert OnnxRuntimeEngine(model, threads=1).threads == 1
    with pytest.raises(UsageError, match="threads must be 1 or more; found 0"):
        load_engine(model, threads=0)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_several_requests_run_at_the_same_time_and_do_not_mix(model, engine):
    if engine == "openvino":
        pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    boxes = [(x, 3, x + 9, 40) for x in range(1, 41)]
    with (
        load_engine(model, engine, threads=2, requests=2) as loaded,
        ThreadPoolExecutor(4) as several,  # more than there are requests: these wait
    ):
        assert loaded.requests == 2
        images = [batch(image_with_block(64, 64, box)) for box in boxes]
        found = [outputs["boxes"][0, 0].round().tolist() for outputs in several.map(loaded.infer, images)]
    assert found == [list(box) for box in boxes]


def test_requests_are_one_by_default_and_one_at_the_least(model):
    with load_engine(model) as engine:
        assert engine.requests == 1
    with pytest.raises(UsageError, match="requests must be 1 or more; found 0"):
        load_engine(model, requests=0)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("onnxruntme", "did you mean 'onnxruntime'"), ("quantum", "choose one of auto, onnxruntime")],
)
def test_an_unknown_engine_names_the_nearest(model, name, hint):
    with pytest.raises(UsageError, match=hint):
        load_engine(model, engine=name)


def test_an_input_that_does_not_fit_is_refused(model):
    with load_engine(model) as engine:
        for wrong in (
            np.zeros((1, 64, 64, 3), np.float32),
            np.zeros((1, 32, 64, 3), np.uint8),
            np.zeros(3, np.uint8),
        ):
            with pytest.raises(EngineError, match=r"expected input frames uint8 \[N, 64, 64, 3\], found"):
                engine.infer({"frames": wrong})
        with pytest.raises(EngineError, match="found images"):
            engine.infer({"images": np.zeros((1, 64, 64, 3), np.uint8)})


def test_a_closed_engine_says_so(model):
    engine = load_engine(model)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(batch(np.zeros((64, 64, 3), np.uint8)))


def test_an_onnx_that_is_not_ours_says_what_is_missing(model):
    loaded = onnx.load(model)
    del loaded.metadata_props[:]
    onnx.save(loaded, str(model))
    with pytest.raises(ManifestError, match="without edgevision metadata"):
        load_engine(model)


def test_metadata_that_does_not_fit_the_graph_is_refused(model):
    write_manifest(model, colour_manifest(max_detections=7))
    with pytest.raises(
        ModelError, match=r"expected boxes float32 \[N, 7, 4\], found boxes float32 \[N, 2, 4\]"
    ):
        load_engine(model)
    write_manifest(model, colour_manifest(task="segmentation"))
    with pytest.raises(ModelError, match=r"expected class_map uint8 .* which is missing"):
        load_engine(model)


def test_a_changed_weight_is_noticed(model):
    data = bytearray(model.read_bytes())
    at = data.index(np.array(200, np.float32).tobytes())  # the threshold
    data[at] ^= 1
    model.write_bytes(data)
    with pytest.raises(ModelError, match="differs from the checksum"):
        load_engine(model)


def test_a_graph_that_onnx_runtime_refuses_is_one_line(tmp_path, capfd):
    path = tmp_path / "odd.onnx"
    node = helper.make_node("Relu", ["frames"], ["boxes"])
    graph = helper.make_graph(
        [node],
        "odd",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1])],
    )
    save_graph(graph, path)
    loaded = onnx.load(path)
    loaded.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(loaded, str(path))
    write_manifest(path, colour_manifest())
    with pytest.raises(ModelError, match=r"ONNX Runtime .* cannot load it") as caught:
        load_engine(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_provider_that_is_passed_over_in_silence_is_an_error(model, monkeypatch):
    """A GPU build names CUDA, finds no libraries, and goes on with the CPU without a word."""
    monkeypatch.setattr(onnxrt, "_available", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(onnxrt, "installed_providers", lambda: ("cuda", "cpu"))
    passed_over = pytest.warns(UserWarning, match="CUDAExecutionProvider")
    with passed_over, pytest.raises(EngineError, match="CUDA provider does not load on this machine"):
        OnnxRuntimeEngine(model, provider="cuda")


def test_libraries_from_packages_are_loaded_before_the_provider(model, monkeypatch):
    """pip puts CUDA and cuDNN where no loader looks; what is missing is said, and not printed."""
    asked = []

    def preload_dlls():
        asked.append(1)
        sys.stdout.write("Failed to load libcublasLt.so.12: cannot open shared object file\n")

    monkeypatch.setattr(onnxrt.onnxruntime, "preload_dlls", preload_dlls, raising=False)
    monkeypatch.setattr(onnxrt, "_available", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(onnxrt, "installed_providers", lambda: ("cuda", "cpu"))
    passed_over = pytest.warns(UserWarning, match="CUDAExecutionProvider")
    with (
        passed_over,
        pytest.raises(EngineError, match=r"does not load .*\(Failed to load libcublasLt") as caught,
    ):
        OnnxRuntimeEngine(model, provider="cuda")
    assert asked == [1]
    assert "onnxruntime-gpu[cuda,cudnn]" in str(caught.value)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        assert onnxrt.cuda_problem() == "Failed to load libcublasLt.so.12: cannot open shared object file"
    OnnxRuntimeEngine(model).close()
    assert asked == [1, 1], "the processor needs none of it"


def test_an_older_onnx_runtime_preloads_nothing(monkeypatch):
    monkeypatch.delattr(onnxrt.onnxruntime, "preload_dlls", raising=False)
    assert onnxrt.preload_cuda() == ""


def test_a_jetson_is_not_sent_to_a_package_that_does_not_exist(model, monkeypatch):
    monkeypatch.setattr(onnxrt.platform, "machine", lambda: "aarch64")
    with pytest.raises(EngineError, match="edgevision compile") as caught:
        OnnxRuntimeEngine(model, provider="cuda")
    assert "onnxruntime-gpu" not in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(ModelError, match="not found"):
        load_engine(tmp_path / "absent.onnx")
