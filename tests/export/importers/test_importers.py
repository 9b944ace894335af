"""Foreign detectors in the contract: small networks whose answers are worked out by hand.

Also tests ``edgevision.cli.import_model``, ``edgevision.export.importers.batches``,
``edgevision.export.importers.core``, ``edgevision.export.importers.decoding``,
``edgevision.export.importers.inputs``, ``edgevision.export.importers.notes``,
``edgevision.export.importers.numbers``, ``edgevision.export.importers.probing``,
``edgevision.export.importers.wrapping``.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.cli import main
from edgevision.contract.manifest import Resize
from edgevision.contract.model_file import read_manifest
from edgevision.data.classes import COCO_CLASSES
from edgevision.engines import load_engine
from edgevision.errors import EdgeVisionError, ExportError, ModelError, UsageError
from edgevision.export.importers import Choices, import_model
from edgevision.model import Model
from tests.support import foreign
from tests.support.models import write_colour_model
from tests.support.paths import ROOT, SHARED

TEACHER = SHARED / "data" / "weights" / "picodet_s_416_coco.onnx"
SIZE = 64


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray],
    outputs: list[tuple[str, list[int]]],
    *,
    size: int = SIZE,
    batch: int | str = 1,
    opset: int = 17,
    metadata: dict[str, str] | None = None,
    element: int = TensorProto.FLOAT,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("images", element, [batch, 3, size, size])],
        [helper.make_tensor_value_info(name, element, shape) for name, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def write_yolo(
    path: Path,
    rows: list[list[float]],
    *,
    end_to_end: bool = False,
    hidden_batch: bool = False,
    dtype: type = np.float32,
    **options,
) -> Path:
    """A YOLO that says ``rows`` of every image; its scores are scaled by the red of the top left pixel.

    ``rows`` are ``[cx, cy, w, h, class scores...]`` or, end to end, ``[x1, y1, x2, y2, score, class]``.
    The batch size is written into a reshape, as exporters do, or hidden where nothing can free it.
    """
    table = np.array(rows, dtype)[None]
    is_score = np.zeros(table.shape[2], dtype)
    is_score[4 : 5 if end_to_end else None] = 1
    constants = {
        "rows": table,
        "is_score": is_score,
        "rest": 1 - is_score,
        "flat": np.array([1, -1]),
        "first": np.array([0]),
        "one": np.array([1, 1, 1]),
    }
    nodes = [
        helper.make_node("Reshape", ["images", "flat"], ["pixels"]),
        helper.make_node("Gather", ["pixels", "first"], ["corner"], axis=1),
        helper.make_node("Unsqueeze", ["corner", "first2"], ["red"]),
        helper.make_node("Mul", ["red", "is_score"], ["scaled"]),
        helper.make_node("Add", ["scaled", "rest"], ["factor"]),
        helper.make_node("Mul", ["rows", "factor"], ["answers"]),
    ]
    constants["first2"] = np.array([1])
    if hidden_batch:
        # A slice of the first image: the graph is for one image, whatever its shapes say.
        constants |= {"start": np.array([0]), "stop": np.array([1]), "axis": np.array([0])}
        nodes.insert(0, helper.make_node("Slice", ["images", "start", "stop", "axis"], ["only"]))
        nodes[1].input[0] = "only"
    last = "answers"
    shape = [1, *table.shape[1:]]
    if not end_to_end:
        nodes.append(helper.make_node("Transpose", ["answers"], ["raw"], perm=[0, 2, 1]))
        last, shape = "raw", [1, table.shape[2], table.shape[1]]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return save(path, nodes, constants, [(last, shape)], element=element, **options)


def red(value: int, width: int = SIZE, height: int = SIZE) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = value
    return image


FILLER = [[8, 8, 4, 4, 0.01, 0.01]] * 10
RAW = [
    [20, 20, 20, 20, 0.9, 0.1],  # stays
    [21, 20, 20, 20, 0.8, 0.1],  # the same thing, IoU 0.90: suppressed
    [24, 20, 20, 20, 0.7, 0.1],  # IoU 16/24 = 0.67 with the first, 0.74 with one that is suppressed: stays
    [20, 20, 20, 20, 0.1, 0.6],  # another class: stays
    [60, 60, 20, 20, 0.1, 0.5],  # reaches over the edge: cut
    *FILLER,
]


def test_a_raw_yolo_is_decoded_and_suppressed(tmp_path):
    file = write_yolo(tmp_path / "raw.onnx", RAW, metadata={"names": "{0: 'cat', 1: 'dog'}"})
    out = tmp_path / "model.onnx"
    imported = import_model(file, out, Choices(kind="yolo"))
    assert imported.batch is None
    assert imported.manifest.classes == ("cat", "dog")
    assert imported.manifest.resize == Resize("letterbox", 114)
    assert imported.manifest == read_manifest(out)
    with load_engine(out) as engine:
        (found,) = Model(engine, 0.0)([red(255)])
    assert found.class_ids.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6, 0.5], rtol=1e-5)
    wanted = [[10, 10, 30, 30], [14, 10, 34, 30], [10, 10, 30, 30], [50, 50, 64, 64]]
    np.testing.assert_allclose(found.boxes, wanted, atol=1e-4)


def test_pixels_arrive_as_rgb_from_0_to_1_and_letterboxed(tmp_path):
    """The network's scores follow the first number it sees: the red of the corner."""
    file = write_yolo(tmp_path / "raw.onnx", RAW)
    import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    with load_engine(tmp_path / "model.onnx") as engine:
        detector = Model(engine, 0.0)
        blue = np.ascontiguousarray(red(255)[:, :, ::-1])
        half, none, wide = detector([red(128), blue, red(255, 128, 64)])
    assert half.scores[0] == pytest.approx(0.9 * 128 / 255, rel=1e-5)
    assert len(none) == 0
    # An image twice as wide is letterboxed: its corner is the fill, and 16 input rows lie above it.
    assert wide.scores[0] == pytest.approx(0.9 * 114 / 255, rel=1e-5)
    np.testing.assert_allclose(wide.boxes[0], [20, 0, 60, 28], atol=1e-4)


def test_an_end_to_end_yolo_is_not_suppressed_again(tmp_path):
    rows = [
        [10, 10, 30, 30, 0.6, 1],
        [10, 10, 30, 31, 0.9, 1],
        [-5, 5, 70, 60, 0.8, 0],
        [1, 1, 2, 2, 0.004, 0],  # below the contract's 0.01
        *[[0, 0, 0, 0, 0, 0]] * 6,
    ]
    file = write_yolo(tmp_path / "e2e.onnx", rows, end_to_end=True)
    imported = import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    assert imported.manifest.nms is not None
    assert imported.manifest.nms.form == "none"
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = Model(engine, 0.0)([red(255)])
    assert found.class_ids.tolist() == [1, 0, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.6], rtol=1e-5)
    np.testing.assert_allclose(found.boxes, [[10, 10, 30, 31], [0, 5, 64, 60], [10, 10, 30, 30]], atol=1e-4)


@pytest.mark.parametrize("end_to_end", [False, True])
def test_half_precision_networks_are_fed_and_read_in_their_own_type(tmp_path, end_to_end):
    rows = [[10, 10, 30, 30, 0.5, 1]] + [[0] * 6] * 9 if end_to_end else RAW
    file = write_yolo(tmp_path / "half.onnx", rows, end_to_end=end_to_end, dtype=np.float16)
    imported = import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    assert imported.manifest.precision == "fp16"
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = Model(engine, 0.0)([red(255)])
    assert found.scores[0] == pytest.approx(0.5 if end_to_end else 0.9, abs=1e-3)


def test_more_classes_than_cells_are_read_by_the_names(tmp_path):
    names = [f"thing {i}" for i in range(20)]
    rows = [[20, 20, 20, 20, *[0.01] * 19, 0.9], *[[8, 8, 4, 4, *[0.01] * 20]] * 8]
    file = write_yolo(tmp_path / "few.onnx", rows, metadata={"names": str(names)})
    imported = import_model(file, tmp_path / "model.onnx", Choices(kind="yolo"))
    assert (imported.manifest.classes, imported.manifest.precision) == (tuple(names), "fp32")
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = Model(engine, 0.5)([red(255)])
    assert found.class_ids.tolist() == [19]


@pytest.mark.parametrize(("hidden", "batch"), [(False, None), (True, 1)])
def test_a_batch_is_freed_where_that_gives_the_same_answers(tmp_path, hidden, batch):
    file = write_yolo(tmp_path / "raw.onnx", RAW, hidden_batch=hidden)
    imported = import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    assert imported.batch == batch
    with load_engine(tmp_path / "model.onnx") as engine:
        assert engine.inputs[0].shape == (batch, SIZE, SIZE, 3)
        levels = [255, 200, 100]
        found = Model(engine, 0.0)([red(level) for level in levels])
    for level, one in zip(levels, found, strict=True):
        assert one.scores[0] == pytest.approx(0.9 * level / 255, rel=1e-4)


@pytest.mark.parametrize("opset", [12, 17, 19, 21])
def test_any_opset_becomes_ours(tmp_path, opset):
    if opset < 13:
        nodes = [
            helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
            helper.make_node("Squeeze", ["mean"], ["flat"], axes=[2, 3]),
            helper.make_node("ReduceMax", ["flat"], ["best"], axes=[1], keepdims=1),
            helper.make_node("Unsqueeze", ["best"], ["gain"], axes=[2]),
            helper.make_node("Mul", ["table", "gain"], ["raw"]),
        ]
        table = np.ascontiguousarray(np.array(RAW, np.float32)[None].transpose(0, 2, 1))
        file = save(tmp_path / "old.onnx", nodes, {"table": table}, [("raw", [1, 6, 15])], opset=opset)
    else:
        file = write_yolo(tmp_path / "raw.onnx", RAW, opset=opset)
    import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    model = onnx.load(tmp_path / "model.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 19)]
    onnx.checker.check_model(model, full_check=True)
    with load_engine(tmp_path / "model.onnx") as engine:
        assert len(Model(engine, 0.0)([red(255)])[0])


def write_picodet(path: Path, size: int = SIZE, classes: int = 3, bins: int = 8, levels: int = 4) -> Path:
    """A PicoDet that sees one thing at one cell of stride 8 (row 2, column 3) and one of stride 64.

    The distributions put all their weight on one bin: 1, 2, 0 and 3 strides to the left, top, right and
    bottom. The scores of stride 8 are multiplied by the mean of the image, which is 0 for the mean colour.
    """
    constants, outputs = {}, []
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["gain"]),
    ]
    constants["shape"] = np.array([1, 1, 1])
    for kind in ("scores", "sides"):
        for level, stride in enumerate((8, 16, 32, 64)[:levels]):
            side = math.ceil(size / stride)
            values = np.zeros((1, side * side, classes if kind == "scores" else 4 * bins), np.float32)
            cell = 2 * side + 3 if level == 0 else 0
            if kind == "scores" and level in (0, 3):
                values[0, cell, :2] = (0.3, 0.8) if level == 0 else (0.6, 0.2)
            if kind == "sides":
                values = values.reshape(1, -1, 4, bins)
                values[:, :, range(4), [1, 2, 0, 3]] = 100
                values = values.reshape(1, side * side, 4 * bins)
            name = f"{kind}_{stride}"
            constants[f"{name}_table"] = values
            factor = "gain" if kind == "scores" and level == 0 else "unit"
            nodes.append(helper.make_node("Mul", [f"{name}_table", factor], [name]))
            outputs.append((name, list(values.shape)))
    constants["unit"] = np.ones((1, 1, 1), np.float32)
    return save(path, nodes, constants, outputs, size=size)


def test_picodet_is_decoded_as_worked_out_by_hand(tmp_path):
    file = write_picodet(tmp_path / "pico.onnx")
    imported = import_model(
        file,
        tmp_path / "model.onnx",
        Choices(kind="picodet", classes=("a", "b", "c"), licence="Apache-2.0", several=False),
    )
    manifest = imported.manifest
    assert manifest.resize == Resize("stretch")
    assert (manifest.name, manifest.licence) == ("model", "Apache-2.0")
    white = np.full((SIZE, 2 * SIZE, 3), 255, np.uint8)
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = Model(engine, 0.0)([white])
    # White is (1 - mean) / std: 2.249, 2.429 and 2.640 in the three channels, 2.439 on average.
    assert found.class_ids.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, [0.8 * 2.4393, 0.6], rtol=1e-3)
    # Centre (28, 20), stride 8: x from 20 to 28, y from 4 to 44; the image is twice as wide as the input.
    np.testing.assert_allclose(found.boxes[0], [40, 4, 56, 44], atol=1e-3)
    # Centre (32, 32), stride 64: cut to the input on every side but the right one.
    np.testing.assert_allclose(found.boxes[1], [0, 0, 64, 64], atol=1e-3)


def test_a_box_of_picodet_can_be_several_classes_and_limits_can_be_chosen(tmp_path):
    """As its own postprocessing has it: of two cells and three classes, four pairs are above the floor."""
    file = write_picodet(tmp_path / "pico.onnx")
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    found = {}
    for name, choices in (
        ("own", Choices()),
        ("floor", Choices(min_score=0.5)),
        ("few", Choices(candidates=2)),
    ):
        out = tmp_path / f"{name}.onnx"
        manifest = import_model(file, out, choices).manifest
        with Model(load_engine(out, "onnxruntime"), 0.0) as model:
            found[name] = model(white).class_ids.tolist()
    assert found == {"own": [1, 0, 0, 1], "floor": [1, 0, 0], "few": [1, 0]}
    assert manifest.nms is not None
    assert manifest.nms.candidates == 2


def test_importing_needs_no_torch(tmp_path):
    file = write_yolo(tmp_path / "raw.onnx", RAW)
    code = (
        "import sys; from pathlib import Path\n"
        "from edgevision.export.importers import Choices, import_model\n"
        f"import_model(Path({str(file)!r}), Path({str(tmp_path / 'm.onnx')!r}), "
        "Choices(kind='yolo', classes=('a', 'b')))\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def damaged(path: Path) -> Path:
    path.write_bytes(b"this is no model at all")
    return path


def cut_off(path: Path) -> Path:
    write_yolo(path, RAW)
    path.write_bytes(path.read_bytes()[:400])
    return path


def two_inputs(path: Path) -> Path:
    model = onnx.load(write_yolo(path, RAW))
    model.graph.input.append(helper.make_tensor_value_info("camera", TensorProto.FLOAT, [1, 2]))
    onnx.save(model, str(path))
    return path


def foreign_operator(path: Path) -> Path:
    model = onnx.load(write_yolo(path, RAW))
    model.graph.node.append(helper.make_node("BatchedNMS", ["raw"], ["nms"], domain="mmdeploy"))
    model.opset_import.append(helper.make_opsetid("mmdeploy", 1))
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("make", "kind", "classes", "error", "words"),
    [
        (lambda path: path, "yolo", None, ModelError, ["not found"]),
        (damaged, "yolo", None, ModelError, ["not an ONNX model"]),
        (cut_off, "yolo", None, ModelError, ["not an ONNX model"]),
        (lambda path: write_colour_model(path), "yolo", None, ExportError, ["already"]),
        (lambda path: write_yolo(path, RAW), "yolov9", None, UsageError, ["yolov9", "did you mean 'yolo"]),
        (lambda path: write_yolo(path, RAW), "yolo", ("a", "b", "c"), UsageError, ["2 classes", "3 names"]),
        (
            lambda path: write_yolo(path, RAW, metadata={"names": "{0: 'cat'}"}),
            "yolo",
            None,
            UsageError,
            ["2 classes", "1 names"],
        ),
        (
            lambda path: write_yolo(path, RAW),
            "picodet",
            ("a", "b"),
            ExportError,
            ["found outputs raw [1, 6, 15]", "[1, 4, C], [1, 1, C], [1, 64, 4 * bins]"],
        ),
        (write_picodet, "yolo", None, ExportError, ["scores_8 [1, 64, 3]", "reads as `kind` picodet"]),
        (
            lambda path: write_picodet(path, levels=3),
            "picodet",
            None,
            ExportError,
            ["found outputs scores_8 [1, 64, 3]", "[1, 1, 4 * bins]"],
        ),
        (
            lambda path: write_yolo(path, [[8, 8, 4, 4, 0.9, 0.4]] * 10, end_to_end=True),
            "yolo",
            ("a",),
            ExportError,
            ["found outputs answers [1, 10, 6]", "not a yolo model"],
        ),
        (
            lambda path: write_yolo(path, [[8, 8, 4, 4, 0.9, 0.4, 0.2]] * 10, end_to_end=True),
            "yolo",
            ("a", "b"),
            ExportError,
            ["found outputs answers [1, 10, 7]", "not a yolo model"],
        ),
        (
            lambda path: write_yolo(path, RAW, metadata={"task": "pose"}),
            "yolo",
            ("a", "b"),
            ExportError,
            ["task 'pose'", "not a yolo model"],
        ),
        (two_inputs, "yolo", None, ExportError, ["[1, 3, 64, 64], camera [1, 2]", "camera is not known"]),
        (foreign_operator, "yolo", None, ExportError, ["mmdeploy"]),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_one_clear_line(tmp_path, make, kind, classes, error, words):
    file = make(tmp_path / "foreign.onnx")
    with pytest.raises(error) as caught:
        import_model(file, tmp_path / "model.onnx", Choices(kind=kind, classes=classes))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()


def test_final_rows_without_names_get_numbers_and_silence_is_said(tmp_path):
    file = write_yolo(tmp_path / "e2e.onnx", [[0] * 6] * 10, end_to_end=True)
    imported = import_model(file, tmp_path / "model.onnx", Choices(kind="yolo"))
    assert imported.manifest.classes[:2] == ("class_0", "class_1")
    said = " ".join(imported.notes)
    assert "does not show how many there are" in said
    assert "finds nothing in a black, a white and a noise image" in said


def test_boxes_that_are_shares_of_the_input_are_scaled(tmp_path, capsys):
    rows = [[0.3125, 0.3125, 0.3125, 0.3125, 0.9, 0.1], *[[0.1, 0.1, 0.05, 0.05, 0.01, 0.01]] * 10]
    file = write_yolo(tmp_path / "raw.onnx", rows, metadata={"names": "['cat', 'dog']"})
    code, _, err = call(capsys, file, "--kind", "yolo", "--out", tmp_path / "model.onnx")
    assert code == 0
    assert "note: its boxes are shares of the input" in err
    assert "scaled to 64x64 pixels" in err
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = Model(engine, 0.0)([red(255)])
    np.testing.assert_allclose(found.boxes, [[10, 10, 30, 30]], atol=1e-4)


def test_corners_that_are_shares_of_the_input_are_scaled(tmp_path):
    rows = [[0.25, 0.125, 0.5, 1.0, 0.9, 1], *[[0, 0, 0, 0, 0, 0]] * 9]
    file = write_yolo(tmp_path / "e2e.onnx", rows, end_to_end=True)
    imported = import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    assert len(imported.notes) == 1
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = Model(engine, 0.0)([red(255)])
    np.testing.assert_allclose(found.boxes, [[16, 8, 32, 64]], atol=1e-4)


def test_pixels_and_probabilities_are_left_as_they_are(tmp_path):
    file = write_yolo(tmp_path / "raw.onnx", RAW)
    assert import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("a", "b"))).notes == ()


def test_logits_go_through_a_sigmoid(tmp_path):
    rows = [[20, 20, 20, 20, 3.2, -5], [40, 40, 16, 16, -4, 1.2], *[[8, 8, 4, 4, -6, -6]] * 12]
    file = write_yolo(tmp_path / "raw.onnx", rows)
    imported = import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    assert "logits (-6 to 3.2" in imported.notes[0]
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = Model(engine, 0.1)([red(255)])
    np.testing.assert_allclose(found.scores, [1 / (1 + math.exp(-3.2)), 1 / (1 + math.exp(-1.2))], rtol=1e-5)
    assert found.class_ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rows", "end_to_end", "words"),
    [
        ([[20, 20, 20, 20, 80, 5]] * 10, False, ["reach 80", "neither probabilities"]),
        ([[20, 20, math.nan, 20, 0.5, 0.5]] * 10, False, ["output raw holds NaN"]),
        ([[20, 20, 30, 30, 4, 0]] * 10, True, ["0 to 4", "sigmoid"]),
        ([[20, 20, 30, 30, 0.5, 7]] * 10, True, ["class 7", "2 class names"]),
        ([[0.5, 0.5, 0.2, 0.2, 0.5, 1]] * 10, True, ["not a yolo model", "100% of them would be inverted"]),
    ],
)
def test_numbers_that_mean_nothing_known_are_refused(tmp_path, rows, end_to_end, words):
    file = write_yolo(tmp_path / "net.onnx", rows, end_to_end=end_to_end)
    with pytest.raises(ExportError) as caught:
        import_model(file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("cat", "dog")))
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("names", ['{"0": "cat", "1": "dog"}', "{1: 'dog', 0: 'cat'}", '["cat", "dog"]'])
def test_names_of_the_file_are_read_as_python_and_as_json(tmp_path, names):
    file = write_yolo(tmp_path / "raw.onnx", RAW, metadata={"names": names})
    assert import_model(file, tmp_path / "model.onnx", Choices(kind="yolo")).manifest.classes == (
        "cat",
        "dog",
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("{0: 'cat', 1: ''}", "number 1 in its own list is empty"),
        ("{0: 'cat', 1: 'cat'}", "number 1 in its own list is 'cat', as is number 0"),
    ],
)
def test_names_of_the_file_that_are_empty_or_twice_are_refused_unless_others_are_given(
    tmp_path, names, words
):
    file = write_yolo(tmp_path / "raw.onnx", RAW, metadata={"names": names})
    with pytest.raises(UsageError, match=words):
        import_model(file, tmp_path / "model.onnx", Choices(kind="yolo"))
    assert import_model(
        file, tmp_path / "model.onnx", Choices(kind="yolo", classes=("a", "b"))
    ).manifest.classes == (
        "a",
        "b",
    )


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["import", *map(str, arguments)])
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def test_a_note_names_the_option_that_people_type(tmp_path, capsys):
    file = write_yolo(tmp_path / "raw.onnx", RAW)
    code, _, err = call(capsys, file, "--kind", "yolo", "--out", tmp_path / "pets.onnx")
    assert code == 0
    assert "--classes names them" in err
    assert "`classes`" not in err


def test_the_command(tmp_path, capsys):
    file = write_yolo(tmp_path / "raw.onnx", RAW)
    names = tmp_path / "names.txt"
    names.write_text("cat\n\ndog\n")
    out = tmp_path / "pets.onnx"
    code, text, _ = call(capsys, file, "--kind", "yolo", "--out", out, "--classes", names)
    assert code == 0
    assert "pets, 2 classes, input 64x64 (letterbox), any batch size" in text
    assert read_manifest(out).classes == ("cat", "dog")
    before = out.read_bytes()
    code, _, err = call(capsys, file, "--kind", "yolo", "--out", out, "--classes", "cat,dog")
    assert (code, out.read_bytes()) == (2, before)
    assert "exists" in err
    code, _, _ = call(capsys, file, "--kind", "yolo", "--out", out, "--classes", "a,b", "--overwrite")
    assert (code, read_manifest(out).classes) == (0, ("a", "b"))
    for wrong, word in (
        (["--out", tmp_path / "x.pt"], ".onnx"),
        (["--out", file, "--overwrite"], "overwrite the file"),
        (["--out", tmp_path / "x.onnx", "--classes", "nowhere.txt"], "not found"),
        (["--out", tmp_path / "x.onnx", "--classes", "a,a"], "twice"),
    ):
        code, _, err = call(capsys, file, "--kind", "yolo", *wrong)
        assert code in (1, 2)
        assert word in err
        assert err.count("\n") == 1


def run_foreign(capsys, tmp_path, make):
    file = make().save(tmp_path / "foreign.onnx")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "run",
                "--source",
                "demo",
                "--model",
                str(file),
                "--max-frames",
                "1",
                "--output",
                str(tmp_path / "o.mp4"),
            ]
        )
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_run_says_the_import_command_and_the_kind_that_it_would_choose(tmp_path, capsys):
    err = run_foreign(capsys, tmp_path, foreign.yolov6)
    assert "an ONNX model without edgevision metadata" in err
    out = tmp_path / "foreign.ev.onnx"
    assert f"It reads as kind yolov6: edgevision import {tmp_path / 'foreign.onnx'} --out {out}" in err


def test_run_says_what_the_import_would_ask_for(tmp_path, capsys):
    err = run_foreign(capsys, tmp_path, foreign.raw_heads)
    assert "edgevision import" in err
    assert "pass --anchors with yolov5" in err


def test_a_preview_is_drawn_beside_the_model(tmp_path, capsys):
    file = foreign.raw_yolo().save(tmp_path / "foreign.onnx")
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), red(200))
    code, out, _ = call(capsys, file, "--out", tmp_path / "model.onnx", "--preview", photo)
    assert code == 0
    drawn = cv2.imread(str(tmp_path / "model.preview.jpg"))
    assert drawn is not None
    assert np.ptp(drawn[..., 1]) > 50  # a box is drawn
    assert "1 detections" in out
    assert "class_1 0.90" in out
    code, _, err = call(capsys, file, "--out", tmp_path / "again.onnx", "--preview", tmp_path / "none.jpg")
    assert code != 0
    assert err.splitlines()[-1].startswith("error: ")


def test_the_real_picodet_keeps_its_answers_in_any_batch(tmp_path):
    if not TEACHER.is_file():
        pytest.skip("needs ../shared/data/weights/picodet_s_416_coco.onnx")
    imported = import_model(TEACHER, tmp_path / "pico.onnx", Choices(kind="picodet", classes=COCO_CLASSES))
    assert imported.batch is None
    noise = np.random.default_rng(1).integers(0, 256, (2, 416, 416, 3), np.uint8)
    with load_engine(tmp_path / "pico.onnx") as engine:
        together = engine.infer({"frames": noise})
        for i, image in enumerate(noise):
            alone = engine.infer({"frames": image[None]})
            np.testing.assert_array_equal(alone["labels"][0], together["labels"][i])
            np.testing.assert_allclose(alone["boxes"][0], together["boxes"][i], atol=1e-2)


def test_errors_are_of_one_tree():
    assert issubclass(ExportError, EdgeVisionError)
