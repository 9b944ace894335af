"""'edgevision eval' on small sets with known answers, and once on the real teacher.

Also tests ``edgevision.cli.eval_table``, ``edgevision.cli.options``, ``edgevision.evaluation.predict``.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision import __version__
from edgevision.cli import main
from edgevision.contract.model_file import content_sha256
from edgevision.data.classes import COCO_CLASSES
from edgevision.evaluation.report import DetectionReport, SegmentationReport, read_report
from edgevision.export.importers import import_model
from edgevision.export.importers.reading import Choices
from edgevision.panoptic.coco import PanopticImage, categories_of
from edgevision.panoptic.folder import PanopticFolder
from edgevision.panoptic.join import PanopticMap, Segment
from tests.support.models import image_with_block, write_bright_segmenter, write_colour_model
from tests.support.paths import SHARED

DATA = SHARED / "data"
COLOURS = {"blue": (255, 0, 0), "green": (0, 255, 0), "red": (0, 0, 255)}


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["eval", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def model(tmp_path):
    return write_colour_model(tmp_path / "colours.onnx")


Row = tuple[str, str, tuple[int, int, int, int]]
"""What is drawn, what the label says it is, and where the label puts it."""


def write_set(
    folder: Path, rows: list[Row], categories: tuple[str, ...] = ("Red", "green", "blue", "violet")
):
    """One image a row, with a block from (20, 10) to (60, 50), and its label."""
    images = folder / "images"
    images.mkdir(parents=True)
    document = {"images": [], "annotations": [], "categories": []}
    document["categories"] = [{"id": 7 + i, "name": name} for i, name in enumerate(categories)]
    for number, (drawn, label, (x1, y1, x2, y2)) in enumerate(rows, start=1):
        image = image_with_block(96, 64, (20, 10, 60, 50), COLOURS[drawn])
        name = f"{number:03d}.png"
        cv2.imwrite(str(images / name), image)
        document["images"].append({"id": number, "file_name": name, "width": 96, "height": 64})
        document["annotations"].append(
            {
                "id": number,
                "image_id": number,
                "category_id": 7 + categories.index(label),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": 0,
            }
        )
    path = folder / "instances.json"
    path.write_text(json.dumps(document))
    return path, images


EXACT = (20, 10, 60, 50)
HALF = (20, 10, 60, 30)  # IoU 0.5 with what is drawn
AWAY = (0, 52, 10, 62)


def test_figures_report_and_table(call, model, tmp_path):
    rows = [("red", "Red", EXACT)] * 3 + [("red", "Red", AWAY)] + [("green", "green", EXACT)] * 2
    data, images = write_set(tmp_path / "set", rows)
    code, out, err = call(
        *("--model", model, "--data", data, "--images", images, "--min-boxes", 3, "--json", "report.json")
    )
    assert code == 0
    # Five boxes are right of six; one red box is elsewhere. Scores tie at 1, images stand in order:
    # precision is 1 up to a recall of 3/4, so AP50 of red is 76 of 101 recall levels.
    red = 76 / 101
    document = json.loads(Path("report.json").read_text())
    keys = (
        "ap50 ap ar ap50_mean ap50_mean_ci mar per_class model model_hash data data_hash command version "
        "engine ms_per_image skipped min_boxes images"
    )
    assert set(keys.split()) <= set(document)
    assert document["ap50_mean"] == pytest.approx(red)
    assert document["ap50"] == pytest.approx((red + 1) / 2)
    assert document["per_class"]["red"]["boxes"] == 4
    assert document["per_class"]["green"]["ap50"] == 1
    assert document["model_hash"] == content_sha256(model)
    assert document["version"] == __version__
    assert document["command"].startswith(f"edgevision eval --model {model}")
    assert document["images"] == 6
    assert document["ap50_mean_ci"]["low"] < red < document["ap50_mean_ci"]["high"]
    assert isinstance(read_report("report.json"), DetectionReport)
    assert "red" in out
    assert "0.752" in out
    assert "ap50_mean 0.752" in out
    assert "no box of blue in the data" in err


def test_names_are_matched_by_meaning_and_the_rest_is_left_out(call, model, tmp_path):
    data, images = write_set(
        tmp_path / "set", [("red", "RED", EXACT), ("green", "green", EXACT)], ("RED", "green")
    )
    arguments = ("--model", model, "--data", data, "--images", images, "--min-boxes", 1)
    code, out, err = call(*arguments)
    assert code == 0
    assert "blue" in err  # the data do not label it
    assert "ap50_mean 1.000" in out
    # The green box that the model also finds is no false alarm when green is not asked for.
    code, out, _ = call(*arguments, "--classes", "Red", "--json", "one.json")
    assert code == 0
    assert list(json.loads(Path("one.json").read_text())["per_class"]) == ["Red"]
    (tmp_path / "names.txt").write_text("green\nred\n")
    code, out, _ = call(*arguments, "--classes", tmp_path / "names.txt")
    assert code == 0
    assert out.index("green") < out.index("red")


def test_what_is_taken_for_what_is_said_and_written(call, model, tmp_path):
    rows = [("red", "Red", EXACT)] * 3 + [("red", "green", EXACT)] * 2 + [("green", "green", AWAY)]
    data, images = write_set(tmp_path / "set", rows)
    arguments = ("--model", model, "--data", data, "--images", images, "--min-boxes", 1)
    code, out, _ = call(*arguments, "--json", "report.json")
    assert code == 0
    assert (
        "from a score of 0.35 on: 1 of 6 objects missed, 1 boxes where nothing is labelled, taken for "
        "another class: green for red 2"
    ) in " ".join(out.split())
    report = read_report("report.json")
    assert isinstance(report, DetectionReport)
    assert report.taken_for == {
        "red": {"red": 3},
        "green": {"red": 2, "(nothing)": 1},
        "(nothing)": {"green": 1},
    }
    assert report.taken_for_at == 0.35
    code, out, _ = call(*arguments, "--at", "1", "--json", "at.json")  # its scores are 1
    assert code == 0
    assert "from a score of 1 on: 1 of 6 objects missed" in " ".join(out.split())
    assert call(*arguments, "--at", "0", "--json", "zero.json")[0] == 0
    assert read_report("zero.json").taken_for_at == 0
    chosen = json.loads(Path("report.json").read_text())
    chosen["points"]["green"]["best"]["threshold"] = (
        1.1  # no box of it counts: the one on red objects is red's
    )
    Path("chosen.json").write_text(json.dumps(chosen))
    code, out, _ = call(*arguments, "--at", "chosen.json", "--json", "each.json")
    assert code == 0
    assert "from the score of its class on: 1 of 6 objects missed, 0 boxes" in " ".join(out.split())
    each = read_report("each.json")
    assert isinstance(each, DetectionReport)
    assert each.taken_for == {"red": {"red": 3}, "green": {"red": 2, "(nothing)": 1}}
    assert isinstance(each.taken_for_at, dict)
    assert each.taken_for_at["green"] == 1.1
    data, images = write_set(tmp_path / "right", rows[:3])
    _, out, _ = call("--model", model, "--data", data, "--images", images, "--min-boxes", 1)
    assert "taken for another class: none" in " ".join(out.split())


def test_two_models_are_compared_on_the_same_images(call, model, tmp_path):
    rows = [("red", "Red", EXACT)] * 12 + [("green", "green", EXACT)] * 12
    data, images = write_set(tmp_path / "set", rows)
    blind = write_colour_model(tmp_path / "blind.onnx", size=8)  # too coarse to box anything well
    code, out, _ = call("--compare", blind, model, "--data", data, "--images", images, "--json", "both.json")
    assert code == 0
    report = read_report("both.json")
    assert report.compared_with is not None
    assert report.compared_with.model == str(blind)
    assert report.model == str(model)
    assert report.ap50_mean == 1
    first = json.loads(Path("both.json").read_text())["compared_with"]
    assert first["model_hash"] == content_sha256(blind)
    assert "B - A: ap50_mean" in out
    code, out, _ = call("--compare", model, model, "--data", data, "--images", images)
    assert "ap50_mean +0.000, 95 % interval +0.000 to +0.000" in out
    assert "cannot tell them apart" in out


def test_damaged_images_are_skipped_counted_and_named(call, model, tmp_path):
    rows = [("red", "Red", EXACT)] * 4
    data, images = write_set(tmp_path / "set", rows)
    whole = cv2.imencode(".jpg", image_with_block(96, 64, (20, 10, 60, 50)))[1].tobytes()
    document = json.loads(data.read_text())
    document["images"][1]["file_name"] = "cut.jpg"
    data.write_text(json.dumps(document))
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "003.png").write_bytes(b"nonsense")
    code, out, err = call(
        *("--model", model, "--data", data, "--images", images, "--min-boxes", 1, "--json", "report.json")
    )
    assert code == 3
    assert "cut.jpg" in err
    assert "003.png" in err
    assert "skipped 2 of 4" in err
    assert "ap50_mean 1.000" in out
    report = json.loads(Path("report.json").read_text())
    assert (report["images"], report["per_class"]["red"]["boxes"], len(report["skipped"])) == (2, 2, 2)


def test_gray_deep_and_transparent_images_are_read(call, model, tmp_path):
    """White has all channels alike, and the first of them is blue."""
    data, images = write_set(tmp_path / "set", [("blue", "blue", EXACT)] * 3)
    grey = image_with_block(96, 64, (20, 10, 60, 50), (255, 255, 255))[..., 0]
    cv2.imwrite(str(images / "001.png"), grey)
    cv2.imwrite(str(images / "002.png"), grey.astype(np.uint16) * 257)
    alpha = np.dstack(
        [image_with_block(96, 64, (20, 10, 60, 50), (255, 0, 0)), np.full((64, 96), 255, np.uint8)]
    )
    cv2.imwrite(str(images / "003.png"), alpha)
    code, out, _ = call("--model", model, "--data", data, "--images", images, "--min-boxes", 1)
    assert code == 0
    assert "ap50_mean 1.000" in out


def test_precision_and_recall_at_a_score_or_at_the_thresholds_of_another_report(call, model, tmp_path):
    rows = [("red", "Red", AWAY), ("red", "Red", EXACT), ("red", "Red", HALF)]
    data, images = write_set(tmp_path / "set", rows)
    arguments = ("--model", model, "--data", data, "--images", images)
    code, out, _ = call(*arguments, "--json", "chosen.json", "--at", "0.5")
    assert code == 0
    assert "best threshold" in out
    point = json.loads(Path("chosen.json").read_text())["points"]["red"]
    assert point["at"]["threshold"] == 0.5
    assert point["best"]["recall"] == pytest.approx(1 / 3)  # one of three boxes is where it belongs
    code, out, _ = call(*arguments, "--at", "chosen.json")
    assert code == 0
    assert f"{point['best']['threshold']:.3f}" in out
    code, _, err = call(*arguments, "--at", "2")
    assert code == 2
    assert "expected a score, 0 to 1" in err


def test_plots_and_worst_images(call, model, tmp_path):
    rows = [("red", "Red", AWAY), ("red", "Red", EXACT), ("red", "Red", HALF)]
    data, images = write_set(tmp_path / "set", rows)
    arguments = ("--model", model, "--data", data, "--images", images, "--plots", "plots", "--worst", "worst")
    assert call(*arguments)[0] == 0
    assert cv2.imread("plots/precision_recall.png") is not None
    drawn = sorted(path.name for path in Path("worst").iterdir())
    assert drawn[0] == "01_001.jpg"
    code, _, err = call(*arguments)
    assert code == 2
    assert "not empty" in err
    assert call(*arguments, "--overwrite")[0] == 0


def test_a_checkpoint_is_evaluated_through_the_same_detector(call, tmp_path):
    torch = pytest.importorskip("torch")
    from edgevision.config import config_folder
    from edgevision.data.detection.dataset import load_coco
    from edgevision.evaluation.detection import evaluate_detections
    from edgevision.evaluation.predict import ground_truth, predict_set
    from edgevision.model import Model
    from edgevision.models.decode import DetectionDecoder
    from edgevision.models.retinanet import RetinaNet
    from edgevision.models.torch_engine import TorchDetectorEngine
    from edgevision.training.checkpoint import Checkpoint, save_checkpoint
    from edgevision.training.config import load_run
    from edgevision.training.detection import detector_manifest

    torch.manual_seed(0)
    config = load_run(
        config_folder() / "models" / "retinanet-light.yaml",
        ["model.backbone.weights=random", "model.input_size=128", "classes=[red, green, blue]"],
    )
    net = RetinaNet(config.model, 3).eval()
    # Sure enough of everything that boxes come out, and unsure enough that they do not tie.
    torch.nn.init.normal_(net.class_tower.predict.weight, std=0.3)
    torch.nn.init.constant_(net.class_tower.predict.bias, -2.0)
    state = net.state_dict()
    garbage = RetinaNet(config.model, 3).state_dict()
    save_checkpoint(tmp_path / "net.pt", Checkpoint(config, 1, garbage, state, {}, {}, None))
    engine = TorchDetectorEngine(
        net, DetectionDecoder(config.model, 3, config.decode), detector_manifest(config)
    )
    detector = Model(engine, 0.0)
    # An untrained network finds nothing that is there, so what it finds is what the labels say.
    rows = []
    for drawn in ("red", "green", "blue"):
        (seen,) = detector([image_with_block(96, 64, EXACT, COLOURS[drawn])])
        x1, y1, x2, y2 = map(float, seen.boxes[40])
        rows.append((drawn, config.classes[seen.class_ids[40]], (x1, y1, x2, y2)))
    data, images = write_set(tmp_path / "set", rows, config.classes)
    code, _, err = call("--model", "net.pt", "--data", data, "--images", images, "--json", "net.json")
    assert code == 0, err
    report = read_report("net.json")

    known = load_coco(data, images, config.classes)
    found = predict_set(detector, known)
    figures = evaluate_detections(found, ground_truth(known), config.classes).figures
    assert figures.mar > 0.9
    assert 0 < figures.ap50 < 1
    assert (report.mar, report.ap50) == pytest.approx((figures.mar, figures.ap50))
    assert "PyTorch" in report.engine

    code, _, err = call("--model", "net.pt", "--engine", "onnxruntime", "--data", data, "--images", images)
    assert code == 2
    assert "checkpoint" in err
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    code, _, err = call("--model", "other.pt", "--data", data, "--images", images)
    assert code == 1
    assert "not an edgevision checkpoint" in err
    misfit = RetinaNet(config.model, 5).state_dict()
    save_checkpoint(tmp_path / "misfit.pt", Checkpoint(config, 1, misfit, misfit, {}, {}, None))
    code, _, err = call("--model", "misfit.pt", "--data", data, "--images", images)
    assert code == 1
    assert "do not fit" in err
    assert err.count("\n") == 1


def emptied(data: Path, key: str) -> None:
    document = json.loads(data.read_text())
    document[key] = []
    data.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (None, [], ["--model NAME or --compare"]),
        (None, ["--model", "colours.onnx", "--compare", "a", "b"], ["--model NAME or --compare"]),
        (None, ["--model", "nothing.onnx"], ["not found"]),
        (None, ["--model", "colours.onnx", "--engine", "onxruntime"], ["onnxruntime"]),
        (None, ["--model", "colours.onnx", "--classes", "gren"], ["no class 'gren'", "green"]),
        (None, ["--model", "colours.onnx", "--classes", "violet"], ["colours.onnx has no class 'violet'"]),
        (None, ["--model", "colours.onnx", "--json", "nowhere/report.json"], ["nowhere"]),
        (None, ["--model", "colours.onnx", "--plots", "x", "--worst", "x"], ["same folder"]),
        (None, ["--model", "bright.onnx"], ["segmentation model", "--split"]),
        (lambda data: emptied(data, "images"), ["--model", "colours.onnx"], ["instances.json", "empty"]),
        (lambda data: emptied(data, "annotations"), ["--model", "colours.onnx"], ["nothing to evaluate"]),
        (lambda data: data.write_text("{}"), ["--model", "colours.onnx"], ["not COCO"]),
        (
            lambda data: (data.parent / "images" / "002.png").unlink(),
            ["--model", "colours.onnx"],
            ["1 of 2", "002.png"],
        ),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(call, model, tmp_path, change, arguments, words):
    write_bright_segmenter(tmp_path / "bright.onnx")
    data, images = write_set(tmp_path / "set", [("red", "Red", EXACT), ("green", "green", EXACT)])
    if change is not None:
        change(data)
    code, out, err = call("--data", data, "--images", images, *arguments)
    assert code in (1, 2)
    assert out == ""
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err


def test_data_of_other_classes_are_refused(call, model, tmp_path):
    data, images = write_set(tmp_path / "set", [("red", "truck", EXACT)], ("truck",))
    code, _, err = call("--model", model, "--data", data, "--images", images)
    assert code == 1
    assert "none of its 1 classes" in err


def write_label_folder(folder: Path, ids: tuple[int, int] = (0, 1)) -> None:
    """Three images, a bright block on dark; the labels of the last one call half of the block dark."""
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    dark, bright = ids
    for number in range(3):
        cv2.imwrite(
            str(folder / "images" / "val" / f"{number}.png"), image_with_block(64, 64, (0, 0, 32, 64))
        )
        labels = np.full((64, 64), dark, np.uint8)
        labels[:, : 32 if number < 2 else 16] = bright
        labels[:8] = 11
        cv2.imwrite(str(folder / "labels" / "val" / f"{number}.png"), labels)
    classes = [{"id": dark, "name": "dark"}, {"id": bright, "name": "Bright"}]
    (folder / "classes.json").write_text(json.dumps({"classes": classes, "ignore_index": 11}))
    (folder / "val.txt").write_text("0\n1\n2\n")


def test_a_segmenter_is_evaluated(call, tmp_path):
    model = write_bright_segmenter(tmp_path / "bright.onnx")
    write_label_folder(tmp_path / "set", ids=(5, 3))
    code, out, err = call(
        *("--model", model, "--data", "set", "--split", "val", "--json", "seg.json", "--plots", "plots")
    )
    assert code == 0, err
    report = read_report("seg.json")
    assert isinstance(report, SegmentationReport)
    # 56 rows of each image count. Bright: 32 + 32 + 16 columns are right of 96 predicted; dark: 96 of 112.
    bright, dark = 80 / 96, 96 / 112
    assert report.per_class["bright"].iou == pytest.approx(bright)
    assert report.per_class["dark"].iou == pytest.approx(dark)
    assert report.miou == pytest.approx((bright + dark) / 2)
    assert report.pixel_accuracy == pytest.approx(176 / 192)
    assert report.miou_ci is not None
    assert report.miou_ci.low <= report.miou <= report.miou_ci.high
    assert report.data == "set/val"
    assert cv2.imread("plots/confusion.png") is not None
    assert f"miou {report.miou:.3f}" in out
    code, out, _ = call("--compare", model, model, "--data", "set", "--split", "val")
    assert code == 0
    assert "B - A: miou +0.000" in out


def test_pixels_of_a_class_that_is_not_asked_for_are_wrong_or_ignored(call, tmp_path):
    """Dark is not evaluated: its pixels count nowhere, but bright pixels called dark are still missed."""
    model = write_bright_segmenter(tmp_path / "bright.onnx")
    write_label_folder(tmp_path / "set")
    labels = np.full((64, 64), 1, np.uint8)  # all bright, of which the model sees half
    cv2.imwrite("set/labels/val/0.png", labels)
    code, _, err = call(
        "--model", model, "--data", "set", "--split", "val", "--classes", "bright", "--json", "s.json"
    )
    assert code == 0, err
    report = read_report("s.json")
    # Bright pixels: 64 * 64, 56 * 32 and 56 * 16; those of the first image's right half are missed.
    found, all_bright = 64 * 32 + 56 * 32 + 56 * 16, 64 * 64 + 56 * 32 + 56 * 16
    assert report.miou == pytest.approx(found / all_bright)


def test_classes_of_model_and_data_can_be_grouped(call, tmp_path):
    """What the data call road and sky, the model calls bright and dark."""
    model = write_bright_segmenter(tmp_path / "bright.onnx")
    write_label_folder(tmp_path / "set")
    classes = [{"id": 0, "name": "sky"}, {"id": 1, "name": "road"}, {"id": 2, "name": "mark"}]
    Path("set/classes.json").write_text(json.dumps({"classes": classes, "ignore_index": 11}))
    labels = cv2.imread("set/labels/val/0.png", cv2.IMREAD_UNCHANGED)
    labels[:, 4:8][labels[:, 4:8] == 1] = 2
    cv2.imwrite("set/labels/val/0.png", labels)
    common = ("--model", model, "--data", "set", "--split", "val")
    code, out, err = call(
        *common, "--group", "ground=road,mark,bright", "--group", "rest=*", "--json", "g.json"
    )
    assert code == 0, err
    report = read_report("g.json")
    assert isinstance(report, SegmentationReport)
    assert report.per_class["ground"].iou == pytest.approx(80 / 96)
    assert report.per_class["rest"].iou == pytest.approx(96 / 112)
    assert "ground" in out
    grouped = ("--group", "ground=road,mark,bright", "--group", "rest=*")
    code, _, err = call(*common, *grouped, "--classes", "Road")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(
        "error: the class 'Road' is in the group 'ground' (--group) and has no figures of its own; "
        "give --classes 'ground', or leave it out of the group"
    )
    code, _, err = call(*common, *grouped, "--classes", "dark")
    assert (code, "the class 'dark' is in the group 'rest' (--group)" in err) == (2, True)
    assert call(*common, *grouped, "--classes", "ground")[0] == 0
    code, _, err = call(*common)
    assert code == 1
    assert "none of its 3 classes" in err
    code, _, err = call(*common, "--group", "ground=road,makr,bright", "--group", "rest=*")
    assert code == 1
    assert "'makr' in the group 'ground' is no class here; did you mean 'mark'" in err
    code, _, err = call(*common, "--group", "road=mark,bright", "--group", "rest=*")
    assert code == 1
    assert "the group 'road' has the name of the class 'road', which is not in it" in err


def test_data_that_are_not_there_are_named_whatever_else_is_missing(call, model, tmp_path):
    code, _, err = call("--model", model, "--data", "nothere.json")
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith("expected a COCO json as --data, and --images; nothere.json is not there\n")
    Path("there.json").write_text("{}")
    assert call("--model", model, "--data", "there.json")[2].endswith("as --data, and --images\n")
    bright = write_bright_segmenter(tmp_path / "bright.onnx")
    code, _, err = call("--model", bright, "--data", "nowhere")
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith("expected a folder as --data, and --split; nowhere is not there\n")


def test_a_number_of_boxes_is_for_boxes(call, tmp_path):
    bright = write_bright_segmenter(tmp_path / "bright.onnx")
    write_label_folder(tmp_path / "set")
    code, _, err = call("--model", bright, "--data", "set", "--split", "val", "--min-boxes", 3)
    assert code == 2
    assert err == "error: --min-boxes is for labelled boxes; found label maps: leave it out\n"


def test_groups_are_for_segmenters(call, model, tmp_path):
    data, images = write_set(tmp_path / "set", [("red", "red", EXACT)], ("red",))
    code, _, err = call("--model", model, "--data", data, "--images", images, "--group", "a=red")
    assert code == 2
    assert "--group" in err
    assert "--split" in err


def test_label_files_that_cannot_be_used_are_skipped_and_named(call, tmp_path):
    model = write_bright_segmenter(tmp_path / "bright.onnx")
    write_label_folder(tmp_path / "set")
    cv2.imwrite("set/labels/val/1.png", np.full((64, 64), 9, np.uint8))
    code, _, err = call("--model", model, "--data", "set", "--split", "val")
    assert code == 3
    assert "unknown ids (9)" in err
    assert "skipped 1 of 3" in err
    Path("set/labels/val/2.png").unlink()
    code, _, err = call("--model", model, "--data", "set", "--split", "val")
    assert code == 1
    assert "1 of 3 label maps of set are missing" in err
    assert "of set/images/val/2.png, is expected at set/labels/val/2.png" in err
    code, _, err = call("--model", model, "--data", "set", "--split", "vall")
    assert code == 1
    assert "did you mean 'val'" in err


REFERENCE = {
    "person": 0.55, "car": 0.74, "motorbike": 0.43, "aeroplane": 0.93, "bus": 0.77,
    "boat": 0.60, "bird": 0.85, "dog": 0.90, "bottle": 0.52, "chair": 0.23,
}  # fmt: skip


@pytest.mark.slow
def test_the_imported_teacher_has_the_figures_that_others_measured(call, tmp_path):
    """Measured independently, so they check preprocessing, decoding, NMS, matching and averaging at once."""
    teacher = DATA / "weights" / "picodet_s_416_coco.onnx"
    if not teacher.is_file():
        pytest.skip("needs ../shared/data: the teacher's weights and the validation images")
    # They took the best class of each box.
    best = Choices(kind="picodet", classes=COCO_CLASSES, several=False)
    import_model(teacher, tmp_path / "teacher.onnx", best)
    data = DATA / "detection"
    code, _, err = call(
        *(
            "--model",
            "teacher.onnx",
            "--data",
            data / "instances_val.json",
            "--images",
            data / "images" / "val",
        ),
        *("--classes", "voc", "--json", "report.json"),
    )
    assert code == 0, err
    report = read_report("report.json")
    assert isinstance(report, DetectionReport)
    assert report.ap50_mean == pytest.approx(0.652, abs=0.01)
    assert report.ap50 == pytest.approx(0.585, abs=0.01)
    assert report.ap == pytest.approx(0.465, abs=0.01)
    counted = {name: one.ap50 for name, one in report.per_class.items() if one.boxes >= 10}
    assert counted == pytest.approx(REFERENCE, abs=0.015)


def test_panoptic_maps(call, tmp_path):
    ids = np.array([[1, 1, 2, 0]], np.int32)
    joined = PanopticMap(ids, (Segment(1, "car", True, 2), Segment(2, "road", False, 1)))
    with PanopticFolder(tmp_path / "out", {}, categories_of(("car",), ("road",))) as maps:
        maps.add(joined, PanopticImage(id=1, file_name="a.jpg", width=4, height=1))
        maps.finish()
    code, shown, _ = call("--panoptic", "out", "--data", "out/panoptic.json", "--json", "report.json")
    assert code == 0
    assert [line.split() for line in shown.splitlines()[1:6]] == [
        ["car", "1", "1.000", "1.000", "1.000"],
        ["road", "1", "1.000", "1.000", "1.000"],
        ["all", "2", "1.000", "1.000", "1.000"],
        ["things", "1", "1.000", "1.000", "1.000"],
        ["stuff", "1", "1.000", "1.000", "1.000"],
    ]
    assert "pq 1.000 over 2 classes; 1 images" in shown
    assert json.loads((tmp_path / "report.json").read_text())["all"]["pq"] == 1
    code, _, said = call("--panoptic", "out", "--data", "out", "--model", "unet-light")
    assert code == 2
    assert "--model has no effect" in said
