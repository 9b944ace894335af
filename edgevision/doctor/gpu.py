"""NVIDIA's GPU, its driver, CUDA, JetPack and TensorRT."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgevision.doctor.finding import Finding
from edgevision.doctor.machine import Machine
from edgevision.engines.trt.cuda_runtime import CUDA_12_TENSORRT

_CUDA = "(lambda d: [d.name, d.compute_capability, d.driver, d.memory_bytes])(m.open_device(m.load_cuda()))"
_START = "[m.__version__, m.Builder(m.Logger(m.Logger.ERROR)) is not None]"
_CUDA_13_DRIVER = 580
"""The first driver that CUDA 13 runs on: CUDA 13.0 release notes, table 2."""
_COPY_BOARD = "tr -d '\\0' < /proc/device-tree/model | sudo tee /etc/nv_jetson_model"
_JETSON_CONTAINER = (
    "sudo docker run --runtime nvidia -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro "
    "-v /etc/nv_jetson_model:/etc/nv_jetson_model:ro ..."
)

# Jetson Linux release to JetPack: https://developer.nvidia.com/embedded/jetpack-archive
_JETPACKS = {36: "JetPack 6", 38: "JetPack 7", 39: "JetPack 7"}
_JETPACK_PYTHON = {36: (3, 10), 38: (3, 12), 39: (3, 12)}
"""The Python version that JetPack's own TensorRT is built for: that of its Ubuntu."""


def check_driver(machine: Machine) -> Iterator[Finding]:
    """The kernel driver: without it no library can see the GPU."""
    if not machine.has_nvidia_gpu:
        if machine.is_container and machine.architecture == "aarch64":
            yield Finding(
                "gpu",
                "note",
                "no NVIDIA GPU is visible in this container; models run on the CPU",
                f"on a Jetson start it with: {_JETSON_CONTAINER}",
            )
        else:
            yield Finding("gpu", "ok", "no NVIDIA GPU; models run on the CPU")
        return
    if machine.is_jetson:
        return  # the driver is part of Jetson Linux
    text = machine.read("/proc/driver/nvidia/version")
    if text is None:
        fix = "sudo ubuntu-drivers install && sudo reboot"
        if machine.is_container:
            option = "--runtime nvidia" if machine.architecture == "aarch64" else "--gpus all"
            fix = f"start the container with {option} (needs NVIDIA's container toolkit on the host)"
        yield Finding("driver", "problem", "an NVIDIA GPU is present, but no driver is loaded", fix)
        return
    version = re.search(r"Module.*?\s(\d+\.[\d.]+)\s", text)
    yield Finding("driver", "ok", f"NVIDIA {version[1] if version else 'driver'}")


def check_cuda(machine: Machine) -> Iterator[Finding]:
    """CUDA as edgevision itself uses it."""
    if not machine.has_nvidia_gpu:
        return
    if "cuda-bindings" not in machine.packages:
        is_cuda_12 = machine.l4t[0] == 36 if machine.l4t else _is_older_than_cuda_13(machine)
        package = "'cuda-python<13'" if is_cuda_12 else "cuda-python"
        yield Finding(
            "cuda",
            "note",
            "CUDA's Python bindings are missing; TensorRT needs them",
            f"pip install {package}",
        )
        return
    probe = machine.try_module("edgevision.engines.trt.cuda_runtime", _CUDA)
    if probe.error:
        fix = "nvidia-smi  # must list the GPU"
        if machine.is_jetson and machine.is_container:
            fix = _JETSON_CONTAINER
        yield Finding("cuda", "problem", probe.error, fix)
        return
    name, capability, driver, memory = probe.value
    yield Finding(
        "cuda",
        "ok",
        f"{name}, compute capability {capability}, {memory / (1 << 30):.1f} GiB, driver for CUDA {driver}, "
        f"bindings {machine.packages.get('cuda-bindings', 'of unknown version')}",
    )


def check_jetpack(machine: Machine) -> Iterator[Finding]:
    """A Jetson's release and name: what a plan is built for, and which Python its TensorRT is for."""
    if not machine.is_jetson:
        return
    if machine.is_container and (machine.l4t is None or not machine.board):
        hidden = [
            name for name, seen in (("release", machine.l4t), ("board's name", machine.board)) if not seen
        ]
        yield Finding(
            "jetpack",
            "problem",
            f"this container does not see the Jetson's {' and '.join(hidden)}",
            f"on the Jetson: {_COPY_BOARD}; then: {_JETSON_CONTAINER}",
        )
    if machine.l4t is None:
        return
    major, revision = machine.l4t
    board = machine.board or "Jetson"
    found = f"{board}, Jetson Linux {major}.{revision}"
    if major not in _JETPACKS:
        yield Finding(
            "jetpack",
            "problem",
            f"{found}; its TensorRT is too old; expected JetPack 6 or 7",
            "flash JetPack 6.2 or later: https://developer.nvidia.com/embedded/jetpack",
        )
        return
    yield Finding("jetpack", "ok", f"{found} ({_JETPACKS[major]})")
    python = _JETPACK_PYTHON[major]
    if machine.python[:2] != python:
        version = ".".join(map(str, python))
        yield Finding(
            "jetpack",
            "problem",
            f"Python {machine.python[0]}.{machine.python[1]}, but JetPack's TensorRT is built for {version}",
            f"/usr/bin/python{version} -m venv --system-site-packages .venv",
        )
    if "tensorrt" in machine.packages and _is_from_pip(machine, "tensorrt"):
        yield Finding(
            "jetpack",
            "problem",
            "TensorRT from pip hides JetPack's, which is built for this device",
            "pip uninstall -y tensorrt tensorrt-cu12 tensorrt-cu13 "
            "tensorrt-cu12-libs tensorrt-cu13-libs tensorrt-cu12-bindings tensorrt-cu13-bindings",
        )


def check_power_mode(machine: Machine) -> Iterator[Finding]:
    if machine.l4t is None or machine.is_container:  # a container has no nvpmodel
        return
    text = machine.run("nvpmodel", "-q") or ""
    mode = re.search(r"NV Power Mode:\s*(\S+)", text)
    if mode is None:
        yield Finding("power", "note", "the power mode could not be read", "sudo nvpmodel -q")
    elif mode[1].startswith("MAXN"):
        yield Finding("power", "ok", mode[1])
    else:
        yield Finding(
            "power",
            "note",
            f"{mode[1]}; clocks are limited",
            "sudo nvpmodel -p --verbose  # lists the modes; then: sudo nvpmodel -m ID && sudo jetson_clocks",
        )


def check_tensorrt(machine: Machine) -> Iterator[Finding]:
    """TensorRT and TensorRT for RTX; a PC without a GPU needs neither."""
    present = 0
    for module, title in (("tensorrt", "TensorRT"), ("tensorrt_rtx", "TensorRT for RTX")):
        if not machine.has_module(module):
            continue
        present += 1
        probe = machine.try_module(module, "m.__version__")
        # It loads on any machine and says its version; whether it suits the driver shows when it starts.
        start = machine.try_module(module, _START) if machine.has_nvidia_gpu and not probe.error else probe
        if probe.error:
            yield Finding(
                "tensorrt", "problem", f"{title} does not load: {probe.error}", _reinstall(machine, module)
            )
        elif not start.error:
            yield Finding("tensorrt", "ok", f"{title} {probe.value}")
        elif "tensorrt-cu13" in machine.packages and _is_older_than_cuda_13(machine):
            yield Finding(
                "tensorrt",
                "problem",
                f"{title} {probe.value} is built for CUDA 13, which needs NVIDIA's driver {_CUDA_13_DRIVER} "
                f"or later; here it is {machine.driver_release}",
                f"{CUDA_12_TENSORRT} 'cuda-python<13'  # or update the driver",
            )
        else:
            yield Finding(
                "tensorrt",
                "problem",
                f"{title} {probe.value} does not start: {start.error}",
                "nvidia-smi  # must list the GPU; then: " + _reinstall(machine, module),
            )
    if present or not machine.has_nvidia_gpu:
        return
    if machine.is_jetson:
        yield Finding(
            "tensorrt",
            "problem",
            "not found; JetPack's TensorRT is visible only in an environment with system site packages",
            f"sudo apt install python3-libnvinfer && {_system_venv(machine)}",
        )
    else:
        # The extra brings TensorRT for CUDA 13, which an older driver cannot start.
        is_older = _is_older_than_cuda_13(machine)
        fix = (
            "pip install tensorrt-cu12 'cuda-python<13'" if is_older else "pip install 'edgevision[tensorrt]'"
        )
        yield Finding("tensorrt", "note", "not installed; models run without it", fix)


def _is_older_than_cuda_13(machine: Machine) -> bool:
    return machine.driver_release is not None and machine.driver_release < _CUDA_13_DRIVER


def _reinstall(machine: Machine, module: str) -> str:
    if machine.is_jetson and machine.is_container:  # the libraries that it needs are the device's
        return _JETSON_CONTAINER
    if module == "tensorrt_rtx":
        return "pip install --force-reinstall tensorrt-rtx-cu13"
    if machine.is_jetson:
        return "sudo apt install --reinstall python3-libnvinfer libnvinfer10"
    return "pip install --force-reinstall tensorrt"


def _system_venv(machine: Machine) -> str:
    major = machine.l4t[0] if machine.l4t else 0
    version = ".".join(map(str, _JETPACK_PYTHON.get(major, (3,))))
    return f"/usr/bin/python{version} -m venv --system-site-packages .venv"


def _is_from_pip(machine: Machine, module: str) -> bool:
    """Whether a module was installed by pip; apt installs into ``dist-packages``."""
    probe = machine.try_module(module, "m.__file__")
    return not probe.error and "dist-packages" not in probe.value
