import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevision.contract.manifest import TASKS, MaskForm, NmsLimits, Resize, TensorSpec, check_contract
from edgevision.contract.model_file import (
    METADATA_KEY,
    content_sha256,
    decode_manifest,
    read_manifest,
    read_onnx_metadata,
    write_manifest,
)
from edgevision.engines import load_engine
from edgevision.errors import ManifestError, ModelError
from edgevision.model import Model
from tests.support import models
from tests.support.models import (
    colour_manifest,
    image_with_block,
    write_bright_segmenter,
    write_colour_model,
)
from tests.support.task_models import task_manifest, write_task_model


@pytest.fixture
def model(tmp_path):
    return write_colour_model(tmp_path / "colours.onnx")


def onnx_metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_what_was_written_is_read_back(model):
    found = read_manifest(model)
    assert found == msgspec.structs.replace(colour_manifest(), sha256=found.sha256)
    assert len(found.sha256) == 64


def test_our_reading_equals_that_of_the_onnx_package(model, tmp_path):
    assert read_onnx_metadata(model) == onnx_metadata(model)
    loaded = onnx.load(model)
    for key, value in {"author": "Zoë", "empty": "", "long": "x" * 100_000}.items():
        loaded.metadata_props.add(key=key, value=value)
    onnx.save(loaded, str(tmp_path / "more.onnx"))
    assert read_onnx_metadata(tmp_path / "more.onnx") == onnx_metadata(tmp_path / "more.onnx")
    assert read_manifest(tmp_path / "more.onnx") == read_manifest(model)


def test_the_file_stays_a_valid_model_and_keeps_foreign_metadata(model):
    loaded = onnx.load(model)
    loaded.metadata_props.add(key="author", value="somebody")
    onnx.save(loaded, str(model))
    write_manifest(model, colour_manifest(name="renamed"))
    onnx.checker.check_model(onnx.load(model), full_check=True)
    assert onnx_metadata(model)["author"] == "somebody"
    assert list(onnx_metadata(model)).count(METADATA_KEY) == 1
    assert read_manifest(model).name == "renamed"


def test_sha256_is_that_of_the_file_with_its_metadata_cleared(model):
    loaded = onnx.load(model)
    del loaded.metadata_props[:]
    expected = hashlib.sha256(loaded.SerializeToString()).hexdigest()
    assert read_manifest(model).sha256 == content_sha256(model) == expected
    before = expected
    write_manifest(model, colour_manifest(name="other name"))
    assert content_sha256(model) == before  # metadata does not count
    node = loaded.graph.initializer[0]
    node.raw_data = bytes(reversed(node.raw_data))
    onnx.save(loaded, str(model))
    assert content_sha256(model) != before  # weights do


@pytest.mark.parametrize(
    ("candidates", "kept", "total", "wanted"),
    [(300, 100, 5000, (300, 100)), (300, 100, 200, (200, 100)), (300, 100, 60, (60, 60)), (7, 9, 60, (7, 7))],
)
def test_limits_are_within_what_there_is_to_choose_from(candidates, kept, total, wanted):
    stated = colour_manifest(nms=NmsLimits("cluster", 0.5, candidates, 16), max_detections=kept)
    found = stated.within(total)
    assert (found.nms.candidates, found.max_detections) == wanted
    assert found.within(total) == found
    assert msgspec.structs.replace(found, nms=stated.nms, max_detections=kept) == stated


def test_a_task_without_boxes_has_no_such_limits():
    with pytest.raises(ValueError, match="states its NMS limits"):
        task_manifest("segmentation").within(5)


def test_specs_follow_the_task(tmp_path, model):
    detection, segmentation = read_manifest(model), read_manifest(write_bright_segmenter(tmp_path / "s.onnx"))
    assert str(detection.input_spec()) == "frames uint8 [N, 64, 64, 3]"
    assert [str(spec) for spec in detection.output_specs()] == [
        "boxes float32 [N, 2, 4]",
        "scores float32 [N, 2]",
        "labels int32 [N, 2]",
        "count int32 [N]",
    ]
    assert [str(spec) for spec in segmentation.output_specs()] == ["class_map uint8 [N, 64, 64]"]


def test_a_model_that_is_not_ours_says_what_is_missing(model):
    loaded = onnx.load(model)
    del loaded.metadata_props[:]
    onnx.save(loaded, str(model))
    with pytest.raises(ManifestError, match=r"without edgevision metadata .*'edgevision export'"):
        read_manifest(model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"this is only text, not a model at all\n", "not an ONNX model"),
        (b"\x00" * 64, "not an ONNX model"),
        (b"\xff" * 64, "not an ONNX model"),
        (b"\x08\x09", "no graph in it"),
        (b"\x89PNG\r\n\x1a\n", "not an ONNX model"),
    ],
)
def test_files_that_are_no_model(tmp_path, content, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for read in (read_manifest, read_onnx_metadata, content_sha256):
        with pytest.raises(ModelError, match=message):
            read(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(ModelError, match="model file not found"):
        read_manifest(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is a folder; expected an ONNX file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(model, cut):
    data = model.read_bytes()
    model.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(ModelError):
        read_manifest(model)


NMS = {"form": "cluster", "iou_threshold": 0.5, "candidates": 4, "rounds": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "metadata schema 99, but this edgevision reads schema 1 to 3"),
        ({"task": "poetry"}, "malformed"),
        ({"classes": []}, "lacks class names"),
        ({"input_width": 0}, "lacks class names or an input size"),
        ({"input_width": "wide"}, "malformed"),
        ({"max_detections": None}, "lacks max_detections"),
        ({"precision": "fp8"}, "malformed"),
        ({"resize": {"fill": 300}}, "has the fill 300; expected 0 to 255"),
        ({"resize": {"fill": -1}}, "has the fill -1"),
        ({"colours": [[0, 0, 10**6]]}, "has colours with values outside 0 to 255"),
        ({"input_width": 10**9}, "has an input of 1000000000x64 pixels; expected sides of at most 16384"),
        ({"score_threshold": 1.5}, r"has the score_threshold 1\.5; expected 0 to 1"),
        ({"score_threshold": -0.5}, r"has the score_threshold -0\.5"),
        ({"nms": NMS | {"candidates": -1}}, "has nms limits that are negative"),
        ({"nms": NMS | {"rounds": -1}}, "has nms limits that are negative"),
        ({"nms": NMS | {"iou_threshold": 2}}, "an iou_threshold outside 0 to 1"),
    ],
)
def test_contradictions_are_refused(change, message):
    document = json.loads(msgspec.json.encode(colour_manifest())) | change
    with pytest.raises(ManifestError, match=message):
        decode_manifest(json.dumps(document), "model.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '"text"', "[" * 5000])
def test_malformed_json_is_refused(text):
    with pytest.raises(ManifestError, match=r"model\.onnx"):
        decode_manifest(text, "model.onnx")


MUTATIONS = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(["set", "cut", "insert"]), st.binary(max_size=6)),
    max_size=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MUTATIONS)
def test_damaged_bytes_give_a_manifest_or_a_model_error(model, tmp_path, mutations):
    data = bytearray(model.read_bytes())
    for place, kind, content in mutations:
        at = place % max(len(data), 1)
        if kind == "set":
            data[at : at + len(content)] = content
        elif kind == "cut":
            del data[at : at + len(content) * 20]
        else:
            data[at:at] = content
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    for read in (read_manifest, read_onnx_metadata, content_sha256):
        _only_model_errors(read, path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_metadata_of_any_bytes_gives_a_model_error(tmp_path, entry):
    """A graph, then a metadata entry whose inside is noise."""
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"\x3a\x00" + b"\x72" + bytes([len(entry) & 0x7F | 0x80, len(entry) >> 7]) + entry)
    for read in (read_manifest, read_onnx_metadata, content_sha256):
        _only_model_errors(read, path)


def _only_model_errors(read, path):
    try:
        read(path)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_plans_have_their_contract_beside_them(tmp_path):
    plan = tmp_path / "model.engine"
    plan.write_bytes(b"plan")
    with pytest.raises(ManifestError, match=r"model\.engine\.json"):
        read_manifest(plan)
    side = tmp_path / "model.engine.json"
    side.write_bytes(b'{"manifest": ' + msgspec.json.encode(colour_manifest()) + b', "sm": "8.7"}')
    assert read_manifest(plan) == colour_manifest()
    for broken in (b"{", b"[]", b"", b"\xff", b"{}"):
        side.write_bytes(broken)
        with pytest.raises(ManifestError, match=r"model\.engine\.json"):
            read_manifest(plan)


def test_check_contract_names_every_difference():
    manifest = colour_manifest()
    good = list(manifest.output_specs())
    check_contract(manifest, [manifest.input_spec()], good, "m.onnx")
    wrong = [TensorSpec("boxes", np.dtype(np.float16), (None, 2, 4)), *good[1:3]]
    inputs = [TensorSpec("frames", np.dtype(np.uint8), (1, 3, 64, 64))]
    with pytest.raises(ModelError) as caught:
        check_contract(manifest, inputs, wrong, "m.onnx")
    text = str(caught.value)
    assert "m.onnx does not follow the edgevision contract" in text
    assert "expected frames uint8 [N, 64, 64, 3], found frames uint8 [1, 3, 64, 64]" in text
    assert "expected boxes float32 [N, 2, 4], found boxes float16 [N, 2, 4]" in text
    assert "expected count int32 [N], which is missing" in text


def test_the_precision_is_kept_and_files_from_before_it_are_fp32(model):
    write_manifest(model, colour_manifest(precision="int8+fp16"))
    assert read_manifest(model).precision == "int8+fp16"
    document = json.loads(msgspec.json.encode(colour_manifest()))
    del document["precision"]
    assert decode_manifest(json.dumps(document), "model.onnx").precision == "fp32"


def test_a_checkpoint_in_place_of_a_model_is_told_what_to_do(tmp_path):
    path = tmp_path / "best.pt"
    path.write_bytes(b"PK\x03\x04" + b"\xff" * 60)
    with pytest.raises(ModelError, match=r"not an ONNX model.*; it is weights of PyTorch; .*"):
        read_manifest(path)


KEPT = Path(models.__file__).with_name("schema_1.onnx")
"""Written by the version before schema 2, and never again."""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_of_schema_1_runs_for_ever(engine):
    assert read_manifest(KEPT).schema == 1
    with Model(load_engine(KEPT, engine)) as model:
        (found,) = model(image_with_block(64, 64, (10, 20, 30, 40)))
    assert (found.name, found.box, found.keypoints) == ("red", (10.0, 20.0, 30.0, 40.0), None)


def test_what_schema_1_can_say_is_written_as_schema_1(tmp_path):
    assert read_manifest(write_colour_model(tmp_path / "colours.onnx")).schema == 1
    assert read_manifest(write_bright_segmenter(tmp_path / "bright.onnx")).schema == 1


@pytest.mark.parametrize("task", TASKS[2:])
def test_a_new_task_is_schema_2(tmp_path, task):
    assert read_manifest(write_task_model(tmp_path / "model.onnx", task)).schema == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"resize": Resize(place="top-left")},
        {"nms": NmsLimits("cluster", 0.5, 4, 4, "probiou")},
        {"multi_label": True},
    ],
)
def test_whatever_an_older_program_would_read_past_is_schema_2(changes):
    assert colour_manifest().needed_schema() == 1
    assert colour_manifest(**changes).needed_schema() == 2


def test_thresholds_of_classes_are_schema_3(tmp_path):
    own = {"class_thresholds": {"red": 0.4}}
    path = write_task_model(tmp_path / "model.onnx", "classification", multi_label=True, **own)
    assert read_manifest(path).schema == 3
    assert read_manifest(path).class_thresholds == {"red": 0.4}


@pytest.mark.parametrize(
    ("several", "given", "problem"),
    [
        (False, {"red": 0.4}, "which are for several labels an image"),
        (True, {"cat": 0.4}, "a class threshold for 'cat', which is none of its classes"),
        (True, {"red": 1.5}, "the class threshold 1.5 for 'red'; expected 0 to 1"),
    ],
)
def test_thresholds_of_classes_that_mean_nothing(several, given, problem):
    found = task_manifest("classification", multi_label=several, class_thresholds=given).problem()
    assert problem in found


FIELDS = {
    "detection": ["boxes float32 [N, 3, 4]"],
    "instance-segmentation": [
        "boxes float32 [N, 3, 4]",
        "coefficients float32 [N, 3, 2]",
        "prototypes float32 [N, 2, 16, 16]",
    ],
    "pose": ["boxes float32 [N, 3, 4]", "keypoints float32 [N, 3, 3, 3]"],
    "obb": ["rotated_boxes float32 [N, 3, 5]"],
}


@pytest.mark.parametrize("task", FIELDS)
def test_the_outputs_of_each_box_task(task):
    specs = list(map(str, task_manifest(task).output_specs()))
    common = ["scores float32 [N, 3]", "labels int32 [N, 3]", "count int32 [N]"]
    assert specs == [FIELDS[task][0], *common, *FIELDS[task][1:]]


def test_the_outputs_of_a_classifier_and_of_masks_for_each_box():
    assert [str(spec) for spec in task_manifest("classification").output_specs()] == [
        "probabilities float32 [N, 3]"
    ]
    form = MaskForm(form="box", width=28, height=14)
    specs = task_manifest("instance-segmentation", masks=form).output_specs()
    assert str(specs[-1]) == "masks float32 [N, 3, 14, 28]"


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("instance-segmentation", {"masks": None}, "lacks masks"),
        ("instance-segmentation", {"masks": MaskForm(form="box", width=0, height=4)}, "no size"),
        ("instance-segmentation", {"masks": MaskForm(form="prototypes", width=4, height=4)}, "no size"),
        ("pose", {"skeleton": None}, "lacks skeleton"),
        ("pose", {"max_detections": None}, "lacks max_detections"),
        ("obb", {"resize": Resize(rule="crop")}, "rule crop"),
        ("classification", {"resize": Resize(rule="crop", share=1.5)}, "rule crop"),
    ],
)
def test_what_a_task_needs_is_asked_for(task, changes, message):
    text = msgspec.json.encode(task_manifest(task, **changes))
    with pytest.raises(ManifestError, match=message):
        decode_manifest(text, "model.onnx")


def test_a_skeleton_that_contradicts_itself_is_malformed():
    text = msgspec.json.encode(task_manifest("pose")).decode()
    with pytest.raises(ManifestError, match=r"malformed.*bone"):
        decode_manifest(text.replace("[0,2]", "[0,9]"), "model.onnx")
    with pytest.raises(ManifestError, match=r"malformed.*same name"):
        decode_manifest(text.replace("top_right", "top_left"), "model.onnx")
