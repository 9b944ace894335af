import msgspec
import numpy as np
import pytest

from edgevision import zoo
from edgevision.engines.choose import MachineFacts
from edgevision.engines.fake import FakeEngine, fake_manifest
from edgevision.errors import UsageError
from edgevision.model import Model
from edgevision.session.models import (
    ModelPool,
    RunModels,
    find_models,
    load_as_it_is,
    refuse_same_name,
    share_classes,
)
from edgevision.session.request import ModelChoice, RunRequest
from edgevision.session.spec import StreamSpec
from edgevision.zoo import default_model, quickest
from tests.support.models import colour_manifest, write_bright_segmenter, write_colour_model

DEMO = [StreamSpec(source="demo")]


def engine(name, classes):
    return FakeEngine(manifest=msgspec.structs.replace(fake_manifest(classes=classes), name=name))


def test_each_model_keeps_the_classes_that_it_knows():
    people, traffic = engine("people", ("person", "face")), engine("traffic", ("car", "person"))
    assert share_classes([people, traffic], ["person", "car"]) == [["person"], ["person", "car"]]
    assert share_classes([people], ["car"]) == [["car"]]  # which the model then refuses itself
    with pytest.raises(UsageError, match="people has none of the classes car; leave it out"):
        share_classes([people, traffic], ["car"])
    with pytest.raises(UsageError, match="no model has the class 'cra'; did you mean 'car'"):
        share_classes([people, traffic], ["cra"])


def test_models_are_told_apart_by_their_names():
    models = [Model(engine(name, ("person",))) for name in ("a", "b")]
    refuse_same_name(models)
    with pytest.raises(UsageError, match="2 models are called 'a'"):
        refuse_same_name([models[0], *models])
    found = RunModels(models, [])
    assert (found.names, found.classes) == (["a", "b"], ["person"])
    with pytest.raises(UsageError, match="`save_masks` needs a segmentation model; a, b gives no class map"):
        found.segmenters()


def test_without_a_name_the_first_detector_runs():
    assert find_models(ModelChoice()) == ([default_model("detection").path], None, None)


@pytest.fixture
def two_precisions(tmp_path, monkeypatch):
    """A model that ships in FP32 and INT8, the second of which is the faster one here."""
    monkeypatch.setattr(zoo, "folder", lambda: tmp_path)
    monkeypatch.setattr(quickest, "_MEASURED", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(quickest, "machine_facts", lambda: MachineFacts(("cpu",), openvino=True))
    monkeypatch.setattr(quickest, "measure", lambda engines, threads: {"fp32": [9.0] * 3, "int8": [3.0] * 3})
    write_colour_model(tmp_path / "light.onnx")
    figures = {"ap50_mean": 0.5, "drop": 0.001}
    write_colour_model(tmp_path / "light.int8.onnx", colour_manifest(precision="int8", figures=figures))


@pytest.mark.parametrize(
    ("source", "settings", "precision"),
    [
        ("demo", {}, "int8"),
        ("demo", {"models": ["light"]}, "int8"),
        ("demo", {"models": ["light"], "precision": "fp32"}, "fp32"),
        ("demo", {"models": ["light"], "precision": "int8"}, "int8"),
        ("demo", {"engine": "onnxruntime"}, "fp32"),
        ("street.jpg", {}, "fp32"),  # the start takes longer than the image
        ("street.jpg", {"precision": "int8"}, "int8"),
    ],
)
def test_a_name_runs_in_the_quickest_precision(two_precisions, source, settings, precision):
    models = opened(RunRequest(streams=[StreamSpec(source=source)], **settings))
    (model,) = models.models
    assert model.manifest.precision == precision
    (line,) = models.describe()
    was_chosen = precision == "int8" and "precision" not in settings
    assert ("int8 (3.0 ms an image here, fp32 9.0 ms; its card says a drop of 0.001)" in line) == was_chosen


def test_a_stream_says_its_own_precision(two_precisions):
    streams = [StreamSpec(source="demo", precision="fp32"), StreamSpec(source="demo")]
    request = RunRequest(streams=streams)
    with ModelPool(request, load_as_it_is, threads=1) as pool:
        found = [pool.of(spec).models[0].manifest.precision for spec in streams]
    assert found == ["fp32", "int8"]


def test_a_precision_that_a_model_lacks_is_refused(two_precisions, tmp_path):
    with pytest.raises(UsageError, match="light ships in fp32 and int8; found `precision` fp16"):
        find_models(ModelChoice(models=("light",), precision="fp16"))
    with pytest.raises(UsageError, match="is fp32; `precision` int8 chooses among"):
        find_models(ModelChoice(models=(str(tmp_path / "light.onnx"),), precision="int8"))
    with pytest.raises(UsageError, match="own is open in fp32; found `precision` int8"):
        find_models(ModelChoice(models=(Model(engine("own", ("car",))),), precision="int8"))
    with pytest.raises(UsageError, match="unknown precision 'int7'; did you mean 'int8'"):
        RunRequest(streams=DEMO, precision="int7")
    with pytest.raises(UsageError, match="unknown precision 'int7'; did you mean 'int8'"):
        StreamSpec(source="demo", precision="int7")


def opened(request):
    with ModelPool(request, load_as_it_is, threads=1) as pool:
        return pool.of(request.streams[0])


def test_an_open_model_keeps_its_engine_and_its_classes(tmp_path):
    write_colour_model(tmp_path / "colours.onnx")
    write_bright_segmenter(tmp_path / "bright.onnx")
    own = Model(engine("own", ("person", "car")), 0.6, ["car"])
    models = opened(RunRequest(streams=DEMO, models=[own, str(tmp_path / "bright.onnx")], conf_threshold=0.2))
    assert models.models[0].engine is own.engine
    assert models.models[0].classes == ("car",)
    assert models.models[0].conf_threshold == 0.2
    assert own.conf_threshold == 0.6
    assert models.segmenters() == [models.names[1]]
    assert len(own(np.zeros((32, 32, 3), np.uint8))) == 0  # still open


def test_a_fallback_of_the_same_name_is_called_otherwise(tmp_path):
    live = [StreamSpec(source="webcam", max_latency="100ms")]
    write_colour_model(tmp_path / "colours.onnx")
    write_colour_model(tmp_path / "small.onnx", colour_manifest(32), 32)
    request = RunRequest(
        streams=live, models=[str(tmp_path / "colours.onnx")], fallback_model=str(tmp_path / "small.onnx")
    )
    (fallback,) = opened(request).fallback
    assert fallback.name == "colours-fallback"


def test_streams_that_name_the_same_file_share_its_engine(tmp_path):
    """Also by another way to the file; with their own thresholds and classes, and until none has it."""
    write_colour_model(tmp_path / "colours.onnx")
    write_colour_model(tmp_path / "small.onnx", colour_manifest(32), 32)
    (tmp_path / "link.onnx").symlink_to("colours.onnx")
    asked = []

    def open_engine(path, name, policy, threads=None, requests=1):
        asked.append(path.name)
        return load_as_it_is(path, name, policy, threads, requests)

    specs = [
        StreamSpec(source="a", conf=0.5),
        StreamSpec(source="b", model=str(tmp_path / "link.onnx"), conf=0.3, classes="red"),
        StreamSpec(source="c", model=[str(tmp_path / "small.onnx")], track=True),
    ]
    request = RunRequest(streams=specs, models=[str(tmp_path / "colours.onnx")])
    with ModelPool(request, open_engine, threads=1) as pool:
        assert {path.name for path in pool.files(specs)} == {"colours.onnx", "link.onnx", "small.onnx"}
        a, b, c = (pool.of(spec) for spec in specs)
        assert sorted(asked) == ["colours.onnx", "small.onnx"]
        assert a.models[0].engine is b.models[0].engine
        assert (a.models[0].conf_threshold, b.models[0].conf_threshold) == (0.5, 0.3)
        assert (a.models[0].classes, b.models[0].classes) == (None, ("red",))
        assert c.models[0].conf_threshold == 0.15  # the tracker wants weaker ones too
        pool.close_unused([a])
        assert pool.of(specs[2]).models[0].engine is not c.models[0].engine
        assert len(asked) == 3
    with pytest.raises(UsageError, match="the model has no class 'blu'"):
        opened(RunRequest(streams=[StreamSpec(source="a", classes="blu")], models=request.models))
