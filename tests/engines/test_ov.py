import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper

from edgevision import engines
from edgevision.contract.model_file import write_manifest
from edgevision.engines import load_engine
from edgevision.errors import EngineError, ModelError
from edgevision.extras import install_command
from tests.support.models import (
    colour_manifest,
    image_with_block,
    write_bright_segmenter,
    write_colour_model,
)

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")


@pytest.fixture
def model(tmp_path):
    return write_colour_model(tmp_path / "colours.onnx")


def images(*boxes):
    return {"frames": np.stack([image_with_block(64, 64, box) for box in boxes])}


def test_it_answers_as_onnx_runtime_does_for_batches_of_any_length(model):
    with load_engine(model, "openvino") as engine, load_engine(model, "onnxruntime") as reference:
        assert engine.name.startswith("OpenVINO 20")
        assert engine.name.endswith("(CPU)")
        assert engine.inputs == reference.inputs
        assert engine.outputs == reference.outputs
        for batch in (images((10, 20, 30, 50)), images((0, 0, 0, 0), (1, 2, 3, 4), (9, 9, 60, 60))):
            found, expected = engine.infer(batch), reference.infer(batch)
            for name, array in expected.items():
                assert found[name].dtype == array.dtype, name
                # Division may differ in the last bit; all else is exact.
                np.testing.assert_allclose(found[name], array, rtol=2e-7, atol=0, err_msg=name)


def test_segmentation_runs(tmp_path):
    with load_engine(write_bright_segmenter(tmp_path / "s.onnx"), "openvino") as engine:
        found = engine.infer(images((0, 0, 32, 64)))["class_map"]
    assert found.dtype == np.uint8
    assert found[0, :, :32].all()
    assert not found[0, :, 32:].any()


def test_answers_outlive_the_next_call(model):
    with load_engine(model, "openvino") as engine:
        first = engine.infer(images((10, 20, 30, 50)))["boxes"]
        engine.infer(images((1, 2, 3, 4)))
    assert first[0, 0].tolist() == [10, 20, 30, 50]


def test_fp32_is_not_rounded_to_bf16(tmp_path):
    """On processors with BF16 OpenVINO's default is to compute FP32 models in it: 8 bits of mantissa."""
    from edgevision.engines.ov import OpenVinoEngine

    with OpenVinoEngine(write_colour_model(tmp_path / "m.onnx"), threads=1) as engine:
        compiled = engine._idle.get().get_compiled_model()
        assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
        assert str(compiled.get_property("PERFORMANCE_HINT")) == "LATENCY"


def test_an_input_that_does_not_fit_is_refused(model):
    with load_engine(model, "openvino") as engine:
        with pytest.raises(EngineError, match=r"expected input frames uint8 \[N, 64, 64, 3\], found float32"):
            engine.infer({"frames": np.zeros((1, 64, 64, 3), np.float32)})
        with pytest.raises(EngineError, match="found none"):
            engine.infer({})


def test_a_closed_engine_says_so(model):
    engine = load_engine(model, "openvino")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(images((0, 0, 9, 9)))


def test_damage_and_broken_contracts_are_refused_as_in_onnx_runtime(model):
    data = bytearray(model.read_bytes())
    data[data.index(np.array(200, np.float32).tobytes())] ^= 1
    damaged = model.with_name("damaged.onnx")
    damaged.write_bytes(data)
    with pytest.raises(ModelError, match="differs from the checksum"):
        load_engine(damaged, "openvino")
    write_manifest(model, colour_manifest(max_detections=7))
    with pytest.raises(ModelError, match=r"expected boxes float32 \[N, 7, 4\], found boxes float32"):
        load_engine(model, "openvino")


def test_an_operator_that_openvino_lacks_is_one_line(model, capfd):
    loaded = onnx.load(model)
    loaded.graph.node.append(helper.make_node("NoSuchOperator", ["frames"], ["unused"], domain="elsewhere"))
    loaded.opset_import.append(helper.make_opsetid("elsewhere", 1))
    loaded.graph.output.append(helper.make_tensor_value_info("unused", onnx.TensorProto.FLOAT, None))
    onnx.save(loaded, str(model))
    write_manifest(model, colour_manifest())
    with pytest.raises(EngineError, match=r"OpenVINO 20.* cannot compile .*NoSuchOperator") as caught:
        load_engine(model, "openvino")
    assert "\n" not in str(caught.value)
    assert "src/" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_without_the_package_one_line_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "edgevision.engines.ov", raising=False)
    with pytest.raises(EngineError, match=re.escape(install_command("openvino"))):
        engines.load_engine(model, "openvino")


def test_only_the_engine_itself_imports_openvino(model):
    code = (
        "import sys; from edgevision.engines import load_engine\n"
        "load_engine(sys.argv[1], 'onnxruntime').close()\n"
        "assert 'openvino' not in sys.modules\n"
        "load_engine(sys.argv[1], 'openvino').close()\n"
        "assert 'onnx' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(model)], check=True)
