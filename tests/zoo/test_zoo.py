import msgspec
import pytest

from edgevision import zoo
from edgevision.contract.manifest import Manifest
from edgevision.errors import ModelError
from tests.support.models import colour_manifest, write_bright_segmenter, write_colour_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def filled(folder):
    write_bright_segmenter(folder / "unet-light.onnx")
    write_colour_model(folder / "retinanet-light.onnx")
    write_colour_model(folder / "retinanet-light.int8.onnx")
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
        "retinanet-light.int8",
        "unet-light",
    ]
    assert zoo.default_model().name == "retinanet-light"
    assert zoo.default_model("segmentation").name == "unet-light"


def test_names_and_paths_are_found(filled, tmp_path):
    assert zoo.find_model("retinanet-light") == filled / "retinanet-light.onnx"
    assert zoo.find_model("retinanet-light.int8") == filled / "retinanet-light.int8.onnx"
    assert zoo.find_model(str(filled / "unet-light.onnx")) == filled / "unet-light.onnx"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("retinanet-lite", "unknown model 'retinanet-lite'; did you mean 'retinanet-light'"),
        ("xyz", "unknown model 'xyz'; list the shipped models with 'edgevision models'"),
        ("mine.onnx", "model file not found: mine.onnx"),
        ("some/folder/model", "model file not found: some/folder/model"),
    ],
)
def test_unknown_names_show_the_nearest(filled, name, message):
    with pytest.raises(ModelError, match=message):
        zoo.find_model(name)


def test_a_misspelt_suffix_names_the_file(filled, monkeypatch):
    monkeypatch.chdir(filled)
    with pytest.raises(ModelError, match=r"did you mean .*'retinanet-light\.int8\.onnx'"):
        zoo.find_model("retinanet-light.int8.onx")


def test_a_damaged_file_does_not_hide_the_others(filled):
    (filled / "broken.onnx").write_bytes(b"")
    assert len(zoo.list_models()) == 4


def test_what_ships_is_readable_and_within_its_budget():
    for model in zoo.list_models():
        assert isinstance(model.manifest, Manifest)
        assert model.size <= 12e6
        assert model.manifest.licence
        assert model.manifest.figures
        assert msgspec.json.encode(model.manifest)
