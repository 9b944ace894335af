"""Which precision of a model is taken, by the processor, the engines and one short measurement."""

from datetime import date

import msgspec
import pytest

from edgevision import zoo
from edgevision.engines import load_engine
from edgevision.engines.choose import MachineFacts
from edgevision.extras import install_command
from edgevision.zoo import quickest
from edgevision.zoo.quickest import (
    STEADY,
    QuickestFile,
    forget_times,
    is_brief,
    judge,
    least_median,
    measure,
    processor_name,
    quickest_file,
)
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
    """Made-up times, of one turn or several; what was asked for is in the list."""
    asked = []

    def use(**times_ms):
        def answer(engines, threads):
            asked.append({name: engine for name, (_, engine) in engines.items()})
            return {
                name: times_ms[name] if isinstance(times_ms[name], list) else [times_ms[name]] * 5
                for name in engines
                if name in times_ms
            }

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
    assert quickest_file("light") == QuickestFile(
        int8,
        f"int8 (12.9 ms an image here, fp32 21.1 ms, measured on {date.today()}; 'edgevision models' can "
        "have it measured again; its card says a drop of 0.0031)",
    )
    assert len(asked) == 1
    quickest_file("light", threads=1)
    ship("int8", drop=0.0029)  # another figure, the same graph
    quickest_file("light")
    assert len(asked) == 2


SCATTERED = [
    # The shortest calls say that INT8 is much faster; what else ran decided that.
    (
        {"fp32": [307.0, 420.0, 510.0, 433.0, 390.0], "int8": [143.0, 310.0, 260.0, 505.0, 170.0]},
        "int8 260.0 ms an image here, fp32 420.0 ms",
    ),
    # Each time is steady enough, and one is the faster as often as the other.
    (
        {"fp32": [24.0, 24.0, 30.0, 30.0, 27.0], "int8": [28.0, 27.0, 22.0, 22.0, 24.0]},
        "int8 24.0 ms an image here, fp32 27.0 ms",
    ),
]


@pytest.mark.parametrize(("times", "shown"), SCATTERED)
def test_times_that_scatter_choose_nothing_and_are_not_kept(ship, timed, monkeypatch, tmp_path, times, shown):
    as_float = ship("fp32")
    int8 = ship("int8", drop=0.001)
    on(monkeypatch, VNNI)
    asked = timed(**times)
    found = quickest_file("light")
    reason = f"fp32, since the times scatter too much to choose by ({shown}); not kept"
    assert found == QuickestFile(as_float, reason)
    assert quickest_file("light") == found, "a run opens the model several times, and each time the same"
    assert len(asked) == 1
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(quickest, "_MEASURED", {})  # a later process, on a quiet machine
    timed(fp32=20.0, int8=10.0)
    assert quickest_file("light").path == int8


def test_int8_that_was_faster_in_nearly_every_turn_is_taken_though_the_turns_scatter(
    ship, timed, monkeypatch, tmp_path
):
    ship("fp32")
    int8 = ship("int8", drop=0.001)
    on(monkeypatch, VNNI)
    # Of eight turns one may be lost: chance would do as much in 9 of 256 cases.
    timed(
        fp32=[90.0, 200.0, 130.0, 400.0, 95.0, 160.0, 88.0, 300.0],
        int8=[70.0, 150.0, 60.0, 90.0, 110.0, 80.0, 61.0, 200.0],
    )
    assert quickest_file("light") == QuickestFile(
        int8,
        "int8 (85.0 ms an image here, fp32 145.0 ms, in turns that scatter; not kept; its card says a drop "
        "of 0.001)",
    )
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("gains", "least"),
    [
        ([], 0.0),
        ([2.0] * 4, 0.0),  # 1 of 16 by chance
        ([1.5, 1.2, 2.0, 1.4, 1.3], 1.2),  # 1 of 32
        ([0.5, 1.2, 2.0, 1.4, 1.3, 1.6, 1.7, 1.8], 1.2),  # 9 of 256
        ([0.5, 0.6, 2.0, 1.4, 1.3, 1.6, 1.7, 1.8], 0.6),
        ([float(place) for place in range(15)], 3.0),  # 576 of 32,768; five of 15 would be 1,941
    ],
)
def test_what_the_median_gain_is_not_below(gains, least):
    assert least_median(gains) == least


@pytest.mark.parametrize(
    ("turns", "gain", "scatter"),
    [
        ({"fp32": [20.0] * 5, "int8": [10.0] * 5}, 2.0, 1.0),
        # 11/10 10/11 10/10 12/10 15/10: the median is 1.1, the quartiles 1 and 1.2
        ({"fp32": [11.0, 10.0, 10.0, 12.0, 15.0], "int8": [10.0, 11.0, 10.0, 10.0, 10.0]}, 1.1, 1.2),
        # Load that slows both in the same turns leaves their quotient, and is seen by the times.
        ({"fp32": [20.0, 60.0, 60.0], "int8": [10.0, 30.0, 30.0]}, 2.0, 3.0),
        # One turn in five, as when another program starts, changes nothing.
        ({"fp32": [20.0, 20.0, 200.0, 20.0, 20.0], "int8": [10.0] * 5}, 2.0, 1.0),
    ],
)
def test_turns_are_judged_by_their_median_and_how_far_they_scatter(turns, gain, scatter):
    found = judge(turns)
    assert (found.gains, found.scatter) == ({"int8": gain}, scatter)
    assert found.is_steady is (scatter <= STEADY)


def test_what_does_not_open_is_not_judged():
    assert judge({}).gains == {}
    assert judge({"int8": [3.0, 4.0]}).gains == {}
    alone = judge({"fp32": [4.0, 5.0, 4.0]})
    assert (alone.times_ms, alone.gains, alone.scatter) == ({"fp32": 4.0}, {}, 1.0)


@pytest.mark.parametrize(
    ("call_s", "turns"),
    [(0.001, 15), (0.06, 9), (0.15, 5), (0.25, 5), (0.4, 3), (2.0, 3)],
)
def test_measuring_ends_after_a_second_or_two(ship, monkeypatch, call_s, turns):
    ship("fp32")
    ship("int8", drop=0.001)
    (model,) = zoo.list_models()
    clock, called = [0.0], []

    class Slow:
        def __init__(self, path):
            self.name = "int8" if "int8" in path.name else "fp32"

        def infer(self, inputs):
            called.append(self.name)
            clock[0] += call_s

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(quickest, "load_engine", lambda path, engine, threads: Slow(path))
    monkeypatch.setattr(quickest.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(quickest.time, "perf_counter", lambda: clock[0])
    found = measure({one.manifest.precision: (one, "onnxruntime") for one in model.files}, 1)
    assert {name: len(times) for name, times in found.items()} == {"fp32": turns, "int8": turns}
    assert found["int8"] == pytest.approx([1e3 * call_s] * turns)
    in_turns = called[2:]  # after one each that does not count
    assert in_turns[:6] == ["fp32", "int8", "int8", "fp32", "fp32", "int8"]


def test_kept_times_can_be_forgotten(ship, timed, monkeypatch):
    assert forget_times() == 0
    ship("fp32")
    ship("int8", drop=0.001)
    on(monkeypatch, VNNI)
    asked = timed(fp32=20.0, int8=10.0)
    quickest_file("light")
    quickest_file("light", threads=1)
    assert len(asked) <= 2
    assert forget_times() == len(asked)
    quickest_file("light")
    assert asked[-1] == asked[0]
    assert forget_times() == 1


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
    if "int8" in reason:
        monkeypatch.setattr(quickest, "_MEASURED", {})  # another process
        kept = f", measured on {date.today()}; 'edgevision models' can have it measured again)"
        assert quickest_file("light").reason == reason.removesuffix(")") + kept


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
    hint = f"int8 would be faster here with OpenVINO ({install_command('openvino')})"
    assert found == QuickestFile(as_float, hint)
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
    assert all(len(times) == len(found["fp32"]) >= 3 and min(times) >= 0 for times in found.values())
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
