import msgspec
import numpy as np
import pytest

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
from edgevision.zoo import default_model
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
