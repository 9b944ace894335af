"""Which precision of a model is taken, by the processor, the engines and one short measurement."""

import msgspec
import pytest

from edgevision import zoo
from edgevision.engines import load_engine
from edgevision.engines.choose import MachineFacts
from edgevision.zoo import quickest
from edgevision.zoo.quickest import QuickestFile, is_brief, measure, processor_name, quickest_file
from tests.support.models import colour_manifest, write_colour_model

VNNI = MachineFacts(("cpu",), openvino=True, int8_sums=True)


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Puts models into an empty zoo; the cache is empty, too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(quickest, "_MEASURED", {})
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setattr(zoo, "folder", lambda: folder)

    def write(precision, **figures):
        name = "light.onnx" if precision == "fp32" else f"light.{precision}.onnx"
        manifest = colour_manifest()
        figures = {"ap50_mean": 0.5, **figures}
        return write_colour_model(
            folder / name, msgspec.structs.replace(manifest, precision=precision, figures=figures)
        )

    return write


@pytest.fixture
def timed(monkeypatch):
    """Made-up times; what was asked for is in the list."""
    asked = []

    def use(**times_ms):
        def answer(engines, threads):
            asked.append({name: engine for name, (_, engine) in engines.items()})
            return {name: times_ms[name] for name in engines if name in times_ms}

        monkeypatch.setattr(quickest, "measure", answer)
        return asked

    return use


def on(monkeypatch, machine):
    monkeypatch.setattr(quickest, "machine_facts", lambda: machine)


def test_int8_is_taken_where_it_was_faster_and_measured_once(ship, timed, monkeypatch):
    ship("fp32")
    int8 = ship("int8", drop=0.0031)
    on(monkeypatch, VNNI)
    asked = timed(fp32=21.1, int8=12.9)
    found = quickest_file("light")
    assert found == QuickestFile(
        int8, "int8 (12.9 ms an image here, fp32 21.1 ms; its card says a drop of 0.0031)"
    )
    assert asked == [{"fp32": "onnxruntime", "int8": "openvino"}]
    assert quickest_file("light") == found
    monkeypatch.setattr(quickest, "_MEASURED", {})  # another process
    assert quickest_file("light") == found
    assert len(asked) == 1
    quickest_file("light", threads=1)
    ship("int8", drop=0.0029)  # another figure, the same graph
    quickest_file("light")
    assert len(asked) == 2


def test_a_cache_that_cannot_be_written_costs_one_measurement_in_a_process(
    ship, timed, monkeypatch, tmp_path
):
    ship("fp32")
    ship("int8", drop=0.0)
    on(monkeypatch, VNNI)
    asked = timed(fp32=3.0, int8=1.0)
    (tmp_path / "cache").write_text("in the way")
    assert quickest_file("light") == quickest_file("light")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (
            {"fp32": 20.0, "int8": 19.0},
            "fp32, since int8 is not faster (19.0 ms an image here, fp32 20.0 ms)",
        ),
        ({"fp32": 20.0}, ""),  # OpenVINO does not load
        ({"int8": 20.0}, ""),
        ({}, ""),
    ],
)
def test_the_float_file_is_taken_where_nothing_is_clearly_faster(ship, timed, monkeypatch, times, reason):
    as_float = ship("fp32")
    ship("int8", drop=0.001)
    on(monkeypatch, VNNI)
    timed(**times)
    assert quickest_file("light") == QuickestFile(as_float, reason)


@pytest.mark.parametrize(
    ("machine", "engine", "drop"),
    [
        (MachineFacts(("cpu",), openvino=True, int8_sums=False), "auto", 0.001),  # sums saturate
        (MachineFacts(("cpu",), openvino=False, int8_sums=False), "auto", 0.001),
        (MachineFacts(("cuda", "cpu"), openvino=True), "auto", 0.001),  # Q/DQ in float on the GPU
        (VNNI, "onnxruntime", 0.001),
        (VNNI, "tensorrt", 0.001),
        (VNNI, "auto", 0.006),
        (VNNI, "auto", None),  # nobody measured it
    ],
)
def test_int8_is_not_even_measured_where_it_cannot_gain_or_loses_too_much(
    ship, timed, monkeypatch, machine, engine, drop
):
    as_float = ship("fp32")
    ship("int8", **({} if drop is None else {"drop": drop}))
    on(monkeypatch, machine)
    asked = timed(fp32=9.0, int8=1.0)
    assert quickest_file("light", engine) == QuickestFile(as_float)
    assert asked == []


def test_without_openvino_its_gain_is_named(ship, monkeypatch):
    as_float = ship("fp32")
    ship("int8", drop=0.001)
    on(monkeypatch, MachineFacts(("cpu",), openvino=False))
    found = quickest_file("light")
    assert found.path == as_float
    assert found.reason.startswith("int8 would be faster here with OpenVINO (")
    assert quickest_file("light", "onnxruntime").reason == ""


def test_fp16_is_for_a_gpu(ship, timed, monkeypatch):
    ship("fp32")
    half = ship("fp16", drop=0.0)
    on(monkeypatch, MachineFacts(("cuda", "cpu"), openvino=True))
    asked = timed(fp32=4.0, fp16=2.0)
    assert quickest_file("light").path == half
    assert asked == [{"fp32": "onnxruntime-cuda", "fp16": "onnxruntime-cuda"}]


def test_one_image_a_path_and_a_single_precision_leave_nothing_to_choose(ship, timed, monkeypatch):
    as_float = ship("fp32")
    on(monkeypatch, VNNI)
    asked = timed(fp32=9.0, int8=1.0)
    assert quickest_file("light") == QuickestFile(as_float)
    int8 = ship("int8", drop=0.001)
    assert quickest_file("light", is_brief=True) == QuickestFile(as_float)
    assert quickest_file(str(as_float)) == QuickestFile(as_float)
    assert quickest_file("light.int8") == QuickestFile(int8)
    assert asked == []


def test_a_measurement_runs_each_file_and_leaves_out_what_does_not_open(ship, tmp_path, monkeypatch):
    ship("fp32")
    ship("int8", drop=0.001)
    (model,) = zoo.list_models()
    as_float, int8 = model.files
    opened = []

    def open_it(path, engine, threads):
        opened.append(load_engine(path, engine, threads))
        return opened[-1]

    monkeypatch.setattr(quickest, "load_engine", open_it)
    found = measure({"fp32": (as_float, "onnxruntime"), "int8": (int8, "onnxruntime")}, 1)
    assert set(found) == {"fp32", "int8"}
    assert all(took >= 0 for took in found.values())
    assert all(one._session is None for one in opened), "closed"
    int8.path.write_bytes(b"no model")
    assert set(measure({"fp32": (as_float, "onnxruntime"), "int8": (int8, "onnxruntime")}, 1)) == {"fp32"}


@pytest.mark.parametrize(
    ("sources", "max_frames", "brief"),
    [
        (["a.JPG"], [None], True),
        (["a.jpg", "b.png"], [None, None], True),
        (["a.jpg", "b.mp4"], [None, None], False),
        (["a.jpg", "b.mp4"], [None, 1], True),
        (["a.mp4", "b.mp4"], [100, 1], True),
        (["a.mp4", "b.mp4"], [101, 1], False),
        (["*.jpg"], [None], False),
        (["*.jpg"], [3], True),
        (["photos"], [None], False),
        (["demo"], [None], False),
        ([], [], False),
    ],
)
def test_single_images_and_few_frames_are_not_worth_another_engine(sources, max_frames, brief):
    assert is_brief(sources, max_frames) is brief


def test_processors_are_told_apart(tmp_path):
    (tmp_path / "a").write_text("processor\t: 0\nmodel name\t: Xeon\nflags\t\t: avx2 avx_vnni\n")
    (tmp_path / "b").write_text("processor\t: 0\nmodel name\t: Xeon\nflags\t\t: avx2\n")
    (tmp_path / "c").write_text("processor\t: 0\nFeatures\t: fp asimddp\nCPU part\t: 0xd42\n")
    assert processor_name(tmp_path / "a") == "Xeon avx2 avx_vnni"
    assert processor_name(tmp_path / "b") == "Xeon avx2"
    assert processor_name(tmp_path / "c") == "fp asimddp 0xd42"
    assert processor_name(tmp_path / "none")
