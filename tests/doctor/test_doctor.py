"""Broken machines, made for the test: files under another root, packages, and modules that do not load.

Also tests ``edgevision.cli.doctor``, ``edgevision.doctor.finding``, ``edgevision.doctor.machine``.
"""

import json
import os
import re
import subprocess
import sys
import threading

import pytest

from edgevision import extras
from edgevision.doctor import Finding, Machine, Probe, examine
from edgevision.doctor.gpu import (
    _START,
    check_cuda,
    check_driver,
    check_jetpack,
    check_power_mode,
    check_tensorrt,
)
from edgevision.doctor.inference import check_onnx_runtime, check_openvino
from edgevision.doctor.system import (
    NEWEST_PYTHON,
    OLDEST_PYTHON,
    RUNTIME_PACKAGES,
    check_disk,
    check_memory,
    check_packages,
    check_python,
)
from edgevision.doctor.video import (
    check_cameras,
    check_codecs,
    check_display,
    check_gstreamer,
    check_opencv,
)
from tests.support.paths import ROOT

SOUND = {
    "numpy": "2.2.6",
    "opencv-python": "4.12.0",
    "av": "17.1.0",
    "onnxruntime": "1.23.0",
    "typer": "0.15.0",
    "rich": "14.0.0",
    "msgspec": "0.19.0",
    "pyyaml": "6.0.2",
}
# As on a Jetson with JetPack 6.2
RELEASE_36 = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
)


class MadeMachine(Machine):
    """A machine of a test: a sound one, until the test breaks it."""

    def __init__(self, root):
        super().__init__(root, environ={})
        self.architecture, self.python = "x86_64", (3, 11, 7)
        self.packages = dict(SOUND)
        self.modules = {
            "numpy": Probe("2.2.6"),
            "cv2": Probe(["4.12.0", ["QT5"]]),
            "av": Probe(["17.1.0", ["h264", "hevc", "libx264"]]),
            "onnxruntime": Probe(["1.23.0", ["CPUExecutionProvider"]]),
        }
        self.programs = {}
        self.free = 100 << 30
        self.write("/proc/meminfo", "MemTotal:       16252928 kB\nMemAvailable:    8126464 kB\n")

    def write(self, path, text=""):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def become_jetson(self, release=RELEASE_36, board="NVIDIA Jetson Orin NX", python=(3, 10, 12)):
        self.write("/etc/nv_tegra_release", release)
        self.write("/proc/device-tree/model", board + "\0")
        self.architecture, self.python = "aarch64", python

    def free_bytes(self, folder):
        return self.free

    def has_module(self, module):
        return module in self.modules

    def try_module(self, module, expression="None"):
        absent = Probe(None, f"No module named '{module}'")
        return self.modules.get(f"{module}: {expression}", self.modules.get(module, absent))

    def run(self, *command):
        return self.programs.get(" ".join(command))


@pytest.fixture
def machine(tmp_path):
    return MadeMachine(tmp_path)


def only(findings):
    (finding,) = findings
    return finding


def problems(findings):
    return [finding for finding in findings if finding.status == "problem"]


def test_a_sound_machine_has_no_problem(machine):
    findings = list(examine(machine))
    assert problems(findings) == []
    assert {finding.check for finding in findings} >= {"python", "opencv", "codecs", "disk", "gpu"}


def test_findings_come_as_soon_as_they_are_known(machine):
    """A report that says nothing while OpenVINO loads looks as if it hung."""
    may_end = threading.Event()

    def slow(_):
        may_end.wait(30)
        yield Finding("slow", "ok", "")

    findings = examine(machine, (check_python, slow))
    assert next(findings).check == "python"
    may_end.set()
    assert [finding.check for finding in findings] == ["slow"]


def test_commands_are_written_as_they_work_in_this_environment(machine, monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(extras.shutil, "which", lambda name: "/usr/bin/uv" if name == "uv" else None)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)

    def broken(_):
        yield Finding("x", "problem", "two of them", "pip uninstall -y a b && pip install a")

    (finding,) = examine(machine, (broken,))
    assert finding.fix == "uv pip uninstall -y a b && uv pip install a"


def test_every_problem_has_a_fix_and_is_one_line(machine):
    machine.packages = {"opencv-python": "4", "opencv-python-headless": "4"}
    machine.modules = {}
    machine.free = 0
    machine.python = (3, 9, 1)
    machine.become_jetson(RELEASE_36.replace("R36", "R35"), python=(3, 8, 10))
    machine.write("/dev/video0")
    found = problems(examine(machine))
    assert {finding.check for finding in found} >= {
        "python", "packages", "disk", "jetpack", "tensorrt", "onnxruntime", "opencv"
    }  # fmt: skip
    for finding in found:
        assert finding.fix
        assert "\n" not in finding.found + finding.fix


# System


def test_the_list_of_packages_is_that_of_the_project():
    text = (ROOT / "pyproject.toml").read_text()  # tomllib needs Python 3.11
    listed = text[text.index("\ndependencies = [") : text.index("\n]\n", text.index("\ndependencies = ["))]
    names = {name.lower() for name in re.findall(r'^    "([\w-]+)', listed, re.MULTILINE)}
    assert {*RUNTIME_PACKAGES, "opencv-python", "onnxruntime"} == names
    named = [int(minor) for minor in re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', text)]
    assert (min(named), max(named)) == (OLDEST_PYTHON[1], NEWEST_PYTHON[1])


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 9, 18), "problem"), ((3, 10, 0), "ok"), ((3, 14, 2), "ok"), ((3, 15, 0), "problem")],
)
def test_python(machine, version, status):
    machine.python = version
    assert only(check_python(machine)).status == status


def test_missing_packages_are_installed_by_name(machine):
    del machine.packages["av"], machine.packages["rich"]
    found = problems(check_packages(machine))
    assert only(found).fix == "pip install av rich"
    machine.modules["numpy"] = Probe(None, "libopenblas.so.0: cannot open shared object file")
    assert "libopenblas" in problems(check_packages(machine))[1].found


@pytest.mark.parametrize(
    ("free", "status"), [(0, "problem"), (100 << 20, "problem"), (1 << 30, "note"), (9 << 30, "ok")]
)
def test_disk(machine, free, status):
    machine.free = free
    assert {finding.status for finding in check_disk(machine)} == {status}


def test_memory(machine):
    finding = only(check_memory(machine))
    assert (finding.status, finding.found) == ("ok", "7.8 of 15.5 GiB free")
    machine.write("/proc/meminfo", "MemTotal: 4063232 kB\nMemAvailable: 512000 kB\n")
    assert only(check_memory(machine)).status == "note"
    machine.write("/proc/meminfo", "")
    assert list(check_memory(machine)) == []


# GPU


def nvidia_card(machine):
    machine.write("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    machine.write("/sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")


def test_no_gpu_is_no_problem(machine):
    machine.write("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n")
    machine.write("/sys/bus/pci/devices/0000:00:02.0/class", "0x030000\n")
    # NVIDIA's network cards are no GPUs.
    machine.write("/sys/bus/pci/devices/0000:00:03.0/vendor", "0x10de\n")
    machine.write("/sys/bus/pci/devices/0000:00:03.0/class", "0x020000\n")
    assert only(check_driver(machine)).status == "ok"
    assert [*check_cuda(machine), *check_jetpack(machine), *check_tensorrt(machine)] == []


def test_a_card_without_a_driver(machine):
    nvidia_card(machine)
    finding = only(check_driver(machine))
    assert finding.status == "problem"
    assert "ubuntu-drivers" in finding.fix
    machine.write("/.dockerenv")
    assert "--gpus all" in only(check_driver(machine)).fix
    machine.architecture = "aarch64"
    assert "--runtime nvidia" in only(check_driver(machine)).fix


def test_a_card_with_a_driver(machine):
    nvidia_card(machine)
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    machine.write("/proc/driver/nvidia/version", version)
    assert only(check_driver(machine)).found == "NVIDIA 550.54.15"
    assert only(check_cuda(machine)).fix == "pip install 'cuda-python<13'"
    machine.packages["cuda-bindings"] = "13.0.1"
    name = "edgevision.engines.trt.cuda_runtime"
    machine.modules[name] = Probe(["NVIDIA GeForce RTX 4060", "8.9", "12.6", 8 << 30])
    found = "NVIDIA GeForce RTX 4060, compute capability 8.9, 8.0 GiB, driver for CUDA 12.6, bindings 13.0.1"
    assert only(check_cuda(machine)).found == found
    machine.modules[name] = Probe(None, "CUDA cannot find a GPU: no NVIDIA driver is visible")
    assert only(check_cuda(machine)).status == "problem"
    assert only(check_tensorrt(machine)).status == "note"


def nvidia_driver(machine, version):
    nvidia_card(machine)
    text = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Tue Mar  5 22:23:56 UTC 2024\n"
    machine.write("/proc/driver/nvidia/version", text)


@pytest.mark.parametrize(
    ("driver", "package"), [("550.54.15", "'cuda-python<13'"), ("580.65", "cuda-python")]
)
def test_the_bindings_that_are_missing_suit_the_driver(machine, driver, package):
    nvidia_driver(machine, driver)
    assert only(check_cuda(machine)).fix == f"pip install {package}"


def test_tensorrt_for_cuda_13_on_an_older_driver(machine):
    """It loads and says its version; only a builder shows that it cannot start."""
    nvidia_driver(machine, "550.54.15")
    machine.packages.update({"tensorrt": "11.4.0", "tensorrt-cu13": "11.4.0"})
    machine.modules["tensorrt"] = Probe("11.4.0")
    machine.modules[f"tensorrt: {_START}"] = Probe(
        None, "pybind11::init(): factory function returned nullptr"
    )
    finding = only(check_tensorrt(machine))
    assert finding.status == "problem"
    assert "TensorRT 11.4.0 is built for CUDA 13, which needs NVIDIA's driver 580" in finding.found
    assert finding.found.endswith("here it is 550")
    assert "pip install tensorrt-cu12 'cuda-python<13'" in finding.fix
    nvidia_driver(machine, "580.65.06")
    finding = only(check_tensorrt(machine))
    assert (finding.status, "does not start: pybind11" in finding.found) == ("problem", True)
    del machine.modules[f"tensorrt: {_START}"]
    assert only(check_tensorrt(machine)).status == "ok"


def test_without_tensorrt_the_one_for_the_driver_is_named(machine):
    nvidia_driver(machine, "550.54.15")
    assert only(check_tensorrt(machine)).fix == "pip install tensorrt-cu12 'cuda-python<13'"
    nvidia_driver(machine, "580.65.06")
    assert only(check_tensorrt(machine)).fix == "pip install 'edgevision[tensorrt]'"


def test_in_a_jetsons_container_nothing_is_installed_again(machine):
    """What TensorRT lacks there are the device's own libraries, which the container's start hands in."""
    machine.write("/etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1")
    machine.write("/.dockerenv", "")
    machine.modules["tensorrt"] = Probe(None, "libnvdla_compiler.so: cannot open shared object file")
    finding = only(check_tensorrt(machine))
    assert "libnvdla_compiler.so" in finding.found
    assert finding.fix.startswith("sudo docker run --runtime nvidia")


def test_a_builder_is_what_the_doctor_starts():
    """The expression runs against the real library, whose builder needs no GPU."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    version, has_started = Machine().try_module("tensorrt_rtx", _START).value
    assert version.count(".") >= 2
    assert has_started is True


def test_what_cuda_is_asked_is_what_the_engine_asks():
    """The expression runs against the real module; without a GPU it fails with the engine's own line."""
    from edgevision.doctor.gpu import _CUDA

    probe = Machine().try_module("edgevision.engines.trt.cuda_runtime", _CUDA)
    if probe.error:
        assert probe.error.startswith("CUDA")
    else:
        assert len(probe.value) == 4


@pytest.mark.parametrize(
    ("release", "python", "found"),
    [
        (RELEASE_36, (3, 10, 12), "Jetson Linux 36.4.3 (JetPack 6)"),
        (RELEASE_36.replace("R36", "R38"), (3, 12, 3), "Jetson Linux 38.4.3 (JetPack 7)"),
        (RELEASE_36.replace("R36", "R39"), (3, 12, 3), "Jetson Linux 39.4.3 (JetPack 7)"),
    ],
)
def test_a_jetson_is_recognised(machine, release, python, found):
    machine.become_jetson(release, python=python)
    finding = only(check_jetpack(machine))
    assert (finding.status, finding.found) == ("ok", f"NVIDIA Jetson Orin NX, {found}")


def container_on_jetson(machine, *devices):
    machine.write("/.dockerenv")
    machine.architecture, machine.python = "aarch64", (3, 10, 12)
    for device in devices:
        machine.write(f"/dev/{device}")


def test_a_container_on_a_jetson_without_its_runtime(machine):
    container_on_jetson(machine)
    finding = only(check_driver(machine))
    assert finding.status == "note"
    assert "docker run --runtime nvidia" in finding.fix
    assert "--gpus" not in finding.fix


def test_a_container_that_sees_neither_the_jetsons_release_nor_its_name(machine):
    container_on_jetson(machine, "nvmap", "nvhost-ctrl", "nvidia0")
    assert list(check_driver(machine)) == []
    finding = only(check_jetpack(machine))
    assert (finding.status, finding.found) == (
        "problem", "this container does not see the Jetson's release and board's name"
    )  # fmt: skip
    assert "/etc/nv_tegra_release:/etc/nv_tegra_release:ro" in finding.fix
    assert "sudo tee /etc/nv_jetson_model" in finding.fix
    machine.write("/etc/nv_tegra_release", RELEASE_36)
    hidden, seen = check_jetpack(machine)
    assert hidden.found.endswith("does not see the Jetson's board's name")
    assert seen.found == "Jetson, Jetson Linux 36.4.3 (JetPack 6)"


@pytest.mark.parametrize("copy", ["/etc/nv_jetson_model", "/tmp/nv_jetson_model"])
def test_a_container_that_was_handed_the_name(machine, copy):
    container_on_jetson(machine, "nvmap")
    machine.write("/etc/nv_tegra_release", RELEASE_36)
    machine.write(copy, "NVIDIA Jetson AGX Orin Developer Kit")
    assert only(check_jetpack(machine)).found.startswith("NVIDIA Jetson AGX Orin Developer Kit, Jetson Linux")
    assert list(check_power_mode(machine)) == []


def test_a_jetson_that_is_too_old(machine):
    machine.become_jetson(RELEASE_36.replace("R36", "R35"), python=(3, 8, 10))
    finding = only(check_jetpack(machine))
    assert finding.status == "problem"
    assert "expected JetPack 6 or 7" in finding.found


def test_a_jetson_with_another_python_than_its_tensorrt(machine):
    machine.become_jetson(python=(3, 12, 1))
    finding = only(problems(check_jetpack(machine)))
    assert "3.12, but JetPack's TensorRT is built for 3.10" in finding.found
    assert finding.fix == "/usr/bin/python3.10 -m venv --system-site-packages .venv"


def test_a_jetson_whose_environment_hides_tensorrt(machine):
    machine.become_jetson()
    assert "--system-site-packages" in only(check_tensorrt(machine)).fix
    machine.modules["tensorrt"] = Probe("10.3.0")
    assert only(check_tensorrt(machine)).found == "TensorRT 10.3.0"
    machine.modules["tensorrt"] = Probe(None, "libnvinfer.so.10: cannot open shared object file")
    finding = only(check_tensorrt(machine))
    assert (finding.status, "libnvinfer.so.10" in finding.found) == ("problem", True)


def test_a_jetson_whose_tensorrt_comes_from_pip(machine):
    machine.become_jetson()
    machine.packages["tensorrt"] = "11.4.0"
    machine.modules["tensorrt"] = Probe("/home/me/.venv/lib/python3.10/site-packages/tensorrt/__init__.py")
    assert "pip uninstall -y tensorrt" in only(problems(check_jetpack(machine))).fix
    machine.modules["tensorrt"] = Probe("/usr/lib/python3.10/dist-packages/tensorrt/__init__.py")
    assert problems(check_jetpack(machine)) == []


@pytest.mark.parametrize(
    ("text", "status", "found"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", "ok", "MAXN_SUPER"),
        ("NV Power Mode: 15W\n0\n", "note", "15W; clocks are limited"),
        (None, "note", "the power mode could not be read"),
    ],
)
def test_power_modes(machine, text, status, found):
    assert list(check_power_mode(machine)) == []
    machine.become_jetson()
    if text is not None:
        machine.programs["nvpmodel -q"] = text
    finding = only(check_power_mode(machine))
    assert (finding.status, finding.found) == (status, found)


# Engines


def test_onnx_runtime(machine):
    assert only(check_onnx_runtime(machine)).found == "ONNX Runtime 1.23.0, providers: CPU"
    nvidia_card(machine)
    finding = only(check_onnx_runtime(machine))
    assert (finding.status, "'onnxruntime-gpu[cuda,cudnn]'" in finding.fix) == ("note", True)
    machine.modules["onnxruntime"] = Probe(["1.23.0", ["CUDAExecutionProvider", "CPUExecutionProvider"]])
    for probe, says in (
        (Probe("Failed to load libcublasLt.so.12"), "CUDA does not load: Failed to load libcublasLt.so.12"),
        (Probe(None, "ended with code -11"), "CUDA does not load: ended with code -11"),
    ):
        machine.modules["edgevision.engines.onnxrt"] = probe
        finding = only(check_onnx_runtime(machine))
        assert (finding.status, says in finding.found) == ("note", True)
        assert finding.fix == "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    machine.modules["edgevision.engines.onnxrt"] = Probe("")
    assert only(check_onnx_runtime(machine)).status == "ok"
    machine.packages["onnxruntime-gpu"] = "1.23.0"
    finding = only(check_onnx_runtime(machine))
    assert finding.status == "problem"
    assert finding.fix == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"


def test_openvino(machine):
    assert only(check_openvino(machine)).status == "note"
    machine.modules["openvino"] = Probe(["2026.4.1-21000-abc", ["CPU", "GPU"]])
    assert only(check_openvino(machine)).found == "OpenVINO 2026.4.1, devices: CPU, GPU"
    del machine.modules["openvino"]
    machine.architecture = "aarch64"
    assert list(check_openvino(machine)) == []


# Video


def test_two_opencv_wheels(machine):
    machine.packages["opencv-python-headless"] = "4.12.0"
    finding = only(problems(check_opencv(machine)))
    assert "opencv-python and opencv-python-headless overwrite" in finding.found
    assert finding.fix == (
        "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python"
    )


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        ("libGL.so.1: cannot open shared object file", "sudo apt install libgl1 libglib2.0-0"),
        ("libgthread-2.0.so.0: cannot open shared object file", "sudo apt install libgl1 libglib2.0-0"),
        ("libSM.so.6: cannot open shared object file", "sudo apt install libgl1 libglib2.0-0 libsm6"),
        ("No module named 'cv2'", "pip install opencv-python"),
        ("numpy.core.multiarray failed to import", "pip install --force-reinstall opencv-python numpy"),
    ],
)
def test_an_opencv_that_does_not_load(machine, error, fix):
    machine.modules["cv2"] = Probe(None, error)
    finding = only(check_opencv(machine))
    assert (finding.status, finding.fix) == ("problem", fix)
    assert error in finding.found


def test_an_opencv_without_windows(machine):
    machine.packages = {"opencv-python-headless": "4.12.0"}
    machine.modules["cv2"] = Probe(["4.12.0", ["NONE"]])
    assert only(check_opencv(machine)).status == "note"


def test_an_encoder_that_needs_a_card_is_named_where_there_is_one(machine):
    machine.modules["av"] = Probe(["17.1.0", ["h264", "libx264", "h264_nvenc"]])
    assert only(check_codecs(machine)).found.endswith("encoders: libx264")
    nvidia_card(machine)
    assert only(check_codecs(machine)).found.endswith("encoders: libx264, h264_nvenc")


def test_codecs(machine):
    assert only(check_codecs(machine)).found == "PyAV 17.1.0, decoders: h264, hevc; encoders: libx264"
    machine.modules["av"] = Probe(["17.1.0", ["h264"]])
    assert "MP4 output needs libx264" in only(problems(check_codecs(machine))).found


def test_gstreamer(machine):
    absent = only(check_gstreamer(machine))
    assert (absent.status, absent.found.partition(";")[0]) == ("note", "not found")
    assert "gstreamer1.0-plugins-good" in absent.fix
    machine.programs["gst-inspect-1.0 --version"] = "gst-inspect-1.0 version 1.20.3\nGStreamer 1.20.3\n"
    finding = only(check_gstreamer(machine))
    assert (finding.status, "python3-gi" in finding.fix) == ("note", True)
    machine.modules["gi"] = Probe("3")
    machine.become_jetson(board="NVIDIA Jetson Orin Nano Developer Kit")
    bindings, camera, decoder = check_gstreamer(machine)
    assert (bindings.status, camera.status, decoder.status) == ("ok", "note", "note")
    assert "csi:// sources cannot be opened" in camera.found
    assert "nvidia-l4t-gstreamer" in decoder.fix
    for element in ("nvarguscamerasrc", "nvv4l2decoder"):
        machine.programs[f"gst-inspect-1.0 --exists {element}"] = ""
    assert list(check_gstreamer(machine))[1].found == ("nvv4l2decoder; an Orin Nano has no hardware encoder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every file")
def test_a_camera_that_may_not_be_used(machine):
    machine.write("/dev/video0")
    (machine.root / "dev/video0").chmod(0)
    assert "usermod -aG video" in only(check_cameras(machine)).fix


def test_cameras(machine, monkeypatch):
    assert only(check_cameras(machine)).found == "none at /dev/video*"
    for number in (0, 2):
        machine.write(f"/dev/video{number}")
    machine.write("/sys/class/video4linux/video0/name", "HD Webcam\n")
    assert only(check_cameras(machine)).found == "/dev/video0 (HD Webcam), /dev/video2 (unnamed)"
    monkeypatch.setattr(machine, "may_use", lambda path: path != "/dev/video2")
    closed, usable = check_cameras(machine)
    assert (closed.status, closed.found) == ("problem", "no permission to use /dev/video2")
    assert usable.found == "/dev/video0 (HD Webcam)"


def test_displays(machine):
    assert "results can be written to files" in only(check_display(machine)).found
    machine.environ = {"DISPLAY": ":0"}
    assert only(check_display(machine)).found == ":0"


# This machine, and the command


def test_a_module_is_tried_in_a_process_of_its_own(tmp_path):
    machine = Machine()
    assert machine.try_module("json", "m.dumps([1])") == Probe("[1]")
    assert machine.try_module("no_such_module").error == "No module named 'no_such_module'"
    assert machine.try_module("os", "m.abort()").error.startswith("ended with code")


def run_doctor(*options, path=None):
    """The command in a process of its own; ``path`` comes first where Python looks for modules."""
    environ = {**os.environ, "PYTHONPATH": str(path or "")}
    command = [sys.executable, "-m", "edgevision", "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, env=environ, cwd=ROOT, check=False)


def test_this_machine():
    """Whatever machine runs the tests, it can run edgevision: what the report says of it is checked."""
    done = run_doctor("--json")
    document = json.loads(done.stdout)
    found = {finding["check"]: finding for finding in document["findings"]}
    assert found["python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
    assert found["opencv"]["found"].startswith("OpenCV")
    assert "libx264" in found["codecs"]["found"]
    assert "CPU" in found["onnxruntime"]["found"]
    assert document["problems"] == sum(f["status"] == "problem" for f in document["findings"])
    assert done.returncode == (1 if document["problems"] else 0)
    assert done.stderr == ""


def test_a_machine_without_libgl_and_with_two_opencv_wheels(tmp_path):
    """For real: Python finds a cv2 that does not load, and two wheels."""
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({message!r})\n")
    for name in ("opencv_python", "opencv_python_headless"):
        folder = tmp_path / f"{name}-4.12.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.12.0\n")
    done = run_doctor(path=tmp_path)
    assert done.returncode == 1
    assert "opencv-python and opencv-python-headless overwrite each other's files" in done.stdout
    assert f"OpenCV does not load: {message}" in done.stdout
    assert "$ sudo apt install libgl1 libglib2.0-0" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_other_commands_without_libgl_point_to_the_doctor(tmp_path):
    library = tmp_path / "library"  # not the current folder, whose files are never taken for libraries
    library.mkdir()
    (library / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open', name='cv2')\n")
    environ = {**os.environ, "PYTHONPATH": str(library)}
    command = [sys.executable, "-m", "edgevision", "run", "--source", "demo", "--max-frames", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: cv2 cannot be loaded (libGL.so.1: cannot open); "
        "run 'edgevision doctor', which names what is missing\n"
    )
