import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgevision import zoo
from edgevision.contract.manifest import Manifest
from edgevision.errors import ModelError, UsageError
from edgevision.zoo.quickest import MOST_DROP
from tests.support.models import colour_manifest, write_bright_segmenter, write_colour_model
from tests.support.paths import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    return tmp_path


def in_precision(precision, **figures):
    manifest = colour_manifest()
    return msgspec.structs.replace(manifest, precision=precision, figures={"ap50_mean": 0.5, **figures})


@pytest.fixture
def filled(folder):
    write_bright_segmenter(folder / "unet-light.onnx")
    write_colour_model(folder / "retinanet-light.onnx")
    write_colour_model(folder / "retinanet-light.int8.onnx", in_precision("int8", drop=0.003))
    write_colour_model(folder / "retinanet-large.onnx", colour_manifest(training_data="x" * 5000))
    return folder


def test_an_empty_zoo_is_no_error(folder):
    assert zoo.list_models() == []
    with pytest.raises(ModelError, match=r"no detection model ships .* set `model`"):
        zoo.default_model()
    with pytest.raises(ModelError, match="unknown model 'retinanet'"):
        zoo.find_model("retinanet")


def test_the_default_of_each_task_comes_first(filled):
    assert [model.name for model in zoo.list_models()] == [
        "retinanet-light",
        "retinanet-large",
        "unet-light",
    ]
    assert zoo.default_model().name == "retinanet-light"
    assert zoo.default_model("segmentation").name == "unet-light"


def test_names_and_paths_are_found(filled, tmp_path):
    assert zoo.find_model("retinanet-light") == filled / "retinanet-light.onnx"
    assert zoo.find_model("retinanet-light.int8") == filled / "retinanet-light.int8.onnx"
    assert zoo.find_model(str(filled / "unet-light.onnx")) == filled / "unet-light.onnx"


def test_precisions_of_a_model_are_one_name(filled):
    (light, *_) = zoo.list_models()
    assert light.precisions == ("fp32", "int8")
    assert (light.path, light.size) == (filled / "retinanet-light.onnx", light.files[0].size)
    assert [file.drop for file in light.files] == [None, 0.003]
    assert zoo.find_model("retinanet-light", "int8") == filled / "retinanet-light.int8.onnx"
    assert zoo.find_model("retinanet-light", "fp32") == filled / "retinanet-light.onnx"
    path = filled / "retinanet-light.int8.onnx"
    assert zoo.find_model(path, "int8") == path


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("retinanet-light", "fp16", "ships in fp32 and int8; found `precision` fp16: make such a file"),
        ("retinanet-light.int8", "fp32", "is int8; `precision` fp32 chooses among the files of a model"),
        ("retinanet-light", "int7", "unknown precision 'int7'; did you mean 'int8'"),
        ("retinanet-light", "half", "unknown precision 'half'"),
    ],
)
def test_a_precision_that_is_not_there_is_refused(filled, name, precision, message):
    with pytest.raises(UsageError, match=message):
        zoo.find_model(name, precision)


def test_a_model_without_a_float_file_has_its_name_and_comes_last(folder):
    write_colour_model(folder / "a.int8.onnx", in_precision("int8"))
    write_colour_model(folder / "b.v2.onnx")
    assert [(model.name, model.precisions) for model in zoo.list_models()] == [
        ("b.v2", ("fp32",)),
        ("a", ("int8",)),
    ]


def test_a_file_here_comes_before_a_model_that_ships_and_a_folder_does_not(filled, tmp_path, monkeypatch):
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    assert zoo.shipped_model("retinanet-light") is not None
    (place / "retinanet-light").mkdir()
    assert zoo.shipped_model("retinanet-light") is not None
    write_colour_model(place / "unet-light")
    assert zoo.shipped_model("unet-light") is None
    assert zoo.find_model("unet-light").samefile(place / "unet-light")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("retinanet-lite", "unknown model 'retinanet-lite'; did you mean 'retinanet-light'"),
        ("retinanet-edg", "unknown model 'retinanet-edg'; did you mean 'retinanet-edge'"),
        ("xyz", "unknown model 'xyz'; list the shipped models with 'edgevision models'"),
        ("mine.onnx", "model file not found: mine.onnx"),
        ("some/folder/model", "model file not found: some/folder/model"),
    ],
)
def test_unknown_names_show_the_nearest(filled, name, message):
    with pytest.raises(ModelError, match=message):
        zoo.find_model(name)


def test_a_model_that_does_not_ship_says_where_its_weights_are_and_how_its_file_is_made(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as error:
        zoo.find_model("retinanet-edge")
    assert str(error.value) == (
        "retinanet-edge does not ship as a file: its weights are weights/retinanet-edge.pt in the "
        "repository; make retinanet-edge.onnx of them with 'edgevision export', and give that file as `model`"
    )
    write_colour_model(tmp_path / "retinanet-edge")
    assert zoo.find_model("retinanet-edge").samefile(tmp_path / "retinanet-edge")


def test_every_checkpoint_of_the_repository_ships_or_is_named():
    shipped = {model.name for model in zoo.list_models()}
    weights = {path.stem: path.relative_to(ROOT).as_posix() for path in (ROOT / "weights").glob("*.pt")}
    assert {name: path for name, path in weights.items() if name not in shipped} == zoo.CHECKPOINTS
    for name, path in zoo.CHECKPOINTS.items():
        assert f"edgevision export {path} " in (ROOT / "docs" / "models" / f"{name}.md").read_text()


def test_a_misspelt_suffix_names_the_file(filled, monkeypatch):
    monkeypatch.chdir(filled)
    with pytest.raises(ModelError, match=r"did you mean .*'retinanet-light\.int8\.onnx'"):
        zoo.find_model("retinanet-light.int8.onx")


def test_a_damaged_file_does_not_hide_the_others(filled):
    (filled / "broken.onnx").write_bytes(b"")
    assert len(zoo.list_models()) == 3


def test_what_ships_is_readable_and_within_its_budget():
    for model in zoo.list_models():
        assert model.precisions == ("fp32", "fp16", "int8")
        for file in model.files:
            assert isinstance(file.manifest, Manifest)
            assert file.size <= 12e6
            assert file.manifest.licence
            assert file.manifest.figures
            assert msgspec.json.encode(file.manifest)
        for file in model.files[1:]:
            if file.manifest.precision == "int8":
                assert file.manifest.calibration.float_sha256 == model.manifest.sha256
            assert file.drop is not None
            assert file.drop <= MOST_DROP


@pytest.mark.parametrize("model", zoo.list_models(), ids=lambda model: model.name)
def test_the_fp16_file_is_of_the_float_file_that_ships(model):
    exact, half = (
        {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
        for path in (model.path, zoo.find_model(model.name, "fp16"))
    )
    weights = [name for name, values in exact.items() if name.endswith(".weight") and values.ndim == 4]
    assert weights
    for name in weights:
        assert np.array_equal(half[name], exact[name].astype(half[name].dtype)), name
