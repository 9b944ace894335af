"""NVIDIA's GPU, its driver, CUDA, JetPack and TensorRT."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgevision.doctor.finding import Finding
from edgevision.doctor.machine import Machine

_CUDA = "(lambda d: [d.name, d.compute_capability, d.driver, d.memory_bytes])(m.open_device(m.load_cuda()))"

# Jetson Linux release to JetPack: https://developer.nvidia.com/embedded/jetpack-archive
_JETPACKS = {36: "JetPack 6", 38: "JetPack 7", 39: "JetPack 7"}
_JETPACK_PYTHON = {36: (3, 10), 38: (3, 12), 39: (3, 12)}
"""The Python version that JetPack's own TensorRT is built for: that of its Ubuntu."""


def check_driver(machine: Machine) -> Iterator[Finding]:
    """The kernel driver: without it no library can see the GPU."""
    if not machine.has_nvidia_gpu:
        yield Finding("gpu", "ok", "no NVIDIA GPU; models run on the CPU")
        return
    if machine.l4t is not None:
        return  # the driver is part of Jetson Linux
    text = machine.read("/proc/driver/nvidia/version")
    if text is None:
        fix = "sudo ubuntu-drivers install && sudo reboot"
        if machine.is_container:
            fix = "start the container with --gpus all (needs NVIDIA's container toolkit on the host)"
        yield Finding("driver", "problem", "an NVIDIA GPU is present, but no driver is loaded", fix)
        return
    version = re.search(r"Module.*?\s(\d+\.[\d.]+)\s", text)
    yield Finding("driver", "ok", f"NVIDIA {version[1] if version else 'driver'}")


def check_cuda(machine: Machine) -> Iterator[Finding]:
    """CUDA as edgevision itself uses it."""
    if not machine.has_nvidia_gpu:
        return
    if "cuda-bindings" not in machine.packages:
        package = "'cuda-python<13'" if machine.l4t and machine.l4t[0] == 36 else "cuda-python"
        yield Finding(
            "cuda",
            "note",
            "CUDA's Python bindings are missing; TensorRT needs them",
            f"pip install {package}",
        )
        return
    probe = machine.try_module("edgevision.engines.trt.cuda_runtime", _CUDA)
    if probe.error:
        yield Finding("cuda", "problem", probe.error, "nvidia-smi  # must list the GPU")
        return
    name, capability, driver, memory = probe.value
    yield Finding(
        "cuda",
        "ok",
        f"{name}, compute capability {capability}, {memory / (1 << 30):.1f} GiB, driver for CUDA {driver}, "
        f"bindings {machine.packages.get('cuda-bindings', 'of unknown version')}",
    )


def check_jetpack(machine: Machine) -> Iterator[Finding]:
    if machine.l4t is None:
        return
    major, revision = machine.l4t
    board = machine.read("/proc/device-tree/model") or "Jetson"
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
    if machine.l4t is None:
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
        if probe.error:
            yield Finding(
                "tensorrt", "problem", f"{title} does not load: {probe.error}", _reinstall(machine, module)
            )
        else:
            yield Finding("tensorrt", "ok", f"{title} {probe.value}")
    if present or not machine.has_nvidia_gpu:
        return
    if machine.l4t is not None:
        yield Finding(
            "tensorrt",
            "problem",
            "not found; JetPack's TensorRT is visible only in an environment with system site packages",
            f"sudo apt install python3-libnvinfer && {_system_venv(machine)}",
        )
    else:
        yield Finding(
            "tensorrt", "note", "not installed; models run without it", "pip install 'edgevision[tensorrt]'"
        )


def _reinstall(machine: Machine, module: str) -> str:
    if module == "tensorrt_rtx":
        return "pip install --force-reinstall tensorrt-rtx-cu13"
    if machine.l4t is not None:
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
