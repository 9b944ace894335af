"""Each family is recognised from its notes, shapes and numbers, and every other kind is refused.

Also tests the readers ``edgevision.export.importers.families.best_class_rows``,
``edgevision.export.importers.families.box_and_score``, ``edgevision.export.importers.families.corner_rows``,
``edgevision.export.importers.families.darknet``, ``edgevision.export.importers.families.detr``,
``edgevision.export.importers.families.detr_authors``, ``edgevision.export.importers.families.final_rows``,
``edgevision.export.importers.families.libreyolo``, ``edgevision.export.importers.families.nanodet``,
``edgevision.export.importers.families.nms_plugin``, ``edgevision.export.importers.families.objectness``,
``edgevision.export.importers.families.picodet``, ``edgevision.export.importers.families.raw_heads``,
``edgevision.export.importers.families.rtdetr``, ``edgevision.export.importers.families.semantic``,
``edgevision.export.importers.families.torchvision``, ``edgevision.export.importers.families.yolo``,
``edgevision.export.importers.families.effdet_maps``, ``edgevision.export.importers.families.mmdeploy``,
``edgevision.export.importers.families.paddle``, ``edgevision.export.importers.families.tensorflow``,
``edgevision.export.importers.families.zoo_yolov3``, ``edgevision.export.importers.families.yolo_tasks``,
``edgevision.export.importers.families.classifier``,
``edgevision.export.importers.families.automl``, ``edgevision.export.importers.families.yolov3_2020``,
``edgevision.export.importers.families.zoo_retinanet``, ``edgevision.export.importers.families.zoo_yolov4``,
``edgevision.export.importers.ends``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.contract.manifest import Resize
from edgevision.engines import load_engine
from edgevision.errors import ExportError, UsageError
from edgevision.export.importers import Choices, import_model
from edgevision.export.importers.core import load_core
from edgevision.export.importers.recognise import KINDS, recognise
from edgevision.model import Model
from tests.support import foreign

STRETCH, CENTRE, TOP_LEFT = Resize("stretch"), Resize(), Resize(place="top-left")

FAMILIES: dict[str, tuple[str, Callable[[], foreign.Network], Resize]] = {
    "raw yolo": ("yolo", foreign.raw_yolo, CENTRE),
    "final yolo": ("yolo", foreign.final_yolo, CENTRE),
    "rtdetr": ("rtdetr", foreign.rtdetr, STRETCH),
    "yolov5": ("yolov5", foreign.yolov5, CENTRE),
    "yolov6": ("yolov6", foreign.yolov6, CENTRE),
    "yolox": ("yolox", foreign.yolox, TOP_LEFT),
    "yolox decoded": ("yolox", foreign.yolox_decoded, TOP_LEFT),
    "fcos": ("fcos", foreign.fcos, Resize(fill=124, place="top-left")),
    "yolov7 rows": ("yolov7-end2end", foreign.yolov7_rows, CENTRE),
    "yolonas rows": ("yolonas-end2end", foreign.yolonas_rows, CENTRE),
    "yolo9": ("yolo9", foreign.corner_rows, TOP_LEFT),
    "rtmdet": ("rtmdet", foreign.rtmdet, TOP_LEFT),
    "yolonas": ("yolonas", foreign.yolonas, CENTRE),
    "ppyoloe": ("ppyoloe", foreign.ppyoloe, STRETCH),
    "yolov4": ("yolov4", foreign.yolov4, STRETCH),
    "detr": ("detr", foreign.detr, STRETCH),
    "rtdetr logits": ("rtdetr-logits", foreign.rtdetr_logits, STRETCH),
    "rfdetr": ("rfdetr", foreign.rfdetr, STRETCH),
    "dfine": ("dfine", foreign.dfine, STRETCH),
    "torchvision": ("torchvision", foreign.torchvision, CENTRE),
    "keypoint r-cnn": ("torchvision", foreign.keypoint_rcnn, CENTRE),
    "mask r-cnn": ("torchvision", foreign.mask_rcnn, CENTRE),
    "tensorflow": ("tensorflow", foreign.tensorflow, CENTRE),
    "yolov3 of 2020": ("yolov3-2020", foreign.yolov3_2020, CENTRE),
    "zoo retinanet": ("zoo-retinanet", foreign.zoo_retinanet, Resize(fill=124, place="top-left")),
    "deepstream": ("deepstream", foreign.deepstream, TOP_LEFT),
    "efficientdet": ("efficientdet", foreign.efficientdet, Resize(fill=124, place="top-left")),
}
"""Name, kind, what makes it, and how it is to be resized; each holds one object of class 1."""


def best(path: Path, width: int = foreign.SIZE) -> tuple[list[float], float, int]:
    """Box, score and class of what a model is surest of, in an image of its own size."""
    frame = np.full((foreign.SIZE, width, 3), 128, np.uint8)
    with load_engine(path) as engine:
        (found,) = Model(engine, 0.05)([frame])
    return found.boxes[0].tolist(), float(found.scores[0]), int(found.class_ids[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_found_from_the_file_alone(tmp_path, name):
    kind, make, resize = FAMILIES[name]
    file = make().save(tmp_path / "foreign.onnx")
    imported = import_model(file, tmp_path / "model.onnx")
    assert (imported.kind, imported.manifest.resize) == (kind, resize)
    assert imported.conclusion
    box, score, label = best(tmp_path / "model.onnx")
    np.testing.assert_allclose(box, foreign.OBJECT, atol=0.02)
    assert (round(score, 3), label) == (foreign.SCORE, foreign.CLASS)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_other_kind_is_refused(tmp_path, name):
    kind, make, _ = FAMILIES[name]
    core = load_core(make().save(tmp_path / "foreign.onnx"))
    for other in sorted(set(KINDS) - {kind}):
        with pytest.raises((ExportError, UsageError)) as caught:
            recognise(core, Choices(kind=other))
        assert "\n" not in str(caught.value)
        assert f"is not a {other} model" in str(caught.value)


def test_queries_of_an_older_rtdetr_are_named_and_taken_at_the_users_word(tmp_path):
    """[1, Q, 4 + C] without notes: nothing says that these rows are queries."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.tile([0.7, 0.6, 0.1, 0.2], (50, 1)), rng.uniform(0, 0.009, (50, 20))], axis=1)
    rows[0] = [0.5, 0.375, 0.5, 0.5, 0.001, foreign.SCORE, *[0.001] * 18]
    file = foreign.Network({"output0": rows[None]}).save(tmp_path / "foreign.onnx")
    for kind in (None, "yolo"):
        with pytest.raises(ExportError, match="`kind` rtdetr"):
            import_model(file, tmp_path / "model.onnx", Choices(kind=kind))
    import_model(file, tmp_path / "model.onnx", Choices(kind="rtdetr"))
    np.testing.assert_allclose(best(tmp_path / "model.onnx")[0], foreign.OBJECT, atol=0.02)


def test_corners_that_no_grid_fits_are_no_raw_yolo_at_the_users_word(tmp_path):
    """SSD's boxes lie around no cells; that none is inverted shows corners."""
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, foreign.SIZE, (2, 2, 500)), axis=0).reshape(4, 500)
    file = foreign.Network({"output": np.concatenate([corners, np.full((3, 500), 0.01)])[None]})
    with pytest.raises(ExportError, match="is not a yolo model"):
        import_model(file.save(tmp_path / "foreign.onnx"), tmp_path / "model.onnx", Choices(kind="yolo"))


def test_key_points_are_no_class_scores_at_the_users_word(tmp_path):
    network = foreign.raw_yolo()
    table = network.outputs["output0"]
    points = np.linspace(-9, 70, 6 * table.shape[2]).reshape(1, 6, -1)
    network.outputs["output0"] = np.concatenate([table, points], axis=1)
    with pytest.raises(ExportError, match="is not a yolo model"):
        import_model(network.save(tmp_path / "foreign.onnx"), tmp_path / "model.onnx", Choices(kind="yolo"))


def test_a_refusal_names_the_kind_that_it_reads_as(tmp_path):
    core = load_core(foreign.yolov6().save(tmp_path / "foreign.onnx"))
    with pytest.raises(ExportError, match=r"reads as `kind` yolov6: YOLOv6 .its fifth column is 1"):
        recognise(core, Choices(kind="yolov5"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: foreign.corner_rows(None),
        lambda: foreign.rtmdet(None),
        lambda: foreign.deepstream(None),
        foreign.mmdeploy,
    ],
)
def test_what_no_number_tells_is_asked_for(tmp_path, make):
    file = make().save(tmp_path / "foreign.onnx")
    with pytest.raises(UsageError, match=r"`colours` .* `scale` .* `resize`"):
        import_model(file, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    said = Choices(colours="bgr", scale="raw", resize="top-left", fill=7)
    imported = import_model(file, tmp_path / "model.onnx", said)
    assert imported.manifest.resize == Resize(fill=7, place="top-left")
    assert imported.pixels.startswith("BGR, 0..255, letterbox at the top left, filled with 7")
    np.testing.assert_allclose(best(tmp_path / "model.onnx")[0], foreign.OBJECT, atol=0.02)


def test_anchors_that_are_not_in_the_file_are_asked_for(tmp_path):
    file = foreign.raw_heads().save(tmp_path / "foreign.onnx")
    with pytest.raises(UsageError, match="`anchors` with yolov5, yolov7, yolov7-tiny or the 18 numbers"):
        import_model(file, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="18 positive numbers"):
        import_model(file, tmp_path / "model.onnx", Choices(anchors="1,2,3"))
    imported = import_model(file, tmp_path / "model.onnx", Choices(anchors="yolov5"))
    assert imported.kind == "yolo-heads"
    box, score, label = best(tmp_path / "model.onnx")
    # All sigmoids are .5: the middle of cell (2, 1) of stride 16, and the anchor's own 62 x 45.
    np.testing.assert_allclose(box, [40 - 31, 24 - 22.5, 64, 24 + 22.5], atol=0.02)
    assert (round(score, 3), label) == (0.9, 1)


def test_the_plugin_for_nms_is_replaced(tmp_path):
    onnx.save(foreign.efficientnms(), str(tmp_path / "foreign.onnx"))
    imported = import_model(tmp_path / "foreign.onnx", tmp_path / "model.onnx")
    assert imported.kind == "efficientnms"
    assert imported.manifest.nms is not None
    assert imported.manifest.nms.iou_threshold == pytest.approx(0.65)
    assert any("replaced by edgevision's NMS" in note for note in imported.notes)
    np.testing.assert_allclose(best(tmp_path / "model.onnx")[0], foreign.OBJECT, atol=0.02)


def test_nanodet_counts_from_the_corner_of_its_cells(tmp_path):
    file = foreign.nanodet().save(tmp_path / "foreign.onnx")
    imported = import_model(file, tmp_path / "model.onnx")
    assert (imported.kind, imported.manifest.resize.rule) == ("nanodet", "stretch")
    assert imported.pixels.startswith("BGR, mean 103.5 116.3 123.7, std 57.38 57.12 58.4 (of 255)")
    np.testing.assert_allclose(best(tmp_path / "model.onnx")[0], [16, 16, 48, 32], atol=0.02)


def test_a_segmenter_becomes_a_class_map(tmp_path):
    file = foreign.segmenter().save(tmp_path / "foreign.onnx")
    imported = import_model(file, tmp_path / "model.onnx")
    assert (imported.kind, imported.manifest.task) == ("segmenter", "segmentation")
    with load_engine(tmp_path / "model.onnx") as engine:
        (found,) = engine.infer({"frames": np.zeros((1, 64, 64, 3), np.uint8)})["class_map"]
    assert found[32, 32] == 1
    assert found[2, 2] == 0


def see(file: Path, out: Path) -> Any:
    """What an imported model sees in a grey image of its own size."""
    import_model(file, out)
    with load_engine(out) as engine:
        (found,) = Model(engine, 0.05)([np.full((64, 64, 3), 128, np.uint8)])
    return found


def test_heat_maps_and_images_are_no_segmenters_without_the_users_word(tmp_path):
    heat = foreign.Network({"heatmaps": np.full((1, 17, 16, 16), 0.1)}).save(tmp_path / "heat.onnx")
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Sqrt", ["x"], ["y"])], "brighter", [x], [y])
    image = tmp_path / "image.onnx"
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(image))
    for file in (heat, image):
        with pytest.raises(ExportError, match="pass `kind` segmenter if it is"):
            import_model(file, tmp_path / "model.onnx")
        imported = import_model(file, tmp_path / "model.onnx", Choices(kind="segmenter"))
        assert imported.manifest.task == "segmentation"


def test_a_detr_without_a_choice_of_queries_does_not_show_what_it_takes(tmp_path):
    network = foreign.rtdetr_logits()
    network.top_k = False
    file = network.save(tmp_path / "foreign.onnx")
    with pytest.raises(ExportError, match=r"`kind` (detr|rtdetr-logits) if it is"):
        import_model(file, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="nothing in it tells what it takes"):
        import_model(file, tmp_path / "model.onnx", Choices(kind="rtdetr-logits"))
    said = Choices(kind="rtdetr-logits", colours="rgb", scale="imagenet", resize="stretch")
    import_model(file, tmp_path / "model.onnx", said)
    np.testing.assert_allclose(best(tmp_path / "model.onnx")[0], foreign.OBJECT, atol=0.02)


def test_maps_of_deltas_need_the_kind(tmp_path):
    file = foreign.effdet_maps().save(tmp_path / "foreign.onnx")
    with pytest.raises(UsageError, match="pass `kind` effdet-maps"):
        import_model(file, tmp_path / "model.onnx")
    said = Choices(kind="effdet-maps", colours="rgb", scale="imagenet", resize="top-left")
    import_model(file, tmp_path / "model.onnx", said)
    # Centre 24, 24 moved by .125 of 64 to the right; .25 of 64 wide, .5 of 64 high.
    box, score, label = best(tmp_path / "model.onnx")
    np.testing.assert_allclose(box, [24, 8, 40, 40], atol=0.02)
    assert (round(score, 3), label) == (0.9, 1)


def test_anchors_of_the_zoos_yolov4_are_those_of_its_80_classes(tmp_path):
    file = foreign.zoo_yolov4().save(tmp_path / "foreign.onnx")
    with pytest.raises(UsageError, match="pass `anchors` with yolov7 for YOLOv4's own"):
        import_model(file, tmp_path / "model.onnx")
    imported = import_model(file, tmp_path / "model.onnx", Choices(anchors="yolov7"))
    assert (imported.kind, imported.manifest.resize) == ("zoo-yolov4", Resize(fill=128))
    box, score, label = best(tmp_path / "model.onnx")
    # Cell 2, 1 of stride 16: its middle is 40, 24, for .5 * 1.1 - .05 is .5.
    np.testing.assert_allclose(box, [24, 8, 56, 40], atol=0.02)
    assert (round(score, 3), label) == (foreign.SCORE, foreign.CLASS)
    wide = foreign.zoo_yolov4()
    rest = {name: np.full((*one.shape[:4], 77), 0.001) for name, one in wide.outputs.items()}
    wide.outputs = {name: np.concatenate([one, rest[name]], axis=4) for name, one in wide.outputs.items()}
    imported = import_model(wide.save(tmp_path / "wide.onnx"), tmp_path / "model.onnx")
    assert any("its anchors are those of YOLOv4" in note for note in imported.notes)
    np.testing.assert_allclose(best(tmp_path / "model.onnx")[0], [24, 8, 56, 40], atol=0.02)


@pytest.mark.parametrize("x_first", [False, True])
def test_the_order_of_automls_boxes_is_asked_for_or_shown_by_a_wide_input(tmp_path, x_first):
    square = foreign.automl(x_first=x_first).save(tmp_path / "square.onnx")
    with pytest.raises(UsageError, match=r"`kind` automl .y first.* or automl-tf2 .x first"):
        import_model(square, tmp_path / "model.onnx")
    kind, other = ("automl-tf2", "automl") if x_first else ("automl", "automl-tf2")
    import_model(square, tmp_path / "model.onnx", Choices(kind=kind))
    box, score, label = best(tmp_path / "model.onnx")
    np.testing.assert_allclose(box, foreign.OBJECT, atol=0.02)
    assert (round(score, 3), label) == (foreign.SCORE, foreign.CLASS)
    wide = foreign.automl((64, 128), x_first=x_first).save(tmp_path / "wide.onnx")
    assert import_model(wide, tmp_path / "model.onnx").kind == kind
    np.testing.assert_allclose(best(tmp_path / "model.onnx", 128)[0], foreign.OBJECT, atol=0.02)
    with pytest.raises(ExportError, match=f"is not a {other} model"):
        import_model(wide, tmp_path / "model.onnx", Choices(kind=other))


def test_points_and_masks_of_torchvision(tmp_path):
    points = see(foreign.keypoint_rcnn().save(tmp_path / "points.onnx"), tmp_path / "a.onnx")
    np.testing.assert_allclose(points.keypoints[0], [[16, 8, 0.75], [48, 8, 0.25]], atol=0.02)
    masks = see(foreign.mask_rcnn().save(tmp_path / "masks.onnx"), tmp_path / "b.onnx").masks
    # The box is 32 wide from 16, and the mask ends at 32.
    assert masks.areas()[0] == pytest.approx(16 * 32, rel=0.1)


def test_masks_of_torchvision_are_taken_before_they_are_pasted(tmp_path):
    file = tmp_path / "foreign.onnx"
    onnx.save(foreign.pasted_mask_rcnn(), str(file))
    found = see(file, tmp_path / "model.onnx")
    form = import_model(file, tmp_path / "again.onnx").manifest.masks
    assert (form.form, form.width, form.height) == ("box", 8, 8)
    # The box is 32 wide from 16: its left half, to where .9 has fallen to .5, .06 of a cell behind it.
    assert found.masks.areas()[0] == 16 * 32
    whole = found.masks.whole(0)
    assert whole[24, 31]
    assert not whole[24, 32]


def test_masks_come_from_prototypes(tmp_path):
    file = foreign.segments().save(tmp_path / "foreign.onnx")
    found = see(file, tmp_path / "model.onnx")
    assert found.masks is not None
    mask = found.masks.whole(0)
    # The box is 32 wide from 16; the prototype ends at 32.
    assert mask[24, 20]
    assert not mask[24, 40]
    assert found.masks.areas()[0] == pytest.approx(16 * 32, rel=0.1)


def test_a_detectors_kind_is_refused_where_there_are_masks_points_or_angles(tmp_path):
    for make in (foreign.segments, foreign.poses, foreign.rotated):
        core = load_core(make().save(tmp_path / "foreign.onnx"))
        with pytest.raises(ExportError, match="not a yolo model"):
            recognise(core, Choices(kind="yolo"))


def test_key_points_keep_their_places_and_scores(tmp_path):
    file = foreign.poses().save(tmp_path / "foreign.onnx")
    found = see(file, tmp_path / "model.onnx")
    assert found.skeleton.names == ("point_0", "point_1")
    np.testing.assert_allclose(found.keypoints[0], [[16, 8, 0.75], [48, 8, 0.25]], atol=0.02)


def test_rotated_boxes_keep_their_angle(tmp_path):
    file = foreign.rotated().save(tmp_path / "foreign.onnx")
    found = see(file, tmp_path / "model.onnx")
    np.testing.assert_allclose(found.rotated_boxes[0], [32, 24, 40, 16, 0.5], atol=0.02)


def test_a_classifier_gives_probabilities_of_the_middle_of_the_image(tmp_path):
    file = foreign.classes().save(tmp_path / "foreign.onnx")
    found = see(file, tmp_path / "model.onnx")
    np.testing.assert_allclose(found.probabilities, [0.1, 0.7, 0.2], atol=1e-4)
    assert import_model(file, tmp_path / "again.onnx").manifest.resize.rule == "crop"


def test_what_a_classifier_without_notes_takes_is_asked_for(tmp_path):
    network = foreign.classes()
    network.metadata = {}
    network.outputs["output0"] = np.array([[-1.0, 3.0, 0.5]])
    file = network.save(tmp_path / "foreign.onnx")
    with pytest.raises(UsageError, match="nothing in it tells what it takes"):
        import_model(file, tmp_path / "model.onnx")
    said = Choices(colours="rgb", scale="imagenet", resize="crop")
    imported = import_model(file, tmp_path / "model.onnx", said)
    assert "logits: a softmax is applied" in imported.conclusion


def test_choices_are_baked_in(tmp_path):
    file = foreign.raw_yolo().save(tmp_path / "foreign.onnx")
    chosen = Choices(min_score=0.3, iou=0.55, candidates=40, several=True)
    imported = import_model(file, tmp_path / "model.onnx", chosen)
    manifest = imported.manifest
    assert manifest.nms is not None
    assert (manifest.score_threshold, manifest.nms.iou_threshold, manifest.nms.candidates) == (0.3, 0.55, 40)
    assert best(tmp_path / "model.onnx")[2] == foreign.CLASS


def test_a_box_can_be_several_classes(tmp_path):
    network = foreign.raw_yolo()
    network.outputs["output0"][0, 4 + 2, 20] = 0.8
    file = network.save(tmp_path / "foreign.onnx")
    for several, labels in ((False, [1]), (True, [1, 2])):
        out = tmp_path / f"model{several}.onnx"
        import_model(file, out, Choices(several=several))
        with load_engine(out) as engine:
            (found,) = Model(engine, 0.05)([np.zeros((64, 64, 3), np.uint8)])
        assert found.class_ids.tolist() == labels


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (Choices(colours="grb"), "`colours` 'grb': choose rgb or bgr"),
        (Choices(scale="1,2"), "`scale` '1,2': expected unit"),
        (Choices(scale="0,0,0,1,0,1"), "`scale` '0,0,0,1,0,1': expected unit"),
        (Choices(resize="tile"), "choose letterbox or top-left or stretch or crop"),
        (Choices(resize="crop"), "`resize` crop is for classifiers"),
        (Choices(fill=300), "`fill` 300: expected 0 to 255"),
        (Choices(min_score=2), "`min_score` 2"),
        (Choices(size=(64, 128)), "its input is fixed to 64x64"),
        (Choices(size=(1, 128)), "`size` 1"),
    ],
)
def test_choices_that_mean_nothing_are_one_line(tmp_path, choices, words):
    file = foreign.raw_yolo().save(tmp_path / "foreign.onnx")
    with pytest.raises((UsageError, ExportError), match=words):
        import_model(file, tmp_path / "model.onnx", choices)


def test_names_that_are_missing_are_numbers_and_said(tmp_path):
    file = foreign.raw_yolo().save(tmp_path / "foreign.onnx")
    imported = import_model(file, tmp_path / "model.onnx")
    assert imported.manifest.classes == ("class_0", "class_1", "class_2")
    assert any("no class names" in note and "`classes`" in note for note in imported.notes)


def test_labels_that_begin_with_the_background_follow_the_names(tmp_path):
    file = foreign.torchvision().save(tmp_path / "foreign.onnx")
    for names, label in ((("cat", "dog"), 0), (("background", "cat", "dog"), 1)):
        out = tmp_path / f"{label}.onnx"
        imported = import_model(file, out, Choices(classes=names))
        assert imported.batch == 1
        assert imported.manifest.classes[best(out)[2]] == "cat"
